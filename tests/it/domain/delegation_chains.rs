//! Chains of loans against an oracle that follows every number at every second up to the carrier.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tn_authority::domain::clock::from_unix;
use tn_authority::domain::decision::denial::Subject;
use tn_authority::domain::decision::{AccountStanding, Decision, Facts, Question, decide};
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

fn at(second: i64) -> Time {
    from_unix(1_700_000_000 + second)
}

fn tn(number: u64) -> Tn {
    Tn::from_digits(&number.to_string()).expect("three digits")
}

fn numbers(first: u64, count: u64) -> NumberRange {
    NumberRange::new(tn(first), count).expect("a range")
}

fn id(account: usize) -> AccountId {
    LINE[account].parse().expect("an id")
}

const BELIEF: RecordedPeriod = RecordedPeriod {
    recorded_at: Time::UNIX_EPOCH,
    superseded_at: None,
};

/// One loan: to whom, which numbers, when, and what it allows; and which of the lender's loans it is cut from.
#[derive(Debug, Clone)]
struct Loan {
    account: usize,
    parent: Option<usize>,
    first: u64,
    count: u64,
    from: i64,
    until: Option<i64>,
    ca: bool,
    keeps: bool,
}

impl Loan {
    fn holds(&self, number: u64, second: i64) -> bool {
        (self.first..self.first + self.count).contains(&number)
            && self.from <= second
            && self.until.is_none_or(|until| second < until)
    }

    fn row(&self, place: usize) -> Delegation {
        Delegation {
            row: row_ref(place),
            account: id(self.account),
            cut_from: self.parent.map(|parent| CutFrom {
                parent: row_ref(parent).id,
                lender: id(self.account - 1),
                lender_keeps: self.keeps,
            }),
            numbers: numbers(self.first, self.count),
            ca: self.ca,
            lend_on: true,
            reference: None,
            window: Window::new(at(self.from), self.until.map(at)).expect("a window"),
            belief: BELIEF,
            sequence: 1,
            made_at: at(0),
        }
    }
}

fn row_ref(place: usize) -> RowRef {
    RowRef {
        id: Uuid::from_u128(place as u128 + 1),
        version: 1,
    }
}

/// What the store would read for an account: its own loans, those of whoever stands above it, and what it has lent on.
fn facts(asker: usize, loans: &[Loan], suspended: [bool; 3]) -> Facts {
    let rows = || {
        loans
            .iter()
            .enumerate()
            .map(|(place, loan)| (loan, loan.row(place)))
    };
    Facts {
        standing: AccountStanding::Good,
        suspended_above: (0..asker)
            .filter(|above| suspended[*above])
            .map(id)
            .collect(),
        delegations: rows()
            .filter(|(loan, _)| loan.account <= asker)
            .map(|(_, row)| row)
            .collect(),
        lent_on: rows()
            .filter(|(loan, _)| loan.parent.is_some() && loan.account == asker + 1 && !loan.keeps)
            .map(|(_, row)| row)
            .collect(),
        allocations: vec![Allocation {
            row: row_ref(999),
            spc: "1234".parse().expect("a code"),
            numbers: numbers(100, 100),
            basis: Basis::Block,
            window: Window::new(at(0), None).expect("a window"),
            belief: BELIEF,
        }],
        ..Facts::default()
    }
}

/// Whether a loan, with all that it is cut from, gives the number at the second.
fn gives(
    place: usize,
    number: u64,
    second: i64,
    ca: bool,
    loans: &[Loan],
    suspended: [bool; 3],
) -> bool {
    let loan = &loans[place];
    loan.holds(number, second)
        && (loan.ca || !ca)
        && loan.parent.is_none_or(|parent| {
            !suspended[loan.account - 1] && gives(parent, number, second, ca, loans, suspended)
        })
}

fn allowed(
    asker: usize,
    number: u64,
    second: i64,
    ca: bool,
    loans: &[Loan],
    suspended: [bool; 3],
) -> bool {
    let own = |place: &usize| loans[*place].account == asker;
    let given = (0..loans.len())
        .filter(own)
        .any(|place| gives(place, number, second, ca, loans, suspended));
    let lent_on = loans.iter().any(|loan| {
        loan.parent.is_some()
            && loan.account == asker + 1
            && !loan.keeps
            && loan.holds(number, second)
    });
    given && !lent_on
}

fn loan(account: usize, above: usize, offset: usize) -> impl Strategy<Value = Loan> {
    let wide = (100_u64..103, 15_u64..20, Just(0_i64), Just(None));
    let any = (
        100_u64..115,
        1_u64..8,
        0..8_i64,
        prop::option::of(9..20_i64),
    );
    let from = if account == 0 {
        Just(None).boxed()
    } else {
        // Some loans of a customer are the carrier's own.
        prop::option::weighted(0.85, (0..above).prop_map(move |n| offset + n)).boxed()
    };
    (
        prop_oneof![2 => wide, 1 => any],
        from,
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.6),
    )
        .prop_map(
            move |((first, count, from, until), parent, ca, keeps)| Loan {
                account,
                parent,
                first,
                count,
                from,
                until,
                ca,
                keeps,
            },
        )
}

fn loans() -> impl Strategy<Value = Vec<Loan>> {
    (
        prop::collection::vec(loan(0, 0, 0), 2),
        prop::collection::vec(loan(1, 2, 0), 3),
        prop::collection::vec(loan(2, 3, 2), 3),
    )
        .prop_map(|(first, second, third)| [first, second, third].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn a_chain_gives_what_the_oracle_follows_to_the_carrier(
        asker in 0_usize..3,
        (first, count) in (100_u64..115, 1_u64..6),
        ca in prop::bool::weighted(0.3),
        loans in loans(),
        suspended in prop::array::uniform3(prop::bool::weighted(0.2)),
    ) {
        let entry = if count == 1 { format!("one:{first}") } else { format!("range:{first}+{count}") };
        let list = TnAuthList::from_entries(vec![entry.parse().expect("an entry")]).expect("a list");
        let request = TokenRequest::new(list, ca, Fingerprint::from([0x5e; 32]), None).expect("E.164");
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
        let all_at = |second| asked.clone().all(|n| allowed(asker, n, second, ca, &loans, suspended));
        let end = (NOW..UNTIL).find(|second| !all_at(*second)).unwrap_or(UNTIL);

        match decide(&question, &facts(asker, &loans, suspended)) {
            Ok(Decision { expires_at, .. }) => prop_assert_eq!(expires_at, at(end)),
            Err(Denial::NotAuthorized(refusals)) => {
                prop_assert_eq!(end, NOW);
                let refused: BTreeSet<u64> = refusals.iter().flat_map(|refusal| {
                    let Subject::Numbers(range) = &refusal.subject else { panic!("no code was asked for") };
                    let first: u64 = range.first().to_digits().parse().expect("digits");
                    first..first + range.count()
                }).collect();
                for number in refused {
                    prop_assert!(!allowed(asker, number, NOW, ca, &loans, suspended), "{number} was refused");
                }
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
