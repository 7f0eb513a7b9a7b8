//! `arcep-majnum`: the numbers that ARCEP, the French regulator, has assigned to operators.
//! Separated by `;`, in Latin-1, one block of any width a line. `--ocn` is the operator's short
//! name (`Mnémo`).
//!
//! Numbers are national, with a leading 0. Their country code follows from the territory: +33, or
//! the code of an overseas department. Short numbers have no country code, so they are skipped. The
//! scope is +33, and each overseas code that the table lists.

use crate::domain::clock::Time;
use crate::domain::inventory::Basis;
use crate::domain::numbers::number::MAX_DIGITS;
use crate::domain::numbers::range_set::merged;
use crate::domain::{NumberRange, Spc, Tn};
use crate::tables::Layout;
use crate::tables::decode::Encoding;
use crate::tables::draft::NotedLines;
use crate::tables::draft::{Coverage, Holding, Holdings, ParsedTable, TableContent};
use crate::tables::error::TableError;
use crate::tables::fields::{Holder, Ocns, european_day, shown};
use crate::tables::lines::{Column, CsvDialect, Line};

const COLUMNS: &[Column] = &[
    Column::needed(&["Tranche_Debut", "Debut"]),
    Column::needed(&["Tranche_Fin", "Fin"]),
    Column::needed(&["Mnémo", "Mnemonique", "Code operateur"]),
    Column::needed(&["Territoire"]),
    Column::needed(&["Date_Attribution", "Date d'attribution"]),
    Column::optional(&["EZABPQM"]),
];

/// How the names of territories start, and their country codes (ITU-T E.164).
const TERRITORIES: [(&str, &str); 8] = [
    ("metropole", "33"),
    ("métropole", "33"),
    ("national", "33"),
    ("guadeloupe", "590"),
    ("guyane", "594"),
    ("martinique", "596"),
    ("la réunion", "262"),
    ("mayotte", "262"),
];
/// +508 has numbers of two lengths, and the table does not say which length a block has.
const AMBIGUOUS: &str = "saint pierre et miquelon";
/// A number of up to six digits is a short number.
const MAX_SHORT: usize = 6;
/// The fewest digits of a national number, with its leading 0.
const MIN_NATIONAL: usize = 10;

pub struct ArcepMajnum {
    ocns: Ocns,
    spc: Spc,
    now: Time,
    /// Of all operators, to find numbers that are listed for two of them.
    blocks: Vec<Block>,
    codes: Vec<&'static str>,
    short: u64,
    ambiguous: NotedLines,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    numbers: NumberRange,
    line: u64,
    own: bool,
    valid_from: Option<Time>,
}

impl ArcepMajnum {
    pub fn new(ocns: Ocns, spc: Spc, now: Time) -> Self {
        Self {
            ocns,
            spc,
            now,
            blocks: Vec::new(),
            codes: vec!["33"],
            short: 0,
            ambiguous: NotedLines::default(),
        }
    }
}

impl Layout for ArcepMajnum {
    fn dialect(&self) -> CsvDialect {
        CsvDialect {
            delimiter: b';',
            quoted: true,
            encoding: Encoding::Latin1,
        }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), String> {
        let own = self.ocns.holder(line.field(2)?)? == Holder::Own;
        let (first, last) = (line.field(0)?, line.field(1)?);
        let (first, last) = (
            digits("Tranche_Debut", first)?,
            digits("Tranche_Fin", last)?,
        );
        if first.len() <= MAX_SHORT {
            self.short += u64::from(own);
            return Ok(());
        }
        let territory = line.field(3)?.to_lowercase();
        if territory.starts_with(AMBIGUOUS) {
            if own {
                self.ambiguous.add(line.number);
            }
            return Ok(());
        }
        let code = TERRITORIES
            .iter()
            .find(|(name, _)| territory.starts_with(name))
            .ok_or_else(|| format!("unknown territory `{}`", shown(&territory)))?
            .1;
        let numbers = NumberRange::between(
            international(code, "Tranche_Debut", first)?,
            international(code, "Tranche_Fin", last)?,
        )
        .map_err(|error| error.to_string())?;
        let day = line.field(4)?;
        let assigned_at = match day {
            "" => None,
            day => Some(european_day("Date_Attribution", day)?),
        };
        if !self.codes.contains(&code) {
            self.codes.push(code);
        }
        self.blocks.push(Block {
            numbers,
            line: line.number,
            own,
            valid_from: assigned_at.filter(|day| *day > self.now),
        });
        crate::tables::must_fit_in_memory(self.blocks.len())
    }

