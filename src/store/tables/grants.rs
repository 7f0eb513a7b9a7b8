//! Grants: the ledger. A grant is recorded before its token is signed.

use diesel::prelude::*;
use uuid::Uuid;

use super::accounts::Within;
use super::columns;
use super::grant_inserts::NewGrant;
use super::grant_terms::CommonRows;
use crate::domain::clock::{Time, from_unix};
use crate::domain::inventory::RowRef;
use crate::domain::tokens::grant::{Grant, GrantState, Jti, Justification, Withdrawal};
use crate::domain::{AccountId, NumberRange, TkValue};
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::page::{Page, PageOf};
use crate::store::schema::grants;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = grants, treat_none_as_default_value = false)]
pub(in crate::store) struct Row {
    pub(super) issued_at: i64,
    pub(super) expires_at: i64,
    pub(super) first_position: Option<i64>,
    pub(super) last_position: Option<i64>,
    pub(super) span: Option<i64>,
    pub(super) withdrawn_at: Option<i64>,
    log_index: Option<i64>,
    pub(super) caller_id: i64,
    pub(super) terms_id: i64,
    pub(super) jti: Vec<u8>,
    pub(super) request_id: Vec<u8>,
    pub(super) fingerprint: Vec<u8>,
    pub(super) account_id: String,
    pub(super) tkvalue: String,
    pub(super) justified_by: String,
    pub(super) withdrawal_reason: Option<String>,
    pub(super) event: Option<String>,
    nonce: Option<Vec<u8>>,
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

impl Row {
    pub(super) fn new(
        new: &NewGrant<'_>,
        terms_id: i64,
        caller_id: i64,
    ) -> Result<Self, StoreError> {
        let grant = new.grant;
        let justified_by = grant.justified_by.iter();
        let justified_by = justified_by.map(|j| format!("{}:{}", j.kind(), j.row()));
        let ranges = grant.tkvalue.numbers().map_err(StoreError::corrupt)?;
        let first = ranges.first();
        let event = new.event.as_ref();
        let event = event.map(|event| serde_json::to_string(&event.detail));
        Ok(Self {
            issued_at: grant.issued_at.timestamp(),
            expires_at: grant.expires_at.timestamp(),
            first_position: first.map(|range| range.first().position()),
            last_position: first.map(|range| range.last().position()),
            span: first.map(|range| range.span()),
            withdrawn_at: grant.withdrawal.as_ref().map(|w| w.at.timestamp()),
            log_index: None,
            caller_id,
            terms_id,
            jti: columns::jti(&grant.jti)?,
            request_id: grant.request_id.as_bytes().to_vec(),
            fingerprint: grant.fingerprint.as_bytes().to_vec(),
            account_id: grant.account.to_string(),
            tkvalue: grant.tkvalue.text(),
            justified_by: justified_by.collect::<Vec<_>>().join(" "),
            withdrawal_reason: grant.withdrawal.as_ref().map(|w| w.reason.clone()),
            event: event.transpose().map_err(StoreError::corrupt)?,
            nonce: None,
        })
    }

