//! Samples: some numbers stand for a long list, since nobody can text a block of 10,000.

use std::collections::BTreeSet;

use tn_authority::authority::{IssueError, Issued};
use tn_authority::domain::{Denial, Tn};

use super::proven::{mints_for_key, not_older_than, proves, set, setup, tn, tns};
use crate::authority::idempotency::count;
use crate::support::{Kind, World, code, outside};

both! {
    a_sample_stands_for_a_block,
    a_sample_is_kept_for_a_day_and_then_redrawn,
    a_sample_that_is_accepted_stays,
    nothing_is_drawn_without_authority_or_by_a_question,
    without_a_sample_a_list_of_more_than_1000_numbers_is_not_proven,
    a_list_that_is_not_longer_than_a_sample_is_proven_in_full,
    another_size_is_another_sample,
    replicas_draw_one_sample,
    lists_cannot_be_tried_until_a_sample_suits,
}

const DAY: i64 = 86_400;
const BLOCK: &str = "range:12125550000+10000";

fn sampling(kind: Kind, sample: u32, oldest: u64) -> World {
    let world = World::new(kind, setup(set(&not_older_than(oldest)), sample));
    world.carrier_holds("1.212.555.XXXX");
    world.lends("acme", "1.212.555.XXXX");
    world
}

fn mints(world: &World, entry: &str) -> Result<Issued, IssueError> {
    mints_for_key(world, "acme", &[entry], 0x5e)
}

/// The numbers that a refusal names.
fn named(outcome: &Result<Issued, IssueError>) -> Vec<Tn> {
    assert_eq!(code(outcome), "control-not-proven");
    let parts = outside(outcome).into_iter();
    parts.map(|(number, _)| tn(&number)).collect()
}

fn a_sample_stands_for_a_block(kind: Kind) {
    let world = sampling(kind, 5, 600);
    let refused = mints(&world, BLOCK);
    let sample = named(&refused);
    assert_eq!(sample.len(), 5);
    let block = tns("+12125550000", 10_000);
    assert!(sample.iter().all(|number| block.contains(number)));
    let distinct: BTreeSet<&Tn> = sample.iter().collect();
    assert_eq!(distinct.len(), 5);
    match &refused {
        Err(IssueError::Denied(Denial::ControlNotProven { lack, .. })) => {
            assert_eq!((lack.is_sample, lack.total), (true, 10_000));
        }
        other => panic!("{other:?}"),
    }
    let text = refused.expect_err("a denial").to_string();
    assert!(text.ends_with("and 2 more of the sample"), "{text}");
    // However often, in one range or in two.
    assert_eq!(named(&mints(&world, BLOCK)), sample);
    let halves = ["range:12125555000+5000", "range:12125550000+5000"];
    assert_eq!(named(&mints_for_key(&world, "acme", &halves, 0x5e)), sample);
    // Proofs of other numbers are of no use.
    let other = block.iter().find(|number| !sample.contains(number));
    proves(&world, "acme", &[*other.expect("another number")]);
    assert_eq!(named(&mints(&world, BLOCK)), sample);
    proves(&world, "acme", &sample[..4]);
    assert_eq!(named(&mints(&world, BLOCK)), sample[4..]);
    proves(&world, "acme", &sample[4..]);
    mints(&world, BLOCK).expect("a token");
    // Another list has another sample.
    let part = named(&mints(&world, "range:12125550000+9999"));
    assert_ne!(part, sample);
    // So has another carrier: nobody can know it before.
    let elsewhere = sampling(kind, 5, 600);
    assert_ne!(named(&mints(&elsewhere, BLOCK)), sample);
}

fn a_sample_is_kept_for_a_day_and_then_redrawn(kind: Kind) {
    let world = sampling(kind, 5, 600);
    let sample = named(&mints(&world, BLOCK));
    world.seconds_pass(DAY - 1);
    assert_eq!(named(&mints(&world, BLOCK)), sample);
    proves(&world, "acme", &sample[..4]);
    world.seconds_pass(1);
    let next = named(&mints(&world, BLOCK));
    assert_eq!(next.len(), 5);
    assert_ne!(next, sample);
    assert_eq!(named(&mints(&world, BLOCK)), next);
    assert_eq!(count(&world.db, "control_samples"), 1);
    proves(&world, "acme", &next);
    mints(&world, BLOCK).expect("a token");
}

