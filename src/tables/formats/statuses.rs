//! Lines of an administrator's report that assign nothing, by the name of their status: what is not
//! `AS` grants no numbers, but is never dropped without a word.

use std::collections::BTreeMap;

use crate::tables::draft::{NotedLines, TableSummary};
use crate::tables::fields::shown;

/// The status of codes and blocks that are assigned, which alone grants numbers.
const ASSIGNED: &str = "AS";
/// How many names are kept.
const MAX_NAMES: usize = 20;

/// The lines whose status is not [`ASSIGNED`].
#[derive(Debug)]
pub struct OtherStatuses {
    /// The title of the column.
    column: &'static str,
    by_name: BTreeMap<String, OfOneStatus>,
    /// Lines with statuses beyond [`MAX_NAMES`].
    others: OfOneStatus,
}

#[derive(Debug, Default)]
struct OfOneStatus {
    lines: u64,
    /// The carrier's.
    own: NotedLines,
}

impl OtherStatuses {
    pub fn new(column: &'static str) -> Self {
        Self {
            column,
            by_name: BTreeMap::new(),
            others: OfOneStatus::default(),
        }
    }

    /// Whether a line assigns something. If not, it is counted.
    pub fn is_assigned(&mut self, status: &str, line: u64, own: bool) -> bool {
        let status = status.to_ascii_uppercase();
        if status == ASSIGNED {
            return true;
        }
        let known = self.by_name.len();
        let counted = match self.by_name.get_mut(&status) {
            Some(counted) => counted,
            None if known < MAX_NAMES => self.by_name.entry(status).or_default(),
            None => &mut self.others,
        };
        counted.lines += 1;
        if own {
            counted.own.add(line);
        }
        false
    }

    /// Notes how many lines have each status, and which of them are the carrier's.
    pub fn note(self, summary: &mut TableSummary) {
        let column = self.column;
        let named = self.by_name.into_iter();
        let named = named.map(|(name, counted)| (format!("`{}`", shown(&name)), counted));
        for (name, counted) in named.chain([("another".to_owned(), self.others)]) {
            let what = format!("lines whose {column} is {name}, not `{ASSIGNED}`, grant nothing");
            summary.note(counted.lines, what);
            let what = format!("of these are own lines, whose {column} is {name}");
            summary.note_lines(counted.own, what);
        }
    }

    /// Why there may be no line of the carrier: the statuses that its lines have.
    pub fn hint(&self) -> Option<String> {
        let own = self
            .by_name
            .iter()
            .filter(|(_, lines)| !lines.own.is_empty());
        let names: Vec<String> = own.map(|(name, _)| format!("`{}`", shown(name))).collect();
        (!names.is_empty()).then(|| {
            format!(
                "; the table has lines of it, but with {} {}, and only `{ASSIGNED}` grants numbers",
                self.column,
                names.join(", ")
            )
        })
    }
}
