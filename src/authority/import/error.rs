//! Why a table is not taken. Nothing of it is then.

use thiserror::Error;

use crate::authority::ChangeError;
use crate::domain::Spc;
use crate::store::StoreError;
use crate::tables::{RefusedLines, TableError};

/// Why an import was not done; nothing of it stays.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImportError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("{} line(s) are refused, so none is taken: {_0}", .0.count)]
    Lines(RefusedLines),
    #[error(
        "{ending} of the {held} numbers that {spc} holds now would end, more than the share that `imports.max_ended_share` \
         allows; look at the difference with a dry run, and import with `--confirm` (REST: `confirm=true`) if it is right"
    )]
    EndsTooMuch { spc: Spc, ending: u64, held: u64 },
    #[error(
        "the last line of the table has no end, so the table may be cut off, and {ending} numbers would end; end the last \
         line if the table is whole, or import with `--confirm` (REST: `confirm=true`)"
    )]
    MayBeCut { ending: u64 },
    /// The job is not the one that may write any more: it was taken for lost.
    #[error("the job was taken for lost meanwhile, so nothing of it is kept; send the table again")]
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
    /// The stable code of the API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Table(TableError::Stopped) => "stopped",
            Self::Table(TableError::Missing { .. } | TableError::Unwanted { .. }) => {
                "malformed-query"
            }
            Self::Table(_) => "malformed-table",
            Self::Lines(_) => "refused-lines",
            Self::EndsTooMuch { .. } => "ends-too-much",
            Self::MayBeCut { .. } => "may-be-cut",
            Self::Lost => "lost",
            Self::Refused(refused) => refused.code(),
        }
    }
}
