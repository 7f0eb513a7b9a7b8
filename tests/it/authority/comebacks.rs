//! What left does not revive: a number that is ported out, ages or goes back with its block comes back to nobody who had
//! it before, and can be delegated anew.

use tn_authority::authority::{ChangeError, EndedDelegations, NewAllocation, NewDisconnect};
use tn_authority::domain::Time;
use tn_authority::domain::decision::explanation::ExplainedRow;
use tn_authority::domain::inventory::{Allocation, Basis, Delegation, Reason};
use uuid::Uuid;

use super::resellers::{lent_down, line, loan, reseller};
use crate::support::{World, account, numbers, outside, wait};

both! {
    a_number_that_was_ported_out_comes_back_to_nobody,
    a_comeback_hours_later_is_the_same,
    a_port_ends_what_resellers_delegated_at_every_level,
    aging_ends_all_but_the_block_of_the_reseller,
    a_returned_block_ends_every_level_in_the_same_second,
    a_natural_lapse_does_not_revive,
    an_extension_without_a_gap_is_no_departure,
    what_only_pauses_revives,
    a_planned_port_ends_what_was_made_before_and_after,
    a_port_that_is_called_off_ends_nothing,
    a_planned_return_that_is_moved_counts_when_it_takes_place,
    a_delegation_over_numbers_that_are_out_counts_when_they_are_back,
    a_disconnect_called_off_keeps_the_block,
    a_returned_block_of_many_delegations_is_one_row,
}

pub const NUMBER: &str = "+12125551001";
const ENTRY: &[&str] = &["one:12125551001"];
const HOUR: i64 = 3_600;

/// What a token for the number is refused for.
fn refused(world: &World, id: &str) -> String {
    let mut parts = outside(&world.mints(id, ENTRY));
    assert_eq!(parts.len(), 1, "{parts:?}");
    parts.remove(0).1
}

/// Which delegations end, and whether all of each.
pub fn ends(ended: &EndedDelegations) -> Vec<(Uuid, bool)> {
    assert!(!ended.more);
    let ended = ended.delegations.iter();
    ended.map(|ended| (ended.row.row.id, ended.whole)).collect()
}

fn until(world: &World, made: &Delegation) -> Option<Time> {
    let known = world
        .authority
        .delegation(&world.provisioner(), made.row.id);
    known.expect("a delegation").row.window.until()
}

fn disconnects(world: &World, text: &str, at: Option<Time>) -> (Uuid, EndedDelegations) {
    let new = NewDisconnect {
        numbers: numbers(text),
        class: "residential".to_owned(),
        at,
    };
    let done = wait(world.authority.disconnect(&world.provisioner(), new)).expect("a disconnect");
    (done.row.aging.row.id, done.ended_delegations)
}

fn a_number_that_was_ported_out_comes_back_to_nobody(world: World) {
    comes_back(&world, 0);
}

fn a_comeback_hours_later_is_the_same(world: World) {
    comes_back(&world, 5 * HOUR);
}

