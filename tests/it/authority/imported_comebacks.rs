//! What left does not revive by a table either: not by one that names the numbers again, nor by one that never ceased to.

use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::inventory::Reason;
use tn_authority::tables::Format;

use super::comebacks::{NUMBER, ends};
use super::imports::{CONFIRMED, DRY_RUN, counts, import, of_blocks};
use crate::support::{World, account, outside};

both! {
    a_block_that_a_table_drops_and_brings_back,
    a_block_that_only_changes_its_row_is_held_throughout,
    a_block_that_moves_in_its_first_second_is_held_throughout,
    exclusions_of_a_file_end_delegations,
    a_file_of_delegations_does_not_revive_what_is_out,
}

const ENTRY: &[&str] = &["one:12125551001"];
const HOUR: i64 = 3_600;

fn refused(world: &World, id: &str) -> String {
    let mut parts = outside(&world.mints(id, ENTRY));
    assert_eq!(parts.len(), 1, "{parts:?}");
    parts.remove(0).1
}

fn a_block_that_a_table_drops_and_brings_back(world: World) {
    let with = ["212-555-1 073H", "212-555-2 073H"];
    let without = ["212-555-1 999X", "212-555-2 073H"];
    of_blocks(&world, &with, CONFIRMED).expect("an import");
    let lost = world.lends("acme", NUMBER);
    let dry = of_blocks(&world, &without, DRY_RUN).expect("a dry run");
    assert_eq!(ends(&dry.ended_delegations), [(lost.row.id, true)]);
    assert!(world.mints("acme", ENTRY).is_ok());
    let done = of_blocks(&world, &without, CONFIRMED).expect("an import");
    assert_eq!(ends(&done.ended_delegations), [(lost.row.id, true)]);
    let back = of_blocks(&world, &with, CONFIRMED).expect("an import");
    assert_eq!(counts(&back).0, 1);
    assert_eq!(refused(&world, "acme"), "delegation-ended");
    world.lends("next", NUMBER);
    world.mints("next", ENTRY).expect("a token");
}

fn a_block_that_only_changes_its_row_is_held_throughout(world: World) {
    let at = rfc3339(&world.in_seconds(HOUR));
    let head = "block,start,count,spc,basis,valid_from,valid_until\n";
    let first = format!("{head}1.212.555.1XXX,,,1234,block,,\n");
    import(&world, Format::Allocations, &first, CONFIRMED).expect("an import");
    world.lends("acme", NUMBER);
    let moved =
        format!("{head}1.212.555.1XXX,,,1234,block,,{at}\n1.212.555.1XXX,,,1234,code,{at},\n");
    let done = import(&world, Format::Allocations, &moved, CONFIRMED).expect("an import");
    assert_eq!(ends(&done.ended_delegations), []);
    world.seconds_pass(HOUR);
    world.mints("acme", ENTRY).expect("a token");
}

fn a_block_that_moves_in_its_first_second_is_held_throughout(world: World) {
    of_blocks(&world, &["212-555-1 073H", "212-555-2 073H"], CONFIRMED).expect("an import");
    world.lends("acme", NUMBER);
    // The row of both blocks ends, since one of them goes; the other one continues in a row of its own.
    let one = of_blocks(&world, &["212-555-1 073H", "212-555-2 999X"], CONFIRMED);
    assert_eq!(ends(&one.expect("an import").ended_delegations), []);
    world.mints("acme", ENTRY).expect("a token");
}

fn exclusions_of_a_file_end_delegations(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let made = world.lends("acme", NUMBER);
    let (from, end) = (
        rfc3339(&world.in_seconds(HOUR)),
        rfc3339(&world.in_seconds(2 * HOUR)),
    );
    let csv = |until: &str, reason: &str| {
        format!("start,count,reason,valid_from,valid_until\n{NUMBER},1,{reason},{from},{until}\n")
    };
    let of = |table: &str| {
        let done = import(&world, Format::Exclusions, table, CONFIRMED);
        ends(&done.expect("an import").ended_delegations)
    };
    assert_eq!(of(&csv("", "reserved")), []);
    assert_eq!(of(&csv("", "ported-out")), [(made.row.id, true)]);
    assert_eq!(of(&csv("", "ported-out")), [], "the same again");
    for reason in ["ported-out", "reserved"] {
        assert_eq!(of(&csv(&end, reason)), []);
    }
    world.seconds_pass(2 * HOUR);
    assert_eq!(refused(&world, "acme"), "delegation-ended");
}

fn a_file_of_delegations_does_not_revive_what_is_out(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    world.knows("acme");
    world.knows("next");
    let csv = |account: &str| {
        format!(
            "account,start,count,ca,lend_on,reference,valid_from,valid_until\n{account},{NUMBER},1,no,no,,,\n"
        )
    };
    let of = |account: &str| {
        import(&world, Format::Delegations, &csv(account), CONFIRMED).expect("an import")
    };
    assert_eq!(counts(&of("acme")), (1, 0, 0));
    assert_eq!(counts(&of("acme")), (0, 0, 1));
    let ported = world.excludes(NUMBER, Reason::PortedOut, None);
    // Today's file still names it, as yesterday's did.
    let stale = of("acme");
    assert_eq!(counts(&stale), (0, 0, 1));
    assert!(stale.summary.notes[0].what.contains("stay ended"));
    world.ends_exclusion(&ported.row, None);
    assert_eq!(refused(&world, "acme"), "delegation-ended");
    assert_eq!(counts(&of("next")), (1, 0, 0));
    world.mints("next", ENTRY).expect("a token");
    // A block that went back is out as well.
    world.returns(&block, None);
    assert_eq!(counts(&of("next")), (0, 0, 1));
    world.carrier_holds("1.212.555.1XXX");
    assert_eq!(refused(&world, "next"), "delegation-ended");
    // Once it is back, a line delegates it anew.
    assert_eq!(counts(&of("acme")), (1, 0, 0));
    world.mints("acme", ENTRY).expect("a token");
    assert_eq!(world.looks_up(NUMBER, None).accounts, [account("acme")]);
}
