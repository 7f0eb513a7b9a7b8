//! Importing what the carrier keeps out of a table: all of it or nothing, and as often as one likes.
//!
//! A table is read ([`read`]) into what it says ([`Draft`]), which is then held against what is known, in one transaction
//! ([`Authority::import`](crate::authority::Authority::import)). The difference is what happens; a dry run only shows it.
//!
//! # Who speaks for what
//! Authority ends only where a table says so.
//!
//! | format | speaks for |
//! |---|---|
//! | `nanp-blocks` | the NPAs that it has a line of |
//! | `nanpa-thousands` | the codes (NPA-NXX) that it has a line of |
//! | `nanpa-codes` | the NPAs that it has a line of, but for the codes that are pooled |
//! | `arcep-majnum` | +33, and each overseas country code that it has a line of |
//! | `allocations`, `delegations`, `exclusions` | the very rows that they name |
//!
//! What an SPC holds as `block` or `code` inside of that, and the table does not give to the OCNs of the import, ends. So
//! one import has to name all OCNs whose numbers the SPC holds. Ported-in and toll-free numbers never end by a table. What
//! is held outside of what the table speaks for stays, and is counted.
//!
//! A table is a set of numbers, whatever its ranges: where the same numbers are only cut differently, nothing happens.
//! Where a known range keeps some of its numbers, it ends and the kept part starts at the same instant.
//!
//! # Adding a format
//! A file with a `Layout`, and a line in [`Format`] and in `Wanted::layout`.

mod allocations;
mod apply;
mod arcep_majnum;
mod clean;
mod delegations;
mod draft;
mod error;
mod exclusions;
mod fields;
mod holdings;
mod index;
mod known;
mod lines;
mod loans;
mod nanp;
mod nanp_blocks;
mod nanpa_codes;
mod nanpa_thousands;
mod outcome;
mod outstanding;
mod report;
mod rows;
mod write;

use std::collections::BTreeSet;
use std::io::Read;

pub use apply::Consent;
pub use draft::{Draft, Holding, Holdings, Note, Row, Says, Scope, Told};
pub use draft::{NewAllocation, NewDelegation, NewExclusion};
pub use error::{ImportError, LINES_NAMED, RefusedLine, RefusedLines, TableError};
pub use lines::Progress;
pub use outcome::{Amount, Difference, Imported, OutstandingTokens};

use crate::domain::Spc;
use crate::domain::clock::Time;
use crate::domain::words::words;
use draft::Noted;
use fields::Ocns;
use lines::{Column, Dialect, Line};

/// The most lines that are kept in memory, of formats that keep any.
const MOST_ROWS: usize = 500_000;

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
pub struct Wanted {
    pub format: Format,
    /// The codes whose lines are the carrier's, as the table writes them.
    pub ocns: BTreeSet<String>,
    /// The service provider code that holds the numbers.
    pub spc: Option<Spc>,
}

impl Wanted {
    /// Checks that it has what its format needs.
    ///
    /// # Errors
    /// [`ImportError`] names what is missing or too much.
    pub fn check(&self) -> Result<(), ImportError> {
        let format = self.format.as_str();
        let missing = |what| Err(ImportError::Missing { format, what });
        let unwanted = |what| Err(ImportError::Unwanted { format, what });
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

    fn layout(&self, now: Time) -> Result<Box<dyn Layout>, ImportError> {
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
                return Err(ImportError::Missing { format, what });
            }
        })
    }
}

/// How tables of one format are read, line by line.
trait Layout {
    fn dialect(&self) -> Dialect;
    /// [`Line::field`] finds fields by their place in this list.
    fn columns(&self) -> &'static [Column];
    /// Takes a line, or complains about it.
    fn line(&mut self, line: &Line<'_>) -> Result<(), String>;
    /// Says what the lines mean together.
    fn finish(self: Box<Self>, draft: &mut Draft) -> Result<(), TableError>;
}

/// Reads a table. `report` is told now and then how far it is, and says whether to go on. Lines that are refused are in
/// the draft: a dry run shows what the others say, an import takes none of them.
///
/// # Errors
/// [`ImportError`] if it is not such a table, or none of its lines is of these OCNs.
pub fn read(
    table: impl Read,
    wanted: &Wanted,
    now: Time,
    report: &mut dyn FnMut(Progress) -> bool,
) -> Result<Draft, ImportError> {
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
    let mut draft = Draft {
        says: Says::Exclusions(Vec::new()),
        told: Told {
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
fn must_name_them(ocns: &Ocns, told: &mut Told) -> Result<(), TableError> {
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
fn must_be_few(rows: usize) -> Result<(), String> {
    if rows <= MOST_ROWS {
        Ok(())
    } else {
        Err(format!("more than {MOST_ROWS} lines; split the file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_unix;

    /// What a table says at the start of 2026, by this service provider code.
    pub(super) fn read(format: Format, ocns: &[&str], table: &[u8]) -> Result<Draft, TableError> {
        let wanted = Wanted {
            format,
            ocns: ocns.iter().map(|ocn| (*ocn).to_owned()).collect(),
            spc: format
                .lists_everybody()
                .then(|| "1234".parse().expect("a code")),
        };
        match super::read(table, &wanted, from_unix(1_767_225_600), &mut |_| true) {
            Ok(draft) => Ok(draft),
            Err(ImportError::Table(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    pub(super) fn told(format: Format, ocns: &[&str], table: &[u8]) -> Told {
        read(format, ocns, table).expect("a table").told
    }

    pub(super) fn table(format: Format, ocns: &[&str], table: &[u8]) -> Holdings {
        match read(format, ocns, table).expect("a table").says {
            Says::Holdings { table, .. } => table,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_import_needs_what_its_format_needs() {
        let wanted = |format, ocns: &[&str], spc: Option<&str>| {
            let wanted = Wanted {
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
        let wanted = Wanted {
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
        assert_eq!(stopped.expect_err("stopped").code(), "stopped");
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
