//! Undoing one of two mistakes: the answer says what still keeps the numbers from getting tokens.

use tn_authority::authority::{ChangeError, EndedDelegations, Restored};
use tn_authority::domain::NumberRange;
use tn_authority::domain::inventory::departure::DepartureKind;
use tn_authority::domain::inventory::withdrawal::EndingRow;
use tn_authority::domain::inventory::{Allocation, Exclusion, Reason};
use tn_authority::tables::Format;
use uuid::Uuid;

use super::imports::{CONFIRMED, import};
use super::undo::{ids, mistake, why_not};
use crate::support::{World, numbers, wait};

both! {
    a_return_that_is_undone_says_what_else_has_ended_the_delegation,
    what_ended_before_the_mistake_is_as_before,
    the_other_exclusions_of_a_number_are_named,
    an_exclusion_that_ends_names_the_others,
    an_import_that_is_undone_says_what_still_blocks,
    a_return_of_what_an_import_had_ended_is_kept,
}

const NUMBER: &str = "+12125551001";
const ENTRY: &str = "one:12125551001";

fn undoes_return(world: &World, row: &Allocation) -> Result<Restored<Allocation>, ChangeError> {
    let by = world.provisioner();
    wait(world.authority.undo_return(&by, row.row.id, mistake()))
}

fn undoes(world: &World, row: &Exclusion) -> Restored<Exclusion> {
    let by = world.provisioner();
    wait(world.authority.undo_exclusion(&by, row.row.id, mistake())).expect("undone")
}

type Ended = (Uuid, bool, NumberRange, DepartureKind, EndingRow);

fn ended(still: &EndedDelegations) -> Vec<Ended> {
    assert!(!still.more);
    let each = still.delegations.iter();
    each.flat_map(|one| {
        let (id, whole) = (one.row.row.id, one.whole);
        let parts = one.ended_for.iter();
        parts.map(move |part| (id, whole, part.numbers, part.kind, part.cause))
    })
    .collect()
}

fn excluded(restored: &Restored<Exclusion>) -> Vec<Uuid> {
    assert!(!restored.blocked.more_exclusions);
    let others = restored.blocked.exclusions.iter();
    others.map(|row| row.row.id).collect()
}

fn a_return_that_is_undone_says_what_else_has_ended_the_delegation(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    let made = world.lends("acme", NUMBER);
    world.seconds_pass(60);
    world.returns(&block, None);
    world.seconds_pass(60);
    let again = world.carrier_holds("1.212.555.1XXX");
    world.seconds_pass(60);
    world.returns(&again, None);
    world.seconds_pass(60);
    let undone = undoes_return(&world, &block).expect("undone");
    assert!(ids(&undone).is_empty());
    assert_eq!(
        ended(&undone.blocked.delegations),
        [(
            made.row.id,
            true,
            numbers(NUMBER),
            DepartureKind::Acquired,
            EndingRow::Allocation(again.row.id)
        )]
    );
    assert_eq!(why_not(&world, "acme", ENTRY), "delegation-ended");
    world.lends("acme", NUMBER);
    world.mints("acme", &[ENTRY]).expect("a token");
}

fn what_ended_before_the_mistake_is_as_before(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    let made = world.lends("acme", "1.212.555.10XX");
    let ported = world.excludes(NUMBER, Reason::PortedOut, None).row;
    world.seconds_pass(60);
    world.ends_exclusion(&ported, None);
    world.returns(&block, None);
    world.seconds_pass(60);
    let undone = undoes_return(&world, &block).expect("undone");
    assert_eq!(ids(&undone), [made.row.id]);
    assert_eq!(ended(&undone.blocked.delegations), []);
}

fn the_other_exclusions_of_a_number_are_named(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let made = world.lends("acme", "1.212.555.10XX");
    let wrong = world
        .excludes("1.212.555.100X", Reason::PortedOut, None)
        .row;
    let right = world.excludes(NUMBER, Reason::PortedOut, None).row;
    let planned = world.in_seconds(600);
    let paused = world.excludes("+12125551002", Reason::Suspended, Some(planned));
    world.excludes("+12125551010", Reason::PortedOut, None);
    let undone = undoes(&world, &wrong);
    let mut others = excluded(&undone);
    others.sort_unstable();
    let mut expected = [right.row.id, paused.row.row.id];
    expected.sort_unstable();
    assert_eq!(others, expected);
    assert_eq!(ids(&undone), [made.row.id], "for the other numbers");
    assert_eq!(
        ended(&undone.blocked.delegations),
        [(
            made.row.id,
            false,
            numbers(NUMBER),
            DepartureKind::PortedOut,
            EndingRow::Exclusion(right.row.id)
        )]
    );
    assert_eq!(why_not(&world, "acme", ENTRY), "ported-out");
    assert!(excluded(&undoes(&world, &right)).is_empty());
    world.mints("acme", &[ENTRY]).expect("a token");
}

