//! While a mistake has taken a block, its numbers go on to be ported out and disconnected. What is sent meanwhile is
//! recorded, says that it meets nothing, and counts when the mistake is undone.

use tn_authority::authority::import::Imported;
use tn_authority::authority::{ChangeError, NewDisconnect, NewExclusion};
use tn_authority::domain::inventory::{Allocation, Reason};
use tn_authority::tables::Format;

use super::imports::{CONFIRMED, counts, import, of_blocks};
use super::undo::{mistake, why_not};
use crate::support::{World, numbers, wait};

both! {
    a_number_that_is_ported_out_meanwhile_stays_out,
    a_port_out_after_a_mistaken_return_stays_out,
    numbers_that_are_disconnected_meanwhile_age,
    a_list_of_port_outs_that_is_imported_meanwhile_counts,
    what_was_never_held_is_still_refused,
    a_block_that_was_imported_and_dropped_in_one_second_was_held,
}

const WHOLE: [&str; 2] = ["212-555-1 073H", "646-555-A 073H"];
/// The same, without the line of the block.
const CUT: [&str; 2] = ["212-555-1 9999", "646-555-A 073H"];

fn cut(world: &World) -> Imported {
    of_blocks(world, &WHOLE, CONFIRMED).expect("an import");
    world.lends("acme", "1.212.555.1XXX");
    world.seconds_pass(60);
    let cut = of_blocks(world, &CUT, CONFIRMED).expect("an import");
    world.seconds_pass(60);
    cut
}

fn undoes(world: &World, imported: &Imported) {
    let job = imported.job.expect("a job");
    let by = world.provisioner();
    wait(world.authority.undo_import(&by, job, mistake())).expect("undone");
}

fn port_out(text: &str) -> NewExclusion {
    NewExclusion {
        numbers: numbers(text),
        reason: Reason::PortedOut,
        valid_from: None,
        valid_until: None,
        force: false,
    }
}

fn ports_out(world: &World, text: &str) -> Result<bool, ChangeError> {
    let done = wait(
        world
            .authority
            .exclude(&world.provisioner(), port_out(text)),
    )?;
    Ok(done.row.met.ranges.is_empty())
}

fn a_number_that_is_ported_out_meanwhile_stays_out(world: World) {
    let cut = cut(&world);
    assert_eq!(
        ports_out(&world, "+12125551001"),
        Ok(true),
        "it meets nothing, and says so"
    );
    world.seconds_pass(60);
    undoes(&world, &cut);
    assert_eq!(why_not(&world, "acme", "one:12125551001"), "ported-out");
    world.mints("acme", &["one:12125551002"]).expect("a token");
}

fn a_port_out_after_a_mistaken_return_stays_out(world: World) {
    let block: Allocation = world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    world.seconds_pass(60);
    world.returns(&block, None);
    world.seconds_pass(60);
    assert_eq!(ports_out(&world, "+12125551001"), Ok(true));
    let by = world.provisioner();
    wait(world.authority.undo_return(&by, block.row.id, mistake())).expect("undone");
    assert_eq!(why_not(&world, "acme", "one:12125551001"), "ported-out");
    world.mints("acme", &["one:12125551002"]).expect("a token");
}

fn numbers_that_are_disconnected_meanwhile_age(world: World) {
    let cut = cut(&world);
    let disconnects = |text: &str| {
        let new = NewDisconnect {
            numbers: numbers(text),
            class: "residential".to_owned(),
            at: None,
        };
        wait(world.authority.disconnect(&world.provisioner(), new)).map(|done| done.row.not_held)
    };
    let number = "+12125551001";
    assert_eq!(disconnects(number), Ok(vec![numbers(number)]));
    assert_eq!(disconnects("+16465550001"), Ok(vec![]));
    let never = disconnects("+13125551001").expect_err("it was never held");
    assert_eq!(never.code(), "not-allocated");
    let in_part = disconnects("+12125550999+2").expect_err("a part was never held");
    assert_eq!(in_part.ranges(), [numbers("+12125550999")]);
    undoes(&world, &cut);
    assert_eq!(why_not(&world, "acme", "one:12125551001"), "aging");
    world.mints("acme", &["one:12125551002"]).expect("a token");
    world.seconds_pass(200 * 86_400);
    assert_eq!(
        why_not(&world, "acme", "one:12125551001"),
        "delegation-ended"
    );
}

fn a_list_of_port_outs_that_is_imported_meanwhile_counts(world: World) {
    let cut = cut(&world);
    let list = "start,count,reason\n+12125551001,1,ported-out\n+12125551002,1,ported-out\n";
    let done = import(&world, Format::Exclusions, list, CONFIRMED).expect("an import");
    assert_eq!(counts(&done), (2, 0, 0));
    let note = &done.summary.notes[0];
    assert!(
        note.what.contains("holds none") && *note.lines == [2, 3],
        "{note:?}"
    );
    undoes(&world, &cut);
    assert_eq!(why_not(&world, "acme", "one:12125551002"), "ported-out");
}

fn what_was_never_held_is_still_refused(world: World) {
    let cut = cut(&world);
    let refused = ports_out(&world, "+12125550999").expect_err("never held");
    assert_eq!(refused.code(), "meets-nothing");
    // One that is planned and called off was never held either.
    let planned = world.allocates(tn_authority::authority::NewAllocation {
        spc: "1234".parse().expect("a code"),
        numbers: numbers("1.312.555.1XXX"),
        basis: tn_authority::domain::inventory::Basis::Block,
        valid_from: Some(world.in_seconds(600)),
        valid_until: None,
    });
    world.returns(&planned.expect("an allocation"), None);
    let refused = ports_out(&world, "+13125551001").expect_err("never held");
    assert_eq!(refused.code(), "meets-nothing");
    let list = "start,count,reason\n+13125551001,1,ported-out\n";
    let refused = import(&world, Format::Exclusions, list, CONFIRMED).expect_err("never held");
    assert_eq!(refused.code(), "refused-lines");
    undoes(&world, &cut);
}

fn a_block_that_was_imported_and_dropped_in_one_second_was_held(world: World) {
    of_blocks(&world, &WHOLE, CONFIRMED).expect("an import");
    world.lends("acme", "1.212.555.1XXX");
    let cut = of_blocks(&world, &CUT, CONFIRMED).expect("an import");
    assert_eq!(ports_out(&world, "+12125551001"), Ok(true));
    undoes(&world, &cut);
    assert_eq!(why_not(&world, "acme", "one:12125551001"), "ported-out");
    world.mints("acme", &["one:12125551002"]).expect("a token");
}
