//! `allocations`: the carrier's own CSV, one allocation a line. Columns: `basis`, and `spc` unless
//! the import gives one.

use crate::domain::Spc;
use crate::tables::Layout;
use crate::tables::draft::{AllocationRow, ParsedTable, TableContent, TableRow};
use crate::tables::error::TableError;
use crate::tables::fields::shown;
use crate::tables::lines::{Column, CsvDialect, Line};
use crate::tables::rows::{self, BLOCK, COUNT, DIALECT, END, FROM, OWN, START, UNTIL};

const COLUMNS: &[Column] = &[
    START,
    END,
    COUNT,
    BLOCK,
    FROM,
    UNTIL,
    Column::optional(&["spc"]),
    Column::needed(&["basis"]),
];

pub struct Allocations {
    /// The one given with the import.
    spc: Option<Spc>,
    rows: Vec<TableRow<AllocationRow>>,
}

impl Allocations {
    pub fn new(spc: Option<Spc>) -> Self {
        let rows = Vec::new();
        Self { spc, rows }
    }
}

impl Layout for Allocations {
    fn dialect(&self) -> CsvDialect {
        DIALECT
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), String> {
        let spc = match (rows::field(line, OWN)?, &self.spc) {
            ("", Some(spc)) => spc.clone(),
            (text, _) => text
                .parse()
                .map_err(|error| format!("spc `{}`: {error}", shown(text)))?,
        };
        if self.spc.as_ref().is_some_and(|given| *given != spc) {
            return Err(format!(
                "spc `{spc}` differs from the one given with the import"
            ));
        }
        let basis = rows::field(line, OWN + 1)?;
        let basis = basis
            .parse()
            .map_err(|error| format!("basis `{}`: {error}", shown(basis)))?;
        self.rows
            .push(rows::row(line, AllocationRow { spc, basis })?);
        crate::tables::must_fit_in_memory(self.rows.len())
    }

    fn finish(self: Box<Self>, table: &mut ParsedTable) -> Result<(), TableError> {
        table.content = TableContent::Allocations(self.rows);
        Ok(())
    }
}
