//! An import as JSON: what `--json` prints and what jobs keep.

use serde_json::{Value, json};

use super::error::ImportError;
use super::outcome::Imported;
use crate::domain::clock::rfc3339;
use crate::tables::RefusedLines;

impl Imported {
    /// All of it as one object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let notes = self.told.notes.iter();
        let notes: Vec<Value> = notes
            .map(|note| json!({ "count": note.count, "what": note.what, "lines": note.lines }))
            .collect();
        let grants = self.outstanding.grants.iter();
        let grants: Vec<Value> = grants
            .map(|grant| {
                json!({
                    "jti": grant.jti.as_str(), "account": grant.account,
                    "expires_at": rfc3339(&grant.expires_at),
                })
            })
            .collect();
        let named = (self.difference.added.len() + self.difference.ended.len()) as u64;
        json!({
            "format": self.told.format,
            "sha256": self.told.sha256,
            "bytes": self.told.bytes,
            "lines": self.told.lines,
            "own_lines": self.told.own,
            "dry_run": self.dry_run,
            "counts": {
                "added": self.added.ranges, "added_numbers": self.added.numbers,
                "ended": self.ended.ranges, "ended_numbers": self.ended.numbers,
                "unchanged": self.unchanged.ranges, "unchanged_numbers": self.unchanged.numbers,
                "elsewhere_numbers": self.elsewhere,
                "refused": self.told.refused.count,
            },
            "line_errors": self.told.refused.to_json(),
            "notes": notes,
            "unknown_columns": self.told.unknown_columns,
            "difference": {
                "added": self.difference.added,
                "ended": self.difference.ended,
                "more": named < self.added.ranges + self.ended.ranges,
            },
            "outstanding_grants": {
                "count": self.outstanding.count, "more": self.outstanding.more, "grants": grants,
            },
            "exposure": {
                "tokens": self.outstanding.count,
                "until": self.outstanding.until.as_ref().map(rfc3339),
            },
        })
    }
}

impl RefusedLines {
    /// The lines that are named.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let lines = self.named.iter();
        lines
            .map(|refused| json!({ "line": refused.line, "reason": refused.reason }))
            .collect()
    }
}

impl ImportError {
    /// What is to be said of an import that failed, beside the failure: the lines that were refused.
    #[must_use]
    pub fn to_json(&self) -> Option<Value> {
        match self {
            Self::Lines(lines) => Some(json!({
                "counts": { "refused": lines.count }, "line_errors": lines.to_json(),
            })),
            Self::Table(_)
            | Self::EndsTooMuch { .. }
            | Self::MayBeCut { .. }
            | Self::Lost
            | Self::Refused(_) => None,
        }
    }
}
