//! Codes that are guessed over many proofs, and answers that meet the sending of their code.

use tn_authority::authority::{Confirmation, ControlSettings};
use tn_authority::domain::control::channel::{Channel, SignedAnswer};
use tn_authority::domain::control::codes::ControlCode;
use tn_authority::domain::control::proof::{Confirmed, ControlProof, ProofEnd, ProofState};
use tn_authority::domain::control::sending::SendFailure;
use tn_authority::domain::{Fingerprint, Role};
use tn_authority::store::{StoreError, Tx};

use super::limits::lends_to_new;
use crate::support::control::{control_settings, wrong};
use crate::support::{Kind, Setup, World, wait};

both!(
    a_guesser_with_many_numbers_has_no_more_guesses,
    a_reseller_with_many_accounts_has_ten_times_as_many,
    wrong_nonces_of_an_agent_are_no_guesses,
    guesses_over_the_limit_do_not_fill_the_trail,
    an_answer_that_meets_the_end_of_the_sending_loses,
    an_answer_keeps_what_the_sending_has_written,
);

fn world(kind: Kind, wrong_codes: u32) -> World {
    let mut control: ControlSettings = control_settings();
    control.limits.wrong_codes_per_account_day = wrong_codes;
    let setup = Setup {
        control,
        ..Setup::default()
    };
    let world = World::new(kind, setup);
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551000+100");
    world.lends("other", "+12125551100+100");
    world
}

/// The code of the outcome of a confirmation, or `confirmed`.
fn answer(world: &World, id: &str, proof: &ControlProof, code: &str) -> &'static str {
    let caller = world.caller(Role::Account, &[id]);
    match world.confirms_as(&caller, proof, code) {
        Ok(confirmation) if is_refused(&confirmation) => "refused",
        Ok(_) => "confirmed",
        Err(error) => error.code(),
    }
}

fn is_refused(confirmation: &Confirmation) -> bool {
    matches!(confirmation, Confirmation::Refused(_))
}

fn a_guesser_with_many_numbers_has_no_more_guesses(kind: Kind) {
    let world = world(kind, 7);
    let mut guessed = 0;
    for n in 0..4 {
        let proof = world.asks_one("acme", &format!("+121255510{n:02}"));
        let code = world.code_of(&proof);
        for _ in 0..2 {
            let expected = if guessed < 7 {
                "refused"
            } else {
                "too-many-wrong-codes"
            };
            assert_eq!(answer(&world, "acme", &proof, &wrong(&code)), expected);
            guessed += 1;
        }
        world.seconds_pass(60);
    }
    // Nor is the right one accepted, or it would tell the guesser so.
    let proof = world.asks_one("acme", "+12125551050");
    let code = world.code_of(&proof);
    assert_eq!(
        answer(&world, "acme", &proof, &code),
        "too-many-wrong-codes"
    );
    assert_eq!(world.proof(&proof).tries, 0, "it was not compared");
    // Another account is not concerned, and the carrier confirms what it has heard on the telephone.
    world.proves("other", "+12125551100");
    let by_carrier = world.confirms_as(&world.provisioner(), &proof, &code);
    assert!(!is_refused(&by_carrier.expect("an answer")));
    // A day later, of the seven two are left.
    world.seconds_pass(86_400 + 600 - 240 + 1);
    let next = world.asks_one("acme", "+12125551051");
    let code = world.code_of(&next);
    assert_eq!(answer(&world, "acme", &next, &wrong(&code)), "refused");
    assert_eq!(answer(&world, "acme", &next, &code), "confirmed");
}

fn a_reseller_with_many_accounts_has_ten_times_as_many(kind: Kind) {
    let world = world(kind, 1);
    let mut wide = world.loan("reseller", "+12125551900+80");
    wide.lend_on = true;
    let wide = world.delegates(wide).expect("a delegation");
    for n in 0..11 {
        let (id, number) = (format!("bot{n}"), format!("+121255519{n:02}"));
        lends_to_new(&world, &id, &number, &wide);
        let proof = world.asks_one(&id, &number);
        let code = world.code_of(&proof);
        let expected = if n < 10 {
            "refused"
        } else {
            "too-many-wrong-codes"
        };
        assert_eq!(answer(&world, &id, &proof, &wrong(&code)), expected);
        world.seconds_pass(1);
    }
    world.proves("acme", "+12125551000");
}