    fn finish(mut self: Box<Self>, table: &mut ParsedTable) -> Result<(), TableError> {
        crate::tables::must_have_own_lines(&self.ocns, &mut table.summary)?;
        table.summary.note(
            self.short,
            "own short numbers, which are not E.164 numbers, were skipped",
        );
        table.summary.note_lines(
            std::mem::take(&mut self.ambiguous),
            "own blocks of Saint-Pierre-et-Miquelon were skipped, since the table does not say how long their numbers \
             are: import them with --format allocations",
        );
        self.blocks
            .sort_unstable_by_key(|block| (block.numbers, block.line));
        // The earlier blocks that reach farthest. Blocks of other operators may overlap each other:
        // that contradiction does not concern this carrier.
        let (mut own, mut any): (Option<Block>, Option<Block>) = (None, None);
        for block in &self.blocks {
            let other = if block.own { any } else { own };
            if let Some(other) = other.filter(|other| other.numbers.last() >= block.numbers.first())
            {
                let why = format!("overlaps line {}", other.line);
                table.summary.refused.add(block.line, why);
            }
            let reaching_farther = |other: Option<Block>| match other {
                Some(other) if other.numbers.last() >= block.numbers.last() => Some(other),
                _ => Some(*block),
            };
            any = reaching_farther(any);
            if block.own {
                own = reaching_farther(own);
            }
        }
        let scope = self.codes.iter().flat_map(|code| all_of(code)).collect();
        let holdings = Holdings {
            held: joined(&self.blocks),
            scope: Coverage::new(scope),
            dated: true,
        };
        table.content = TableContent::Holdings {
            spc: self.spc,
            table: holdings,
        };
        Ok(())
    }
}

/// The carrier's blocks. Adjacent blocks with the same start are joined.
fn joined(blocks: &[Block]) -> Vec<Holding> {
    let mut by_start = std::collections::BTreeMap::<Option<Time>, Vec<NumberRange>>::new();
    for block in blocks.iter().filter(|block| block.own) {
        by_start
            .entry(block.valid_from)
            .or_default()
            .push(block.numbers);
    }
    let mut held = Vec::new();
    for (valid_from, numbers) in by_start {
        held.extend(merged(numbers).into_iter().map(|numbers| Holding {
            numbers,
            basis: Basis::Block,
            valid_from,
        }));
    }
    held.sort_unstable_by_key(|holding| holding.numbers);
    held
}

fn digits<'a>(name: &str, text: &'a str) -> Result<&'a str, String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(text);
    }
    Err(format!("{name} must be digits, not `{}`", shown(text)))
}

/// Replaces the leading 0 by the country code: 0566.. becomes +33 566..
fn international(code: &str, name: &str, national: &str) -> Result<Tn, String> {
    let without_zero = national.strip_prefix('0').ok_or_else(|| {
        format!(
            "{name} `{}` lacks its leading 0, which a spreadsheet may have removed",
            shown(national)
        )
    })?;
    if national.len() < MIN_NATIONAL {
        return Err(format!("{name} `{}` is too short", shown(national)));
    }
    Tn::from_digits(&format!("{code}{without_zero}"))
        .map_err(|error| format!("{name} `{}`: {error}", shown(national)))
}

