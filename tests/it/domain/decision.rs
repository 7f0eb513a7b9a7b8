//! The rule of authority against an oracle that lists every number and every second.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{LazyLock, OnceLock};

use proptest::prelude::*;
use tn_authority::domain::accounts::account::LifetimeMode;
use tn_authority::domain::clock::from_unix;
use tn_authority::domain::decision::denial::{RefusalCause, Subject};
use tn_authority::domain::decision::{AccountStanding, Decision, Facts, Question, decide};
use tn_authority::domain::inventory::{
    Allocation, Basis, Delegation, Exclusion, InventoryRow, Reason, RecordedPeriod, RowRef,
};
use tn_authority::domain::issuance::RowFacts;
use tn_authority::domain::signing::chain_choice::Candidate;
use tn_authority::domain::tokens::grant::Justification;
use tn_authority::domain::{
    AccountId, Denial, Dialect, Fingerprint, NumberRange, Time, Tn, TnAuthList, TokenRequest,
    Window,
};
use uuid::Uuid;

/// The numbers are +100 and the next, the times are seconds after `at(0)`.
const NUMBERS: Range<u64> = 100..130;
const NOW: i64 = 5;
const UNTIL: i64 = 15;

fn at(second: i64) -> Time {
    from_unix(1_700_000_000 + second)
}

fn tn(number: u64) -> Tn {
    Tn::from_digits(&number.to_string()).expect("three digits")
}

fn numbers(first: u64, count: u64) -> NumberRange {
    NumberRange::new(tn(first), count).expect("a range")
}

pub(super) fn request(entries: &[(u64, u64)], ca: bool) -> TokenRequest {
    let entries = entries.iter().map(|(first, count)| {
        let text = if *count == 1 {
            format!("one:{first}")
        } else {
            format!("range:{first}+{count}")
        };
        text.parse().expect(&text)
    });
    let list = TnAuthList::from_entries(entries.collect()).expect("a list");
    TokenRequest::new(list, ca, Fingerprint::from([0x5e; 32]), None).expect("E.164")
}

pub(super) fn question(request: &TokenRequest, minimum: u32) -> Question<'_> {
    Question {
        account: &ACME,
        request,
        now: at(NOW),
        until: at(UNTIL),
        minimum,
        chains: CHAINS.get_or_init(|| vec![chain("1234", 1_000)]),
    }
}

/// What signs for 1234, longer than anything here.
static CHAINS: OnceLock<Vec<Candidate>> = OnceLock::new();

fn chain(spc: &str, ends: i64) -> Candidate {
    Candidate {
        spc: spc.parse().expect("a code"),
        chain: format!("chain of {spc}"),
        active_from: at(-100),
        not_before: at(-100),
        ends: at(ends),
    }
}

/// A row of any kind: numbers, window, and a flag that each kind reads in its own way.
type Row = ((u64, u64), (i64, Option<i64>), bool);

static ACME: LazyLock<AccountId> = LazyLock::new(|| "acme".parse().expect("an id"));

fn row_ref(index: usize) -> RowRef {
    RowRef {
        id: Uuid::from_u128(index as u128),
        version: 1,
    }
}

const BELIEF: RecordedPeriod = RecordedPeriod {
    recorded_at: Time::UNIX_EPOCH,
    superseded_at: None,
};

fn window((from, until): (i64, Option<i64>)) -> Window {
    Window::new(at(from), until.map(at)).expect("a window")
}

fn delegation(index: usize, ((first, count), times, ca): Row) -> Delegation {
    Delegation {
        row: row_ref(index),
        account: ACME.clone(),
        cut_from: None,
        numbers: numbers(first, count),
        ca,
        lend_on: false,
        reference: None,
        window: window(times),
        belief: BELIEF,
        sequence: 1,
        made_at: at(0),
    }
}

fn allocation(index: usize, ((first, count), times, _): Row) -> Allocation {
    Allocation {
        row: row_ref(index),
        spc: "1234".parse().expect("a code"),
        numbers: numbers(first, count),
        basis: Basis::Block,
        window: window(times),
        belief: BELIEF,
    }
}

fn exclusion(index: usize, ((first, count), times, aging): Row) -> Exclusion {
    Exclusion {
        row: row_ref(index),
        numbers: numbers(first, count),
        reason: if aging {
            Reason::Aging
        } else {
            Reason::PortedOut
        },
        window: window(times),
        belief: BELIEF,
    }
}

pub(super) fn facts(delegations: &[Row], allocations: &[Row], exclusions: &[Row]) -> Facts {
    let numbered = |rows: &[Row]| rows.iter().copied().enumerate().collect::<Vec<_>>();
    Facts {
        renewal: None,
        rows: RowFacts::default(),
        distrusted: [].into(),
        standing: AccountStanding::Good,
        suspended_above: Vec::new(),
        lent_on: Vec::new(),
        lifetime: LifetimeMode::Proof,
        dialect: Dialect::Strict,
        spcs: vec!["1234".parse().expect("a code")],
        delegations: numbered(delegations)
            .into_iter()
            .map(|(i, row)| delegation(i, row))
            .collect(),
        allocations: numbered(allocations)
            .into_iter()
            .map(|(i, row)| allocation(i, row))
            .collect(),
        exclusions: numbered(exclusions)
            .into_iter()
            .map(|(i, row)| exclusion(i, row))
            .collect(),
        departures: Vec::new(),
    }
}

pub(super) fn always(first: u64, count: u64) -> Row {
    ((first, count), (0, None), true)
}