fn a_sample_that_is_accepted_stays(kind: Kind) {
    let world = sampling(kind, 5, 90 * 86_400);
    let sample = named(&mints(&world, BLOCK));
    proves(&world, "acme", &sample);
    world.seconds_pass(90 * DAY);
    mints(&world, BLOCK).expect("a token");
    // The same numbers, proven again in time, are enough.
    proves(&world, "acme", &sample);
    world.seconds_pass(2 * DAY);
    mints(&world, BLOCK).expect("a token");
    world.seconds_pass(88 * DAY + 1);
    let next = named(&mints(&world, BLOCK));
    assert_ne!(next, sample);
}

fn nothing_is_drawn_without_authority_or_by_a_question(kind: Kind) {
    let world = sampling(kind, 5, 600);
    world.knows("other");
    let refused = mints_for_key(&world, "other", &[BLOCK], 0x5e);
    assert_eq!(code(&refused), "not-authorized");
    let told = world.explains("acme", &["1.212.555.XXXX"], false);
    let lack = told.lack.expect("what is missing");
    assert_eq!((lack.refused.len(), lack.is_sample), (0, true));
    assert_eq!(
        lack.to_string(),
        "a sample of the numbers is drawn, and named, when the token is requested; at most 100 a day"
    );
    assert_eq!(count(&world.db, "control_samples"), 0);
    let sample = named(&mints(&world, BLOCK));
    let told = world.explains("acme", &["1.212.555.XXXX"], false);
    let numbers = told.facts.rows.control.numbers;
    let numbers: Vec<Tn> = numbers.into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, sample);
}

fn without_a_sample_a_list_of_more_than_1000_numbers_is_not_proven(kind: Kind) {
    let world = sampling(kind, 0, 600);
    assert_eq!(named(&mints(&world, "range:12125550000+1000")).len(), 1_000);
    let refused = mints(&world, "range:12125550000+1001");
    assert_eq!(named(&refused), []);
    let text = refused.expect_err("a denial").to_string();
    assert!(
        text.ends_with("request fewer, or ask the carrier to set `control.sample`"),
        "{text}"
    );
}

fn a_list_that_is_not_longer_than_a_sample_is_proven_in_full(kind: Kind) {
    let world = sampling(kind, 5, 600);
    let five = named(&mints(&world, "range:12125550000+5"));
    assert_eq!(five, tns("+12125550000", 5));
    assert_eq!(count(&world.db, "control_samples"), 0);
    assert_eq!(named(&mints(&world, "range:12125550000+6")).len(), 5);
}

fn another_size_is_another_sample(kind: Kind) {
    let world = sampling(kind, 5, 600);
    let five = named(&mints(&world, BLOCK));
    proves(&world, "acme", &five);
    mints(&world, BLOCK).expect("a token");
    // The carrier asks for more from now on.
    let stricter = World::over(world.db.clone(), setup(set(&not_older_than(600)), 8));
    assert_eq!(stricter.now(), world.now());
    let refused = mints(&stricter, BLOCK);
    assert!(named(&refused).len() > 3, "{refused:?}");
    assert_eq!(count(&world.db, "control_samples"), 1);
}

fn replicas_draw_one_sample(kind: Kind) {
    let world = sampling(kind, 5, 600);
    let policies = || setup(set(&not_older_than(600)), 5);
    let worlds = [
        World::over(world.db.clone(), policies()),
        World::over(world.db.clone(), policies()),
    ];
    let samples = crate::support::at_once(8, |n| named(&mints(&worlds[n % 2], BLOCK)));
    for sample in &samples {
        assert_eq!((sample, sample.len()), (&samples[0], 5));
    }
    assert_eq!(count(&world.db, "control_samples"), 1);
}

/// Who answers for a hundred numbers asks for these and some more, each time with others: sooner or later a sample would have
/// only numbers of the hundred.
fn lists_cannot_be_tried_until_a_sample_suits(kind: Kind) {
    let world = sampling(kind, 2, 600);
    let list = |n: u64| mints(&world, &format!("range:12125550000+{}", 100 + n));
    let first = named(&list(1));
    for n in 2..=100 {
        assert_eq!(named(&list(n)).len(), 2, "{n}");
    }
    assert_eq!(named(&list(101)), [], "no sample is drawn for it");
    assert_eq!(count(&world.db, "control_samples"), 100);
    // Those that are drawn stay; and a day later others are.
    assert_eq!(named(&list(1)), first);
    world.seconds_pass(DAY);
    assert_eq!(named(&list(101)).len(), 2);
}
