//! The audit events that are part of grants. The first 16 bytes of the id of such a grant are the
//! id of its event, so grants are in the order of their events.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use serde_json::Map;
use uuid::Uuid;

use super::accounts::{path, within};
use super::audit_events::EventFilter;
use super::grant_terms::CallerRow;
use super::grants::Row;
use super::ledger_bounds::first_jti_at;
use crate::domain::AuditEvent;
use crate::domain::audit_action::AuditAction;
use crate::domain::issuance::GrantEvent;
use crate::domain::issuance::grant_event::GRANTED;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::grants;
use crate::store::tx::Tx;

/// More than what follows the id of the event in the id of a grant.
const AFTER_ALL: [u8; 13] = [0xff; 13];

/// The query for the rows whose events match a filter, of one caller if there is one.
macro_rules! rows_query {
    ($filter:expr, $caller:expr, $between:expr, $limit:expr) => {{
        let (filter, caller): (&EventFilter, Option<&CallerRow>) = ($filter, $caller);
        let (after, last): (&[u8], Option<&[u8]>) = $between;
        let mut query = grants::table
            .filter(grants::jti.gt(after))
            .filter(grants::event.is_not_null())
            .into_boxed();
        if let Some(last) = last {
            query = query.filter(grants::jti.le(last));
        }
        if let Some(account) = &filter.account {
            query = query.filter(grants::account_id.eq(account.as_str()));
        }
        if let Some(within) = &filter.within {
            query = query.filter(grants::account_id.eq_any(within!(within)));
        }
        // It is about the account that got the token.
        if let Some(subject) = &filter.subject {
            query = query.filter(grants::account_id.eq(subject));
        }
        if let Some(caller) = caller {
            query = query.filter(grants::caller_id.eq(caller.id));
            if caller.is_grantee() {
                query = query.filter(grants::account_id.eq(&caller.account_id));
            } else {
                // What the index by caller is limited to, in its own words.
                query = query.filter(sql::<Bool>("caller_id >= 0"));
            }
        }
        if let Some(request) = &filter.request_id {
            query = query.filter(grants::request_id.eq(request.as_bytes().as_slice()));
        }
        if let Some(until) = filter.until {
            query = query.filter(grants::issued_at.lt(until.timestamp()));
        }
        if let Some(from) = filter.from {
            query = query.filter(grants::issued_at.ge(from.timestamp()));
        }
        query.order(grants::jti).limit($limit)
    }};
}

impl Tx<'_> {
    /// The events of grants that match a filter: those with ids after `after`, and not after `last`
    /// if there is one; the oldest first.
    pub(super) fn list_grant_events(
        &mut self,
        filter: &EventFilter,
        (after, last): (&str, Option<&str>),
        limit: i64,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        let is = |asked: &Option<String>, value| asked.as_ref().is_none_or(|asked| asked == value);
        if !is(&filter.action, AuditAction::Issue.as_str()) || !is(&filter.outcome, GRANTED) {
            return Ok(Vec::new());
        }
        let callers = match &filter.caller {
            // A reader that may not see a caller must not find its events by guessing ids.
            Some(caller) => {
                let rows = self.rows_of_caller(caller, filter.within.as_ref())?;
                rows.into_iter().map(Some).collect()
            }
            None => vec![None],
        };
        let start = filter.from.map(|from| first_jti_at(from.timestamp()));
        let after = after_event(after)?.max(start.unwrap_or_default());
        let last = last.map(after_event).transpose()?;
        let mut rows = Vec::new();
        // One query for each: so each reads an index in the order of the events.
        for caller in callers {
            let between = (after.as_slice(), last.as_deref());
            rows.extend(self.rows_with_events(filter, caller.as_ref(), between, limit)?);
        }
        rows.sort_unstable_by(|a, b| a.jti.cmp(&b.jti));
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let common = self.common_rows(&rows)?;
        let events = rows.iter().map(|row| {
            let caller = common.callers.get(&row.caller_id);
            let kept = GrantEvent {
                caller_account: caller.map(CallerRow::account).transpose()?.flatten(),
                detail: serde_json::from_str::<Map<_, _>>(row.event.as_deref().unwrap_or("{}"))
                    .map_err(StoreError::corrupt)?,
            };
            let event = kept.of_grant(&row.grant(&common)?);
            event.ok_or_else(|| StoreError::corrupt("a grant whose id is not that of its event"))
        });
        events.collect()
    }

    fn rows_with_events(
        &mut self,
        filter: &EventFilter,
        caller: Option<&CallerRow>,
        between: (&[u8], Option<&[u8]>),
        limit: i64,
    ) -> Result<Vec<Row>, StoreError> {
        self.run(|connection| {
            on_either!(connection, c => rows_query!(filter, caller, between, limit).load::<Row>(c))
        })
    }
}

/// An upper bound of the ids of grants whose events are not after this one. With the empty text,
/// which is before all events, it is before all grants.
fn after_event(id: &str) -> Result<Vec<u8>, StoreError> {
    if id.is_empty() {
        return Ok(Vec::new());
    }
    let id = Uuid::parse_str(id).map_err(StoreError::corrupt)?;
    Ok([id.as_bytes().as_slice(), &AFTER_ALL].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AccountId;
    use crate::store::tables::query_plan::{query_plan, text_of};

    #[test]
    fn the_events_of_any_caller_are_found_by_an_index() {
        let acme: AccountId = "acme".parse().expect("an id");
        let reseller: AccountId = "reseller".parse().expect("an id");
        for (confined_to, index) in [
            (Some(&acme), "grants_by_account (account_id=? AND jti>?)"),
            (Some(&reseller), "grants_by_caller (caller_id=? AND jti>?)"),
            (None, "grants_by_caller (caller_id=? AND jti>?)"),
        ] {
            let caller = CallerRow::new("key", confined_to, &acme);
            let filter = EventFilter::default();
            let query = rows_query!(&filter, Some(&caller), (&[], None), 10);
            let plan = query_plan(&text_of(&query));
            assert_eq!(plan, [format!("SEARCH grants USING INDEX {index}")]);
        }
    }
}
