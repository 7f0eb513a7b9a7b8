//! Whole-country tables at full size, where the environment says where they are: what the importer finds is what a plain
//! look at each line finds.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::{BufRead as _, BufReader};

use tn_authority::domain::Tn;
use tn_authority::domain::clock::from_unix;
use tn_authority::tables::{self, Format, Holdings, TableContent, TableRequest, TableSummary};

use crate::support::fixtures;

const NUMBERS: usize = 100_000;

fn read(path: &str, format: Format, ocn: &str) -> (Holdings, TableSummary) {
    let wanted = TableRequest {
        format,
        ocns: BTreeSet::from([ocn.to_owned()]),
        spc: Some("1234".parse().expect("a code")),
    };
    let file = fs::File::open(path).expect("a table");
    // Later than all days of the tables.
    let now = from_unix(1_900_000_000);
    let draft = tables::read(file, &wanted, now, &mut |_| true).expect("a table");
    assert_eq!(draft.summary.refused.count, 0, "{}", draft.summary.refused);
    match draft.content {
        TableContent::Holdings { table, .. } => (table, draft.summary),
        other => panic!("{other:?}"),
    }
}

fn holds(table: &Holdings, digits: u64) -> bool {
    let tn = Tn::from_digits(&digits.to_string()).expect("a number");
    let next = table.held.partition_point(|held| held.numbers.last() < tn);
    table
        .held
        .get(next)
        .is_some_and(|held| held.numbers.contains(tn))
}

/// Numbers as good as random, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        // Numerical Recipes' constants; the upper bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn a_look_at_each_line_of_the_block_table_agrees() {
    let Ok(path) = std::env::var("TN_AUTHORITY_TEST_BLOCK_TABLE") else {
        eprintln!("left out: TN_AUTHORITY_TEST_BLOCK_TABLE is not set");
        return;
    };
    for ocn in ["073H", "506J"] {
        let (table, _) = read(&path, Format::NanpBlocks, ocn);
        // By code and by block, whether it is ours.
        let (mut codes, mut blocks) = (HashMap::new(), HashMap::new());
        let mut own = Vec::new();
        for line in BufReader::new(fs::File::open(&path).expect("a table"))
            .lines()
            .skip(1)
        {
            let line = line.expect("a line");
            let fields: Vec<&str> = line.split(',').collect();
            let code: u64 = format!("{}{}", fields[0], fields[1])
                .parse()
                .expect("digits");
            let ours = fields[3] == ocn;
            if ours {
                own.push(code);
            }
            match fields[2] {
                "A" => codes.insert(code, ours),
                x => blocks.insert(code * 10 + x.parse::<u64>().expect("a digit"), ours),
            };
        }
        let pooled: HashSet<u64> = blocks.keys().map(|block| block / 10).collect();
        let oracle = |digits: u64| {
            let (code, block) = (digits / 10_000, digits / 1_000);
            if pooled.contains(&code) {
                blocks.get(&block).copied().unwrap_or_default()
            } else {
                codes.get(&code).copied().unwrap_or_default()
            }
        };
        let (mut dice, mut yes) = (Dice(7), 0);
        for n in 0..NUMBERS {
            // Every other one lies in a code where the carrier has something.
            let code = if n % 2 == 0 {
                own[usize::try_from(dice.below(own.len() as u64)).expect("an index")]
            } else {
                200_000 + dice.below(800_000)
            };
            let digits = code * 10_000 + dice.below(10_000);
            assert_eq!(
                holds(&table, 10_000_000_000 + digits),
                oracle(digits),
                "{ocn} {digits}"
            );
            yes += u64::from(oracle(digits));
        }
        assert!((3_000..90_000).contains(&yes), "{yes}");
    }
}

/// The blocks of a French operator, by a plain look at each line: first, last.
fn french(path: &str, operator: &str) -> Vec<(u64, u64)> {
    let bytes = fs::read(path).expect("a table");
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let mut blocks = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(';').collect();
        let code = match fields[4].trim_matches('"') {
            place if place.starts_with("Guadeloupe") => "590",
            "Guyane" => "594",
            "Martinique" => "596",
            "Mayotte" => "262",
            place if place.starts_with("La Réunion") => "262",
            "Métropole" | "National" => "33",
            _ => continue,
        };
        if fields[3] == operator && fields[1].len() > 6 {
            let number = |field: &str| format!("{code}{}", &field[1..]).parse().expect("digits");
            blocks.push((number(fields[1]), number(fields[2])));
        }
    }
    blocks
}

fn agrees_with_each_line(path: &str, operator: &str) -> TableSummary {
    let (table, told) = read(path, Format::ArcepMajnum, operator);
    let blocks = french(path, operator);
    let count: u64 = blocks.iter().map(|(first, last)| last - first + 1).sum();
    assert_eq!(table.numbers(), count, "{operator}");
    let inside = |digits: u64| {
        blocks
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&digits))
    };
    for (first, last) in &blocks {
        for digits in [first - 1, *first, first.midpoint(*last), *last, last + 1] {
            assert_eq!(holds(&table, digits), inside(digits), "{operator} {digits}");
        }
    }
    told
}

#[test]
fn a_look_at_each_line_of_the_french_table_agrees() {
    let Ok(path) = std::env::var("TN_AUTHORITY_TEST_MAJNUM") else {
        eprintln!("left out: TN_AUTHORITY_TEST_MAJNUM is not set");
        return;
    };
    for operator in ["FRTE", "FREE", "SFR0", "COLT"] {
        let told = agrees_with_each_line(&path, operator);
        assert!(told.lines > 10_000);
    }
}

#[test]
fn the_french_sample_gives_what_was_counted_by_hand() {
    let path = fixtures::path("majnum-sample.csv");
    let path = path.to_str().expect("UTF-8");
    let told = agrees_with_each_line(path, "FRTE");
    assert_eq!((told.lines, told.own), (20, 7));
    let notes: Vec<_> = told
        .notes
        .iter()
        .map(|note| (note.count, &*note.what))
        .collect();
    assert_eq!(
        notes[0],
        (
            1,
            "own short numbers, which are not E.164 numbers, were skipped"
        )
    );
    assert_eq!(agrees_with_each_line(path, "SFR0").own, 4);
    for (operator, block) in [
        ("ODIG", "+594594000000 to +594594009999"),
        ("OUTR", "+596596000000 to +596596009999"),
        ("MIAS", "+262268900000 to +262268900999"),
    ] {
        agrees_with_each_line(path, operator);
        let (table, _) = read(path, Format::ArcepMajnum, operator);
        let held: Vec<String> = table.held.iter().map(|h| h.numbers.to_string()).collect();
        assert_eq!(held, [block]);
    }
}
