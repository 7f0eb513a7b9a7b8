//! How often one code is sent: as often as it takes if it surely was not, and seldom if it may have been.

use std::collections::BTreeSet;

use tn_authority::authority::AttemptResult;
use tn_authority::domain::control::proof::ProofState;
use tn_authority::domain::control::sending::{SendFailure, SendOutcome};
use tn_authority::gateways::{HttpGateway, HttpSettings};
use uuid::Uuid;

use super::asking::{asks, attempted, carrier, proof, sends_over, state, takes, until, waiting};
use super::bad_servers::{Server, settings, status};
use crate::support::{Kind, World};

both!(
    a_gateway_that_delivers_and_answers_503_sends_three_texts,
    a_process_that_dies_while_it_sends_sends_three_texts,
    what_surely_was_not_sent_does_not_count,
    a_refusal_after_a_text_that_may_have_arrived_leaves_the_proof_open,
);

const UNREACHABLE: SendOutcome = SendOutcome::Later(SendFailure::Unreachable, None);
const UNCLEAR: SendOutcome = SendOutcome::Unclear(SendFailure::Timeout, None);

fn process(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// With the threads of the service, for as long as the code is valid: three texts, spaced, and the same reference in
/// each, by which a gateway can tell that they are one.
fn a_gateway_that_delivers_and_answers_503_sends_three_texts(kind: Kind) {
    let server = Server::answering(&status("503 Service Unavailable"));
    let world = carrier(kind);
    let with_reference = HttpSettings {
        target: format!(
            "http://127.0.0.1:{}/?to={{digits}}&text={{text}}&ref={{message_id}}",
            server.port
        ),
        ..settings(server.port)
    };
    let gateway = HttpGateway::new(&with_reference).expect("a gateway");
    let _threads = sends_over(&world, Box::new(gateway));
    let id = asks(&world, 1)[0].id;
    for sent in 1..=3 {
        until("a text", || server.requests.lock().len() == sent);
        until("it is recorded", || {
            let message = world.authority.store().read(|tx| tx.control_message(id));
            let message = message.expect("the store");
            message.map_or(sent == 3, |message| message.due_at == world.in_seconds(30))
        });
        world.seconds_pass(30);
    }
    world.seconds_pass(400);
    assert_eq!((waiting(&world), server.requests.lock().len()), (0, 3));
    // What was sent still counts.
    assert_eq!(state(&world, id), ProofState::Pending);
    let requests = server.requests.lock().clone();
    let references: BTreeSet<String> = requests
        .iter()
        .filter_map(|request| {
            let field = format!("idempotency-key: {id}\r\n");
            assert!(request.to_lowercase().contains(&field), "{request}");
            assert!(request.contains(&format!("ref={id}")), "{request}");
            request.lines().next().map(str::to_owned)
        })
        .collect();
    assert_eq!(references.len(), 1, "{references:?}");
}

/// A gateway that crashes the sender, or a machine that is short of memory: nobody records what was sent.
fn a_process_that_dies_while_it_sends_sends_three_texts(kind: Kind) {
    let world = carrier(kind);
    let id = asks(&world, 1)[0].id;
    let mut attempts = 0;
    for number in 0..20 {
        attempts += takes(&world, process(number), 1).len();
        world.seconds_pass(29);
    }
    assert_eq!((attempts, waiting(&world)), (3, 0));
    assert_eq!(proof(&world, id).failure.as_deref(), Some("interrupted"));
    assert_eq!(state(&world, id), ProofState::Pending);
}

fn what_surely_was_not_sent_does_not_count(kind: Kind) {
    let world = carrier(kind);
    let id = asks(&world, 1)[0].id;
    let take = |outcome| -> Option<AttemptResult> {
        let code = takes(&world, process(1), 1).pop()?;
        let result = attempted(&world, process(1), &code, outcome);
        world.seconds_pass(61);
        Some(result)
    };
    for outcome in [
        UNREACHABLE,
        UNCLEAR,
        UNREACHABLE,
        UNCLEAR,
        UNREACHABLE,
        UNREACHABLE,
    ] {
        let result = take(outcome);
        assert!(
            matches!(result, Some(AttemptResult::RetriedAt(_))),
            "{result:?}"
        );
    }
    assert_eq!(take(UNCLEAR), Some(AttemptResult::GivenUp));
    assert_eq!(take(UNCLEAR), None);
    assert_eq!(
        (waiting(&world), state(&world, id)),
        (0, ProofState::Pending)
    );
}

/// The text may be on the phone already: the code counts until it expires.
fn a_refusal_after_a_text_that_may_have_arrived_leaves_the_proof_open(kind: Kind) {
    let world = carrier(kind);
    let id = asks(&world, 1)[0].id;
    let refused = SendOutcome::Refused(SendFailure::Refused);
    let takes_one = |world: &World| takes(world, process(1), 1).pop().expect("a code");
    attempted(&world, process(1), &takes_one(&world), UNCLEAR);
    world.seconds_pass(30);
    let result = attempted(&world, process(1), &takes_one(&world), refused);
    assert_eq!(result, AttemptResult::GivenUp);
    assert_eq!(
        (waiting(&world), state(&world, id)),
        (0, ProofState::Pending)
    );
}
