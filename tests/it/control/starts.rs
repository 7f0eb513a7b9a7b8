//! Which numbers can be asked, and what is known of a proof from then on.

use tn_authority::authority::{ChangeError, ControlSettings, NewControlProofs, StartCause};
use tn_authority::domain::control::channel::Channel;
use tn_authority::domain::control::proof::{Method, ProofState};
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::{Caller, Role};
use uuid::Uuid;

use crate::support::control::control_settings;
use crate::support::{Kind, Setup, World, account, wait};

both!(
    a_number_is_asked_and_answers,
    only_numbers_that_the_account_has_are_asked,
    all_numbers_are_asked_or_none,
    a_number_is_not_asked_twice_at_one_time,
    another_account_s_proof_does_not_block_the_new_holder,
    the_first_gateway_for_a_method_is_used,
    the_service_starts_proofs_for_a_right_to_renew,
    what_sends_codes_is_woken_after_the_start,
);

const NUMBER: &str = "+12125551001";

/// A carrier that has lent 1.212.555.1XXX to `acme`.
fn carrier(kind: Kind) -> World {
    lent(kind, Setup::default())
}

fn lent(kind: Kind, setup: Setup) -> World {
    let world = World::new(kind, setup);
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551000+900");
    world
}

/// Why each number was not asked.
fn causes(refused: ChangeError) -> Vec<(String, &'static str)> {
    let ChangeError::CannotStart(refused) = refused else {
        panic!("{refused}")
    };
    let causes = refused.refused.iter();
    causes
        .map(|one| (one.number.to_string(), one.cause.code()))
        .collect()
}

fn a_number_is_asked_and_answers(kind: Kind) {
    let world = carrier(kind);
    let proof = world.asks_one("acme", NUMBER);
    assert_eq!(proof.number.to_string(), NUMBER);
    assert_eq!(
        (proof.method, proof.gateway.as_str()),
        (Method::Sms, "sms-gateway")
    );
    assert_eq!(proof.expires_at, world.in_seconds(600));
    assert_eq!(proof.started_by, "key-of-account");
    assert_eq!(world.state(&proof), ProofState::Pending);
    let code = world.code_of(&proof);
    assert!(
        code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()),
        "{code}"
    );

    world.seconds_pass(30);
    world.confirms("acme", &proof, &code);
    assert!(!world.has_code(&proof), "there is nothing more to send");
    let proof = world.proof(&proof);
    let confirmed = proof.confirmed.clone().expect("confirmed");
    assert_eq!(
        (confirmed.at, confirmed.by.as_str()),
        (world.now(), "key-of-account")
    );
    assert_eq!(
        (proof.end, world.state(&proof)),
        (None, ProofState::Confirmed)
    );
    // Only its age ends it from now on.
    world.seconds_pass(365 * 86_400);
    assert_eq!(world.state(&proof), ProofState::Confirmed);

    let trail = world.trail(&proof.id.to_string());
    let events: Vec<_> = trail
        .iter()
        .map(|e| (e.action.as_str(), e.outcome.as_str()))
        .collect();
    assert_eq!(
        events,
        [
            ("start-control-proof", "done"),
            ("confirm-control-proof", "done")
        ]
    );
    assert_eq!(trail[0].account, Some(account("acme")));
    assert_eq!(trail[0].detail["number"], NUMBER);
    let metrics = world.metrics.render().expect("metrics");
    for line in [
        "tn_authority_control_proofs_total{method=\"sms\",outcome=\"started\"} 1",
        "tn_authority_control_proofs_total{method=\"sms\",outcome=\"confirmed\"} 1",
        "tn_authority_control_confirm_seconds_bucket{method=\"sms\",le=\"30\"} 1",
        "tn_authority_control_confirm_seconds_sum{method=\"sms\"} 30",
    ] {
        assert!(
            metrics.lines().any(|known| known == line),
            "{line} is missing in:\n{metrics}"
        );
    }
    assert!(!metrics.contains("1212555"), "{metrics}");
}

