//! What ends a right ends the questions to its numbers.

use tn_authority::domain::inventory::Reason;
use tn_authority::domain::tokens::renewal::Renewal;

use super::{
    DAY, HOUR, answers, asking_daily, daily, due_in, feed, gives, proofs, renews, wanted, works,
};
use crate::support::{Kind, World, wait};

both! {
    a_revoked_right_asks_no_more,
    a_right_that_has_expired_asks_no_more,
    numbers_that_are_lost_are_not_asked,
    a_suspended_account_is_asked_again_when_it_is_resumed,
}

/// Nothing is asked for so many hours.
fn rests(world: &World, hours: i64) {
    let before = proofs(world).len();
    for _ in 0..hours {
        world.seconds_pass(HOUR);
        assert_eq!(works(world), 0);
    }
    assert_eq!(proofs(world).len(), before);
}

fn is_over(world: &World, right: &Renewal) {
    assert_eq!(due_in(world, right), None, "it is never due again");
}

fn a_revoked_right_asks_no_more(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    let right = daily(&world, &loan);
    assert_eq!((works(&world), answers(&world)), (1, 1));
    wait(
        world
            .authority
            .revoke_renewal(&world.provisioner(), right.id),
    )
    .expect("revoked");
    rests(&world, 48);
    is_over(&world, &right);
}

fn a_right_that_has_expired_asks_no_more(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    let mut new = wanted(&loan, &["one:12125551001"], DAY);
    new.not_after = Some(world.in_seconds(10 * HOUR));
    let right = gives(&world, new).expect("a right");
    assert_eq!((works(&world), answers(&world)), (1, 1));
    rests(&world, 48);
    is_over(&world, &right);
}

fn numbers_that_are_lost_are_not_asked(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    let right = gives(&world, wanted(&loan, &["range:12125551001+2"], DAY)).expect("a right");
    assert_eq!(works(&world), 2);
    // It leaves while the code is on its way.
    world.excludes("+12125551002", Reason::PortedOut, None);
    assert_eq!(answers(&world), 1);
    // Without it there is no token, so the other one is not asked either.
    rests(&world, 24);
    assert_eq!(
        feed(&world),
        [],
        "that a number left is no failure of control"
    );

    let ended = world.lends("acme", "1.212.555.2XXX");
    gives(&world, wanted(&ended, &["one:12125552001"], DAY)).expect("a right");
    assert_eq!((works(&world), answers(&world)), (1, 1));
    world.ends(&ended, None);
    // The number is delegated anew, which is another delegation than that of the right.
    world.lends("acme", "1.212.555.2XXX");
    rests(&world, 24);
    assert!(renews(&world, &right).is_err());
    let metrics = world.metrics.render().expect("metrics");
    assert!(
        metrics.contains("control_reproofs_total{outcome=\"no-authority\"}"),
        "{metrics}"
    );
}

fn a_suspended_account_is_asked_again_when_it_is_resumed(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    let right = daily(&world, &loan);
    assert_eq!((works(&world), answers(&world)), (1, 1));
    world.suspends("acme");
    rests(&world, 48);
    world.resumes("acme");
    assert!(
        renews(&world, &right).is_err(),
        "the suspension has ended the proof"
    );
    world.seconds_pass(HOUR);
    assert_eq!((works(&world), answers(&world)), (1, 1));
    renews(&world, &right).expect("a token");
    assert_eq!(feed(&world), []);
}
