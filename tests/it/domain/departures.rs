//! Departures against an oracle that asks for every number at every second whether it has left since it was delegated.

use proptest::prelude::*;
use tn_authority::domain::clock::from_unix;
use tn_authority::domain::decision::denial::{RefusalCause, Subject};
use tn_authority::domain::decision::departures::parts_of;
use tn_authority::domain::decision::{AccountStanding, Decision, Facts, Question, decide};
use tn_authority::domain::inventory::departure::{Departure, DepartureKind};
use tn_authority::domain::inventory::{
    Allocation, Basis, CutFrom, Delegation, RecordedPeriod, RowRef,
};
use tn_authority::domain::signing::chain_choice::Candidate;
use tn_authority::domain::{
    AccountId, Denial, Fingerprint, NumberRange, Time, Tn, TnAuthList, TokenRequest, Window,
};
use uuid::Uuid;

const NOW: i64 = 5;
const UNTIL: i64 = 15;
/// Each the customer of the one before.
const LINE: [&str; 3] = ["wholesale", "cpaas", "shop"];
const KINDS: [DepartureKind; 4] = [
    DepartureKind::PortedOut,
    DepartureKind::Aging,
    DepartureKind::Returned,
    DepartureKind::Acquired,
];

fn at(second: i64) -> Time {
    from_unix(1_700_000_000 + second)
}

fn tn(number: u64) -> Tn {
    Tn::from_digits(&number.to_string()).expect("three digits")
}

fn numbers(first: u64, count: u64) -> NumberRange {
    NumberRange::new(tn(first), count).expect("a range")
}

fn digits(tn: Tn) -> u64 {
    tn.to_digits().parse().expect("digits")
}

fn id(account: usize) -> AccountId {
    LINE[account].parse().expect("an id")
}

const BELIEF: RecordedPeriod = RecordedPeriod {
    recorded_at: Time::UNIX_EPOCH,
    superseded_at: None,
};

fn row_ref(place: usize) -> RowRef {
    RowRef {
        id: Uuid::from_u128(place as u128 + 1),
        version: 1,
    }
}

/// A delegation to the account of its place in the line: numbers, window, and when it was made.
#[derive(Debug, Clone)]
struct Made {
    account: usize,
    /// Which of the delegations above it is cut from.
    parent: Option<usize>,
    span: (u64, u64),
    from: i64,
    until: Option<i64>,
    lend_on: bool,
    keeps: bool,
    recorded: (i64, i64),
}

/// Numbers that leave: kind, when, and when that was recorded.
#[derive(Debug, Clone)]
struct Left {
    kind: usize,
    span: (u64, u64),
    at: i64,
    sequence: i64,
}

fn has((first, count): (u64, u64), number: u64) -> bool {
    (first..first + count).contains(&number)
}

/// The oracle: whether a delegation itself counts for a number at a second.
fn counts(made: &Made, number: u64, second: i64, left: &[Left]) -> bool {
    let holds = has(made.span, number)
        && made.from <= second
        && made.until.is_none_or(|until| second < until);
    let (sequence, made_at) = made.recorded;
    holds
        && !left.iter().any(|left| {
            let concerns = has(left.span, number) && left.at <= second;
            let later = left.sequence > sequence;
            let planned = left.at > made_at && left.at >= made.from;
            concerns
                && match KINDS[left.kind] {
                    DepartureKind::Acquired => later || (planned && left.at > made.from),
                    DepartureKind::Aging if made.parent.is_none() && made.lend_on => false,
                    DepartureKind::Aging | DepartureKind::PortedOut | DepartureKind::Returned => {
                        later || planned
                    }
                }
        })
}

fn gives(place: usize, number: u64, second: i64, all: &[Made], left: &[Left]) -> bool {
    let made = &all[place];
    counts(made, number, second, left)
        && made
            .parent
            .is_none_or(|parent| gives(parent, number, second, all, left))
}

fn allowed(asker: usize, number: u64, second: i64, all: &[Made], left: &[Left]) -> bool {
    let mut own = (0..all.len()).filter(|place| all[*place].account == asker);
    let lent_on = all.iter().any(|made| {
        made.parent.is_some()
            && made.account == asker + 1
            && !made.keeps
            && counts(made, number, second, left)
    });
    own.any(|place| gives(place, number, second, all, left)) && !lent_on
}

fn delegation(place: usize, made: &Made) -> Delegation {
    Delegation {
        row: row_ref(place),
        account: id(made.account),
        cut_from: made.parent.map(|parent| CutFrom {
            parent: row_ref(parent).id,
            lender: id(made.account - 1),
            lender_keeps: made.keeps,
        }),
        numbers: numbers(made.span.0, made.span.1),
        ca: false,
        lend_on: made.lend_on,
        reference: None,
        window: Window::new(at(made.from), made.until.map(at)).expect("a window"),
        belief: BELIEF,
        sequence: made.recorded.0,
        made_at: at(made.recorded.1),
    }
}

fn departure(place: usize, left: &Left) -> Departure {
    Departure {
        id: row_ref(1_000 + place).id,
        kind: KINDS[left.kind],
        cause: Uuid::nil(),
        numbers: numbers(left.span.0, left.span.1),
        at: at(left.at),
        sequence: left.sequence,
        belief: BELIEF,
    }
}