fn only_numbers_that_the_account_has_are_asked(kind: Kind) {
    let world = carrier(kind);
    world.knows("other");
    world.lends("retail", "+12125551950");
    world.excludes("+12125551002", Reason::PortedOut, None);
    world.excludes("+12125551003", Reason::Reserved, None);
    let tomorrow = world.in_seconds(86_400);
    world.excludes("+12125551004", Reason::PortedOut, Some(tomorrow));
    for (id, number, cause) in [
        ("acme", "+12125551950", "not-delegated"),
        ("acme", "+12125551999", "not-delegated"),
        ("acme", "+13105550000", "not-delegated"),
        // Premium and foreign numbers are nobody's here.
        ("acme", "+19005550000", "not-delegated"),
        ("acme", "+8811234567", "not-delegated"),
        ("other", NUMBER, "not-delegated"),
        ("acme", "+12125551002", "ported-out"),
        ("acme", "+12125551003", "reserved"),
    ] {
        let refused = world.asks(id, &[number]).expect_err(number);
        assert_eq!(refused.code(), "not-authorized", "{number}");
        assert_eq!(causes(refused), [(number.to_owned(), cause)]);
    }
    // Until it is ported out, it can answer.
    world.asks_one("acme", "+12125551004");
    world.suspends("acme");
    assert_eq!(world.asks("acme", &[NUMBER]), Err(ChangeError::Forbidden));
    assert_eq!(
        world.asks("nobody", &[NUMBER]).map_err(|e| e.code()),
        Err("unknown-account")
    );
}

fn all_numbers_are_asked_or_none(kind: Kind) {
    let world = carrier(kind);
    let two = world
        .asks("acme", &["+12125551002", NUMBER])
        .expect("proofs");
    let numbers: Vec<_> = two.iter().map(|proof| proof.number.to_string()).collect();
    assert_eq!(
        numbers,
        ["+12125551002", NUMBER],
        "in the order of the request"
    );
    assert_ne!(world.code_of(&two[0]), "");

    let some = ["+12125551003", "+12125551950", NUMBER, "+12125551960"];
    let refused = world
        .asks("acme", &some)
        .expect_err("two of them are not its own");
    let said = refused.to_string();
    assert_eq!(refused.code(), "not-authorized");
    let named = [
        (NUMBER.to_owned(), "proof-pending"),
        ("+12125551950".to_owned(), "not-delegated"),
        ("+12125551960".to_owned(), "not-delegated"),
    ];
    assert_eq!(causes(refused), named);
    assert!(
        said.starts_with("no number was asked, because of +12125551001 ("),
        "{said}"
    );
    let auditor = world.caller(Role::Auditor, &[]);
    let page = tn_authority::store::Page::new(100, None);
    let all = world
        .authority
        .control_proofs(&auditor, &account("acme"), &page);
    assert_eq!(all.expect("a list").items.len(), 2);

    let one_too_many: Vec<String> = (0..=100).map(|n| format!("+12125551{n:03}")).collect();
    let one_too_many: Vec<&str> = one_too_many.iter().map(String::as_str).collect();
    let refused = |numbers: &[&str]| world.asks("acme", numbers).expect_err("refused").code();
    assert_eq!(refused(&one_too_many), "how-many-numbers");
    assert_eq!(refused(&[]), "how-many-numbers");
    assert_eq!(
        refused(&["+12125551005", "+12125551006", "+12125551005"]),
        "overlap"
    );
    world.asks("acme", &one_too_many[3..]).expect("98 proofs");
}