fn comes_back(world: &World, between: i64) {
    world.carrier_holds("1.212.555.1XXX");
    let old = world.lends("acme", NUMBER);
    let block = world.lends("umbrella", "+12125551100+100");
    world.mints("acme", ENTRY).expect("a token");
    let while_held = world.now();
    world.seconds_pass(between);
    let ported = world.excludes(NUMBER, Reason::PortedOut, None);
    assert_eq!(ends(&ported.ended_delegations), [(old.row.id, true)]);
    let end = (between > 0).then(|| world.now());
    assert_eq!(until(world, &old), end, "it has no window without a second");
    world.excludes("+12125551150", Reason::PortedOut, None);
    assert_eq!(refused(world, "acme"), "ported-out");
    world.seconds_pass(between);
    world.ends_exclusion(&ported.row, None);

    assert_eq!(refused(world, "acme"), "delegation-ended");
    assert_eq!(world.looks_up(NUMBER, None).accounts, []);
    let explained = world.explains("acme", &[NUMBER], false);
    let kinds: Vec<_> = explained.parts[0]
        .rows
        .iter()
        .map(ExplainedRow::kind)
        .collect();
    assert!(kinds.contains(&"departure"), "{kinds:?}");

    let new = world.lends("next", NUMBER);
    let issued = world.mints("next", ENTRY).expect("a token");
    assert_eq!(world.grant_of(&issued).justified_by[0].row(), new.row);
    assert_eq!(refused(world, "acme"), "delegation-ended");
    assert_eq!(world.looks_up(NUMBER, None).accounts, [account("next")]);
    if between > 0 {
        let then = world.looks_up(NUMBER, Some(while_held));
        assert_eq!(then.accounts, [account("acme")]);
    }
    // The rest of a block goes on, with its id.
    world
        .mints("umbrella", &["range:12125551100+50"])
        .expect("a token");
    world
        .mints("umbrella", &["range:12125551151+49"])
        .expect("a token");
    let whole = world.mints("umbrella", &["range:12125551100+100"]);
    assert_eq!(
        outside(&whole),
        [("+12125551150".into(), "ported-out".into())]
    );
    let known = world
        .authority
        .delegation(&world.provisioner(), block.row.id);
    let known = known.expect("a delegation");
    assert_eq!(known.row.window.until(), None);
    assert_eq!(known.ended_for.len(), 1);
    assert_eq!(known.ended_for[0].numbers, numbers("+12125551150"));
    // And can be given away again and again, within the same second.
    let again = world.excludes(NUMBER, Reason::PortedOut, None);
    world.ends_exclusion(&again.row, None);
    assert_eq!(refused(world, "next"), "delegation-ended");
    world.lends("acme", NUMBER);
    world.mints("acme", ENTRY).expect("a token");
}

/// Whether each of the line of resellers gets a token for the number, from the top.
fn line_mints(world: &World) -> [bool; 4] {
    ["wholesale", "cpaas", "agency", "shop"].map(|id| world.mints(id, ENTRY).is_ok())
}

fn a_port_ends_what_resellers_delegated_at_every_level(world: World) {
    let chain = lent_down(&world);
    let ported = world.excludes(NUMBER, Reason::PortedOut, None);
    let mut all = ends(&ported.ended_delegations);
    let mut expected: Vec<_> = (0..4).map(|n| (chain[n].row.id, n == 3)).collect();
    all.sort_unstable();
    expected.sort_unstable();
    assert_eq!(all, expected);
    world.ends_exclusion(&ported.row, None);
    assert_eq!(line_mints(&world), [false; 4]);
    // Nobody in the line may delegate it, until the one above has it again.
    let by_cpaas = wait(world.authority.delegate(
        &reseller(&world, "cpaas"),
        loan("agency", NUMBER, Some(&chain[1])),
    ));
    assert_eq!(
        by_cpaas,
        Err(ChangeError::NotTheLenders(vec![numbers(NUMBER)]))
    );
    let found = wait(
        world
            .authority
            .delegate(&reseller(&world, "cpaas"), loan("agency", NUMBER, None)),
    );
    assert_eq!(
        found,
        Err(ChangeError::NotTheLenders(vec![numbers(NUMBER)]))
    );
    let top = world
        .delegates(loan("wholesale", NUMBER, None))
        .expect("a loan");
    assert_eq!(line_mints(&world), [true, false, false, false]);
    world
        .delegates(loan("cpaas", NUMBER, Some(&top)))
        .expect("a loan");
    assert_eq!(line_mints(&world), [false, true, false, false]);
    // The rest of the blocks is as before.
    world
        .mints("agency", &["one:12125551002"])
        .expect("a token");
}

