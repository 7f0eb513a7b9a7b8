//! Samples: some numbers stand for a long list, since nobody can text a block of 10,000.

use std::collections::BTreeSet;

use tn_authority::authority::{IssueError, Issued};
use tn_authority::domain::{Denial, Tn};

use super::proven::{mints_for_key, not_older_than, proves, set, setup, tn, tns};
use crate::authority::idempotency::count;
use crate::support::{Kind, Setup, World, code, outside};

both! {
    a_sample_stands_for_a_block,
    a_sample_is_kept_for_a_day_and_then_redrawn,
    a_sample_that_is_accepted_stays,
    nothing_is_drawn_without_authority_or_by_a_question,
    without_a_sample_a_list_of_more_than_1000_numbers_is_not_proven,
    a_list_that_is_not_longer_than_a_sample_is_proven_in_full,
    what_is_listed_singly_is_proven_in_full,
    a_number_that_ranks_first_is_in_the_sample_of_every_list,
    another_size_is_another_sample,
    replicas_draw_one_sample,
    no_list_is_locked_out_by_other_lists,
}

const DAY: i64 = 86_400;
const BLOCK: &str = "range:12125550000+10000";

fn sampling(kind: Kind, sample: u32, oldest: u64) -> World {
    over(World::new(
        kind,
        setup(set(&not_older_than(oldest)), sample),
    ))
}

fn over(world: World) -> World {
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
    // Another carrier has another sample: nobody can know it before.
    let elsewhere = over(World::new(
        kind,
        Setup {
            code_secrets: (0x5f, None),
            ..setup(set(&not_older_than(600)), 5)
        },
    ));
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
        "a sample of the numbers is drawn, and named, when the token is requested"
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
        text.ends_with("request fewer, or ask the carrier to set `control.sample`, which is for ranges of 100 numbers or more"),
        "{text}"
    );
}

fn a_list_that_is_not_longer_than_a_sample_is_proven_in_full(kind: Kind) {
    let world = sampling(kind, 5, 600);
    let five = named(&mints(&world, "range:12125550000+5"));
    assert_eq!(five, tns("+12125550000", 5));
    assert_eq!(count(&world.db, "control_samples"), 0);
    // Nor is one of which no range is long.
    let ninety_nine = named(&mints(&world, "range:12125550000+99"));
    assert_eq!(ninety_nine, tns("+12125550000", 99));
    assert_eq!(named(&mints(&world, "range:12125550000+100")).len(), 5);
}

/// Five numbers that answer and one that does not: by chance, no sample of five would have the sixth.
fn what_is_listed_singly_is_proven_in_full(kind: Kind) {
    let world = sampling(kind, 5, 600);
    proves(&world, "acme", &tns("+12125550000", 5));
    let foreign = tn("+12125558000");
    for n in 0..60 {
        let one_more = format!("one:1212555{}", 1_000 + 2 * n);
        let entries = ["range:12125550000+5", "one:12125558000", one_more.as_str()];
        assert_eq!(
            named(&mints_for_key(&world, "acme", &entries[..2], 0x5e)),
            [foreign]
        );
        assert!(named(&mints_for_key(&world, "acme", &entries, 0x5e)).contains(&foreign));
    }
    // Beside a long range, whose sample answers, too.
    let entries = [
        "range:12125550000+5",
        "one:12125558000",
        "range:12125556000+1000",
    ];
    let asked = named(&mints_for_key(&world, "acme", &entries, 0x5e));
    assert!(asked.len() == 6 && asked.contains(&foreign), "{asked:?}");
    let others: Vec<Tn> = asked
        .into_iter()
        .filter(|number| *number != foreign)
        .collect();
    proves(&world, "acme", &others);
    assert_eq!(
        named(&mints_for_key(&world, "acme", &entries, 0x5e)),
        [foreign]
    );
}

/// An account that cannot answer for a number of the sample tries other lists with it.
fn a_number_that_ranks_first_is_in_the_sample_of_every_list(kind: Kind) {
    let world = sampling(kind, 5, 600);
    let sample = named(&mints(&world, BLOCK));
    let first = tn("+12125550000").position();
    for foreign in &sample {
        let at = foreign.position() - first;
        for (before, after) in [
            (99, 0),
            (0, 99),
            (50, 50),
            (300, 700),
            (at, 9_999 - at),
            (at.min(77), 120),
        ] {
            let to = (at + after).clamp(99, 9_999);
            let from = (at - before).clamp(0, to - 99);
            let list = format!("range:1212555{from:04}+{}", to - from + 1);
            assert!(
                named(&mints(&world, &list)).contains(foreign),
                "{list} {foreign}"
            );
        }
    }
    // A day later others rank first.
    world.seconds_pass(DAY);
    assert_ne!(named(&mints(&world, "range:12125550000+9999")), sample);
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
    // The same ones, and three more.
    let more = named(&refused);
    assert!(more.len() == 3 && more.iter().all(|number| !five.contains(number)));
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

/// A thief asks for a hundred lists: the owner's next one has a sample all the same, and keeps it once it is accepted.
fn no_list_is_locked_out_by_other_lists(kind: Kind) {
    let world = sampling(kind, 2, 90 * 86_400);
    let list = |n: u64| mints(&world, &format!("range:12125550000+{}", 100 + n));
    let first = named(&list(1));
    for n in 2..=150 {
        assert_eq!(named(&list(n)).len(), 2, "{n}");
    }
    assert_eq!(count(&world.db, "control_samples"), 100);
    let owners = named(&list(500));
    assert_eq!(named(&list(500)), owners);
    proves(&world, "acme", &owners);
    list(500).expect("a token");
    assert_eq!(count(&world.db, "control_samples"), 101);
    world.seconds_pass(30 * DAY);
    list(500).expect("the numbers that were proven for it");
    // Those that are kept and not accepted are drawn anew.
    let next = named(&list(1));
    assert_eq!(next.len(), 2);
    assert_ne!(next, first);
}