fn a_number_is_not_asked_twice_at_one_time(kind: Kind) {
    let world = carrier(kind);
    let first = world.asks_one("acme", NUMBER);
    let refused = world.asks("acme", &[NUMBER]).expect_err("it is pending");
    assert_eq!(refused.code(), "proof-pending");
    let ChangeError::CannotStart(refused) = refused else {
        panic!("{refused}")
    };
    assert_eq!(
        refused.refused[0].cause,
        StartCause::Pending {
            until: first.expires_at
        }
    );
    // By whatever method: the same phone would ring.
    let caller = world.caller(Role::Account, &["acme"]);
    let refused = world.asks_as(&caller, "acme", &[NUMBER], Channel::Voice(None));
    assert_eq!(refused.map_err(|e| e.code()), Err("proof-pending"));
    world.seconds_pass(599);
    assert!(world.asks("acme", &[NUMBER]).is_err());
    world.seconds_pass(1);
    assert_eq!(world.state(&first), ProofState::Expired);
    let second = world.asks_one("acme", NUMBER);
    let code = world.code_of(&second);
    world.confirms("acme", &second, &code);
    // What is confirmed can be proven anew.
    world.asks_one("acme", NUMBER);
}

fn another_account_s_proof_does_not_block_the_new_holder(kind: Kind) {
    let world = World::new(kind, Setup::default());
    world.carrier_holds("1.212.555.1XXX");
    let lent = world.lends("acme", NUMBER);
    let old = world.asks_one("acme", NUMBER);
    let code = world.code_of(&old);
    world.ends(&lent, None);
    world.lends("other", NUMBER);
    let new = world.asks_one("other", NUMBER);
    assert_eq!(world.state(&new), ProofState::Pending);
    // But the old holder gets nothing from the code that its former number got.
    world.confirms("acme", &old, &code);
    assert_eq!(world.state(&old), ProofState::Failed);
}

fn the_first_gateway_for_a_method_is_used(kind: Kind) {
    let settings = ControlSettings {
        gateways: [
            ("a-calls".to_owned(), [Method::Voice].into()),
            ("b-both".to_owned(), [Method::Voice, Method::Sms].into()),
            ("c-texts".to_owned(), [Method::Sms].into()),
        ]
        .into(),
        ..control_settings()
    };
    let setup = Setup {
        control: settings,
        ..Setup::default()
    };
    let world = lent(kind, setup);
    let caller = world.caller(Role::Account, &["acme"]);
    let asks = |number, channel| world.asks_as(&caller, "acme", &[number], channel);
    let gateway = |number, channel| asks(number, channel).expect("a proof")[0].gateway.clone();
    assert_eq!(gateway("+12125551001", Channel::Sms(None)), "b-both");
    assert_eq!(gateway("+12125551002", Channel::Voice(None)), "a-calls");
    let sip = Channel::Sip(crate::support::fingerprint());
    let refused = asks("+12125551003", sip).expect_err("no gateway");
    assert_eq!(
        (refused.code(), refused.clone()),
        ("no-gateway", ChangeError::NoGateway(Method::Sip))
    );
}

fn the_service_starts_proofs_for_a_right_to_renew(kind: Kind) {
    let world = carrier(kind);
    let service = Caller::the_service(Uuid::nil());
    let new = NewControlProofs {
        account: account("acme"),
        numbers: vec![NUMBER.parse().expect("a number")],
        channel: Channel::Sip(crate::support::fingerprint()),
        renewal: None,
    };
    let started = wait(world.authority.start_control(&service, new)).expect("a proof");
    assert_eq!(
        (started[0].started_by.as_str(), started[0].method),
        ("service", Method::Sip)
    );
    assert_eq!(
        world.code_of(&started[0]).len(),
        43,
        "256 bits in base64url"
    );
}

fn what_sends_codes_is_woken_after_the_start(kind: Kind) {
    let world = carrier(kind);
    let (rang, rings) = std::sync::mpsc::channel();
    let signal = &world.authority.control().signal;
    signal.on_codes(move || rang.send(()).expect("a test"));
    world.asks("acme", &[NUMBER]).expect("a proof");
    assert_eq!(rings.try_recv(), Ok(()), "the code is committed already");
    assert!(world.asks("acme", &[NUMBER]).is_err());
    assert!(rings.try_recv().is_err());
}
