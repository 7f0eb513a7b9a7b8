//! The ends of proofs of control. What takes numbers or accounts away ends their proofs in the same
//! transaction: one statement, whatever their number, and none while there is no proof at all.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Text};
use serde_json::json;
use uuid::Uuid;

use super::accounts::{Within, path, within};
use super::control_proofs::Row;
use crate::domain::clock::Time;
use crate::domain::control::proof::{ControlProof, Method, ProofEnd};
use crate::domain::inventory::departure::Departure;
use crate::domain::inventory::{Delegation, Exclusion};
use crate::domain::{AccountId, NumberRange, Tn};
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::schema::control_proofs;
use crate::store::tx::Tx;

/// Numbers whose proofs end, each range at an instant: all of them, or those under one delegation
/// or of one account.
#[derive(Debug, Default)]
struct EndingNumbers {
    firsts: Vec<i64>,
    lasts: Vec<i64>,
    at: Vec<i64>,
    /// The id of a delegation or an account; empty: all proofs.
    whose: Vec<String>,
}

impl EndingNumbers {
    fn add(&mut self, numbers: NumberRange, at: Time) {
        self.add_of(String::new(), numbers, at);
    }

    fn add_of(&mut self, whose: String, numbers: NumberRange, at: Time) {
        self.firsts.push(numbers.first().position());
        self.lasts.push(numbers.last().position());
        self.at.push(at.timestamp());
        self.whose.push(whose);
    }

    /// The same as SQLite's `json_each` takes it.
    fn to_json(&self) -> String {
        let rows = self.firsts.iter().zip(&self.lasts).zip(&self.at);
        let rows = rows.zip(&self.whose);
        rows.map(|(((first, last), at), whose)| json!([first, last, at, whose]))
            .collect::<serde_json::Value>()
            .to_string()
    }
}

/// Ends the proofs of the numbers in `ranges` that count or can still be confirmed, each at the
/// earliest end that concerns it. The placeholders are for the reason and the current time.
fn end_statement(ranges: &str, [reason, now]: [&str; 2]) -> String {
    format!(
        "UPDATE control_proofs SET ends_at = ending.at, end_reason = {reason} FROM \
         (SELECT c.id, min(r.at) AS at FROM {ranges} CROSS JOIN control_proofs c \
         WHERE c.position >= r.first AND c.position <= r.last \
         AND (r.whose = '' OR r.whose = c.delegation_id OR r.whose = c.account_id) \
         AND (c.ends_at IS NULL OR c.ends_at > r.at) AND (c.confirmed_at IS NOT NULL OR c.expires_at > {now}) \
         GROUP BY c.id) ending WHERE control_proofs.id = ending.id"
    )
}

/// Ends the proofs that meet a condition and are pending.
macro_rules! end_pending {
    ($reason:expr, $now:expr, $which:expr) => {{
        let now = $now.timestamp();
        diesel::update(
            control_proofs::table
                .filter($which)
                .filter(control_proofs::confirmed_at.is_null())
                .filter(control_proofs::expires_at.gt(now))
                .filter(
                    control_proofs::ends_at
                        .is_null()
                        .or(control_proofs::ends_at.gt(now)),
                ),
        )
        .set((
            control_proofs::ends_at.eq(now),
            control_proofs::end_reason.eq($reason.as_str()),
        ))
        .returning(control_proofs::all_columns)
    }};
}

