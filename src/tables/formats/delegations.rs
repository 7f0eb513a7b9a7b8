//! `delegations`: the carrier's own CSV, one delegation a line, from the carrier itself to an
//! account. Columns: `account`, and optionally `ca`, `lend_on` and `reference`.

use crate::tables::Layout;
use crate::tables::draft::{DelegationRow, ParsedTable, TableContent};
use crate::tables::error::TableError;
use crate::tables::fields::{shown, yes_or_no};
use crate::tables::lines::{Column, CsvDialect, Line};
use crate::tables::rows::{self, BLOCK, COUNT, DIALECT, END, FROM, OWN, START, UNTIL};
use crate::tables::sorted_delegations::DelegationSorter;

const COLUMNS: &[Column] = &[
    START,
    END,
    COUNT,
    BLOCK,
    FROM,
    UNTIL,
    Column::needed(&["account", "account_id"]),
    Column::optional(&["ca"]),
    Column::optional(&["reference", "order"]),
    Column::optional(&["lend_on"]),
];

#[derive(Default)]
pub struct Delegations {
    rows: DelegationSorter,
}

impl Layout for Delegations {
    fn dialect(&self) -> CsvDialect {
        DIALECT
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), String> {
        let account = rows::field(line, OWN)?;
        let new = DelegationRow {
            account: account
                .parse()
                .map_err(|error| format!("account `{}`: {error}", shown(account)))?,
            ca: yes_or_no("ca", rows::field(line, OWN + 1)?)?,
            lend_on: yes_or_no("lend_on", rows::field(line, OWN + 3)?)?,
            reference: rows::text("reference", rows::field(line, OWN + 2)?)?,
        };
        let row = rows::row(line, new)?;
        // A full disk is reported once for each line; the table is refused in any case.
        self.rows.add(row).map_err(|error| error.to_string())
    }

    fn finish(self: Box<Self>, table: &mut ParsedTable) -> Result<(), TableError> {
        table.content = match self.rows.finish()? {
            Ok(few) => TableContent::Delegations(few),
            Err(many) => TableContent::ManyDelegations(many),
        };
        Ok(())
    }
}
