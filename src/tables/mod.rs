//! Parses number tables: those that carriers get from their numbering administrator, and CSV files
//! of their own. Each is read line by line into a [`ParsedTable`]; `authority::import` compares
//! that with the database.
//!
//! # Adding a format
//! A file in `formats` with a `Layout`, a variant of [`Format`], and an arm in
//! `TableRequest::layout`.

mod decode;
mod draft;
mod error;
mod fields;
mod formats;
mod header;
mod lines;
mod rows;
mod sorted_delegations;

use std::collections::BTreeSet;
use std::io::Read;

pub use draft::{AllocationRow, DelegationRow, ExclusionRow};
pub use draft::{
    Coverage, Holding, Holdings, Note, NotedLines, ParsedTable, TableContent, TableRow,
    TableSummary,
};
pub use error::{LINES_NAMED, RefusedLine, RefusedLines, TableError};
pub use lines::Progress;
pub use sorted_delegations::SortedDelegations;

use crate::domain::Spc;
use crate::domain::clock::Time;
use crate::domain::text::words::words;
use fields::Ocns;
use formats::{
    allocations, arcep_majnum, delegations, exclusions, nanp_blocks, nanpa_codes, nanpa_thousands,
};
use lines::{Column, CsvDialect, Line};

/// How many lines a format may keep in memory.
const MAX_ROWS: usize = 500_000;

/// What a format with OCNs needs too.
const SPC_NEEDED: &str =
    "the service provider code to file the numbers under: `--spc` (REST: `spc`)";

/// A table format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    NanpBlocks,
    NanpaThousands,
    NanpaCodes,
    ArcepMajnum,
    Allocations,
    Delegations,
    Exclusions,
}

words! {
    /// The name on the command line and in the API.
    impl Display, FromStr for Format {
        NanpBlocks = "nanp-blocks",
        NanpaThousands = "nanpa-thousands",
        NanpaCodes = "nanpa-codes",
        ArcepMajnum = "arcep-majnum",
        Allocations = "allocations",
        Delegations = "delegations",
        Exclusions = "exclusions",
    }
}

impl Format {
    /// Whether the table lists all carriers, so that the import has to name the OCNs of this one.
    #[must_use]
    pub const fn lists_everybody(self) -> bool {
        match self {
            Self::NanpBlocks | Self::NanpaThousands | Self::NanpaCodes | Self::ArcepMajnum => true,
            Self::Allocations | Self::Delegations | Self::Exclusions => false,
        }
    }
}

/// How to read a table, and which lines of it are the carrier's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRequest {
    pub format: Format,
    /// The OCNs of the carrier, spelled as in the table. Empty if the format lists one carrier
    /// only.
    pub ocns: BTreeSet<String>,
    /// The service provider code that holds the numbers.
    pub spc: Option<Spc>,
}

impl TableRequest {
    /// Checks that the format has the parameters that it needs, and no others.
    pub fn check(&self) -> Result<(), TableError> {
        let format = self.format.as_str();
        let missing = |what| Err(TableError::Missing { format, what });
        let unwanted = |what| Err(TableError::Unwanted { format, what });
        match self.format {
            _ if !self.format.lists_everybody() && !self.ocns.is_empty() => unwanted("OCN"),
            _ if self.ocns.iter().any(String::is_empty) => {
                missing("OCNs that are not empty strings")
            }
            Format::Delegations | Format::Exclusions if self.spc.is_some() => {
                unwanted("service provider code")
            }
            _ if !self.format.lists_everybody() => Ok(()),
            _ if self.ocns.is_empty() => missing("the OCNs of the carrier: `--ocn` (REST: `ocn`)"),
            _ if self.spc.is_none() => missing(SPC_NEEDED),
            _ => Ok(()),
        }
    }

    fn layout(&self, now: Time) -> Result<Box<dyn Layout>, TableError> {
        self.check()?;
        let ocns = Ocns::new(self.ocns.clone());
        Ok(match (self.format, self.spc.clone()) {
            (Format::NanpBlocks, Some(spc)) => Box::new(nanp_blocks::NanpBlocks::new(ocns, spc)),
            (Format::NanpaThousands, Some(spc)) => {
                Box::new(nanpa_thousands::NanpaThousands::new(ocns, spc, now))
            }
            (Format::NanpaCodes, Some(spc)) => {
                Box::new(nanpa_codes::NanpaCodes::new(ocns, spc, now))
            }
            (Format::ArcepMajnum, Some(spc)) => {
                Box::new(arcep_majnum::ArcepMajnum::new(ocns, spc, now))
            }
            (Format::Allocations, spc) => Box::new(allocations::Allocations::new(spc)),
            (Format::Delegations, _) => Box::new(delegations::Delegations::default()),
            (Format::Exclusions, _) => Box::new(exclusions::Exclusions::default()),
            (
                Format::NanpBlocks
                | Format::NanpaThousands
                | Format::NanpaCodes
                | Format::ArcepMajnum,
                None,
            ) => {
                let what = SPC_NEEDED;
                let format = self.format.as_str();
                return Err(TableError::Missing { format, what });
            }
        })
    }
}

