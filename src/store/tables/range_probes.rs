//! The number ranges that an overlap query looks up, for a whole batch of requests.

use std::cell::OnceCell;

use crate::domain::numbers::range_set::merged;
use crate::domain::{AccountId, NumberRange};

/// Ranges to look up, each with the index of its request in the batch, and the account of the
/// request. A column is a vector, as PostgreSQL's `unnest` takes it.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct RangeProbes {
    pub(super) requests: Vec<i32>,
    pub(super) firsts: Vec<i64>,
    pub(super) lasts: Vec<i64>,
    pub(super) accounts: Vec<String>,
    json: OnceCell<String>,
}

impl RangeProbes {
    /// The probes of a single request, without an account.
    pub(in crate::store) fn of(numbers: &[NumberRange]) -> Self {
        let mut probes = Self::default();
        probes.add(0, None, numbers);
        probes
    }

    /// Adds the ranges of a request. Ranges that overlap or adjoin each other become one probe.
    pub(in crate::store) fn add(
        &mut self,
        request: usize,
        account: Option<&AccountId>,
        numbers: &[NumberRange],
    ) {
        for range in merged(numbers.to_vec()) {
            self.requests
                .push(i32::try_from(request).unwrap_or(i32::MAX));
            self.firsts.push(range.first().position());
            self.lasts.push(range.last().position());
            self.accounts
                .push(account.map(ToString::to_string).unwrap_or_default());
        }
    }

    /// Whether each request has one probe, so that no row can overlap two of them. Their indices
    /// ascend.
    pub(super) fn are_of_one_each(&self) -> bool {
        self.requests.is_sorted_by(|one, next| one < next)
    }

    pub(in crate::store) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The probes as SQLite's `json_each` takes them, once they are complete.
    pub(super) fn json(&self) -> &String {
        self.json.get_or_init(|| {
            let rows = self.requests.iter().zip(&self.firsts).zip(&self.lasts);
            let rows = rows.zip(&self.accounts);
            let rows =
                rows.map(|(((request, first), last), account)| (request, first, last, account));
            // It cannot fail; if it did, the query would, and not find nothing.
            serde_json::to_string(&rows.collect::<Vec<_>>()).unwrap_or_default()
        })
    }
}
