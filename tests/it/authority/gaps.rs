//! Allocations of one block with a gap between them: the block leaves the carrier in the gap, and what was delegated
//! before does not count after it, in whatever order the allocations were recorded.

use tn_authority::authority::{ChangeError, Mistake, NewAllocation, NewDelegation};
use tn_authority::domain::Time;
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::inventory::{Allocation, Basis};
use tn_authority::tables::Format;

use super::comebacks::NUMBER;
use super::imports::{CONFIRMED, DRY_RUN, import};
use super::resellers::{line, loan};
use super::undo::why_not;
use crate::support::{World, numbers, wait};

both! {
    a_gap_that_was_known_ends_what_was_delegated_before_it,
    the_later_allocation_may_be_recorded_first,
    a_gap_of_a_second_is_a_gap,
    adjacent_allocations_leave_no_gap,
    a_third_allocation_fills_the_gap,
    a_third_allocation_leaves_two_gaps,
    a_gap_for_a_part_of_the_block_ends_that_part,
    a_gap_ends_what_resellers_delegated,
    a_table_with_a_gap_ends_what_was_delegated_before_it,
    an_allocation_that_a_table_moves_takes_its_gap_along,
    a_gap_is_gone_with_the_allocation_after_it,
    a_gap_is_not_filled_over_what_was_delegated_since,
    an_allocation_that_filled_a_gap_and_is_undone_opens_it_again,
}

const ENTRY: &str = "one:12125551001";

fn held(world: &World, text: &str, (from, until): (i64, Option<i64>)) -> Allocation {
    allocates(world, text, (from, until)).expect("an allocation")
}

fn allocates(
    world: &World,
    text: &str,
    (from, until): (i64, Option<i64>),
) -> Result<Allocation, ChangeError> {
    world.allocates(NewAllocation {
        spc: "1234".parse().expect("a code"),
        numbers: numbers(text),
        basis: Basis::Block,
        valid_from: Some(world.in_seconds(from)),
        valid_until: until.map(|until| world.in_seconds(until)),
    })
}

const BLOCK: &str = "1.212.555.1XXX";

fn later(world: &World, id: &str, from: Time) -> NewDelegation {
    NewDelegation {
        valid_from: Some(from),
        ..world.loan(id, NUMBER)
    }
}

/// What counts before the gap of 10,000 to 20,000 does not count after it; what is made for the time after it does.
fn ends_in_the_gap(world: &World) {
    world.lends("acme", NUMBER);
    world.mints("acme", &[ENTRY]).expect("a token");
    for (id, from) in [("next", 20_000), ("last", 20_001)] {
        let made = world.delegates(later(world, id, world.in_seconds(from)));
        let made = made.expect("a delegation");
        if from == 20_000 {
            world.ends(&made, Some(world.in_seconds(20_001)));
        }
    }
    world.seconds_pass(15_000);
    assert_eq!(why_not(world, "acme", ENTRY), "not-allocated");
    world.seconds_pass(5_000);
    assert_eq!(why_not(world, "acme", ENTRY), "delegation-ended");
    let found = world.looks_up(NUMBER, None).accounts;
    assert_eq!(found, [crate::support::account("next")]);
    world.seconds_pass(1);
    world.mints("last", &[ENTRY]).expect("a token");
}

fn a_gap_that_was_known_ends_what_was_delegated_before_it(world: World) {
    held(&world, BLOCK, (0, Some(10_000)));
    held(&world, BLOCK, (20_000, None));
    ends_in_the_gap(&world);
}

fn the_later_allocation_may_be_recorded_first(world: World) {
    held(&world, BLOCK, (20_000, None));
    held(&world, BLOCK, (0, Some(10_000)));
    ends_in_the_gap(&world);
}

fn a_gap_of_a_second_is_a_gap(world: World) {
    held(&world, BLOCK, (0, Some(10_000)));
    held(&world, BLOCK, (10_001, None));
    world.lends("acme", NUMBER);
    world.seconds_pass(10_001);
    assert_eq!(why_not(&world, "acme", ENTRY), "delegation-ended");
    world.lends("next", NUMBER);
    world.mints("next", &[ENTRY]).expect("a token");
}

