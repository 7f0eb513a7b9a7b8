//! Grants: the ledger. A grant is recorded before its token is signed.

use diesel::prelude::*;
use uuid::Uuid;

use super::accounts::Within;
use super::columns;
use super::versioned::{ROWS_PER_INSERT, WIDE_ROWS_PER_INSERT};
use crate::domain::clock::{Time, from_unix};
use crate::domain::decision::policy_trace::PolicyTrace;
use crate::domain::inventory::RowRef;
use crate::domain::tokens::grant::{Grant, GrantState, Jti, Justification, Withdrawal};
use crate::domain::{AccountId, NumberRange, TkValue};
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::page::{Page, PageOf};
use crate::store::schema::{grant_numbers, grants};
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
// Lets diesel insert many rows in one statement.
#[diesel(table_name = grants, treat_none_as_default_value = false)]
pub(in crate::store) struct Row {
    jti: String,
    account_id: String,
    tkvalue: String,
    ca: bool,
    fingerprint: String,
    issued_at: i64,
    expires_at: i64,
    chain: String,
    caller: String,
    request_id: String,
    justified_by: String,
    withdrawn_at: Option<i64>,
    withdrawal_reason: Option<String>,
    policies: String,
    policy_set: Option<String>,
    tktype: String,
    dialect: String,
}

#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = grant_numbers)]
struct NumbersRow<'a> {
    jti: &'a str,
    entry: i32,
    first_position: i64,
    last_position: i64,
    span: i64,
    expires_at: i64,
}

/// Selects grants of the ledger; the default selects all.
#[derive(Debug, Clone, Default)]
pub struct GrantFilter {
    pub account: Option<AccountId>,
    /// Only grants of these accounts.
    pub within: Option<Within>,
    /// Only grants whose list overlaps these numbers.
    pub numbers: Option<NumberRange>,
    /// Only grants in this state at this instant.
    pub state: Option<(GrantState, Time)>,
    /// Only grants whose token can be redeemed after this instant.
    pub expiring_after: Option<Time>,
}

impl GrantFilter {
    /// The grants whose tokens can still be redeemed after `time`, withdrawn or not: a token that
    /// was issued cannot be recalled.
    #[must_use]
    pub fn outstanding(time: Time) -> Self {
        Self {
            expiring_after: Some(time),
            ..Self::default()
        }
    }
}

impl From<&Grant> for Row {
    fn from(grant: &Grant) -> Self {
        let justified_by = grant.justified_by.iter();
        let justified_by = justified_by.map(|j| format!("{}:{}", j.kind(), j.row()));
        Self {
            jti: grant.jti.to_string(),
            account_id: grant.account.to_string(),
            tkvalue: grant.tkvalue.text(),
            ca: grant.ca,
            fingerprint: grant.fingerprint.to_string(),
            issued_at: grant.issued_at.timestamp(),
            expires_at: grant.expires_at.timestamp(),
            chain: grant.chain.clone(),
            caller: grant.caller.clone(),
            request_id: grant.request_id.to_string(),
            justified_by: justified_by.collect::<Vec<_>>().join(" "),
            withdrawn_at: grant.withdrawal.as_ref().map(|w| w.at.timestamp()),
            withdrawal_reason: grant.withdrawal.as_ref().map(|w| w.reason.clone()),
            policies: grant.policies.to_text(),
            policy_set: grant.policies.set().map(str::to_owned),
            tktype: grant.tkvalue.tktype().as_str().to_owned(),
            dialect: grant.dialect.as_str().to_owned(),
        }
    }
}

impl TryFrom<Row> for Grant {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let justified_by = row.justified_by.split_whitespace().map(justification);
        let tktype = row.tktype.parse().map_err(StoreError::corrupt)?;
        let dialect = row.dialect.parse().map_err(StoreError::corrupt)?;
        let withdrawal = row.withdrawn_at.map(|at| Withdrawal {
            at: from_unix(at),
            reason: row.withdrawal_reason.unwrap_or_default(),
        });
        Ok(Self {
            jti: Jti::from_text(&row.jti),
            account: row.account_id.parse().map_err(StoreError::corrupt)?,
            tkvalue: TkValue::read(tktype, &row.tkvalue, dialect).map_err(StoreError::corrupt)?,
            dialect,
            ca: row.ca,
            fingerprint: row.fingerprint.parse().map_err(StoreError::corrupt)?,
            issued_at: from_unix(row.issued_at),
            expires_at: from_unix(row.expires_at),
            chain: row.chain,
            caller: row.caller,
            request_id: Uuid::parse_str(&row.request_id).map_err(StoreError::corrupt)?,
            justified_by: justified_by.collect::<Result<_, _>>()?,
            policies: PolicyTrace::from_text(&row.policies, row.policy_set.as_deref()),
            withdrawal,
        })
    }
}

/// The ids of grants whose numbers overlap these, and whose tokens expire after an instant. One
/// clause for each span, so that each is an index lookup.
macro_rules! touching {
    ($numbers:expr, $expiring_after:expr) => {{
        let (first, last) = ($numbers.first().position(), $numbers.last().position());
        // No range has the span 0, so this matches nothing; the loop adds each span with OR.
        let none = grant_numbers::span.eq(0);
        let mut found = grant_numbers::table
            .select(grant_numbers::jti)
            .filter(none)
            .into_boxed();
        for span in (0..=u32::from(MAX_DIGITS)).map(|k| 10_i64.pow(k)) {
            found = found.or_filter(
                grant_numbers::span
                    .eq(span)
                    .and(grant_numbers::first_position.gt(first - span))
                    .and(grant_numbers::first_position.le(last))
                    .and(grant_numbers::last_position.ge(first))
                    .and(grant_numbers::expires_at.gt($expiring_after)),
            );
        }
        found
    }};
}
pub(in crate::store) use touching;

