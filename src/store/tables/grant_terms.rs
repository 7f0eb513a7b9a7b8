//! What many grants have in common, and who asked for them. Such a row is written once and never
//! changes; its id is a digest of it, so that no replica has to ask for the id.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use diesel::prelude::*;
use sha2::{Digest as _, Sha256};

use super::accounts::{Within, path, within};
use super::grants::Row;
use super::imports::IDS_PER_STATEMENT;
use crate::domain::AccountId;
use crate::domain::decision::policy_trace::PolicyTrace;
use crate::domain::tokens::grant::Grant;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::{grant_callers, grant_terms};
use crate::store::tx::Tx;

/// The ids of rows that the upgrade of an older ledger made. Their grants have no events of their
/// own.
const UPGRADED: RangeInclusive<i64> = 0..=0xffff_ffff;

#[derive(Debug, Clone, PartialEq, Queryable, Insertable)]
#[diesel(table_name = grant_terms)]
pub(super) struct TermsRow {
    pub(super) id: i64,
    pub(super) chain: String,
    pub(super) policies: String,
    pub(super) policy_set: String,
    pub(super) tktype: String,
    pub(super) dialect: String,
    pub(super) ca: bool,
    pub(super) iss: String,
}

#[derive(Debug, Clone, PartialEq, Queryable, Insertable)]
#[diesel(table_name = grant_callers)]
pub(super) struct CallerRow {
    pub(super) id: i64,
    pub(super) caller: String,
    pub(super) account_id: String,
}

impl From<&Grant> for TermsRow {
    fn from(grant: &Grant) -> Self {
        let mut row = Self {
            id: 0,
            chain: grant.chain.clone(),
            policies: grant.policies.to_text(),
            policy_set: grant.policies.set().unwrap_or_default().to_owned(),
            tktype: grant.tkvalue.tktype().as_str().to_owned(),
            dialect: grant.dialect.as_str().to_owned(),
            ca: grant.ca,
            iss: grant.iss.as_deref().unwrap_or_default().to_owned(),
        };
        let ca = if row.ca { "ca" } else { "" };
        row.id = digest([
            row.chain.as_str(),
            &row.policies,
            &row.policy_set,
            &row.tktype,
            &row.dialect,
            ca,
            &row.iss,
        ]);
        row
    }
}

impl TermsRow {
    pub(super) fn policies(&self) -> PolicyTrace {
        let set = Some(self.policy_set.as_str()).filter(|set| !set.is_empty());
        PolicyTrace::from_text(&self.policies, set)
    }

    pub(super) fn iss(&self) -> Option<Arc<str>> {
        Some(self.iss.as_str().into()).filter(|iss: &Arc<str>| !iss.is_empty())
    }
}

impl CallerRow {
    /// The caller of a grant to `grantee`, and the account that it is confined to.
    pub(super) fn new(caller: &str, account: Option<&AccountId>, grantee: &AccountId) -> Self {
        let is_grantee = account == Some(grantee);
        let account = account.map_or("", AccountId::as_str);
        let bits = digest([caller, account]) & i64::MAX;
        Self {
            id: match is_grantee {
                true => !bits,
                false if UPGRADED.contains(&bits) => i64::MAX - bits,
                false => bits,
            },
            caller: caller.to_owned(),
            account_id: account.to_owned(),
        }
    }

    /// Whether all grants that refer to it are of the account that the caller is confined to: they
    /// are found by that account, and are not in the index by caller.
    pub(super) const fn is_grantee(&self) -> bool {
        self.id < 0
    }

    pub(super) fn account(&self) -> Result<Option<AccountId>, StoreError> {
        let account = Some(&self.account_id).filter(|id| !id.is_empty());
        let account = account.map(|id| id.parse()).transpose();
        account.map_err(StoreError::corrupt)
    }
}

