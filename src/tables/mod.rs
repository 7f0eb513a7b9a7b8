//! Tables of numbers, as carriers get them from their numbering administrator or keep them themselves: read line by line,
//! by format, into what they say ([`Draft`]).
//!
//! # Adding a format
//! A file in `formats` with a `Layout`, and a line in [`Format`] and in `TableRequest::layout`.

mod decode;
mod draft;
mod error;
mod fields;
mod formats;
mod lines;
mod rows;

use std::collections::BTreeSet;
use std::io::Read;

pub use draft::{AllocationRow, DelegationRow, ExclusionRow};
pub use draft::{
    Coverage, Holding, Holdings, Note, ParsedTable, TableContent, TableRow, TableSummary,
};
pub use error::{LINES_NAMED, RefusedLine, RefusedLines, TableError};
pub use lines::Progress;

use crate::domain::Spc;
use crate::domain::clock::Time;
use crate::domain::words::words;
use fields::Ocns;
use formats::{
    allocations, arcep_majnum, delegations, exclusions, nanp_blocks, nanpa_codes, nanpa_thousands,
};
use lines::{Column, CsvDialect, Line};

/// The most lines that are kept in memory, of formats that keep any.
const MAX_ROWS: usize = 500_000;

/// A format of tables.
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
    /// The word of the commands and of the API.
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
    /// Whether it lists all carriers, so that the import has to say which of them are ours.
    #[must_use]
    pub const fn lists_everybody(self) -> bool {
        match self {
            Self::NanpBlocks | Self::NanpaThousands | Self::NanpaCodes | Self::ArcepMajnum => true,
            Self::Allocations | Self::Delegations | Self::Exclusions => false,
        }
    }
}

/// What to look for in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRequest {
    pub format: Format,
    /// The codes whose lines are the carrier's, as the table writes them.
    pub ocns: BTreeSet<String>,
    /// The service provider code that holds the numbers.
    pub spc: Option<Spc>,
}

impl TableRequest {
    /// Checks that it has what its format needs.
    ///
    /// # Errors
    /// [`TableError`] names what is missing or too much.
    pub fn check(&self) -> Result<(), TableError> {
        let format = self.format.as_str();
        let missing = |what| Err(TableError::Missing { format, what });
        let unwanted = |what| Err(TableError::Unwanted { format, what });
        match self.format {
            _ if !self.format.lists_everybody() && !self.ocns.is_empty() => unwanted("OCN"),
            _ if self.ocns.iter().any(String::is_empty) => missing("OCNs that are not empty"),
            Format::Delegations | Format::Exclusions if self.spc.is_some() => {
                unwanted("service provider code")
            }
            _ if !self.format.lists_everybody() => Ok(()),
            _ if self.ocns.is_empty() => missing("the OCNs whose lines are the carrier's"),
            _ if self.spc.is_none() => missing("the service provider code that holds the numbers"),
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
                let what = "the service provider code that holds the numbers";
                let format = self.format.as_str();
                return Err(TableError::Missing { format, what });
            }
        })
    }
}

/// How tables of one format are read, line by line.
pub trait Layout {
    fn dialect(&self) -> CsvDialect;
    /// `Line::field` finds fields by their place in this list.
    fn columns(&self) -> &'static [Column];
    /// Takes a line, or complains about it.
    fn line(&mut self, line: &Line<'_>) -> Result<(), String>;
    /// Says what the lines mean together.
    fn finish(self: Box<Self>, draft: &mut ParsedTable) -> Result<(), TableError>;
}

/// Reads a table. `report` is told now and then how far it is, and says whether to go on. Lines that are refused are in
/// the draft: a dry run shows what the others say, an import takes none of them.
///
/// # Errors
/// [`TableError`] if it is not such a table, or none of its lines is of these OCNs.
pub fn read(
    table: impl Read,
    wanted: &TableRequest,
    now: Time,
    report: &mut dyn FnMut(Progress) -> bool,
) -> Result<ParsedTable, TableError> {
    let mut layout = wanted.layout(now)?;
    let mut refused = RefusedLines::default();
    let columns = layout.columns();
    let read = lines::read(
        table,
        layout.dialect(),
        columns,
        report,
        &mut refused,
        &mut |line| layout.line(line),
    )?;
    let mut draft = ParsedTable {
        says: TableContent::Exclusions(Vec::new()),
        told: TableSummary {
            format: wanted.format.as_str(),
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
    layout.finish(&mut draft)?;
    Ok(draft)
}

/// A table without any line of the carrier is most likely the wrong one, or the code is mistyped.
pub fn must_name_them(ocns: &Ocns, told: &mut TableSummary) -> Result<(), TableError> {
    told.own = ocns.lines;
    told.note(ocns.without, "lines without an OCN");
    told.note(ocns.several, "lines for several carriers (`MULT`)");
    // What is refused says more than that nothing is left.
    if ocns.lines == 0 && told.refused.count == 0 {
        return Err(TableError::NoSuchOcn {
            ocns: ocns.names(),
            hint: ocns.hint(),
        });
    }
    Ok(())
}

/// Bounds the memory of formats that keep lines.
pub fn must_be_few(rows: usize) -> Result<(), String> {
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

    /// What a table says at the start of 2026, by this service provider code.
    pub(super) fn read(
        format: Format,
        ocns: &[&str],
        table: &[u8],
    ) -> Result<ParsedTable, TableError> {
        let wanted = TableRequest {
            format,
            ocns: ocns.iter().map(|ocn| (*ocn).to_owned()).collect(),
            spc: format
                .lists_everybody()
                .then(|| "1234".parse().expect("a code")),
        };
        super::read(table, &wanted, from_unix(1_767_225_600), &mut |_| true)
    }

    pub(super) fn told(format: Format, ocns: &[&str], table: &[u8]) -> TableSummary {
        read(format, ocns, table).expect("a table").told
    }

    pub(super) fn table(format: Format, ocns: &[&str], table: &[u8]) -> Holdings {
        match read(format, ocns, table).expect("a table").says {
            TableContent::Holdings { table, .. } => table,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_import_needs_what_its_format_needs() {
        let wanted = |format, ocns: &[&str], spc: Option<&str>| {
            let wanted = TableRequest {
                format,
                ocns: ocns.iter().map(|ocn| (*ocn).to_owned()).collect(),
                spc: spc.map(|spc| spc.parse().expect("a code")),
            };
            wanted.check().map_err(|error| error.to_string())
        };
        assert_eq!(wanted(Format::NanpBlocks, &["073H"], Some("073H")), Ok(()));
        assert_eq!(wanted(Format::Allocations, &[], Some("073H")), Ok(()));
        assert_eq!(wanted(Format::Delegations, &[], None), Ok(()));
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
            let told = wanted(format, ocns, spc).expect_err(why);
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn a_reading_can_be_stopped() {
        let wanted = TableRequest {
            format: Format::Exclusions,
            ocns: BTreeSet::new(),
            spc: None,
        };
        let table = format!("start,reason\n{}", "+12125551001,aging\n".repeat(20_000));
        let mut told = Vec::new();
        let stopped = super::read(table.as_bytes(), &wanted, from_unix(0), &mut |progress| {
            told.push(progress.lines);
            told.len() < 3
        });
        assert_eq!(stopped.expect_err("stopped"), TableError::Stopped);
        assert_eq!(told, [4_096, 8_192, 12_288]);
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
