//! What policies see of control: whether the numbers of a request were proven, how long ago, and
//! by which methods.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::proof::{ConfirmedProof, ControlProof, Method};
use crate::domain::clock::Time;
use crate::domain::decision::live_delegations::LiveDelegation;
use crate::domain::numbers::number::{NumberRange, Tn};

/// The most numbers of one request that are looked up. A longer list needs a sample.
pub const MAX_NUMBERS: u64 = 1_000;

/// What is known of control of the numbers of one request, in the transaction that decides it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ControlFacts {
    /// Whether every number that has to be proven has a proof that counts. `false` for a request
    /// without numbers.
    pub proven: bool,
    /// The age of the oldest of these proofs in seconds, rounded up by [`coarse_up`]; `None` if a
    /// number has none.
    pub age: Option<u64>,
    /// The methods of these proofs.
    pub methods: BTreeSet<Method>,
    /// The same, by proofs for the key of the request alone.
    pub for_key: KeyControl,
    /// The numbers that have to be proven, each with its newest proof that counts: all numbers, or
    /// the sample that stands for them. Empty if the list is too long, or no sample is drawn yet.
    pub numbers: Vec<(Tn, Option<NewestProof>)>,
    /// Whether `numbers` is a sample.
    pub is_sample: bool,
    /// How many numbers the list has.
    pub total: u64,
}

/// Whether the numbers are proven by proofs that name the key of the request. Others count for
/// every key, so also for one that a thief of the credentials has made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyControl {
    pub proven: bool,
    pub age: Option<u64>,
    pub methods: BTreeSet<Method>,
}

/// The newest proof of a number that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NewestProof {
    /// In seconds, rounded up by [`coarse_up`].
    pub age: u64,
    pub method: Method,
    /// Age and method of the newest one that names the key of the request.
    pub for_key: Option<(u64, Method)>,
}

/// The numbers of a list that have to be proven.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequiredNumbers {
    pub numbers: Vec<Tn>,
    pub is_sample: bool,
    /// How many numbers the list has.
    pub total: u64,
}

/// How many numbers a list without overlap has.
#[must_use]
pub fn count(list: &[NumberRange]) -> u64 {
    let counts = list.iter().map(|range| range.count());
    counts.fold(0, u64::saturating_add)
}

pub(super) fn numbers_of(range: NumberRange) -> impl Iterator<Item = Tn> {
    (range.first().position()..=range.last().position())
        .filter_map(|position| Tn::from_position(position).ok())
}

impl ControlFacts {
    /// The facts about these numbers. A proof counts for a number as long as the delegation under
    /// which it was started counts for that number: one that ended with a port-out does not count
    /// when the number is back, and delegated anew.
    #[must_use]
    pub fn of(
        required: RequiredNumbers,
        proofs: &[ConfirmedProof],
        live: &[LiveDelegation],
        now: Time,
    ) -> Self {
        let mut newest: HashMap<Tn, NewestProof> = HashMap::new();
        for proof in proofs {
            let Some(age) = age(proof.at, now).filter(|_| proof.counts_under(live)) else {
                continue;
            };
            let (age, method) = (coarse_up(age), proof.method);
            let found = NewestProof {
                age,
                method,
                for_key: proof.is_for_key.then_some((age, method)),
            };
            let known = newest.entry(proof.number).or_insert(found);
            if (found.age, found.method) < (known.age, known.method) {
                (known.age, known.method) = (found.age, found.method);
            }
            known.for_key = known.for_key.into_iter().chain(found.for_key).min();
        }
        let numbers = required.numbers.into_iter();
        let numbers: Vec<(Tn, Option<NewestProof>)> = numbers
            .map(|number| (number, newest.get(&number).copied()))
            .collect();
        let proofs = numbers.iter().map(|(_, proof)| *proof);
        let any = KeyControl::of(
            proofs
                .clone()
                .map(|one| one.map(|proof| (proof.age, proof.method))),
        );
        let for_key = KeyControl::of(proofs.map(|one| one?.for_key));
        Self {
            proven: any.proven,
            age: any.age,
            methods: any.methods,
            for_key,
            is_sample: required.is_sample,
            total: required.total,
            numbers,
        }
    }