/// 64 bits, of which callers have 63. A caller who chooses its name can find two names with the
/// same digest, and so have its own grants attributed to either; to find a digest of another's name
/// takes 2^63 attempts.
fn digest<const N: usize>(values: [&str; N]) -> i64 {
    let mut digest = Sha256::new();
    for value in values {
        digest.update(value.len().to_be_bytes());
        digest.update(value);
    }
    let digest: [u8; 32] = digest.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    match i64::from_be_bytes(first) {
        small if UPGRADED.contains(&small) => !small,
        id => id,
    }
}

/// The rows that grants refer to, by their ids.
#[derive(Debug, Default)]
pub(super) struct CommonRows {
    pub(super) terms: HashMap<i64, TermsRow>,
    pub(super) callers: HashMap<i64, CallerRow>,
}

impl Tx<'_> {
    /// The rows that these grants refer to.
    pub(super) fn common_rows(&mut self, grants: &[Row]) -> Result<CommonRows, StoreError> {
        let ids = grants.iter().map(|row| (row.terms_id, row.caller_id));
        let (mut terms, mut callers): (Vec<i64>, Vec<i64>) = ids.unzip();
        let mut found = CommonRows::default();
        for ids in distinct(&mut terms).chunks(IDS_PER_STATEMENT) {
            let rows = self.run(|connection| {
                on_either!(connection, c => grant_terms::table
                    .filter(grant_terms::id.eq_any(ids))
                    .load::<TermsRow>(c))
            })?;
            found
                .terms
                .extend(rows.into_iter().map(|row| (row.id, row)));
        }
        for ids in distinct(&mut callers).chunks(IDS_PER_STATEMENT) {
            let rows = self.run(|connection| {
                on_either!(connection, c => grant_callers::table
                    .filter(grant_callers::id.eq_any(ids))
                    .load::<CallerRow>(c))
            })?;
            let rows = rows.into_iter().map(|row| (row.id, row));
            found.callers.extend(rows);
        }
        Ok(found)
    }

    /// The rows of a caller whose grants have events of their own: up to two for each account that
    /// it was ever confined to. With `confined`, only those that were confined to these accounts.
    pub(super) fn rows_of_caller(
        &mut self,
        caller: &str,
        confined: Option<&Within>,
    ) -> Result<Vec<CallerRow>, StoreError> {
        self.run(|connection| {
            on_either!(connection, c => {
                let mut query = grant_callers::table
                    .filter(grant_callers::caller.eq(caller))
                    .into_boxed();
                if let Some(confined) = confined {
                    query = query.filter(grant_callers::account_id.eq_any(within!(confined)));
                }
                query.load::<CallerRow>(c)
            })
        })
        .map(|mut rows| {
            rows.retain(|row| !UPGRADED.contains(&row.id));
            rows
        })
    }

    /// The ids of all terms of these chains.
    pub(super) fn terms_of_chains(&mut self, chains: &[String]) -> Result<Vec<i64>, StoreError> {
        self.run(|connection| {
            on_either!(connection, c => grant_terms::table
                .filter(grant_terms::chain.eq_any(chains))
                .select(grant_terms::id)
                .load::<i64>(c))
        })
    }
}

/// Inserts those of these rows that are missing. PostgreSQL does it with the grants.
pub(super) fn insert_missing(
    connection: &mut SqliteConnection,
    terms: &BTreeMap<i64, TermsRow>,
    callers: &BTreeMap<i64, CallerRow>,
) -> QueryResult<()> {
    for row in terms.values() {
        diesel::insert_or_ignore_into(grant_terms::table)
            .values(row)
            .execute(connection)?;
    }
    for row in callers.values() {
        diesel::insert_or_ignore_into(grant_callers::table)
            .values(row)
            .execute(connection)?;
    }
    Ok(())
}

fn distinct(ids: &mut Vec<i64>) -> &[i64] {
    ids.sort_unstable();
    ids.dedup();
    ids
}
