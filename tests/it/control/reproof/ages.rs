//! When numbers are asked again, and that nobody has to do anything for it.

use std::collections::{BTreeSet, HashMap};

use tn_authority::domain::Tn;
use tn_authority::domain::control::proof::ProofState;
use tn_authority::domain::inventory::Reason;

use super::{
    DAY, HOUR, answers, asking_daily, daily, due_in, gives, lending, one_run, proofs, renews,
    wanted, works,
};
use crate::control::proven::{example, mints_for_key, not_older_than, proves, set, setup, tn, tns};
use crate::support::{Kind, World, at_once, code};

both! {
    a_right_outlives_the_age_limit_without_a_person_and_without_a_gap,
    the_next_proofs_are_spread_over_a_tenth_of_the_age,
    numbers_that_were_proven_before_are_not_asked_at_once,
    the_oldest_number_sets_the_time_and_only_old_ones_are_asked,
    two_replicas_ask_each_number_once,
    a_sample_is_asked_for_a_long_list,
    a_sample_that_is_drawn_anew_is_asked_at_once,
}

fn a_right_outlives_the_age_limit_without_a_person_and_without_a_gap(kind: Kind) {
    let (world, loan) = lending(kind, setup(example(), 0));
    let limit = 90 * DAY;
    let right = gives(&world, wanted(&loan, &["range:12125551001+3"], limit)).expect("a right");
    assert_eq!(code(&renews(&world, &right)), "control-not-proven");
    assert_eq!((works(&world), answers(&world)), (3, 3));
    renews(&world, &right).expect("the first token");
    for day in 1..=400 {
        world.seconds_pass(DAY - 60);
        works(&world);
        world.seconds_pass(30);
        answers(&world);
        renews(&world, &right).unwrap_or_else(|error| panic!("day {day}: {error}"));
    }
    let mut of: HashMap<Tn, Vec<i64>> = HashMap::new();
    for proof in proofs(&world) {
        assert_eq!(proof.state(world.now()), ProofState::Confirmed);
        assert_eq!(
            (proof.renewal, proof.started_by.as_str()),
            (Some(right.id), "service")
        );
        assert_eq!(proof.delegation, loan.row.id);
        of.entry(proof.number)
            .or_default()
            .push(proof.started_at.timestamp());
    }
    assert_eq!(of.len(), 3);
    for starts in of.values() {
        let ages: Vec<i64> = starts
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) / DAY)
            .collect();
        assert!((5..=7).contains(&ages.len()), "{ages:?}");
        // Two thirds of 90 days, less or more a twentieth, and the day until the next look.
        assert!(ages.iter().all(|age| (55..=66).contains(age)), "{ages:?}");
    }
    assert_eq!(super::feed(&world), []);
    let metrics = world.metrics.render().expect("metrics");
    let count = proofs(&world).len();
    for outcome in ["started", "confirmed"] {
        let line = format!("tn_authority_control_reproofs_total{{outcome=\"{outcome}\"}} {count}");
        assert!(
            metrics.lines().any(|known| known == line),
            "{line}\n{metrics}"
        );
    }
    assert!(!metrics.contains("1212555"), "no number is in a metric");
}

fn the_next_proofs_are_spread_over_a_tenth_of_the_age(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    let age = 10 * DAY;
    let rights: Vec<_> = (0..40)
        .map(|n| {
            let entry = format!("one:12125551{n:03}");
            gives(&world, wanted(&loan, &[&entry], age)).expect("a right")
        })
        .collect();
    assert_eq!(works(&world), 40);
    let started = world.now();
    assert_eq!(answers(&world), 40);
    world.seconds_pass(601);
    assert_eq!(works(&world), 0);
    let passed = (world.now() - started).num_seconds();
    let due = rights
        .iter()
        .map(|right| due_in(&world, right).expect("a time") + passed);
    let due: BTreeSet<i64> = due.collect();
    let (first, last) = (*due.first().expect("one"), *due.last().expect("one"));
    assert!(first >= age * 37 / 60 && last <= age * 43 / 60, "{due:?}");
    assert!(due.len() > 35 && last - first > age / 25, "{due:?}");
}

fn numbers_that_were_proven_before_are_not_asked_at_once(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    // By a text message: it is not what the right names, so an agent has to answer.
    proves(&world, "acme", &[tn("+12125551002")]);
    let right = daily(&world, &loan);
    assert_eq!((works(&world), answers(&world)), (1, 1));
    let other = gives(&world, wanted(&loan, &["one:12125551001"], 3 * DAY)).expect("a right");
    assert_eq!(
        works(&world),
        0,
        "it was proven by the same method, for the same key"
    );
    let due = due_in(&world, &other).expect("a time");
    assert!(
        (3 * DAY * 37 / 60 - 60..=3 * DAY * 43 / 60).contains(&due),
        "{due}"
    );
    // Another key has to answer for itself.
    let mut new = wanted(&loan, &["one:12125551001"], DAY);
    new.fingerprint = tn_authority::domain::Fingerprint::from([1; 32]);
    gives(&world, new).expect("a right");
    assert_eq!(works(&world), 1);
    drop(right);
}