fn adjacent_allocations_leave_no_gap(world: World) {
    for reverse in [false, true] {
        let mut windows = [(0, Some(10_000)), (10_000, Some(20_000))];
        if reverse {
            windows.reverse();
        }
        for window in windows {
            held(&world, BLOCK, window);
        }
        let made = world.lends("acme", NUMBER);
        world.seconds_pass(10_000);
        world.mints("acme", &[ENTRY]).expect("a token");
        world.seconds_pass(10_000);
        assert_eq!(why_not(&world, "acme", ENTRY), "not-allocated");
        world.ends(&made, None);
    }
}

fn a_third_allocation_fills_the_gap(world: World) {
    held(&world, BLOCK, (0, Some(10_000)));
    held(&world, BLOCK, (20_000, None));
    let made = world.lends("acme", NUMBER);
    let end = || {
        let known = world
            .authority
            .delegation(&world.provisioner(), made.row.id);
        known.expect("a delegation").row.window.until()
    };
    assert_eq!(end(), Some(world.in_seconds(20_000)));
    // A part of the gap is left, then none.
    held(&world, BLOCK, (10_000, Some(15_000)));
    assert_eq!(end(), Some(world.in_seconds(20_000)));
    held(&world, BLOCK, (15_000, Some(20_000)));
    assert_eq!(end(), None);
    world.seconds_pass(20_000);
    world.mints("acme", &[ENTRY]).expect("a token");
}

fn a_third_allocation_leaves_two_gaps(world: World) {
    held(&world, BLOCK, (20_000, Some(30_000)));
    held(&world, BLOCK, (0, Some(10_000)));
    held(&world, BLOCK, (40_000, None));
    world.lends("acme", NUMBER);
    let between = world.delegates(later(&world, "next", world.in_seconds(20_000)));
    between.expect("a delegation");
    world.seconds_pass(20_000);
    assert_eq!(why_not(&world, "acme", ENTRY), "delegation-ended");
    world.mints("next", &[ENTRY]).expect("a token");
    world.seconds_pass(20_000);
    for id in ["acme", "next"] {
        assert_eq!(why_not(&world, id, ENTRY), "delegation-ended");
    }
}

fn a_gap_for_a_part_of_the_block_ends_that_part(world: World) {
    held(&world, BLOCK, (0, Some(10_000)));
    held(&world, "1.212.555.10XX", (20_000, None));
    held(&world, "1.212.555.11XX", (10_000, None));
    let made = world.lends("acme", BLOCK);
    world.seconds_pass(20_000);
    assert_eq!(why_not(&world, "acme", ENTRY), "delegation-ended");
    world.mints("acme", &["one:12125551101"]).expect("a token");
    let known = world
        .authority
        .delegation(&world.provisioner(), made.row.id);
    let known = known.expect("a delegation").ended_for;
    let ended: Vec<_> = known.iter().map(|part| part.numbers).collect();
    assert_eq!(ended, [numbers("1.212.555.10XX")]);
    assert_eq!(known[0].kind.as_str(), "acquired");
}

fn a_gap_ends_what_resellers_delegated(world: World) {
    held(&world, BLOCK, (0, Some(10_000)));
    held(&world, BLOCK, (20_000, None));
    line(&world);
    let top = world
        .delegates(loan("wholesale", BLOCK, None))
        .expect("a loan");
    let mut below = loan("cpaas", NUMBER, Some(&top));
    below.lender_keeps = true;
    world.delegates(below.clone()).expect("a loan");
    world.mints("cpaas", &[ENTRY]).expect("a token");
    below.valid_from = Some(world.in_seconds(20_000));
    let refused = world
        .delegates(below.clone())
        .expect_err("the parent ends in the gap");
    assert_eq!(refused, ChangeError::NotTheLenders(vec![numbers(NUMBER)]));
    world.seconds_pass(20_000);
    for id in ["wholesale", "cpaas"] {
        assert_eq!(why_not(&world, id, ENTRY), "delegation-ended");
    }
    let again = world
        .delegates(loan("wholesale", BLOCK, None))
        .expect("a loan");
    assert_eq!(why_not(&world, "cpaas", ENTRY), "delegation-ended");
    below.parent = Some(again.row.id);
    below.valid_from = None;
    world.delegates(below).expect("a loan");
    world.mints("cpaas", &[ENTRY]).expect("a token");
}

const HEAD: &str = "block,start,count,spc,basis,valid_from,valid_until\n";