/// The oracle: what is wrong with one number at one second; the first cause in the order of the rule.
fn fault(number: u64, second: i64, ca: bool, facts: &Facts) -> Option<&'static str> {
    fn holds<R: InventoryRow>(row: &R, number: u64, second: i64) -> bool {
        row.numbers().contains(tn(number)) && row.window().contains(at(second))
    }
    let lent = |with_ca: bool| {
        let mut rows = facts.delegations.iter().filter(|row| row.ca || !with_ca);
        rows.any(|row| holds(row, number, second))
    };
    if !lent(false) {
        Some("not-delegated")
    } else if ca && !lent(true) {
        Some("ca-not-delegated")
    } else if !facts
        .allocations
        .iter()
        .any(|row| holds(row, number, second))
    {
        Some("not-allocated")
    } else {
        let excluded = facts
            .exclusions
            .iter()
            .find(|row| holds(*row, number, second));
        excluded.map(|_| "excluded")
    }
}

/// The numbers of one entry that are refused now: of all causes, the first that applies to any of them.
fn refused_now(entry: (u64, u64), ca: bool, facts: &Facts) -> BTreeSet<(u64, &'static str)> {
    let faults: Vec<(u64, &str)> = (entry.0..entry.0 + entry.1)
        .filter_map(|number| Some((number, fault(number, NOW, ca, facts)?)))
        .collect();
    let order = [
        "not-delegated",
        "ca-not-delegated",
        "not-allocated",
        "excluded",
    ];
    let first = order
        .into_iter()
        .find(|cause| faults.iter().any(|(_, found)| found == cause));
    faults
        .into_iter()
        .filter(|(_, found)| Some(*found) == first)
        .collect()
}

pub(super) fn refused(denial: &Denial) -> BTreeSet<(u64, &'static str)> {
    let listed = denial.refusals().iter().flat_map(|refusal| {
        let Subject::Numbers(range) = &refusal.subject else {
            panic!("no code was asked for");
        };
        let first: u64 = range.first().to_digits().parse().expect("digits");
        let cause = match refusal.cause {
            RefusalCause::Excluded(_) => "excluded",
            other => other.code(),
        };
        (first..first + range.count()).map(move |number| (number, cause))
    });
    listed.collect()
}

fn only(facts: &Facts, justified_by: &[Justification]) -> Facts {
    Facts {
        delegations: facts
            .delegations
            .iter()
            .filter(|row| justified_by.contains(&Justification::Delegation(row.row)))
            .cloned()
            .collect(),
        allocations: facts
            .allocations
            .iter()
            .filter(|row| justified_by.contains(&Justification::Allocation(row.row)))
            .cloned()
            .collect(),
        ..facts.clone()
    }
}

fn span() -> impl Strategy<Value = (u64, u64)> {
    NUMBERS.prop_flat_map(|first| (Just(first), 1..=NUMBERS.end - first))
}

fn row() -> impl Strategy<Value = Row> {
    // Half of the rows are wide and open, or nearly every request would be refused.
    let wide = (100_u64..105, 20_u64..25, 0..6_i64)
        .prop_map(|(first, count, from)| ((first, count), (from, None)));
    let any = (span(), 0..18_i64, prop::option::of(1..12_i64))
        .prop_map(|(span, from, length)| (span, (from, length.map(|n| from + n))));
    (prop_oneof![wide, any], any_flag()).prop_map(|((span, times), flag)| (span, times, flag))
}

fn any_flag() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.7)
}

fn narrow() -> impl Strategy<Value = Row> {
    ((NUMBERS, 1_u64..3), 0..18_i64, 1..8_i64, any_flag())
        .prop_map(|(span, from, length, flag)| (span, (from, Some(from + length)), flag))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn the_decision_is_the_oracles(
        entries in prop::collection::vec(((100_u64..124), 1_u64..6), 1..4),
        ca in prop::bool::weighted(0.3),
        minimum in 1_u32..8,
        delegations in prop::collection::vec(row(), 0..6),
        allocations in prop::collection::vec(row(), 1..6),
        exclusions in prop::collection::vec(narrow(), 0..3),
    ) {
        let facts = facts(&delegations, &allocations, &exclusions);
        let request = request(&entries, ca);
        let refused_now: BTreeSet<_> =
            entries.iter().flat_map(|entry| refused_now(*entry, ca, &facts)).collect();
        let fails = |second: i64| entries.iter().any(|(first, count)| {
            (*first..first + count).any(|number| fault(number, second, ca, &facts).is_some())
        });
        let end = (NOW..UNTIL).find(|second| fails(*second)).unwrap_or(UNTIL);

        match decide(&question(&request, minimum), &facts) {
            Ok(Decision { expires_at, justified_by, .. }) => {
                prop_assert_eq!(expires_at, at(end));
                prop_assert!(end - NOW >= i64::from(minimum));
                let again = decide(&question(&request, minimum), &only(&facts, &justified_by));
                prop_assert_eq!(again.map(|d| d.expires_at), Ok(expires_at), "the rows named do not suffice");
            }
            Err(Denial::EndsTooSoon { until, .. }) => {
                prop_assert!(refused_now.is_empty());
                prop_assert_eq!(until, at(end));
                prop_assert!(end - NOW < i64::from(minimum));
            }
            Err(denial) => {
                prop_assert!(!refused_now.is_empty());
                prop_assert_eq!(refused(&denial), refused_now);
            }
        }
    }
}