fn aging_ends_all_but_the_block_of_the_reseller(world: World) {
    let chain = lent_down(&world);
    let (aging, ended) = disconnects(&world, NUMBER, None);
    let mut all = ends(&ended);
    let mut expected =
        [(1, false), (2, false), (3, true)].map(|(n, whole)| (chain[n].row.id, whole));
    all.sort_unstable();
    expected.sort_unstable();
    assert_eq!(all, expected);
    world.seconds_pass(HOUR);
    wait(
        world
            .authority
            .end_exclusion(&world.provisioner(), aging, None),
    )
    .expect("an end");
    assert_eq!(line_mints(&world), [true, false, false, false]);
    world
        .delegates(loan("cpaas", NUMBER, Some(&chain[0])))
        .expect("a loan");
    assert_eq!(line_mints(&world), [false, true, false, false]);
}

fn a_returned_block_ends_every_level_in_the_same_second(world: World) {
    line(&world);
    let block = world.carrier_holds("1.212.555.1XXX");
    let top = world
        .delegates(loan("wholesale", "1.212.555.1XXX", None))
        .expect("a loan");
    let below = world
        .delegates(loan("cpaas", NUMBER, Some(&top)))
        .expect("a loan");
    let returned = world.returns(&block, None);
    let mut all = ends(&returned.ended_delegations);
    all.sort_unstable();
    let mut expected = [(top.row.id, true), (below.row.id, true)];
    expected.sort_unstable();
    assert_eq!(all, expected);
    assert_eq!(refused(&world, "cpaas"), "not-allocated");
    world.carrier_holds("1.212.555.1XXX");
    assert_eq!(refused(&world, "cpaas"), "delegation-ended");
    assert!(world.mints("wholesale", &["one:12125551002"]).is_err());
    let new = world
        .delegates(loan("wholesale", "1.212.555.1XXX", None))
        .expect("a loan");
    assert_eq!(line_mints(&world), [true, false, false, false]);
    world
        .delegates(loan("cpaas", NUMBER, Some(&new)))
        .expect("a loan");
    assert_eq!(line_mints(&world), [false, true, false, false]);
}

fn held(world: &World, from: Option<Time>, until: Option<Time>) -> Allocation {
    world
        .allocates(NewAllocation {
            spc: "1234".parse().expect("a code"),
            numbers: numbers("1.212.555.1XXX"),
            basis: Basis::Block,
            valid_from: from,
            valid_until: until,
        })
        .expect("an allocation")
}

fn a_natural_lapse_does_not_revive(world: World) {
    held(&world, None, Some(world.in_seconds(HOUR)));
    let old = world.lends("acme", NUMBER);
    world.seconds_pass(2 * HOUR);
    assert_eq!(refused(&world, "acme"), "not-allocated");
    held(&world, None, None);
    assert_eq!(refused(&world, "acme"), "delegation-ended");
    assert_eq!(until(&world, &old), Some(world.now()));
    world.lends("next", NUMBER);
    world.mints("next", ENTRY).expect("a token");
}

fn an_extension_without_a_gap_is_no_departure(world: World) {
    let end = world.in_seconds(HOUR);
    held(&world, None, Some(end));
    world.lends("acme", NUMBER);
    held(&world, Some(end), None);
    world.seconds_pass(HOUR);
    world.mints("acme", ENTRY).expect("a token");
}

fn what_only_pauses_revives(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let made = world.lends("acme", NUMBER);
    for reason in [Reason::Contaminated, Reason::Suspended, Reason::Reserved] {
        let paused = world.excludes(NUMBER, reason, None);
        assert_eq!(ends(&paused.ended_delegations), []);
        assert_eq!(refused(&world, "acme"), reason.as_str());
        world.seconds_pass(HOUR);
        world.ends_exclusion(&paused.row, None);
        world.mints("acme", ENTRY).expect("a token");
    }
    world.suspends("acme");
    world.seconds_pass(HOUR);
    world.resumes("acme");
    world.mints("acme", ENTRY).expect("a token");
    assert_eq!(until(&world, &made), None);
}