/// How tables of one format are read.
pub trait Layout {
    fn dialect(&self) -> CsvDialect;
    /// `Line::field` takes an index into this list.
    fn columns(&self) -> &'static [Column];
    /// Takes a line, or says why it is refused.
    fn line(&mut self, line: &Line<'_>) -> Result<(), String>;
    /// Writes what all lines say together into `table`.
    fn finish(self: Box<Self>, table: &mut ParsedTable) -> Result<(), TableError>;
}

/// Reads a table. `report` is called with the progress every few thousand lines, and returns
/// whether to continue. Refused lines are in the result: a dry run shows what the other lines would
/// change, an import refuses the whole table.
///
/// # Errors
/// [`TableError`] if the file is not a table of this format, or has no line of the requested OCNs.
pub fn read(
    file: impl Read,
    request: &TableRequest,
    now: Time,
    report: &mut dyn FnMut(Progress) -> bool,
) -> Result<ParsedTable, TableError> {
    let mut layout = request.layout(now)?;
    let mut refused = RefusedLines::default();
    let columns = layout.columns();
    let read = lines::read(
        file,
        layout.dialect(),
        columns,
        report,
        &mut refused,
        &mut |line| layout.line(line),
    )?;
    let mut table = ParsedTable {
        // A placeholder until `finish`.
        content: TableContent::Exclusions(Vec::new()),
        summary: TableSummary {
            format: request.format.as_str(),
            ocns: request.ocns.iter().cloned().collect(),
            sha256: read.digested.sha256,
            bytes: read.digested.bytes,
            lines: read.lines,
            own: read.lines,
            ends_with_a_line: read.digested.ends_with_a_line,
            refused,
            unknown_columns: read.unknown_columns,
            notes: Vec::new(),
        },
    };
    let empty = "lines without any text were skipped";
    table.summary.note(read.empty, empty);
    layout.finish(&mut table)?;
    Ok(table)
}

/// Records in the summary how many lines are the carrier's, have no OCN, or name several carriers.
/// Refuses a table without a line of the carrier: most likely it is the wrong table, or an OCN is
/// mistyped.
pub fn must_have_own_lines(ocns: &Ocns, summary: &mut TableSummary) -> Result<(), TableError> {
    summary.own = ocns.lines;
    summary.note(ocns.without, "lines without an OCN");
    summary.note(ocns.several, "lines for several carriers (`MULT`)");
    // The reasons of refused lines explain more than this error.
    if ocns.lines == 0 && summary.refused.count == 0 {
        return Err(TableError::NoSuchOcn {
            ocns: ocns.names(),
            hint: ocns.hint(),
        });
    }
    Ok(())
}

/// Bounds the memory of formats that keep lines.
pub fn must_fit_in_memory(rows: usize) -> Result<(), String> {
    if rows <= MAX_ROWS {
        Ok(())
    } else {
        Err(format!("more than {MAX_ROWS} lines; split the file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_unix;

    /// Parses a table at the start of 2026, for SPC `1234`.
    pub(super) fn read(
        format: Format,
        ocns: &[&str],
        table: &[u8],
    ) -> Result<ParsedTable, TableError> {
        let request = TableRequest {
            format,
            ocns: ocns.iter().map(|ocn| (*ocn).to_owned()).collect(),
            spc: format
                .lists_everybody()
                .then(|| "1234".parse().expect("a code")),
        };
        super::read(table, &request, from_unix(1_767_225_600), &mut |_| true)
    }

    pub(super) fn summary(format: Format, ocns: &[&str], table: &[u8]) -> TableSummary {
        read(format, ocns, table).expect("a table").summary
    }

    pub(super) fn table(format: Format, ocns: &[&str], table: &[u8]) -> Holdings {
        match read(format, ocns, table).expect("a table").content {
            TableContent::Holdings { table, .. } => table,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_has_the_parameters_of_its_format() {
        let check = |format, ocns: &[&str], spc: Option<&str>| {
            let request = TableRequest {
                format,
                ocns: ocns.iter().map(|ocn| (*ocn).to_owned()).collect(),
                spc: spc.map(|spc| spc.parse().expect("a code")),
            };
            request.check().map_err(|error| error.to_string())
        };
        assert_eq!(check(Format::NanpBlocks, &["073H"], Some("073H")), Ok(()));
        assert_eq!(check(Format::Allocations, &[], Some("073H")), Ok(()));
        assert_eq!(check(Format::Delegations, &[], None), Ok(()));
        for (format, ocns, spc, why) in [
            (Format::NanpBlocks, &[][..], Some("073H"), "needs the OCNs"),
            (
                Format::ArcepMajnum,
                &["FRTE"],
                None,
                "needs the service provider code",
            ),
            (Format::ArcepMajnum, &[""], Some("1"), "not empty"),
            (Format::Delegations, &["073H"], None, "takes no OCN"),
            (Format::Exclusions, &[], Some("073H"), "takes no service"),
        ] {
            let message = check(format, ocns, spc).expect_err(why);
            assert!(message.contains(why), "{message}");
        }
    }

    #[test]
    fn reading_can_be_stopped() {
        let request = TableRequest {
            format: Format::Exclusions,
            ocns: BTreeSet::new(),
            spc: None,
        };
        let table = format!("start,reason\n{}", "+12125551001,aging\n".repeat(20_000));
        let mut reports = Vec::new();
        let stopped = super::read(table.as_bytes(), &request, from_unix(0), &mut |progress| {
            reports.push(progress.lines);
            reports.len() < 3
        });
        assert_eq!(stopped.expect_err("stopped"), TableError::Stopped);
        assert_eq!(reports, [4_096, 8_192, 12_288]);
    }

    #[test]
    fn a_line_cannot_fill_the_memory() {
        let open = format!("start,reason\n\"{}", "a\n".repeat(100_000));
        let error = read(Format::Exclusions, &[], open.as_bytes()).expect_err("too long");
        assert!(
            error.to_string().starts_with("line 2: longer than"),
            "{error}"
        );
        let wide = format!("start,reason\n{}\n", ",".repeat(300));
        assert!(read(Format::Exclusions, &[], wide.as_bytes()).is_err());
    }
}
