//! Pending proofs are cancelled or superseded, so that a thief of the credentials locks out no owner.

use tn_authority::authority::{ChangeError, NewControlProofs};
use tn_authority::domain::control::channel::Channel;
use tn_authority::domain::control::failure::ControlFailure;
use tn_authority::domain::control::proof::{ControlProof, ProofEnd, ProofState};
use tn_authority::domain::{Caller, Fingerprint, Role};
use tn_authority::store::ProofProbes;

use super::reproof::{DAY, HOUR, answers, asking_daily, daily, feed, proofs, works};
use crate::support::control::{control_settings, tries_left};
use crate::support::{Kind, Setup, World, account, wait};

both!(
    a_pending_proof_is_cancelled_and_its_number_asked_anew,
    a_cancelled_proof_counts_towards_the_limits,
    what_is_not_pending_is_not_cancelled,
    the_carrier_revokes_the_proof_of_a_thief,
    who_can_start_a_proof_can_cancel_it,
    an_agent_and_a_person_are_asked_at_one_time,
    the_carrier_asks_in_spite_of_a_thief,
    a_revoked_right_takes_its_pending_proofs_with_it,
    a_cancelled_proof_of_a_right_is_a_failure,
    what_a_thief_does_not_answer_holds_up_no_renewal,
);

const NUMBER: &str = "+12125551001";

fn carrier(kind: Kind) -> World {
    let world = World::new(kind, Setup::default());
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551000+900");
    world
}

fn cancels(
    world: &World,
    caller: &Caller,
    proof: &ControlProof,
) -> Result<ControlProof, ChangeError> {
    wait(world.authority.cancel_control(caller, proof.id))
}

fn acme(world: &World) -> Caller {
    world.caller(Role::Account, &["acme"])
}

fn a_pending_proof_is_cancelled_and_its_number_asked_anew(kind: Kind) {
    let world = carrier(kind);
    let proof = world.asks_one("acme", NUMBER);
    let code = world.code_of(&proof);
    assert!(world.asks("acme", &[NUMBER]).is_err(), "it is pending");
    let done = cancels(&world, &acme(&world), &proof).expect("cancelled");
    assert_eq!(done.end, Some((world.now(), ProofEnd::Cancelled)));
    assert_eq!(world.state(&proof), ProofState::Failed);
    assert!(!world.has_code(&proof), "nor is its code sent");
    assert_eq!(tries_left(&world.confirms("acme", &proof, &code)), 0);
    // A repeated request changes nothing.
    world.seconds_pass(5);
    let again = cancels(&world, &acme(&world), &proof).expect("cancelled before");
    assert_eq!(again.end, done.end);
    world.proves("acme", NUMBER);
    let trail = world.trail(&proof.id.to_string());
    let events: Vec<_> = trail
        .iter()
        .map(|e| (e.action.as_str(), e.outcome.as_str()))
        .collect();
    let cancelled = events
        .iter()
        .filter(|event| **event == ("cancel-control-proof", "done"));
    assert_eq!(cancelled.count(), 1, "{events:?}");
}

fn a_cancelled_proof_counts_towards_the_limits(kind: Kind) {
    let world = carrier(kind);
    for _ in 0..3 {
        let proof = world.asks_one("acme", NUMBER);
        cancels(&world, &acme(&world), &proof).expect("cancelled");
    }
    let refused = world.asks("acme", &[NUMBER]).map_err(|e| e.code());
    assert_eq!(refused, Err("too-many-proofs"));
}

fn what_is_not_pending_is_not_cancelled(kind: Kind) {
    let world = carrier(kind);
    let confirmed = world.proves("acme", NUMBER);
    let expired = world.asks_one("acme", "+12125551002");
    world.seconds_pass(600);
    for proof in [&confirmed, &expired] {
        let refused = cancels(&world, &acme(&world), proof).map_err(|e| e.code());
        assert_eq!(refused, Err("not-pending"));
    }
    assert_eq!(world.state(&confirmed), ProofState::Confirmed);
    assert_eq!(world.state(&expired), ProofState::Expired);
}

