//! The way back from a return that was a mistake.

use tn_authority::authority::{ChangeError, Restored};
use tn_authority::domain::inventory::{Allocation, Basis};

use super::undo::{disconnects, ids, mistake, why_not};
use crate::support::{World, numbers, wait};

both! {
    a_return_is_undone,
    numbers_that_are_held_anew_do_not_revive_by_undoing_a_return,
    a_planned_return_is_undone_step_by_step,
    what_was_not_returned_cannot_be_undone,
}

fn undoes_return(
    world: &World,
    allocation: &Allocation,
) -> Result<Restored<Allocation>, ChangeError> {
    let provisioner = world.provisioner();
    wait(
        world
            .authority
            .undo_return(&provisioner, allocation.row.id, mistake()),
    )
}

fn a_return_is_undone(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "1.212.555.10XX");
    let gone = world.lends("other", "1.212.555.11XX");
    world.seconds_pass(60);
    world.ends(&gone, None);
    world.returns(&block, None);
    world.seconds_pass(60);
    assert_eq!(why_not(&world, "acme", "one:12125551001"), "not-allocated");
    let undone = undoes_return(&world, &block).expect("undone");
    assert_eq!(
        (undone.row.row.version, undone.row.window),
        (3, block.window)
    );
    assert_eq!(ids(&undone), [loan.row.id]);
    world.mints("acme", &["one:12125551001"]).expect("a token");
    assert_eq!(why_not(&world, "other", "one:12125551101"), "not-delegated");
}

fn numbers_that_are_held_anew_do_not_revive_by_undoing_a_return(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    world.seconds_pass(60);
    world.returns(&block, None);
    world.seconds_pass(60);
    let held_again = world.carrier_holds("1.212.555.1XXX");
    assert_eq!(
        why_not(&world, "acme", "one:12125551001"),
        "delegation-ended"
    );

    let refused = undoes_return(&world, &block).expect_err("held by another row");
    let id = held_again.row.id;
    assert!(
        matches!(refused, ChangeError::Overlap { kind: "allocation", id: other, .. } if other == id),
        "{refused}"
    );
    world.seconds_pass(60);
    world.returns(&held_again, None);
    world.seconds_pass(60);
    // The return of the other row is none by mistake, and ends the delegation too.
    let first = undoes_return(&world, &block).expect("undone");
    assert_eq!(first.row.window, block.window);
    assert_eq!(
        why_not(&world, "acme", "one:12125551001"),
        "delegation-ended"
    );
    assert_eq!(first.delegations.count, 0);
    let twice = undoes_return(&world, &block).expect_err("nothing more to undo");
    assert_eq!(twice.code(), "not-returned");
}

fn a_planned_return_is_undone_step_by_step(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "1.212.555.10XX");
    let (later, sooner) = (world.in_seconds(90_000), world.in_seconds(9_000));
    world.returns(&block, Some(later));
    world.returns(&block, Some(sooner));
    let once = undoes_return(&world, &block).expect("undone");
    assert_eq!(once.row.window.until(), Some(later));
    world.seconds_pass(10_000);
    world.mints("acme", &["one:12125551001"]).expect("a token");
    let whole = undoes_return(&world, &block).expect("undone");
    assert_eq!(whole.row.window, block.window);
    assert_eq!(ids(&whole), [loan.row.id]);
    world.seconds_pass(90_000);
    world.mints("acme", &["one:12125551001"]).expect("a token");
}

fn what_was_not_returned_cannot_be_undone(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    let refused = undoes_return(&world, &block).expect_err("not returned");
    assert_eq!(refused.code(), "not-returned");
    let ported_in = world
        .allocates(tn_authority::authority::NewAllocation {
            spc: "1234".parse().expect("a code"),
            numbers: numbers("+16465550001"),
            basis: Basis::PortedIn,
            valid_from: None,
            valid_until: None,
        })
        .expect("an allocation");
    let done = disconnects(&world, "+16465550001", 0);
    let refused = undoes_return(&world, &ported_in).expect_err("ended by a disconnect");
    assert_eq!(
        refused,
        ChangeError::UndoFirst {
            kind: "allocation",
            id: ported_in.row.id,
            by: done.aging.row.id,
        }
    );
}
