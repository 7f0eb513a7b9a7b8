//! Why an import failed.

use thiserror::Error;

use crate::authority::ChangeError;
use crate::domain::Spc;
use crate::store::StoreError;
use crate::tables::{RefusedLines, TableError};

/// Why an import failed. Nothing of the table was imported.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImportError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("{} line(s) cannot be imported, so nothing was: {_0}", .0.count)]
    Lines(RefusedLines),
    #[error(
        "{ending} of the {held} numbers that {spc} holds would end, more than `imports.max_ended_share` allows; check the \
         difference with a dry run, and if it is right, import with `--confirm` (REST: `confirm=true`)"
    )]
    EndsTooMuch { spc: Spc, ending: u64, held: u64 },
    #[error(
        "the last line of the table has no line end, so the file may be truncated, and {ending} numbers would end; if the \
         file is complete, import it with `--confirm` (REST: `confirm=true`)"
    )]
    MayBeCut { ending: u64 },
    #[error(
        "more than {limit} rows of the database would end; a table of more than 5000 lines cannot end more at once, so \
         split it"
    )]
    EndsTooManyRows { limit: usize },
    #[error(
        "another import of delegations is being written; retry when it has finished, or in a minute"
    )]
    UnderWay,
    /// The job was marked as lost, so it may no longer write.
    #[error(
        "the job had no heartbeat and was marked as lost, so nothing was imported; send the table again"
    )]
    Lost,
    #[error(transparent)]
    Refused(#[from] ChangeError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl ImportError {
    /// The problem code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Table(TableError::Stopped) => "stopped",
            Self::Table(TableError::Missing { .. } | TableError::Unwanted { .. }) => {
                "malformed-query"
            }
            Self::Table(_) => "malformed-table",
            Self::Lines(_) => "refused-lines",
            Self::EndsTooMuch { .. } => "ends-too-much",
            Self::MayBeCut { .. } => "may-be-cut",
            Self::EndsTooManyRows { .. } => "ends-too-many-rows",
            Self::UnderWay => "import-under-way",
            Self::Lost => "lost",
            Self::Refused(refused) => refused.code(),
        }
    }
}