fn the_carrier_revokes_the_proof_of_a_thief(kind: Kind) {
    let world = carrier(kind);
    world.knows("reseller");
    let proof = world.proves("acme", NUMBER);
    // Nobody who could be a thief of the account's key takes the proofs of its owner away.
    for caller in [
        acme(&world),
        world.caller(Role::Provisioner, &["acme", "reseller"]),
    ] {
        let refused = cancels(&world, &caller, &proof).map_err(|e| e.code());
        assert_eq!(refused, Err("not-pending"));
    }
    world.seconds_pass(60);
    let revoked_at = world.now();
    for _ in 0..2 {
        let done = cancels(&world, &world.provisioner(), &proof).expect("revoked");
        assert_eq!(done.end, Some((revoked_at, ProofEnd::Revoked)));
        world.seconds_pass(1);
    }
    assert_eq!(world.state(&proof), ProofState::Ended);
    let mut probes = ProofProbes::default();
    let key = (&account("acme"), Fingerprint::from([7; 32]));
    probes.add(0, key, NUMBER.parse().expect("a number"), world.now());
    let store = world.authority.store();
    let counted = store.read(|tx| tx.confirmed_control_proofs(&probes));
    assert_eq!(counted.expect("proofs"), [], "no mint finds it");
    let trail = world.trail(&proof.id.to_string());
    let last = trail.last().expect("an event");
    assert_eq!(last.action, "cancel-control-proof");
    assert_eq!(last.detail["reason"], "revoked");
    // And the owner proves the number anew.
    world.proves("acme", NUMBER);
}

fn who_can_start_a_proof_can_cancel_it(kind: Kind) {
    let world = carrier(kind);
    world.knows("other");
    for (n, (role, accounts, expected)) in [
        (Role::Admin, &[][..], Ok(())),
        (Role::Provisioner, &[], Ok(())),
        (Role::Account, &["acme"], Ok(())),
        (Role::Portal, &["acme"], Ok(())),
        (Role::Auditor, &[], Err("forbidden")),
        (Role::Renewer, &["acme"], Err("forbidden")),
        (Role::Account, &["other"], Err("not-found")),
        (Role::Provisioner, &["other"], Err("not-found")),
    ]
    .into_iter()
    .enumerate()
    {
        let proof = world.asks_one("acme", &format!("+1212555101{n}"));
        let caller = world.caller(role, accounts);
        let done = cancels(&world, &caller, &proof);
        let done = done.map(drop).map_err(|e| e.code());
        assert_eq!(done, expected, "{role} {accounts:?}");
        assert_eq!(world.proof(&proof).end.is_some(), expected.is_ok());
    }
}

fn an_agent_and_a_person_are_asked_at_one_time(kind: Kind) {
    let world = carrier(kind);
    let asks = |channel| {
        let asked = world.asks_as(&acme(&world), "acme", &[NUMBER], channel);
        asked.map(drop).map_err(|error| error.code())
    };
    let sip = Channel::Sip(Fingerprint::from([7; 32]));
    assert_eq!(asks(sip), Ok(()));
    assert_eq!(asks(Channel::Sms(None)), Ok(()));
    // But not two of a kind.
    for channel in [sip, Channel::Sms(None), Channel::Voice(None)] {
        assert_eq!(asks(channel), Err("proof-pending"), "{channel:?}");
    }
}

fn over_limits(
    world: &World,
    caller: &Caller,
    channel: Channel,
) -> Result<ControlProof, ChangeError> {
    let new = NewControlProofs {
        account: account("acme"),
        numbers: vec![NUMBER.parse().expect("a number")],
        channel,
        renewal: None,
    };
    let reason = "the API key was stolen".to_owned();
    let started = wait(
        world
            .authority
            .start_control_over_limits(caller, new, reason),
    );
    started.map(|mut started| started.pop().expect("a proof"))
}