fn wrong_nonces_of_an_agent_are_no_guesses(kind: Kind) {
    let world = world(kind, 1);
    let (caller, key) = (
        world.caller(Role::Account, &["acme"]),
        Fingerprint::from([7; 32]),
    );
    let asked = world.asks_as(&caller, "acme", &["+12125551001"], Channel::Sip(key));
    let proof = asked.expect("a proof").pop().expect("one");
    let answer = SignedAnswer {
        key,
        nonce: ControlCode::new("wrong"),
    };
    let id = caller.request_id;
    let refused = world
        .authority
        .confirm_control_signed(id, Some(&proof), answer);
    assert!(is_refused(&wait(refused).expect("an answer")));
    assert_eq!(world.proof(&proof).tries, 1);
    world.proves("acme", "+12125551002");
}

fn guesses_over_the_limit_do_not_fill_the_trail(kind: Kind) {
    let world = world(kind, 1);
    let proof = world.asks_one("acme", "+12125551001");
    let code = world.code_of(&proof);
    let answer = |n: u32| {
        let expected = ["refused", "too-many-wrong-codes"][usize::from(n > 0)];
        assert_eq!(answer(&world, "acme", &proof, &wrong(&code)), expected);
    };
    (0..50).for_each(answer);
    let trail = world.trail(&proof.id.to_string());
    let refused = trail
        .iter()
        .filter(|event| event.outcome == "too-many-wrong-codes");
    assert_eq!(refused.count(), 10, "the others are one sum");
    assert_eq!(world.proof(&proof).tries, 1);
}

fn in_store<T: Send + 'static>(
    world: &World,
    work: impl FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
) -> T {
    wait(world.authority.store().write_alongside("test", work)).expect("written")
}

fn confirmed(proof: &ControlProof, world: &World) -> ControlProof {
    let by = Confirmed {
        at: world.now(),
        by: "acme-key".to_owned(),
    };
    ControlProof {
        confirmed: Some(by),
        ..proof.clone()
    }
}

/// On PostgreSQL the outbox writes while a change is being decided.
fn an_answer_that_meets_the_end_of_the_sending_loses(kind: Kind) {
    let world = world(kind, 100);
    let read = world.asks_one("acme", "+12125551001");
    let (id, now) = (read.id, world.now());
    assert!(in_store(&world, move |tx| tx.give_up_control_proof(id, now)));
    let answered = confirmed(&read, &world);
    let proof = read.clone();
    let written = in_store(&world, move |tx| tx.update_control_proof(&proof, &answered));
    assert!(!written, "the proof has ended");
    let kept = world.proof(&read);
    assert_eq!(kept.end, Some((now, ProofEnd::NotSent)));
    assert_eq!(kept.state(now), ProofState::Failed);
}

fn an_answer_keeps_what_the_sending_has_written(kind: Kind) {
    let world = world(kind, 100);
    let read = world.asks_one("acme", "+12125551001");
    let (id, now) = (read.id, world.now());
    in_store(&world, move |tx| {
        tx.control_proof_sent(id, now)?;
        tx.control_proof_delivered(id, now)?;
        tx.control_proof_not_sent(id, SendFailure::Undelivered)
    });
    let (proof, answered) = (read.clone(), confirmed(&read, &world));
    assert!(in_store(&world, move |tx| tx.update_control_proof(&proof, &answered)));
    let kept = world.proof(&read);
    assert_eq!((kept.sent_at, kept.delivered_at), (Some(now), Some(now)));
    assert!(kept.failure.is_some() && kept.confirmed.is_some());
}