fn an_exclusion_that_ends_names_the_others(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let one = world.excludes(NUMBER, Reason::PortedOut, None).row;
    let other = world.excludes("1.212.555.1XXX", Reason::Reserved, None).row;
    world.seconds_pass(60);
    let ends = |row: &Exclusion| {
        let by = world.provisioner();
        let ended = wait(world.authority.end_exclusion(&by, row.row.id, None));
        excluded(&ended.expect("an end"))
    };
    assert_eq!(ends(&one), [other.row.id]);
    assert_eq!(ends(&one), [other.row.id], "the same again");
    assert!(ends(&other).is_empty());
}

fn an_import_that_is_undone_says_what_still_blocks(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let made = world.lends("acme", NUMBER);
    let table = format!("start,count,reason\n{NUMBER},1,ported-out\n");
    let done = import(&world, Format::Exclusions, &table, CONFIRMED).expect("an import");
    let other = world.excludes(NUMBER, Reason::Aging, None).row;
    let (by, job) = (world.provisioner(), done.job.expect("a job"));
    let dry = world
        .authority
        .try_undo_import(&by, job)
        .expect("nothing in the way");
    let undone = wait(world.authority.undo_import(&by, job, mistake())).expect("undone");
    assert_eq!(dry.blocked, undone.blocked);
    assert_eq!(undone.delegations.count, 0);
    assert_eq!(undone.blocked.exclusions[0].row, other.row);
    assert_eq!(
        ended(&undone.blocked.delegations),
        [(
            made.row.id,
            true,
            numbers(NUMBER),
            DepartureKind::Aging,
            EndingRow::Exclusion(other.row.id)
        )]
    );
}

/// The block was given back as well, and not only missing in a table: undoing the import brings nothing back.
fn a_return_of_what_an_import_had_ended_is_kept(world: World) {
    for seconds in [0, 60] {
        let block = world.carrier_holds("1.212.555.1XXX");
        world.lends("acme", NUMBER);
        world.seconds_pass(seconds);
        let end = tn_authority::domain::clock::rfc3339(&world.in_seconds(60));
        let from = tn_authority::domain::clock::rfc3339(&block.window.from());
        let table = format!(
            "block,start,count,spc,basis,valid_from,valid_until\n1.212.555.1XXX,,,1234,block,{from},{end}\n"
        );
        let done = import(&world, Format::Allocations, &table, CONFIRMED).expect("an import");
        world.seconds_pass(seconds);
        let at = (seconds == 0).then(|| world.in_seconds(60));
        let ended_with = |version: i32| {
            let ended = world.returns(&block, at).row;
            assert_eq!(ended.row.version, version);
            assert_eq!(rfc3339_of(&ended), end);
        };
        ended_with(3);
        // Repeated, it changes nothing.
        ended_with(3);
        let (by, job) = (world.provisioner(), done.job.expect("a job"));
        let undone = wait(world.authority.undo_import(&by, job, mistake())).expect("undone");
        let amounts = &undone.amounts;
        assert_eq!((amounts.restored.ranges, amounts.left), (0, 1));
        assert_eq!(undone.delegations.count, 0);
        world.seconds_pass(60);
        assert_eq!(why_not(&world, "acme", ENTRY), "not-allocated");
        // What was given back comes back by undoing that, and to no one by holding it anew.
        let found = world
            .authority
            .allocation(&world.provisioner(), block.row.id);
        assert_eq!(found.expect("the allocation").row.version, 3);
        world.seconds_pass(1);
    }
    world.carrier_holds("1.212.555.1XXX");
    assert_eq!(why_not(&world, "acme", ENTRY), "delegation-ended");
}

fn rfc3339_of(row: &Allocation) -> String {
    let until = row.window.until().expect("an end");
    tn_authority::domain::clock::rfc3339(&until)
}
