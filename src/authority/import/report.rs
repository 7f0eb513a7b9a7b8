//! The result of an import as JSON: printed by `--json`, stored with jobs, described in the OpenAPI
//! document.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Ref;
use utoipa::openapi::schema::{Array, ArrayBuilder};
use uuid::Uuid;

use super::error::ImportError;
use super::outcome::{Difference, Imported, OutstandingTokens};
use crate::authority::departures::EndedDelegations;
use crate::domain::NumberRange;
use crate::domain::clock::rfc3339;
use crate::domain::tokens::grant::Grant;
use crate::tables::Note;
use crate::tables::RefusedLine;

/// What an import did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportResult {
    /// The job under which the import can be undone; null if it changed nothing.
    job: Option<Uuid>,
    #[schema(value_type = String)]
    format: &'static str,
    /// SHA-256 of the file, in hex.
    sha256: String,
    bytes: u64,
    /// Lines after the header.
    lines: u64,
    /// Lines of the requested OCNs.
    own_lines: u64,
    dry_run: bool,
    counts: ImportCounts,
    /// The first of the refused lines.
    line_errors: Vec<RefusedLine>,
    /// What was skipped, and other remarks.
    notes: Vec<Note>,
    /// Columns of the table that were ignored.
    unknown_columns: Vec<String>,
    difference: ImportDifference,
    outstanding_grants: ImportOutstanding,
    #[schema(schema_with = exposure)]
    exposure: ImportExposure,
    #[schema(required = false)]
    delegation_ends: ImportDelegationEnds,
}

/// The delegations that end, wholly or for some of their numbers, because numbers leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct ImportDelegationEnds {
    /// At most 100.
    delegations: Vec<ImportDelegationEnd>,
    /// Whether there are more than listed here.
    more: bool,
}

/// A delegation that ends; `GET /v1/delegations/{id}` says for which numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct ImportDelegationEnd {
    #[schema(value_type = uuid::Uuid)]
    id: String,
    account: String,
    /// Whether all of it ends; else the rest continues, with the same id.
    whole: bool,
}

/// Counts of ranges (or rows) and of their telephone numbers, and of refused lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct ImportCounts {
    added: u64,
    added_numbers: u64,
    ended: u64,
    ended_numbers: u64,
    unchanged: u64,
    unchanged_numbers: u64,
    /// Numbers held outside the table's scope, which stay as they are.
    elsewhere_numbers: u64,
    refused: u64,
}

/// The first ranges of the difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct ImportDifference {
    #[schema(schema_with = ranges)]
    added: Vec<NumberRange>,
    #[schema(schema_with = ranges)]
    ended: Vec<NumberRange>,
    /// Whether there are more than listed here.
    more: bool,
}

/// Tokens that can still be redeemed although authority over some of their numbers has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportOutstanding {
    count: u64,
    /// Whether there are more than `count`.
    more: bool,
    grants: Vec<ImportOutstandingGrant>,
}

/// An outstanding grant; `GET /v1/grants/{jti}` returns all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct ImportOutstandingGrant {
    jti: String,
    account: String,
    #[schema(schema_with = time)]
    expires_at: String,
}

/// How many tokens can still be redeemed although authority has ended. The count has a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ImportExposure {
    tokens: u64,
    /// When the last of them expires.
    until: Option<String>,
}

/// What a job keeps of an import with refused lines, in addition to the failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedResult {
    counts: RefusedCount,
    line_errors: Vec<RefusedLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct RefusedCount {
    refused: u64,
}

impl From<&Imported> for ImportResult {
    fn from(imported: &Imported) -> Self {
        let summary = &imported.summary;
        Self {
            job: imported.job,
            format: summary.format,
            sha256: summary.sha256.clone(),
            bytes: summary.bytes,
            lines: summary.lines,
            own_lines: summary.own,
            dry_run: imported.dry_run,
            counts: imported.into(),
            line_errors: summary.refused.named.clone(),
            notes: summary.notes.clone(),
            unknown_columns: summary.unknown_columns.clone(),
            difference: ImportDifference::of(&imported.difference, imported.ranges()),
            outstanding_grants: (&imported.outstanding).into(),
            exposure: (&imported.outstanding).into(),
            delegation_ends: (&imported.ended_delegations).into(),
        }
    }
}

impl From<&Imported> for ImportCounts {
    fn from(imported: &Imported) -> Self {
        Self {
            added: imported.added.ranges,
            added_numbers: imported.added.numbers,
            ended: imported.ended.ranges,
            ended_numbers: imported.ended.numbers,
            unchanged: imported.unchanged.ranges,
            unchanged_numbers: imported.unchanged.numbers,
            elsewhere_numbers: imported.elsewhere,
            refused: imported.summary.refused.count,
        }
    }
}

impl ImportDifference {
    /// `ranges` is the count of all added and ended ranges, listed or not.
    fn of(difference: &Difference, ranges: u64) -> Self {
        let named = (difference.added.len() + difference.ended.len()) as u64;
        Self {
            added: difference.added.clone(),
            ended: difference.ended.clone(),
            more: named < ranges,
        }
    }
}

impl From<&EndedDelegations> for ImportDelegationEnds {
    fn from(ended: &EndedDelegations) -> Self {
        let delegations = ended.delegations.iter().map(|ended| ImportDelegationEnd {
            id: ended.row.row.id.to_string(),
            account: ended.row.account.to_string(),
            whole: ended.whole,
        });
        Self {
            delegations: delegations.collect(),
            more: ended.more,
        }
    }
}

impl From<&OutstandingTokens> for ImportOutstanding {
    fn from(outstanding: &OutstandingTokens) -> Self {
        let grants = outstanding.grants.iter();
        Self {
            count: outstanding.count,
            more: outstanding.more,
            grants: grants.map(ImportOutstandingGrant::from).collect(),
        }
    }
}

impl From<&Grant> for ImportOutstandingGrant {
    fn from(grant: &Grant) -> Self {
        Self {
            jti: grant.jti.to_string(),
            account: grant.account.to_string(),
            expires_at: rfc3339(&grant.expires_at),
        }
    }
}

impl From<&OutstandingTokens> for ImportExposure {
    fn from(outstanding: &OutstandingTokens) -> Self {
        Self {
            tokens: outstanding.count,
            until: outstanding.until.as_ref().map(rfc3339),
        }
    }
}

impl Imported {
    const fn ranges(&self) -> u64 {
        self.added.ranges + self.ended.ranges
    }
}

impl ImportError {
    /// The refused lines, if they are why the import failed.
    #[must_use]
    pub fn result(&self) -> Option<RefusedResult> {
        match self {
            Self::Lines(lines) => Some(RefusedResult {
                counts: RefusedCount {
                    refused: lines.count,
                },
                line_errors: lines.named.clone(),
            }),
            Self::Table(_)
            | Self::EndsTooMuch { .. }
            | Self::MayBeCut { .. }
            | Self::EndsTooManyRows { .. }
            | Self::UnderWay
            | Self::Lost
            | Self::Refused(_) => None,
        }
    }
}

// References to schemas that `api` defines.

fn time() -> Ref {
    Ref::from_schema_name("Time")
}

pub(in crate::authority) fn ranges() -> Array {
    ArrayBuilder::new()
        .items(Ref::from_schema_name("Range"))
        .build()
}

fn exposure() -> Ref {
    Ref::builder()
        .ref_location_from_schema_name("Exposure")
        .description(Some("Limited to the tokens that were counted."))
        .build()
}
