//! Rulings of policies, and those that wait for facts about rows.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::row_facts::{RowFacts, RowInputs};
use crate::domain::accounts::account::AccountId;
use crate::domain::control::facts::{ControlFacts, NewestProof};
use crate::domain::decision::control_lack::ControlLack;
use crate::domain::decision::denial::{Denial, RefusalCause, RefusedPart, Subject};
use crate::domain::decision::policy_trace::PolicyTrace;
use crate::domain::numbers::number::Tn;

/// How many different proofs a refusal asks the policies about. With more, it names all numbers.
const MAX_ASKED: usize = 64;

/// The decision on a request, and the policies that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// The refusal is shown to the caller, so it reveals nothing that the caller may not know.
    pub verdict: Result<(), Denial>,
    /// For the grant and the audit trail.
    pub by: PolicyTrace,
}

/// Policies that refer to rows: the set that was in force when the request was made, with
/// everything else that it rules on. It is asked in the transaction that records the grant.
pub trait RowPolicies: fmt::Debug + Send + Sync {
    /// The facts that the set refers to.
    fn inputs(&self) -> RowInputs;

    /// The ruling, given these facts. It depends on nothing else.
    fn rule(&self, rows: &RowFacts) -> Ruling;
}

/// A ruling that is still to be made.
#[derive(Clone)]
pub struct DeferredRuling {
    pub policies: Arc<dyn RowPolicies>,
    /// How many numbers stand for a longer list; 0: every number has to be proven.
    pub sample: u32,
    /// The bits of the account and the day that rank numbers for a sample; `None`: none is drawn.
    pub bits: Option<[u8; 32]>,
}

impl fmt::Debug for DeferredRuling {
    /// Omits the bits, which nobody must know.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredRuling")
            .field("policies", &self.policies)
            .field("sample", &self.sample)
            .finish_non_exhaustive()
    }
}

impl DeferredRuling {
    /// The ruling, given these facts. A refusal for lack of control names the numbers.
    #[must_use]
    pub fn rule(&self, account: &AccountId, rows: &RowFacts) -> Ruling {
        let Ruling { verdict, by } = self.policies.rule(rows);
        let verdict = verdict.map_err(|denial| match denial {
            Denial::Policy { code, detail, by } if code == Denial::CONTROL_NOT_PROVEN => {
                Denial::ControlNotProven {
                    detail,
                    by,
                    lack: Box::new(self.lack(account, rows)),
                }
            }
            other => other,
        });
        Ruling { verdict, by }
    }

    fn lack(&self, account: &AccountId, rows: &RowFacts) -> ControlLack {
        let control = &rows.control;
        let lacking = self.lacking(rows).into_iter();
        ControlLack {
            account: account.clone(),
            refused: lacking.map(refused).collect(),
            total: control.total,
            is_sample: control.is_sample,
            renewed_by: None,
        }
    }

    /// The numbers whose proof would not satisfy the policies if all others had the same: those
    /// without one, and those that are too old or by another method. All numbers, if that is not
    /// certain.
    fn lacking(&self, rows: &RowFacts) -> Vec<(Tn, Option<NewestProof>)> {
        let numbers = &rows.control.numbers;
        let mut accepted: HashMap<NewestProof, bool> = HashMap::new();
        for proof in numbers.iter().filter_map(|(_, proof)| *proof) {
            if accepted.len() == MAX_ASKED && !accepted.contains_key(&proof) {
                return numbers.clone();
            }
            accepted.entry(proof).or_insert_with(|| {
                let control = ControlFacts::of_one(proof);
                let alone = RowFacts {
                    control,
                    ..rows.clone()
                };
                self.policies.rule(&alone).verdict.is_ok()
            });
        }
        let is_accepted = |proof: &NewestProof| accepted.get(proof) == Some(&true);
        let lacks = |proof: &Option<NewestProof>| !proof.as_ref().is_some_and(is_accepted);
        let lacking = numbers.iter().filter(|(_, proof)| lacks(proof));
        let lacking: Vec<(Tn, Option<NewestProof>)> = lacking.copied().collect();
        if lacking.is_empty() {
            // Each proof would do, but not all of them together.
            return numbers.clone();
        }
        lacking
    }
}

fn refused((number, proof): (Tn, Option<NewestProof>)) -> RefusedPart {
    RefusedPart {
        subject: Subject::Numbers(number.into()),
        cause: RefusalCause::ControlNotProven {
            age: proof.map(|proof| proof.age),
        },
    }
}