/// The condition that a grant is not withdrawn at an instant.
macro_rules! not_withdrawn {
    ($time:expr) => {
        grants::withdrawn_at
            .is_null()
            .or(grants::withdrawn_at.gt($time.timestamp()))
    };
}
pub(in crate::store) use not_withdrawn;

/// The grants that match a filter.
macro_rules! passing {
    ($filter:expr) => {{
        use $crate::domain::numbers::number::MAX_DIGITS;
        use $crate::domain::tokens::grant::GrantState;
        use $crate::store::schema::{grant_numbers, grants};
        use $crate::store::tables::accounts::{path, within};
        let expiring_after = $filter
            .expiring_after
            .map_or(i64::MIN, |time| time.timestamp());
        let mut query = grants::table
            .filter(grants::expires_at.gt(expiring_after))
            .into_boxed();
        if let Some(account) = &$filter.account {
            query = query.filter(grants::account_id.eq(account.as_str()));
        }
        if let Some(within) = &$filter.within {
            query = query.filter(grants::account_id.eq_any(within!(within)));
        }
        if let Some(numbers) = $filter.numbers {
            query = query.filter(grants::jti.eq_any($crate::store::tables::grants::touching!(
                numbers,
                expiring_after
            )));
        }
        match $filter.state {
            None => query,
            Some((GrantState::Withdrawn, time)) => {
                query.filter(grants::withdrawn_at.le(time.timestamp()))
            }
            // A grant whose withdrawal takes effect later is still active.
            Some((GrantState::Active, time)) => query
                .filter($crate::store::tables::grants::not_withdrawn!(time))
                .filter(grants::expires_at.gt(time.timestamp())),
            Some((GrantState::Expired, time)) => query
                .filter($crate::store::tables::grants::not_withdrawn!(time))
                .filter(grants::expires_at.le(time.timestamp())),
        }
    }};
}
pub(in crate::store) use passing;

fn justification(text: &str) -> Result<Justification, StoreError> {
    let malformed = || StoreError::corrupt(format!("malformed justification `{text}`"));
    let (kind, row) = text.split_once(':').ok_or_else(malformed)?;
    let (id, version) = row.split_once('/').ok_or_else(malformed)?;
    let row: RowRef = columns::row_ref(id, version.parse().map_err(|_| malformed())?)?;
    match kind {
        "delegation" => Ok(Justification::Delegation(row)),
        "allocation" => Ok(Justification::Allocation(row)),
        "renewal" => Ok(Justification::Renewal(row)),
        _ => Err(malformed()),
    }
}

/// The grants with these ids.
pub(in crate::store) fn of_ids(
    connection: &mut AnyConnection,
    ids: &[&str],
) -> QueryResult<Vec<Row>> {
    on_either!(connection, c => grants::table
        .filter(grants::jti.eq_any(ids))
        .load::<Row>(c))
}

impl Tx<'_> {
    /// Inserts these grants and their numbers.
    ///
    /// # Errors
    /// [`StoreError`] if that fails; then no token may be signed.
    pub fn insert_grants(&mut self, items: &[&Grant]) -> Result<(), StoreError> {
        let rows: Vec<Row> = items.iter().map(|grant| Row::from(*grant)).collect();
        let mut numbers = Vec::new();
        for grant in items {
            let ranges = grant.tkvalue.numbers().map_err(StoreError::corrupt)?;
            numbers.extend(
                ranges
                    .into_iter()
                    .zip(1..)
                    .map(|(range, entry)| NumbersRow {
                        jti: grant.jti.as_str(),
                        entry,
                        first_position: range.first().position(),
                        last_position: range.last().position(),
                        span: range.span(),
                        expires_at: grant.expires_at.timestamp(),
                    }),
            );
        }
        // A statement takes a bounded number of parameters; a grant can also have many ranges.
        for chunk in rows.chunks(WIDE_ROWS_PER_INSERT) {
            self.run(|connection| {
                on_either!(connection, c => diesel::insert_into(grants::table).values(chunk).execute(c))
            })?;
        }
        for chunk in numbers.chunks(ROWS_PER_INSERT) {
            self.run(|connection| {
                on_either!(connection, c => diesel::insert_into(grant_numbers::table).values(chunk).execute(c))
            })?;
        }
        Ok(())
    }

    /// One grant. If an unfinished sweep has yet to withdraw it, it is already returned as
    /// withdrawn.
    pub fn grant(&mut self, jti: &Jti) -> Result<Option<Grant>, StoreError> {
        let row = self.run(|connection| {
            on_either!(connection, c => grants::table.find(jti.as_str()).first::<Row>(c).optional())
        })?;
        let Some(mut grant) = row.map(Grant::try_from).transpose()? else {
            return Ok(None);
        };
        if let Some(pending) = self.pending_withdrawal(&grant)? {
            grant.withdrawal = Some(pending);
        }
        Ok(Some(grant))
    }

    /// A page of the grants that match the filter, ordered by the second in which they were issued.
    pub fn list_grants(
        &mut self,
        filter: &GrantFilter,
        page: &Page,
    ) -> Result<PageOf<Grant>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => passing!(filter)
                .filter(grants::jti.gt(page.after()))
                .order(grants::jti)
                .limit(page.fetch())
                .load::<Row>(c))
        })?;
        page.of(rows, |row| row.jti.clone())
    }

    /// The newest grants that match the filter, the newest first.
    pub fn newest_grants(
        &mut self,
        filter: &GrantFilter,
        limit: u16,
    ) -> Result<Vec<Grant>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => passing!(filter)
                .order(grants::jti.desc())
                .limit(limit.into())
                .load::<Row>(c))
        })?;
        rows.into_iter().map(TryInto::try_into).collect()
    }
}
