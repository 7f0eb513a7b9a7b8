//! The result of an import: what `--json` prints, jobs keep, and the document of the API describes.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Ref;
use utoipa::openapi::schema::{Array, ArrayBuilder};

use super::error::ImportError;
use super::outcome::{Difference, Imported, OutstandingTokens};
use crate::domain::NumberRange;
use crate::domain::clock::rfc3339;
use crate::domain::tokens::grant::Grant;
use crate::tables::Note;
use crate::tables::RefusedLine;

/// What an import did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportResult {
    #[schema(value_type = String)]
    format: &'static str,
    /// Of the table, in hex.
    sha256: String,
    bytes: u64,
    /// Lines behind the header.
    lines: u64,
    /// Lines of the codes that were asked for.
    own_lines: u64,
    dry_run: bool,
    counts: ImportCounts,
    /// The first of the lines that were refused.
    line_errors: Vec<RefusedLine>,
    /// What was passed over, and other things to know.
    notes: Vec<Note>,
    /// Columns of the table that this service does not know.
    unknown_columns: Vec<String>,
    difference: ImportDifference,
    outstanding_grants: ImportOutstanding,
    #[schema(schema_with = exposure)]
    exposure: ImportExposure,
}

/// Ranges or rows, and their numbers; of refused lines, the lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct ImportCounts {
    added: u64,
    added_numbers: u64,
    ended: u64,
    ended_numbers: u64,
    unchanged: u64,
    unchanged_numbers: u64,
    /// What is held outside of what the table speaks for, and stays.
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
    /// Whether there are more than are listed.
    more: bool,
}

/// Tokens that can still be redeemed although authority for some of their numbers ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct ImportOutstanding {
    count: u64,
    /// Whether there are more than were counted.
    more: bool,
    grants: Vec<ImportOutstandingGrant>,
}

/// One of them; `GET /v1/grants/{jti}` shows all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct ImportOutstandingGrant {
    jti: String,
    account: String,
    #[schema(schema_with = time)]
    expires_at: String,
}

/// How many tokens can be redeemed although authority ended, as far as they are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ImportExposure {
    tokens: u64,
    /// When the last of them expires.
    until: Option<String>,
}

/// What is to be said of an import that failed, beside the failure.
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
        let told = &imported.told;
        Self {
            format: told.format,
            sha256: told.sha256.clone(),
            bytes: told.bytes,
            lines: told.lines,
            own_lines: told.own,
            dry_run: imported.dry_run,
            counts: imported.into(),
            line_errors: told.refused.named.clone(),
            notes: told.notes.clone(),
            unknown_columns: told.unknown_columns.clone(),
            difference: ImportDifference::of(&imported.difference, imported.ranges()),
            outstanding_grants: (&imported.outstanding).into(),
            exposure: (&imported.outstanding).into(),
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
            refused: imported.told.refused.count,
        }
    }
}

impl ImportDifference {
    /// What is named of so many ranges.
    fn of(difference: &Difference, ranges: u64) -> Self {
        let named = (difference.added.len() + difference.ended.len()) as u64;
        Self {
            added: difference.added.clone(),
            ended: difference.ended.clone(),
            more: named < ranges,
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
    /// How many ranges were added or ended, or would be.
    const fn ranges(&self) -> u64 {
        self.added.ranges + self.ended.ranges
    }
}

impl ImportError {
    /// The lines that were refused, if that is why the import failed.
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
            | Self::Lost
            | Self::Refused(_) => None,
        }
    }
}

// What is described once, where the answers of the API are, is named here.

fn time() -> Ref {
    Ref::from_schema_name("Time")
}

fn ranges() -> Array {
    ArrayBuilder::new()
        .items(Ref::from_schema_name("Range"))
        .build()
}

fn exposure() -> Ref {
    Ref::builder()
        .ref_location_from_schema_name("Exposure")
        .description(Some("As far as they are counted."))
        .build()
}