fn a_planned_port_ends_what_was_made_before_and_after(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let old = world.lends("acme", NUMBER);
    let due = world.in_seconds(HOUR);
    let port = world.excludes(NUMBER, Reason::PortedOut, Some(due));
    assert_eq!(ends(&port.ended_delegations), [(old.row.id, true)]);
    assert_eq!(until(&world, &old), Some(due));
    assert_eq!(world.mints("acme", ENTRY).expect("a token").expires, due);
    // It changes hands in the meantime; one for after the comeback is made in advance.
    world.seconds_pass(60);
    world.ends(&old, None);
    let second = world.lends("second", NUMBER);
    assert_eq!(until(&world, &second), Some(due));
    let mut third = world.loan("third", NUMBER);
    third.valid_from = Some(due + chrono::TimeDelta::seconds(2 * HOUR));
    let beside = world.delegates(third.clone());
    assert!(beside.is_ok(), "the second ends before: {beside:?}");
    world.seconds_pass(HOUR);
    world.ends_exclusion(&port.row, None);
    assert_eq!(refused(&world, "second"), "delegation-ended");
    world.seconds_pass(2 * HOUR);
    // Made when the port was known, for the time after it.
    world.mints("third", ENTRY).expect("a token");
}

fn a_port_that_is_called_off_ends_nothing(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let made = world.lends("acme", NUMBER);
    let due = world.in_seconds(HOUR);
    let port = world.excludes(NUMBER, Reason::PortedOut, Some(due));
    world.seconds_pass(HOUR - 1);
    world.ends_exclusion(&port.row, None);
    assert_eq!(until(&world, &made), None);
    world.seconds_pass(HOUR);
    world.mints("acme", ENTRY).expect("a token");
    // One that has begun has taken the number away, also if it ends in its first second.
    let begun = world.excludes(NUMBER, Reason::PortedOut, Some(world.in_seconds(1)));
    world.seconds_pass(1);
    world.ends_exclusion(&begun.row, None);
    assert_eq!(refused(&world, "acme"), "delegation-ended");
}

fn a_planned_return_that_is_moved_counts_when_it_takes_place(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", NUMBER);
    world.returns(&block, Some(world.in_seconds(3 * HOUR)));
    world.returns(&block, Some(world.in_seconds(HOUR)));
    world.seconds_pass(2 * HOUR);
    world.carrier_holds("1.212.555.1XXX");
    assert_eq!(refused(&world, "acme"), "delegation-ended");
    let new = world.lends("next", NUMBER);
    assert_eq!(until(&world, &new), None);
    world.seconds_pass(2 * HOUR);
    world.mints("next", ENTRY).expect("a token");
}

fn a_delegation_over_numbers_that_are_out_counts_when_they_are_back(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", NUMBER);
    let ported = world.excludes(NUMBER, Reason::PortedOut, None);
    world.lends("next", NUMBER);
    assert_eq!(refused(&world, "next"), "ported-out");
    world.seconds_pass(HOUR);
    world.ends_exclusion(&ported.row, None);
    world.mints("next", ENTRY).expect("a token");
    assert_eq!(refused(&world, "acme"), "delegation-ended");
}

fn a_disconnect_called_off_keeps_the_block(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    let (aging, _) = disconnects(&world, NUMBER, Some(world.in_seconds(HOUR)));
    wait(
        world
            .authority
            .end_exclusion(&world.provisioner(), aging, None),
    )
    .expect("an end");
    world.seconds_pass(2 * HOUR);
    world.mints("acme", ENTRY).expect("a token");
}

fn a_returned_block_of_many_delegations_is_one_row(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    for n in 0..120 {
        world.lends("acme", &format!("+{}", 12_125_551_000_u64 + n));
    }
    let returned = world.returns(&block, None);
    let ended = returned.ended_delegations;
    assert_eq!((ended.delegations.len(), ended.more), (100, true));
    let recorded = world
        .authority
        .store()
        .read(|tx| tx.departures_of(&[block.row.id]));
    assert_eq!(recorded.expect("departures").len(), 1);
}