    /// As if one proof were all that there is: what a policy says of it alone.
    #[must_use]
    pub fn of_one(proof: NewestProof) -> Self {
        Self {
            proven: true,
            age: Some(proof.age),
            methods: BTreeSet::from([proof.method]),
            for_key: KeyControl::of([proof.for_key].into_iter()),
            total: 1,
            ..Self::default()
        }
    }

    /// What a grant keeps of it: which numbers had proofs follows from the proofs at that time.
    #[must_use]
    pub fn summary(&self) -> Value {
        let proven = self.numbers.iter().filter(|(_, proof)| proof.is_some());
        json!({
            "proven": self.proven, "age": self.age, "methods": self.methods,
            "for_key_age": self.for_key.age, "sample": self.is_sample,
            "numbers": self.numbers.len(), "with_proof": proven.count(),
        })
    }

    /// Whether the list is too long to be proven, and no sample stands for it.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        self.total > 0 && self.numbers.is_empty() && !self.is_sample
    }
}

impl ConfirmedProof {
    /// Whether the delegation under which it was started is one of these and counts for the number.
    #[must_use]
    pub fn counts_under(&self, live: &[LiveDelegation]) -> bool {
        let mut live = live.iter();
        live.any(|one| one.id == self.delegation && one.numbers.contains(self.number))
    }
}

impl KeyControl {
    /// By the age and method of the newest proof of each number.
    fn of(numbers: impl Iterator<Item = Option<(u64, Method)>> + Clone) -> Self {
        let mut all = numbers.clone().peekable();
        let proven = all.peek().is_some() && all.all(|proof| proof.is_some());
        let ages = numbers.clone().flatten().map(|(age, _)| age);
        Self {
            proven,
            age: ages.max().filter(|_| proven),
            methods: numbers.flatten().map(|(_, method)| method).collect(),
        }
    }
}

/// The age of a proof; `None` if it is from a future that no difference of clocks explains.
fn age(confirmed_at: Time, now: Time) -> Option<u64> {
    (!ControlProof::is_ahead(confirmed_at, now)).then(|| seconds_since(confirmed_at, now))
}

/// The seconds from then to now; 0 if that is in the future.
#[must_use]
pub fn seconds_since(then: Time, now: Time) -> u64 {
    (now - then).num_seconds().max(0).unsigned_abs()
}

/// Whole minutes below a day, whole hours above, rounded up: so that decisions can be cached, and
/// a proof never seems younger than it is.
#[must_use]
pub const fn coarse_up(seconds: u64) -> u64 {
    let step = step(seconds);
    seconds.div_ceil(step).saturating_mul(step)
}

/// The same, rounded down: so that a delegation or a key never seems older than it is.
#[must_use]
pub const fn coarse_down(seconds: u64) -> u64 {
    let step = step(seconds);
    seconds / step * step
}