fn the_oldest_number_sets_the_time_and_only_old_ones_are_asked(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    let one = daily(&world, &loan);
    assert_eq!((works(&world), answers(&world)), (1, 1));
    world.seconds_pass(5 * HOUR);
    works(&world);
    let both = gives(&world, wanted(&loan, &["range:12125551001+2"], DAY)).expect("a right");
    assert_eq!(
        (works(&world), answers(&world)),
        (1, 1),
        "only the other one"
    );
    world.seconds_pass(HOUR);
    works(&world);
    for right in [&one, &both] {
        let due = due_in(&world, right).expect("a time") + 6 * HOUR;
        assert!(
            (DAY * 37 / 60 - 5..=DAY * 43 / 60 + 60).contains(&due),
            "{due}"
        );
    }
    // The older one is asked by both rights, and yet once.
    world.seconds_pass(12 * HOUR);
    assert_eq!((works(&world), answers(&world)), (1, 1));
    renews(&world, &both).expect("a token");
}

fn two_replicas_ask_each_number_once(kind: Kind) {
    let usual = || setup(set(&not_older_than(86_400)), 0);
    let (world, loan) = lending(kind, usual());
    for n in 0..120 {
        let entry = format!("one:12125551{n:03}");
        gives(&world, wanted(&loan, &[&entry], DAY)).expect("a right");
        // Two rights for one number, too.
        if n % 10 == 0 {
            gives(&world, wanted(&loan, &[&entry], 2 * DAY)).expect("a right");
        }
    }
    let other = World::over(world.db.clone(), usual());
    let replicas = [&world, &other];
    at_once(2, |n| {
        // One that finds the other at work has nothing to do, and comes back.
        for _ in 0..60 {
            one_run(replicas[n]);
        }
    });
    works(&world);
    let asked: BTreeSet<Tn> = proofs(&world).iter().map(|proof| proof.number).collect();
    assert_eq!((asked.len(), proofs(&world).len()), (120, 120));
    assert_eq!(answers(&world), 120);
}

fn a_sample_is_asked_for_a_long_list(kind: Kind) {
    let (world, _) = lending(kind, setup(set(&not_older_than(86_400)), 5));
    let loan = world.lends("acme", "1.212.555.2XXX");
    let right = gives(&world, wanted(&loan, &["range:12125552000+1000"], DAY)).expect("a right");
    assert_eq!((works(&world), answers(&world)), (5, 5));
    renews(&world, &right).expect("the sample stands for the list");
    for _ in 0..72 {
        world.seconds_pass(HOUR);
        works(&world);
        answers(&world);
        renews(&world, &right).expect("a token");
    }
    let asked: BTreeSet<Tn> = proofs(&world).iter().map(|proof| proof.number).collect();
    assert_eq!(asked.len(), 5, "the same sample as long as it is accepted");
}

/// A number of the sample leaves, and another one is drawn: it is asked at once, and not in two months.
fn a_sample_that_is_drawn_anew_is_asked_at_once(kind: Kind) {
    let (world, _) = lending(kind, setup(set(&not_older_than(90 * 86_400)), 5));
    let loan = world.lends("acme", "1.212.555.2XXX");
    let whole = gives(&world, wanted(&loan, &["range:12125552000+1000"], 90 * DAY));
    assert_eq!((works(&world), answers(&world)), (5, 5));
    let asked: BTreeSet<Tn> = proofs(&world).iter().map(|proof| proof.number).collect();
    // A hundred numbers without any of the sample, which stands for them all the same.
    let mut hundreds = (0..10).map(|n| format!("range:12125552{n}00+100"));
    let is_without = |list: &String| {
        let all = tns(&format!("+{}", &list[6..17]), 100);
        all.iter().all(|number| !asked.contains(number))
    };
    let hundred = hundreds
        .find(is_without)
        .expect("five are in five hundreds at most");
    let right = gives(&world, wanted(&loan, &[&hundred], 90 * DAY)).expect("a right");
    world.seconds_pass(700);
    assert_eq!(works(&world), 0);
    renews(&world, &right).expect("a token");
    // A request for another key is refused, and changes nothing.
    world.seconds_pass(2 * DAY);
    let thief = mints_for_key(&world, "acme", &[&hundred], 0x1f);
    assert_eq!(code(&thief), "control-not-proven");
    renews(&world, &right).expect("a token");
    assert!(due_in(&world, &right).expect("a time") > 50 * DAY);

    let lost = asked.first().expect("a number");
    world.excludes(&lost.to_string(), Reason::PortedOut, None);
    assert_eq!(code(&renews(&world, &right)), "control-not-proven");
    assert!(due_in(&world, &right).expect("a time") <= 0, "due at once");
    assert_eq!(
        (works(&world), answers(&world)),
        (1, 1),
        "the one in its place"
    );
    renews(&world, &right).expect("a token");
    drop(whole);
}