fn facts(asker: usize, all: &[Made], left: &[Left]) -> Facts {
    let rows = || {
        (0..)
            .zip(all)
            .map(|(place, made)| (made, delegation(place, made)))
    };
    Facts {
        standing: AccountStanding::Good,
        delegations: rows()
            .filter(|(made, _)| made.account <= asker)
            .map(|(_, row)| row)
            .collect(),
        lent_on: rows()
            .filter(|(made, _)| made.parent.is_some() && made.account == asker + 1 && !made.keeps)
            .map(|(_, row)| row)
            .collect(),
        allocations: vec![Allocation {
            row: row_ref(999),
            spc: "1234".parse().expect("a code"),
            numbers: numbers(100, 100),
            basis: Basis::Block,
            window: Window::new(at(-100), None).expect("a window"),
            belief: BELIEF,
        }],
        departures: (0..)
            .zip(left)
            .map(|(n, left)| departure(n, left))
            .collect(),
        ..Facts::default()
    }
}

fn made(account: usize, above: usize, offset: usize) -> impl Strategy<Value = Made> {
    let wide = (Just((100_u64, 20_u64)), Just(0_i64), Just(None));
    let any = (
        (100_u64..115, 1_u64..8),
        0..8_i64,
        prop::option::of(9..20_i64),
    );
    let parent = if account == 0 {
        Just(None).boxed()
    } else {
        prop::option::weighted(0.85, (0..above).prop_map(move |n| offset + n)).boxed()
    };
    let flags = (prop::bool::weighted(0.7), prop::bool::weighted(0.6));
    (
        prop_oneof![3 => wide, 1 => any],
        parent,
        flags,
        (0..6_i64, 0..12_i64),
    )
        .prop_map(
            move |((span, from, until), parent, (lend_on, keeps), recorded)| Made {
                account,
                parent,
                span,
                from,
                until,
                lend_on,
                keeps,
                recorded,
            },
        )
}

fn line() -> impl Strategy<Value = Vec<Made>> {
    (
        prop::collection::vec(made(0, 0, 0), 2),
        prop::collection::vec(made(1, 2, 0), 2),
        prop::collection::vec(made(2, 2, 2), 2),
    )
        .prop_map(|(first, second, third)| [first, second, third].concat())
}

fn left() -> impl Strategy<Value = Vec<Left>> {
    let one = (
        0..KINDS.len(),
        (100_u64..118, 1_u64..6),
        0..18_i64,
        0..6_i64,
    );
    let one = one.prop_map(|(kind, span, at, sequence)| Left {
        kind,
        span,
        at,
        sequence,
    });
    prop::collection::vec(one, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn a_delegation_is_split_as_the_oracle_counts(made in made(1, 1, 0), left in left()) {
        let row = delegation(0, &made);
        let departures: Vec<_> = (0..).zip(&left).map(|(n, left)| departure(n, left)).collect();
        let parts = parts_of(&row, &departures);
        let mut next = made.span.0;
        for part in &parts {
            prop_assert_eq!(digits(part.numbers.first()), next, "in order, without a gap");
            next = digits(part.numbers.last()) + 1;
            for number in digits(part.numbers.first())..next {
                for second in 0..25 {
                    prop_assert_eq!(part.counts_at(at(second)), counts(&made, number, second, &left));
                }
            }
        }
        prop_assert_eq!(next, made.span.0 + made.span.1);
    }

    #[test]
    fn a_chain_gives_what_the_oracle_follows_to_the_carrier(
        asker in 0_usize..3, (first, count) in (100_u64..115, 1_u64..6), all in line(), left in left(),
    ) {
        let entry = if count == 1 { format!("one:{first}") } else { format!("range:{first}+{count}") };
        let list = TnAuthList::from_entries(vec![entry.parse().expect("an entry")]).expect("a list");
        let request = TokenRequest::new(list, false, Fingerprint::from([0x5e; 32]), None).expect("E.164");
        let account = id(asker);
        let chains = [Candidate {
            spc: "1234".parse().expect("a code"),
            chain: "chain".to_owned(),
            active_from: at(-100),
            not_before: at(-100),
            ends: at(100),
        }];
        let question = Question { account: &account, request: &request, now: at(NOW), until: at(UNTIL), minimum: 1, chains: &chains };
        let asked = first..first + count;
        let all_at = |second, left: &[Left]| asked.clone().all(|n| allowed(asker, n, second, &all, left));
        let end = (NOW..UNTIL).find(|second| !all_at(*second, &left)).unwrap_or(UNTIL);
        match decide(&question, &facts(asker, &all, &left)) {
            Ok(Decision { expires_at, .. }) => prop_assert_eq!(expires_at, at(end)),
            Err(Denial::NotAuthorized(refusals)) => {
                prop_assert_eq!(end, NOW);
                for refusal in refusals {
                    let Subject::Numbers(range) = &refusal.subject else { panic!("no code was asked for") };
                    let ended = matches!(refusal.cause, RefusalCause::DelegationEnded { .. });
                    for number in digits(range.first())..=digits(range.last()) {
                        prop_assert!(!allowed(asker, number, NOW, &all, &left), "{} was refused", number);
                        // Only what would be allowed if nothing had left is refused for having left.
                        let own = |place: &usize| all[*place].account == asker;
                        let before = (0..all.len()).filter(own).any(|place| gives(place, number, NOW, &all, &[]));
                        prop_assert!(!ended || before, "{} was never delegated", number);
                    }
                }
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