    pub(super) fn grant(&self, common: &CommonRows) -> Result<Grant, StoreError> {
        let missing = |what| StoreError::corrupt(format!("a grant refers to unknown {what}"));
        let terms = common.terms.get(&self.terms_id);
        let terms = terms.ok_or_else(|| missing("terms"))?;
        let caller = common.callers.get(&self.caller_id);
        let caller = caller.ok_or_else(|| missing("callers"))?;
        let justified_by = self.justified_by.split_whitespace().map(justification);
        let tktype = terms.tktype.parse().map_err(StoreError::corrupt)?;
        let dialect = terms.dialect.parse().map_err(StoreError::corrupt)?;
        let fingerprint = self.fingerprint.as_slice();
        let fingerprint: [u8; 32] = fingerprint.try_into().map_err(StoreError::corrupt)?;
        Ok(Grant {
            jti: Jti::from_bytes(&self.jti),
            account: self.account_id.parse().map_err(StoreError::corrupt)?,
            tkvalue: TkValue::read(tktype, &self.tkvalue, dialect).map_err(StoreError::corrupt)?,
            dialect,
            ca: terms.ca,
            fingerprint: fingerprint.into(),
            issued_at: from_unix(self.issued_at),
            expires_at: from_unix(self.expires_at),
            chain: terms.chain.clone(),
            iss: terms.iss(),
            caller: caller.caller.clone(),
            request_id: Uuid::from_slice(&self.request_id).map_err(StoreError::corrupt)?,
            justified_by: justified_by.collect::<Result<_, _>>()?,
            policies: terms.policies(),
            withdrawal: self.withdrawn_at.map(|at| Withdrawal {
                at: from_unix(at),
                reason: self.withdrawal_reason.clone().unwrap_or_default(),
            }),
        })
    }
}

/// The condition that a grant is not withdrawn at an instant.
macro_rules! not_withdrawn {
    ($time:expr) => {
        grants::withdrawn_at
            .is_null()
            .or(grants::withdrawn_at.gt($time.timestamp()))
    };
}
pub(in crate::store) use not_withdrawn;

/// The grants that match a filter, with ids after a bound: see [`Tx::first_jti_of`].
macro_rules! passing {
    ($filter:expr, $first:expr) => {{
        use $crate::domain::tokens::grant::GrantState;
        use $crate::store::schema::grants;
        use $crate::store::tables::accounts::{path, within};
        use $crate::store::tables::touching_grants::Touching;
        let expiring_after = $filter
            .expiring_after
            .map_or(i64::MIN, |time| time.timestamp());
        let mut query = grants::table
            .filter(grants::jti.gt($first))
            .filter(grants::expires_at.gt(expiring_after))
            .into_boxed();
        if let Some(account) = &$filter.account {
            query = query.filter(grants::account_id.eq(account.as_str()));
        }
        if let Some(within) = &$filter.within {
            query = query.filter(grants::account_id.eq_any(within!(within)));
        }
        if let Some(numbers) = $filter.numbers {
            query = query.filter(Touching::new(numbers, expiring_after));
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
    ids: &[Vec<u8>],
) -> QueryResult<Vec<Row>> {
    on_either!(connection, c => grants::table
        .filter(grants::jti.eq_any(ids))
        .load::<Row>(c))
}

impl Tx<'_> {
    /// One grant. If an unfinished sweep has yet to withdraw it, it is already returned as
    /// withdrawn.
    pub fn grant(&mut self, jti: &Jti) -> Result<Option<Grant>, StoreError> {
        let Some(jti) = jti.to_bytes() else {
            return Ok(None);
        };
        let row = self.run(|connection| {
            on_either!(connection, c => grants::table.find(jti).first::<Row>(c).optional())
        })?;
        let Some(mut grant) = self.read_grants(&Vec::from_iter(row))?.pop() else {
            return Ok(None);
        };
        if let Some(pending) = self.pending_withdrawal(&grant)? {
            grant.withdrawal = Some(pending);
        }
        Ok(Some(grant))
    }

    /// The grants of these rows, in their order.
    pub(super) fn read_grants(&mut self, rows: &[Row]) -> Result<Vec<Grant>, StoreError> {
        let common = self.common_rows(rows)?;
        rows.iter().map(|row| row.grant(&common)).collect()
    }

    /// A lower bound of the ids of the grants that match a filter. Those that can still be redeemed
    /// are the newest, so no other index on their expiry is needed.
    pub(super) fn first_jti_of(&mut self, filter: &GrantFilter) -> Result<Vec<u8>, StoreError> {
        let active_at = match filter.state {
            Some((GrantState::Active, time)) => Some(time),
            Some((GrantState::Expired | GrantState::Withdrawn, _)) | None => None,
        };
        match filter.expiring_after.max(active_at) {
            Some(time) => self.first_jti_expiring_after(time),
            None => Ok(Vec::new()),
        }
    }

    /// A page of the grants that match the filter, ordered by the time when they were issued.
    pub fn list_grants(
        &mut self,
        filter: &GrantFilter,
        page: &Page,
    ) -> Result<PageOf<Grant>, StoreError> {
        let after = columns::jti_bytes(page.after())?;
        let first = self.first_jti_of(filter)?.max(after);
        let rows = self.run(|connection| {
            on_either!(connection, c => passing!(filter, first)
                .order(grants::jti)
                .limit(page.fetch())
                .load::<Row>(c))
        })?;
        let grants = self.read_grants(&rows)?;
        Ok(page.of_fetched(grants, |grant| grant.jti.to_string()))
    }

    /// The newest grants that match the filter, the newest first.
    pub fn newest_grants(
        &mut self,
        filter: &GrantFilter,
        limit: u16,
    ) -> Result<Vec<Grant>, StoreError> {
        let first = self.first_jti_of(filter)?;
        let rows = self.run(|connection| {
            on_either!(connection, c => passing!(filter, first)
                .order(grants::jti.desc())
                .limit(limit.into())
                .load::<Row>(c))
        })?;
        self.read_grants(&rows)
    }
}