/// The lines of a table of the block, with the windows in seconds from now.
fn table(world: &World, windows: &[(i64, Option<i64>)]) -> String {
    let at = |seconds: i64| rfc3339(&world.in_seconds(seconds));
    let line = |(from, until): &(i64, Option<i64>)| {
        let until = until.map(at).unwrap_or_default();
        format!("{BLOCK},,,1234,block,{},{until}\n", at(*from))
    };
    HEAD.to_owned() + &windows.iter().map(line).collect::<String>()
}

fn a_table_with_a_gap_ends_what_was_delegated_before_it(world: World) {
    let with_a_gap = table(&world, &[(20_000, None), (0, Some(10_000))]);
    import(&world, Format::Allocations, &with_a_gap, DRY_RUN).expect("a dry run");
    import(&world, Format::Allocations, &with_a_gap, CONFIRMED).expect("an import");
    ends_in_the_gap(&world);
}

fn an_allocation_that_a_table_moves_takes_its_gap_along(world: World) {
    held(&world, BLOCK, (0, Some(10_000)));
    let planned = held(&world, BLOCK, (20_000, None));
    world.lends("acme", NUMBER);
    // The block comes earlier than was planned, without a gap.
    world.returns(&planned, None);
    held(&world, BLOCK, (10_000, None));
    world.seconds_pass(60);
    let made = world.lends("second", "+12125551002");
    let known = world
        .authority
        .delegation(&world.provisioner(), made.row.id);
    let ended = known.expect("a delegation").ended_for;
    let kinds: Vec<_> = ended.iter().map(|part| part.kind.as_str()).collect();
    assert!(!kinds.contains(&"acquired"), "{kinds:?}");
}

fn a_gap_is_gone_with_the_allocation_after_it(world: World) {
    held(&world, BLOCK, (0, Some(10_000)));
    world.lends("acme", NUMBER);
    let after = table(&world, &[(20_000, None)]);
    let dry = import(&world, Format::Allocations, &after, DRY_RUN).expect("a dry run");
    let done = import(&world, Format::Allocations, &after, CONFIRMED).expect("an import");
    assert_eq!(dry.ended_delegations.delegations.len(), 1);
    assert_eq!(done.ended_delegations.delegations.len(), 1);
    let mistake = Mistake {
        reason: "not ours".to_owned(),
    };
    let job = done.job.expect("a job");
    let undone = wait(
        world
            .authority
            .undo_import(&world.provisioner(), job, mistake),
    );
    assert_eq!(undone.expect("undone").delegations.count, 1);
    held(&world, BLOCK, (10_000, None));
    world.seconds_pass(20_000);
    world.mints("acme", &[ENTRY]).expect("a token");
}

fn a_gap_is_not_filled_over_what_was_delegated_since(world: World) {
    held(&world, BLOCK, (0, Some(10_000)));
    held(&world, BLOCK, (20_000, None));
    world.lends("acme", NUMBER);
    let since = world.delegates(later(&world, "next", world.in_seconds(20_000)));
    let since = since.expect("the first one ends before");
    let refused = allocates(&world, BLOCK, (10_000, Some(20_000)));
    assert_eq!(
        refused,
        Err(ChangeError::Overlap {
            numbers: numbers(NUMBER),
            kind: "delegation",
            id: since.row.id,
        })
    );
    world.ends(&since, None);
    held(&world, BLOCK, (10_000, Some(20_000)));
    world.seconds_pass(20_000);
    world.mints("acme", &[ENTRY]).expect("a token");
}

fn an_allocation_that_filled_a_gap_and_is_undone_opens_it_again(world: World) {
    held(&world, BLOCK, (20_000, None));
    let filled = table(&world, &[(5_000, Some(20_000))]);
    let done = import(&world, Format::Allocations, &filled, CONFIRMED).expect("an import");
    let kept = NewDelegation {
        valid_from: Some(world.in_seconds(20_000)),
        ..world.loan("next", "+12125551002")
    };
    world.delegates(kept).expect("a delegation");
    let mistake = Mistake {
        reason: "not yet".to_owned(),
    };
    let job = done.job.expect("a job");
    let undone = wait(
        world
            .authority
            .undo_import(&world.provisioner(), job, mistake),
    );
    undone.expect("undone");
    held(&world, BLOCK, (0, Some(10_000)));
    world.lends("acme", NUMBER);
    world.seconds_pass(20_000);
    assert_eq!(why_not(&world, "acme", ENTRY), "delegation-ended");
    // It was made for the time from then on, while there was no gap.
    world.mints("next", &["one:12125551002"]).expect("a token");
}
