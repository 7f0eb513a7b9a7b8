//! Lines whose fields are not those of their columns: an unquoted comma moves every later field by one, and the block of
//! somebody else would be taken.

use std::collections::BTreeSet;

use tn_authority::domain::clock::from_unix;
use tn_authority::tables::{self, Format, ParsedTable, TableContent, TableError, TableRequest};

/// Reads a table of 073H, which holds its numbers under 1234.
pub(super) fn read(format: Format, table: &str) -> Result<ParsedTable, TableError> {
    let everybody = format.lists_everybody();
    let own = everybody.then(|| "073H".to_owned());
    let request = TableRequest {
        format,
        ocns: own.into_iter().collect::<BTreeSet<_>>(),
        spc: everybody.then(|| "1234".parse().expect("a code")),
    };
    tables::read(
        table.as_bytes(),
        &request,
        from_unix(1_767_225_600),
        &mut |_| true,
    )
}

/// The refused lines, each with its reason.
pub(super) fn refused(format: Format, table: &str) -> Vec<String> {
    let table = read(format, table).expect("a table");
    let named = table.summary.refused.named.iter();
    named.map(ToString::to_string).collect()
}

/// What 073H holds, as text.
fn held(table: &ParsedTable) -> Vec<String> {
    match &table.content {
        TableContent::Holdings { table, .. } => table
            .held
            .iter()
            .map(|held| held.numbers.to_string())
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unquoted_separator_is_refused_in_every_format() {
    for (format, header, good, shifted) in [
        (
            Format::NanpBlocks,
            "company,npa,nxx,x,ocn,category",
            "\"Smith, Jones\",212,555,1,073H,CLEC",
            "Smith, Jones,212,555,2,073H,CLEC",
        ),
        // The holder's name is before the OCN, so that the OCN of another would be read as one's own.
        (
            Format::NanpBlocks,
            "npa,nxx,x,company,ocn,parent",
            "212,555,1,Acme,073H,",
            "212,555,2,Acme, 073H,9999,",
        ),
        (
            Format::NanpaThousands,
            "NPA,NXX,X,STATUS,Assigned To,OCN,Contaminated,Block Effective Date",
            "212,555,1,AS,Acme,073H,N,10/05/2022",
            "212,555,2,AS,Acme,073H,9999,N,10/05/2022",
        ),
        (
            Format::NanpaCodes,
            "NPA-NXX\tCompany\tOCN\tEffectiveDate\tUse\tPooled Code",
            "201-330\tAcme\t073H\t10/05/2022\tAS\tN",
            "201-331\tAc\tme\t073H\t10/05/2022\tAS\tN",
        ),
        (
            Format::ArcepMajnum,
            "Tranche_Debut;Tranche_Fin;Mnémo;Territoire;Date_Attribution",
            "0105600000;0105699999;073H;Métropole;01/01/2017",
            "0105700000;0105799999;073H;;Métropole;01/01/2017",
        ),
        (
            Format::Allocations,
            "block,basis,spc",
            "1.212.555.1XXX,block,1234",
            "1.212.555.2XXX,block,1234,",
        ),
        (
            Format::Delegations,
            "account,start,reference,ca,lend_on",
            "acme,+12125551001,\"order 1, part 2\",,",
            "acme,+12125551002,order 1,yes,yes,",
        ),
        (
            Format::Exclusions,
            "start,reason",
            "+12125551001,aging",
            "+12125551002,aging,",
        ),
    ] {
        // ARCEP's tables are in Latin-1, for which the titles are found without their accents.
        let header = header.replace('é', "e");
        let table = format!("{header}\n{good}\n{shifted}\n").replace("Métropole", "Metropole");
        let table = read(format, &table).expect("a table");
        let refused = &table.summary.refused;
        assert_eq!(
            (table.summary.lines, refused.count),
            (2, 1),
            "{format}: {refused}"
        );
        let titles = header.split([',', ';', '\t']).count();
        let said = refused.to_string();
        let expected = format!("line 3: {} fields, but the header has {titles}", titles + 1);
        assert!(said.starts_with(&expected), "{format}: {said}");
    }
}

#[test]
fn the_date_after_the_titles_is_no_column() {
    let titles = "State\tNPA-NXX\tOCN\tCompany\tRateCenter\tEffectiveDate\tUse\tAssignDate\tInitial/Growth\tPooled Code\t\
        In Service\tFile Updated 09/20/2026\n";
    let line = |code: &str, end: &str| {
        format!(
            "NJ \t{code}\t073H\t\"EXAMPLE TEL, INC.\"\tJERSEYCITY\t10/05/2022\tAS\t09/01/2022\tI \tN \tY{end}\n"
        )
    };
    for end in ["", " ", "\t", " \t "] {
        let table = format!("{titles}{}{}", line("201-330", end), line("201-331", end));
        let table = read(Format::NanpaCodes, &table).expect("a table");
        assert_eq!(
            table.summary.refused.count, 0,
            "{end:?}: {}",
            table.summary.refused
        );
        assert_eq!(held(&table), ["+12013300000 to +12013319999"], "{end:?}");
        assert_eq!(table.summary.unknown_columns, ["File Updated 09/20/2026"]);
    }
    for (second, why) in [
        ("\t\t", "line 3: 13 fields, but the header has 11"),
        ("\tY", "line 3: a field after the last of the 11 columns"),
        ("\t", "line 3: 12 fields, but line 2 has 11"),
    ] {
        let table = format!("{titles}{}{}", line("201-330", ""), line("201-331", second));
        let found = refused(Format::NanpaCodes, &table);
        assert!(
            found.len() == 1 && found[0].starts_with(why),
            "{second:?}: {found:?}"
        );
    }
    // A title of the carrier's own is a column: a line without its field is cut off.
    let found = refused(
        Format::Exclusions,
        "start,reason,remark\n+12125551001,aging\n",
    );
    assert!(
        found[0].contains("2 field(s), but the header has 3"),
        "{found:?}"
    );
}

#[test]
fn separators_at_the_end_of_all_lines_are_a_column_without_a_title() {
    let table = "start,reason,,\n+12125551001,aging,,\n+12125551002,aging,,\n,,,\n";
    let read_table = read(Format::Exclusions, table).expect("a table");
    assert_eq!(
        (read_table.summary.lines, read_table.summary.refused.count),
        (2, 0)
    );
    let notes: Vec<_> = read_table
        .summary
        .notes
        .iter()
        .map(|n| (n.count, &*n.what))
        .collect();
    assert_eq!(notes, [(1, "lines without any text were skipped")]);
    for (table, why) in [
        (
            "start,reason\n+12125551001,aging,\n",
            "3 fields, but the header has 2",
        ),
        (
            "start,reason,\n+12125551001,aging,\n+12125551002,aging\n",
            "2 fields, but line 2 has 3",
        ),
        (
            "start,reason,\n+12125551001,aging,x\n",
            "a field after the last of the 2 columns",
        ),
    ] {
        let found = refused(Format::Exclusions, table);
        assert!(
            found.len() == 1 && found[0].contains(why),
            "{table:?}: {found:?}"
        );
    }
}

#[test]
fn a_quotation_mark_does_not_swallow_a_line() {
    let table = "npa,nxx,x,ocn,company\n212,555,1,073H,\"A\n212,555,2,073H,B\"\n212,555,3,073H,C\n";
    let found = refused(Format::NanpBlocks, table);
    assert!(
        found.len() == 1 && found[0].starts_with("line 2: a quotation mark has joined this line"),
        "{found:?}"
    );
    let table = "start,reason,remark\n+12125551001,aging,\"two\nlines\"\n";
    assert_eq!(
        read(Format::Exclusions, table)
            .expect("a table")
            .summary
            .refused
            .count,
        0
    );
}

#[test]
fn a_file_that_is_no_such_table_says_what_to_do() {
    for (table, why) in [
        ("sep=;\nstart;reason\n+12125551001;aging\n", "delete it"),
        ("start;reason\n+12125551001;aging\n", "separated by `,`"),
        ("start,tn,reason\n+12125551001,,aging\n", "two columns"),
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("start,reason\n", "no lines"),
        ("start,reason\n\n\n,,\n", "no lines"),
        ("start,reason\n+1212555\x001001,aging\n", "NUL at byte"),
    ] {
        let error = read(Format::Exclusions, table).expect_err(why).to_string();
        assert!(error.contains(why), "{table:?}: {error}");
    }
    let table = "\u{feff}start,reason\r\n+12125551001,aging\r+12125551002,aging\n\r\n\n";
    let mixed = read(Format::Exclusions, table).expect("a table");
    assert_eq!((mixed.summary.lines, mixed.summary.refused.count), (2, 0));
}

#[test]
fn very_many_bad_lines_are_one_message() {
    let table = format!("start,reason\n{}", "+1212555101,aging\n".repeat(5_000));
    let refused = read(Format::Exclusions, &table)
        .expect("a table")
        .summary
        .refused;
    assert_eq!(
        (refused.count, refused.named.len()),
        (5_000, tables::LINES_NAMED)
    );
    let said = refused.to_string();
    assert!(
        said.ends_with("; and 4990 more") && said.len() < 2_500,
        "{said}"
    );
}
