//! The ends of proofs of control. What takes numbers or accounts away ends their proofs in the same
//! transaction: one statement, whatever their number, and none while there is no proof at all.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Text};
use serde_json::json;

use super::accounts::{Within, path, within};
use crate::domain::NumberRange;
use crate::domain::clock::Time;
use crate::domain::control::proof::ProofEnd;
use crate::domain::inventory::Exclusion;
use crate::domain::inventory::departure::Departure;
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::schema::control_proofs;
use crate::store::tx::Tx;

/// Numbers whose proofs end, each range at an instant.
#[derive(Debug, Default)]
struct EndingNumbers {
    firsts: Vec<i64>,
    lasts: Vec<i64>,
    at: Vec<i64>,
}

impl EndingNumbers {
    fn add(&mut self, numbers: NumberRange, at: Time) {
        self.firsts.push(numbers.first().position());
        self.lasts.push(numbers.last().position());
        self.at.push(at.timestamp());
    }

    /// The same as SQLite's `json_each` takes it.
    fn to_json(&self) -> String {
        let rows = self.firsts.iter().zip(&self.lasts).zip(&self.at);
        rows.map(|((first, last), at)| json!([first, last, at]))
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
         AND (c.ends_at IS NULL OR c.ends_at > r.at) AND (c.confirmed_at IS NOT NULL OR c.expires_at > {now}) \
         GROUP BY c.id) ending WHERE control_proofs.id = ending.id"
    )
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
                "unnest($1, $2, $3) AS r (first, last, at)",
                ["$4", "$5"],
            ))
            .bind::<Array<BigInt>, _>(&ending.firsts)
            .bind::<Array<BigInt>, _>(&ending.lasts)
            .bind::<Array<BigInt>, _>(&ending.at)
            .bind::<Text, _>(reason)
            .bind::<BigInt, _>(at)
            .execute(c),
            AnyConnection::Sqlite(c) => sql_query(end_statement(
                "(SELECT value ->> 0 AS first, value ->> 1 AS last, value ->> 2 AS at FROM json_each(?1)) r",
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
    use diesel::sql_types::Text;
    use diesel::{QueryableByName, RunQueryDsl as _, sql_query};

    use super::*;
    use crate::store::connector::IfMissing;
    use crate::store::{DatabaseUrl, Store};

    #[derive(Debug, QueryableByName)]
    struct PlanStep {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    /// A port-out must not get slower with the proofs of all years.
    #[test]
    fn the_proofs_of_a_range_are_found_by_an_index() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let url = DatabaseUrl::Sqlite(dir.path().join("plan.db"));
        Store::migrate(&url).expect("migrations");
        let Ok(AnyConnection::Sqlite(mut connection)) = url.connect(IfMissing::Fail) else {
            panic!("SQLite")
        };
        let ranges = "(SELECT value ->> 0 AS first, value ->> 1 AS last, value ->> 2 AS at \
                      FROM json_each('[[1,2,3]]')) r";
        let statement = end_statement(ranges, ["'x'", "1"]);
        let plan = sql_query(format!("EXPLAIN QUERY PLAN {statement}"));
        let steps: Vec<PlanStep> = plan.load(&mut connection).expect("a plan");
        let found = |text: &str| steps.iter().any(|step| step.detail.contains(text));
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
