//! Rights whose gateway was removed from the configuration: they fail, and say so.

use tn_authority::domain::control::failure::{ControlFailure, FailedControl};
use tn_authority::domain::control::proof::{Method, ProofState};

use super::{DAY, HOUR, answers, asking_daily, daily, feed, gives, proofs, renews, wanted, works};
use crate::gateways::asking::waiting;
use crate::support::{Kind, Setup, World, wait};

both!(
    a_right_whose_gateway_was_removed_fails_visibly,
    a_refusal_says_that_the_service_starts_the_proofs_of_a_right,
);

/// Whoever renews must not be sent to start proofs, which the service does.
fn a_refusal_says_that_the_service_starts_the_proofs_of_a_right(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    let right = daily(&world, &loan);
    let refused = renews(&world, &right).expect_err("nothing is proven yet");
    let said = refused.to_string();
    for part in [
        "the service starts a proof for this right by itself, by `sip`",
        "control-agent",
        "+12125551001",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("control-proofs"), "{said}");
    let direct = world.mints("acme", &["one:12125551001"]);
    let said = direct.expect_err("nothing is proven").to_string();
    assert!(said.contains("start a proof with `POST"), "{said}");
}

fn a_right_whose_gateway_was_removed_fails_visibly(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    let right = daily(&world, &loan);
    assert_eq!((works(&world), answers(&world)), (1, 1));
    renews(&world, &right).expect("a token");
    let block = wanted(&loan, &["range:12125551100+50"], DAY);
    gives(&world, block).expect("a right for many numbers");
    // The operator removes the gateway, and starts the service again.
    let usual = Setup::default();
    let mut control = usual.control.clone();
    control
        .gateways
        .retain(|_, methods| !methods.contains(&Method::Sip));
    let without = World::over(world.db.clone(), Setup { control, ..usual });
    for _ in 0..20 {
        works(&without);
        while wait(without.authority.report_failures()).expect("a report") {}
        without.seconds_pass(60);
    }
    let of_first = |failed: &FailedControl| failed.proof.renewal == Some(right.id);
    let failed = feed(&without);
    assert!((1..=4).contains(&failed.len()), "{}", failed.len());
    assert!(!failed.iter().any(of_first), "it is not due yet");
    for _ in 0..30 {
        without.seconds_pass(HOUR);
        works(&without);
        while wait(without.authority.report_failures()).expect("a report") {}
    }
    let failed = feed(&without);
    assert!(failed.iter().any(of_first), "{failed:?}");
    assert!(failed.len() < 100, "without a flood: {}", failed.len());
    for one in &failed {
        assert_eq!(one.failure, ControlFailure::NotSent);
        assert_eq!(one.proof.failure.as_deref(), Some("not-attempted"));
        assert_eq!(one.proof.state(without.now()), ProofState::Failed);
    }
    assert_eq!(waiting(&without), 0, "there is nothing to be sent");
    // The gateway comes back, and so do the proofs.
    world.clock.set(without.now());
    let before = proofs(&world).len();
    for _ in 0..20 {
        world.seconds_pass(HOUR / 2);
        works(&world);
        answers(&world);
    }
    assert!(proofs(&world).len() > before);
    renews(&world, &right).expect("a token");
}