impl Tx<'_> {
    /// Ends the proofs of numbers that are excluded now or later.
    pub(super) fn end_proofs_of_excluded(
        &mut self,
        exclusions: &[Exclusion],
    ) -> Result<(), StoreError> {
        let mut ending = EndingNumbers::default();
        let Some(now) = exclusions.iter().map(|row| row.belief.recorded_at).max() else {
            return Ok(());
        };
        for row in exclusions {
            // What is over, or was superseded, excludes no one any more.
            let is_over = row.window.until().is_some_and(|until| until <= now);
            if row.belief.superseded_at.is_none() && !is_over {
                ending.add(row.numbers, row.window.from().max(now));
            }
        }
        self.end_proofs_in(&ending, ProofEnd::NumberExcluded, now)
    }

    /// Ends the proofs of numbers that leave now or later.
    pub(super) fn end_proofs_of_departed(
        &mut self,
        departures: &[Departure],
    ) -> Result<(), StoreError> {
        let mut ending = EndingNumbers::default();
        let Some(now) = departures.iter().map(|row| row.belief.recorded_at).max() else {
            return Ok(());
        };
        for row in departures {
            if row.belief.superseded_at.is_none() {
                ending.add(row.numbers, row.at.max(now));
            }
        }
        self.end_proofs_in(&ending, ProofEnd::NumberLeft, now)
    }

    /// Ends the proofs under delegations that end now or later, and those of lenders who lend
    /// numbers on and do not keep them.
    pub(super) fn end_proofs_of_delegations(
        &mut self,
        delegations: &[Delegation],
    ) -> Result<(), StoreError> {
        let mut ending = EndingNumbers::default();
        let Some(now) = delegations.iter().map(|row| row.belief.recorded_at).max() else {
            return Ok(());
        };
        for row in delegations {
            if row.belief.superseded_at.is_some() {
                continue;
            }
            let until = row.window.until();
            // Under a new one, no number was asked yet.
            if let Some(until) = until.filter(|_| row.row.version > 1) {
                ending.add_of(row.row.id.to_string(), row.numbers, until.max(now));
            }
            let is_over = until.is_some_and(|until| until <= now);
            let cut_from = row.cut_from.as_ref().filter(|from| !from.lender_keeps);
            if let Some(from) = cut_from.filter(|_| !is_over) {
                let at = row.window.from().max(now);
                ending.add_of(from.lender.to_string(), row.numbers, at);
            }
        }
        self.end_proofs_in(&ending, ProofEnd::DelegationEnded, now)
    }

    /// Ends the proofs under delegations of which no version is left: they never held, or ended in
    /// the second in which they began.
    pub(super) fn end_proofs_of_removed_delegations(
        &mut self,
        ids: &[Uuid],
        now: Time,
    ) -> Result<(), StoreError> {
        if ids.is_empty() || !self.has_control_proofs()? {
            return Ok(());
        }
        let mut ending = EndingNumbers::default();
        for row in self.delegation_versions(ids)? {
            ending.add_of(row.row.id.to_string(), row.numbers, now);
        }
        self.end_proofs_in(&ending, ProofEnd::DelegationEnded, now)
    }

    /// Ends the proofs of an account and of all accounts below it.
    pub(super) fn end_proofs_of_accounts(
        &mut self,
        accounts: &Within,
        now: Time,
    ) -> Result<(), StoreError> {
        if !self.has_control_proofs()? {
            return Ok(());
        }
        let at = now.timestamp();
        let reason = ProofEnd::AccountSuspended.as_str();
        self.run(|connection| {
            on_either!(connection, c => diesel::update(control_proofs::table
                .filter(control_proofs::account_id.eq_any(within!(accounts)))
                .filter(control_proofs::ends_at.is_null().or(control_proofs::ends_at.gt(at)))
                .filter(control_proofs::confirmed_at.is_not_null().or(control_proofs::expires_at.gt(at))))
                .set((control_proofs::ends_at.eq(at), control_proofs::end_reason.eq(reason)))
                .execute(c))
        })?;
        self.remove_ended_control_messages(now)
    }

    /// Ends the proofs of an account whose codes can still come back: those of these numbers, by
    /// one of these methods. Their codes are sent no more. Returns them.
    pub fn end_pending_proofs_of(
        &mut self,
        account: &AccountId,
        numbers: &[Tn],
        methods: &[Method],
        (reason, now): (ProofEnd, Time),
    ) -> Result<Vec<ControlProof>, StoreError> {
        let positions: Vec<i64> = numbers.iter().map(|number| number.position()).collect();
        let methods: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
        let ended = self.run(|connection| {
            on_either!(connection, c => end_pending!(reason, now, control_proofs::position
                .eq_any(&positions)
                .and(control_proofs::account_id.eq(account.as_str()))
                .and(control_proofs::method.eq_any(&methods)))
                .load::<Row>(c))
        })?;
        self.without_codes(ended, now)
    }

    /// Ends the proofs that a right to renew had started and whose codes can still come back. Their
    /// codes are sent no more. Returns them.
    pub fn end_pending_proofs_for(
        &mut self,
        renewal: Uuid,
        (reason, now): (ProofEnd, Time),
    ) -> Result<Vec<ControlProof>, StoreError> {
        let renewal = renewal.to_string();
        let ended = self.run(|connection| {
            on_either!(connection, c => end_pending!(reason, now, control_proofs::renewal_id
                .is_not_null()
                .and(control_proofs::renewal_id.eq(&renewal)))
                .load::<Row>(c))
        })?;
        self.without_codes(ended, now)
    }

    fn without_codes(
        &mut self,
        ended: Vec<Row>,
        now: Time,
    ) -> Result<Vec<ControlProof>, StoreError> {
        if !ended.is_empty() {
            self.remove_ended_control_messages(now)?;
        }
        ended.into_iter().map(TryInto::try_into).collect()
    }

    fn end_proofs_in(
        &mut self,
        ending: &EndingNumbers,
        reason: ProofEnd,
        now: Time,
    ) -> Result<(), StoreError> {
        if ending.at.is_empty() || !self.has_control_proofs()? {
            return Ok(());
        }
        let (reason, at) = (reason.as_str(), now.timestamp());
        let ended = self.run(|connection| match connection {
            AnyConnection::Postgres(c) => sql_query(end_statement(
                "unnest($1, $2, $3, $4) AS r (first, last, at, whose)",
                ["$5", "$6"],
            ))
            .bind::<Array<BigInt>, _>(&ending.firsts)
            .bind::<Array<BigInt>, _>(&ending.lasts)
            .bind::<Array<BigInt>, _>(&ending.at)
            .bind::<Array<Text>, _>(&ending.whose)
            .bind::<Text, _>(reason)
            .bind::<BigInt, _>(at)
            .execute(c),
            AnyConnection::Sqlite(c) => sql_query(end_statement(
                "(SELECT value ->> 0 AS first, value ->> 1 AS last, value ->> 2 AS at, value ->> 3 AS whose \
                 FROM json_each(?1)) r",
                ["?2", "?3"],
            ))
            .bind::<Text, _>(ending.to_json())
            .bind::<Text, _>(reason)
            .bind::<BigInt, _>(at)
            .execute(c),
        })?;
        if ended == 0 {
            return Ok(());
        }
        self.remove_ended_control_messages(now)
    }

    /// Whether there is any proof. Most services never ask a number, and need no more than this.
    fn has_control_proofs(&mut self) -> Result<bool, StoreError> {
        let found = self.run(|connection| {
            on_either!(connection, c => control_proofs::table
                .select(control_proofs::id)
                .order(control_proofs::id)
                .first::<String>(c)
                .optional())
        })?;
        Ok(found.is_some())
    }

    /// Removes the codes of ended proofs from the outbox: their numbers must not be reached any
    /// more.
    fn remove_ended_control_messages(&mut self, now: Time) -> Result<(), StoreError> {
        let ended = |now| {
            format!(
                "DELETE FROM control_messages WHERE EXISTS (SELECT 1 FROM control_proofs c \
                 WHERE c.id = control_messages.proof_id AND c.ends_at <= {now})"
            )
        };
        let now = now.timestamp();
        self.run(|connection| match connection {
            AnyConnection::Postgres(c) => sql_query(ended("$1")).bind::<BigInt, _>(now).execute(c),
            AnyConnection::Sqlite(c) => sql_query(ended("?1")).bind::<BigInt, _>(now).execute(c),
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tables::query_plan::query_plan;

    /// A port-out must not get slower with the proofs of all years.
    #[test]
    fn the_proofs_of_a_range_are_found_by_an_index() {
        let ranges = "(SELECT value ->> 0 AS first, value ->> 1 AS last, value ->> 2 AS at, \
                      value ->> 3 AS whose FROM json_each('[[1,2,3,\"\"]]')) r";
        let steps = query_plan(&end_statement(ranges, ["'x'", "1"]));
        let found = |text: &str| steps.iter().any(|step| step.contains(text));
        assert!(
            found("SEARCH c USING INDEX control_proofs_by_number (position>? AND position<?)"),
            "{steps:#?}"
        );
        assert!(
            found("SEARCH control_proofs USING COVERING INDEX"),
            "{steps:#?}"
        );
        assert!(
            !found("SCAN control_proofs") && !found("SCAN c"),
            "{steps:#?}"
        );
    }
}