fn the_carrier_asks_in_spite_of_a_thief(kind: Kind) {
    let mut control = control_settings();
    (
        control.limits.per_account_hour,
        control.limits.per_gateway_hour,
    ) = (3, 10);
    let world = World::new(
        kind,
        Setup {
            control,
            ..Setup::default()
        },
    );
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551000+900");
    // A thief of the key uses up what there is.
    for _ in 0..2 {
        let proof = world.asks_one("acme", NUMBER);
        cancels(&world, &acme(&world), &proof).expect("cancelled");
    }
    let thiefs = world.asks_one("acme", NUMBER);
    let sms = Channel::Sms(None);
    for (role, accounts) in [
        (Role::Account, &["acme"][..]),
        (Role::Portal, &["acme"]),
        (Role::Provisioner, &["acme"]),
        (Role::Auditor, &[]),
        (Role::Renewer, &["acme"]),
    ] {
        let refused = over_limits(&world, &world.caller(role, accounts), sms);
        assert_eq!(refused.map_err(|e| e.code()), Err("forbidden"), "{role}");
    }
    assert_eq!(world.state(&thiefs), ProofState::Pending);

    let owners = over_limits(&world, &world.provisioner(), sms).expect("a proof");
    let end = Some((world.now(), ProofEnd::Superseded));
    assert_eq!(world.proof(&thiefs).end, end);
    assert!(!world.has_code(&thiefs));
    let code = world.code_of(&owners);
    world.confirms("acme", &owners, &code);
    assert_eq!(world.state(&owners), ProofState::Confirmed);
    let trail = world.trail(&owners.id.to_string());
    assert_eq!(trail[0].detail["override"], "the API key was stolen");
    let trail = world.trail(&thiefs.id.to_string());
    let superseded = trail.last().expect("an event");
    assert_eq!(superseded.action, "cancel-control-proof");
    assert_eq!(superseded.detail["reason"], "superseded");

    // What protects the gateway and the number holds for the carrier, too: ten in an hour, and
    // five times the three of an account.
    for _ in 0..6 {
        over_limits(&world, &world.provisioner(), sms).expect("a proof");
    }
    let refused = over_limits(&world, &world.provisioner(), sms).map_err(|e| e.code());
    assert_eq!(refused, Err("too-many-proofs"));
    let voice = Channel::Voice(None);
    for _ in 0..5 {
        over_limits(&world, &world.provisioner(), voice).expect("a proof");
    }
    let refused = over_limits(&world, &world.provisioner(), voice).map_err(|e| e.code());
    assert_eq!(refused, Err("too-many-proofs"), "the number itself");
}

fn a_revoked_right_takes_its_pending_proofs_with_it(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    let right = daily(&world, &loan);
    assert_eq!(works(&world), 1);
    let proof = proofs(&world).remove(0);
    assert!(world.has_code(&proof));
    wait(
        world
            .authority
            .revoke_renewal(&world.provisioner(), right.id),
    )
    .expect("revoked");
    let end = Some((world.now(), ProofEnd::RenewalRevoked));
    assert_eq!(world.proof(&proof).end, end);
    assert!(!world.has_code(&proof), "no number is asked for nothing");
    assert_eq!(answers(&world), 0);
    let trail = world.trail(&proof.id.to_string());
    assert_eq!(
        trail.last().expect("an event").action,
        "cancel-control-proof"
    );
    world.seconds_pass(HOUR);
    works(&world);
    assert_eq!(feed(&world), [], "that is no failure");
}

fn a_cancelled_proof_of_a_right_is_a_failure(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    daily(&world, &loan);
    assert_eq!(works(&world), 1);
    let proof = proofs(&world).remove(0);
    cancels(&world, &acme(&world), &proof).expect("cancelled");
    works(&world);
    let failed = feed(&world);
    assert_eq!(
        (failed.len(), failed[0].failure),
        (1, ControlFailure::Cancelled)
    );
    // It is asked again.
    world.seconds_pass(DAY / 24);
    assert_eq!((works(&world), answers(&world)), (1, 1));
}

fn what_a_thief_does_not_answer_holds_up_no_renewal(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    world.knows("acme");
    let thiefs = Channel::Sip(Fingerprint::from([0x66; 32]));
    let asked = world.asks_as(&acme(&world), "acme", &[NUMBER], thiefs);
    asked.expect("a proof");
    let text = Channel::Sms(None);
    let asked = world.asks_as(&acme(&world), "acme", &[NUMBER], text);
    asked.expect("a proof");
    daily(&world, &loan);
    assert_eq!(works(&world), 0, "the agent is asked already");
    // When that is over, at once: without the waits after proofs of the service that failed.
    world.seconds_pass(600);
    assert_eq!((works(&world), answers(&world)), (1, 1));
}