const fn step(seconds: u64) -> u64 {
    if seconds < 86_400 { 60 } else { 3_600 }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::clock::from_unix;
    use crate::domain::control::sample::ProvenParts;

    #[test]
    fn ages_are_whole_minutes_and_hours() {
        for (seconds, up, down) in [
            (0, 0, 0),
            (1, 60, 0),
            (60, 60, 60),
            (86_340, 86_340, 86_340),
            (86_341, 86_400, 86_340),
            (86_399, 86_400, 86_340),
            (86_400, 86_400, 86_400),
            (86_401, 90_000, 86_400),
            (2_591_999, 2_592_000, 2_588_400),
            (2_592_000, 2_592_000, 2_592_000),
        ] {
            assert_eq!((coarse_up(seconds), coarse_down(seconds)), (up, down));
        }
        // It saturates to whole steps and does not overflow.
        assert!(coarse_up(u64::MAX) >= u64::MAX - 3_600);
    }

    fn tn(text: &str) -> Tn {
        text.parse().expect("a number")
    }

    fn required(numbers: &[&str]) -> RequiredNumbers {
        RequiredNumbers {
            numbers: numbers.iter().map(|text| tn(text)).collect(),
            is_sample: false,
            total: numbers.len() as u64,
        }
    }

    fn proof(number: &str, delegation: u128, method: Method, at: i64) -> ConfirmedProof {
        ConfirmedProof {
            number: tn(number),
            delegation: Uuid::from_u128(delegation),
            method,
            is_for_key: false,
            at: from_unix(at),
        }
    }

    fn live(delegation: u128, first: &str, count: u64) -> LiveDelegation {
        LiveDelegation {
            id: Uuid::from_u128(delegation),
            numbers: NumberRange::new(tn(first), count).expect("a range"),
            block: NumberRange::new(tn(first), count).expect("a range"),
            since: from_unix(0),
        }
    }

    const A: &str = "+12125551001";
    const B: &str = "+12125551002";

    #[test]
    fn all_numbers_need_a_proof_that_counts() {
        let (now, both) = (from_unix(10_000), [live(1, A, 2)]);
        let of =
            |proofs: &[ConfirmedProof]| ControlFacts::of(required(&[A, B]), proofs, &both, now);
        let one = of(&[proof(A, 1, Method::Sms, 9_999)]);
        assert_eq!((one.proven, one.age), (false, None));
        assert_eq!(one.methods, BTreeSet::from([Method::Sms]));
        let two = of(&[
            proof(A, 1, Method::Sms, 9_999),
            proof(B, 1, Method::Voice, 9_000),
            proof(B, 1, Method::Sip, 8_000),
        ]);
        assert_eq!((two.proven, two.age), (true, Some(1_020)));
        assert_eq!(two.methods, BTreeSet::from([Method::Sms, Method::Voice]));
        // Without a number, nothing is proven.
        let none = ControlFacts::of(required(&[]), &[], &both, now);
        assert_eq!((none.proven, none.is_too_long()), (false, false));
    }

    #[test]
    fn proofs_that_name_the_key_are_counted_by_themselves() {
        let (now, both) = (from_unix(10_000), [live(1, A, 2)]);
        let keyed = |number, method, at| ConfirmedProof {
            is_for_key: true,
            ..proof(number, 1, method, at)
        };
        let of =
            |proofs: &[ConfirmedProof]| ControlFacts::of(required(&[A, B]), proofs, &both, now);
        // The newest proof of `B` is for every key.
        let newest = proof(B, 1, Method::Sms, 9_999);
        let one = of(&[keyed(A, Method::Sip, 9_000), newest.clone()]);
        assert_eq!(
            (one.proven, one.for_key.proven, one.for_key.age),
            (true, false, None)
        );
        let two = of(&[
            keyed(A, Method::Sip, 9_000),
            newest,
            keyed(B, Method::Voice, 8_000),
        ]);
        assert_eq!((two.age, two.for_key.age), (Some(1_020), Some(2_040)));
        assert_eq!(two.methods, BTreeSet::from([Method::Sip, Method::Sms]));
        let expected = BTreeSet::from([Method::Sip, Method::Voice]);
        assert_eq!(two.for_key.methods, expected);
        assert!(!of(&[]).for_key.proven);
    }

    #[test]
    fn a_proof_counts_as_long_as_its_delegation_counts_for_its_number() {
        let now = from_unix(10_000);
        let proofs = [proof(A, 1, Method::Sms, 9_999)];
        let with = |live: &[LiveDelegation]| ControlFacts::of(required(&[A]), &proofs, live, now);
        assert!(with(&[live(1, A, 1)]).proven);
        // Ended, replaced by another, or no longer for this number.
        assert!(!with(&[]).proven);
        assert!(!with(&[live(2, A, 1)]).proven);
        assert!(!with(&[live(1, B, 1)]).proven);
    }

    #[test]
    fn a_proof_from_the_future_counts_within_the_difference_of_clocks() {
        for (at, age) in [(10_060, Some(0)), (10_061, None), (10_001, Some(0))] {
            let proofs = [proof(A, 1, Method::Sms, at)];
            let live = [live(1, A, 1)];
            let facts = ControlFacts::of(required(&[A]), &proofs, &live, from_unix(10_000));
            assert_eq!((facts.proven, facts.age), (age.is_some(), age), "{at}");
        }
    }

    #[test]
    fn a_list_that_is_too_long_requires_no_number_and_is_not_proven() {
        let required = |count| {
            let list = [NumberRange::new(tn("+12125551000"), count).expect("a range")];
            ProvenParts::of(&list, [], 0).required(&[])
        };
        let all = required(1_000);
        assert_eq!((all.numbers.len(), all.total), (1_000, 1_000));
        let none = required(1_001);
        assert_eq!((none.numbers.len(), none.total), (0, 1_001));
        let facts = ControlFacts::of(none, &[], &[], from_unix(0));
        assert_eq!((facts.proven, facts.is_too_long()), (false, true));
    }
}
