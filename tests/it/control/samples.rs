//! Samples: some numbers of a delegation stand for long ranges of it, since nobody can text a block
//! of 10,000.

use std::collections::BTreeSet;

use tn_authority::authority::{IssueError, Issued};
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::{Denial, Fingerprint, Tn};

use super::proven::{mints_for_key, not_older_than, proves, proves_for, set, setup, tn, tns};
use crate::authority::idempotency::count;
use crate::support::{Kind, Setup, World, code, outside};

both! {
    a_sample_stands_for_a_block,
    a_sample_is_kept_for_a_day_and_then_redrawn,
    a_sample_that_is_proven_stays_whoever_asks,
    a_number_that_is_lost_is_replaced_in_the_sample,
    nothing_is_drawn_without_authority_or_by_a_question,
    without_a_sample_a_list_of_more_than_1000_numbers_is_not_proven,
    a_list_that_is_not_longer_than_a_sample_is_proven_in_full,
    what_is_listed_singly_is_proven_in_full,
    no_choice_of_lists_avoids_the_numbers_of_others,
    each_delegation_has_a_sample_of_its_own,
    another_size_is_another_sample,
    replicas_draw_one_sample,
    however_many_lists_are_asked_for_a_delegation_has_one_sample,
}

pub const DAY: i64 = 86_400;
pub const BLOCK: &str = "range:12125550000+10000";

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
pub fn named(outcome: &Result<Issued, IssueError>) -> Vec<Tn> {
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

/// The owner has proven the sample for a key. Whoever asks for another key is refused, and that must not cost the
/// owner the sample: days later, and when the proofs are too old for a policy, too.
fn a_sample_that_is_proven_stays_whoever_asks(kind: Kind) {
    let by_key = r#"@id("control") @code("control-not-proven") @message("control has to be proven")
        forbid (principal, action == Action::"mint", resource)
        unless { context.control.for_key.proven && context.control.for_key.age <= 7776000 };"#;
    let world = over(World::new(kind, setup(set(by_key), 5)));
    let owner = Fingerprint::from([0x5e; 32]);
    let sample = named(&mints(&world, BLOCK));
    proves_for(&world, "acme", &sample, Some(owner));
    mints(&world, BLOCK).expect("a token");
    for _ in 0..40 {
        world.seconds_pass(2 * DAY);
        let thief = mints_for_key(&world, "acme", &[BLOCK], 0x1f);
        assert_eq!(named(&thief), sample);
        mints(&world, BLOCK).expect("the sample that was proven");
    }
    // The same numbers, proven again in time, are enough.
    proves_for(&world, "acme", &sample, Some(owner));
    world.seconds_pass(89 * DAY);
    mints(&world, BLOCK).expect("a token");
    world.seconds_pass(2 * DAY);
    assert_eq!(named(&mints(&world, BLOCK)), sample);
    // After a year others are drawn.
    world.seconds_pass(366 * DAY);
    assert_ne!(named(&mints(&world, BLOCK)), sample);
}

/// It could never be proven, although it is not in the list.
fn a_number_that_is_lost_is_replaced_in_the_sample(kind: Kind) {
    let world = sampling(kind, 5, 90 * 86_400);
    let sample = named(&mints(&world, BLOCK));
    proves(&world, "acme", &sample);
    world.excludes(&sample[2].to_string(), Reason::PortedOut, None);
    let at = sample[2].position() - tn("+12125550000").position();
    // A thousand numbers without it.
    let part = if at < 5_000 {
        "range:12125558000+1000"
    } else {
        "range:12125551000+1000"
    };
    let next = named(&mints(&world, part));
    assert_eq!(next.len(), 1, "the others are proven: {next:?}");
    assert!(!sample.contains(&next[0]));
    proves(&world, "acme", &next);
    mints(&world, part).expect("a token");
    // One that has left before is not drawn.
    world.seconds_pass(400 * DAY);
    for _ in 0..20 {
        assert!(!named(&mints(&world, part)).contains(&sample[2]));
        world.seconds_pass(DAY);
    }
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
        text.ends_with("request fewer, or ask the carrier to set `control.sample`, which is for ranges of delegations of 100 numbers or more"),
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
    // Nor a delegation of fewer numbers, wherever the list begins and ends.
    world.knows("shop");
    world.carrier_holds("1.212.556.XXXX");
    for first in ["+12125560000+99", "+12125560099+99"] {
        world.lends("shop", first);
    }
    let both = mints_for_key(&world, "shop", &["range:12125560000+198"], 0x5e);
    assert_eq!(named(&both), tns("+12125560000", 198));
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

/// Somebody has the API key and one number in ten, and asks for all that is left between the numbers that were named
/// and are not theirs. As long as a sample was one of the list, two refusals in a row left it without any of them.
fn no_choice_of_lists_avoids_the_numbers_of_others(kind: Kind) {
    let world = sampling(kind, 5, 600);
    let first = tn("+12125550000").position();
    let mut avoided: BTreeSet<Tn> = BTreeSet::new();
    for _ in 0..40 {
        let mut ranges = Vec::new();
        let mut from = first;
        for end in avoided.iter().map(|n| n.position()).chain([first + 10_000]) {
            if end - from >= 100 {
                ranges.push(format!("range:1212555{:04}+{}", from - first, end - from));
            }
            from = end + 1;
        }
        let list: Vec<&str> = ranges.iter().map(String::as_str).collect();
        let sample = named(&mints_for_key(&world, "acme", &list, 0x5e));
        let is_own = |number: &&Tn| number.position() % 10 == 7;
        let foreign: Vec<Tn> = sample.iter().filter(|n| !is_own(n)).copied().collect();
        assert!(!foreign.is_empty(), "{} ranges: {sample:?}", list.len());
        avoided.extend(foreign);
    }
    assert!(
        avoided.len() <= 5,
        "they learn nothing by other lists: {avoided:?}"
    );
    // Cut, joined, or a single hundred: each needs the same numbers.
    let sample = named(&mints(&world, BLOCK));
    for list in [
        &["range:12125550000+100"][..],
        &["range:12125559900+100"],
        &["range:12125550100+150", "range:12125557000+2000"],
        &["range:12125550001+9999"],
    ] {
        assert_eq!(named(&mints_for_key(&world, "acme", list, 0x5e)), sample);
    }
    // A day later others rank first, and still the same for each list.
    world.seconds_pass(DAY);
    let next = named(&mints(&world, "range:12125550000+100"));
    assert_ne!(next, sample);
    assert_eq!(named(&mints(&world, BLOCK)), next);
}

/// A range over two of them needs both, and other delegations lend it nothing.
fn each_delegation_has_a_sample_of_its_own(kind: Kind) {
    let world = World::new(kind, setup(set(&not_older_than(600)), 5));
    world.carrier_holds("1.212.555.XXXX");
    world.lends("acme", "+12125550000+5000");
    world.lends("acme", "+12125555000+5000");
    let lower = named(&mints(&world, "range:12125550000+5000"));
    let upper = named(&mints(&world, "range:12125555000+5000"));
    proves(&world, "acme", &lower);
    mints(&world, "range:12125550000+5000").expect("a token");
    assert_eq!(named(&mints(&world, BLOCK)), upper);
    assert_eq!(named(&mints(&world, "range:12125554999+101")), upper);
    proves(&world, "acme", &upper);
    mints(&world, BLOCK).expect("a token");
    assert_eq!(count(&world.db, "control_samples"), 2);
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

/// A thief asks for many lists: nothing is kept for each, and the owner's sample stays.
fn however_many_lists_are_asked_for_a_delegation_has_one_sample(kind: Kind) {
    let world = sampling(kind, 2, 90 * 86_400);
    let owners = named(&mints(&world, BLOCK));
    proves(&world, "acme", &owners[..1]);
    for n in 0..150 {
        let list = format!("range:12125550000+{}", 100 + n);
        assert_eq!(named(&mints(&world, &list)), owners[1..]);
    }
    assert_eq!(count(&world.db, "control_samples"), 1);
    proves(&world, "acme", &owners[1..]);
    mints(&world, BLOCK).expect("a token");
    world.seconds_pass(30 * DAY);
    mints(&world, BLOCK).expect("the numbers that were proven");
}