/// All numbers under a country code, of every length.
fn all_of(code: &str) -> impl Iterator<Item = NumberRange> {
    let max_free = usize::from(MAX_DIGITS) - code.len();
    (1..=max_free).filter_map(move |free| {
        let start = Tn::from_digits(&format!("{code}{}", "0".repeat(free))).ok()?;
        NumberRange::new(start, 10_u64.pow(u32::try_from(free).ok()?)).ok()
    })
}

#[cfg(test)]
mod tests {
    use crate::tables::Format;
    use crate::tables::tests::{summary, table};

    fn latin_1(lines: &str) -> Vec<u8> {
        let text = format!(
            "EZABPQM;Tranche_Debut;Tranche_Fin;Mnémo;Territoire;Date_Attribution\r\n{lines}"
        );
        text.chars()
            .map(|c| u8::try_from(u32::from(c)).expect("Latin-1"))
            .collect()
    }

    #[test]
    fn national_numbers_get_the_country_code_of_their_territory() {
        let lines = latin_1(
            "01056;0105600000;0105699999;FRTE;Métropole;01/01/2017\r\n\
             01057;0105700000;0105709999;FRTE;Métropole;01/01/2017\r\n\
             0590;0590200000;0590200999;FRTE;Guadeloupe, St Martin et St Barthélemy;01/01/2017\r\n\
             07000;07000000000000;07000009999999;FRTE;National;01/01/2099\r\n\
             3620;3620;3620;FRTE;National;22/09/2025\r\n\
             0508;0508410000;0508419999;FRTE;Saint Pierre et Miquelon;22/09/2025\r\n\
             01058;0105800000;0105899999;SFR0;Métropole;01/01/2017\r\n",
        );
        let found = table(Format::ArcepMajnum, &["FRTE"], &lines);
        let held: Vec<_> = found
            .held
            .iter()
            .map(|h| (h.numbers.to_string(), h.valid_from.is_some()))
            .collect();
        let expected = [
            ("+33105600000 to +33105709999", false),
            ("+590590200000 to +590590200999", false),
            ("+337000000000000 to +337000009999999", true),
        ];
        assert_eq!(held, expected.map(|(text, later)| (text.to_owned(), later)));
        let summary = summary(Format::ArcepMajnum, &["FRTE"], &lines);
        assert_eq!((summary.own, summary.refused.count), (6, 0));
        let notes: Vec<_> = summary.notes.iter().map(|n| n.count).collect();
        assert_eq!(notes, [1, 1]);
    }

    #[test]
    fn malformed_lines_are_refused_with_their_numbers() {
        for (line, why) in [
            (
                ";105600000;105699999;FRTE;Métropole;01/01/2017",
                "lacks its leading 0",
            ),
            (
                ";0105600000;0105500000;FRTE;Métropole;01/01/2017",
                "before it starts",
            ),
            (
                ";0105600000;01056000000;FRTE;Métropole;01/01/2017",
                "same number of digits",
            ),
            (
                ";0105600000;0105699999;FRTE;Wallis;01/01/2017",
                "territory `wallis`",
            ),
            (";0105600000;0105699999;FRTE;Métropole;2017", "DD/MM/YYYY"),
            (";0105600000;0105699999;FRTE;Métropole", "truncated"),
            (
                ";1,056E+08;0105699999;FRTE;Métropole;01/01/2017",
                "must be digits",
            ),
            (
                ";0105500000;0105600000;SFR0;Métropole;01/01/2017",
                "line 3: overlaps line 2",
            ),
            (
                ";0105600000;0105600000;FRTE;Métropole;01/01/2017",
                "line 3: overlaps line 2",
            ),
        ] {
            let good = ";0105600000;0105699999;FRTE;Métropole;01/01/2017\r\n";
            let lines = latin_1(&format!("{line}\r\n{good}"));
            let summary = summary(Format::ArcepMajnum, &["FRTE"], &lines);
            let named = summary.refused.to_string();
            assert_eq!(summary.refused.count, 1, "{line}: {named}");
            assert!(named.contains(why), "{line}: {named}");
        }
    }
}
