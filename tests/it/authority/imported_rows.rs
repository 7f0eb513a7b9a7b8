//! Importing CSVs of the carrier's own: they add, and end what they name with an earlier end; nothing else.

use tn_authority::authority::NewDelegation;
use tn_authority::authority::import::{ImportError, Imported};
use tn_authority::domain::clock::rfc3339;
use tn_authority::store::Page;
use tn_authority::tables::Format;

use super::imports::{CONFIRMED, DRY_RUN, UNCONFIRMED, counts, import};
use crate::support::{World, account, code, numbers, outside, wait};

both! {
    allocations_are_added_and_ended,
    delegations_are_added_and_ended,
    exclusions_take_authority_away,
    a_number_that_changes_hands_in_one_file,
    lines_that_cannot_be_are_named,
    an_end_is_never_put_off,
    a_csv_ends_no_more_than_it_may,
    a_sheet_that_was_saved_by_hand_is_read,
    ending_a_resellers_loan_ends_what_hangs_below_it,
}

fn of(world: &World, format: Format, lines: &str) -> Result<Imported, ImportError> {
    import(world, format, lines, UNCONFIRMED)
}

/// The reasons of the lines that are refused, each with its number.
fn refused(world: &World, format: Format, table: &str) -> Vec<(u64, String)> {
    let dry = import(world, format, table, DRY_RUN).expect("a dry run");
    let error = import(world, format, table, CONFIRMED).expect_err("refused lines");
    assert_eq!(error.code(), "refused-lines");
    let named = dry.summary.refused.named.into_iter();
    named.map(|line| (line.line, line.reason)).collect()
}

fn allocations_are_added_and_ended(world: World) {
    let end = rfc3339(&world.in_seconds(7_200));
    let csv = |until: &str| {
        format!(
            "block,start,count,spc,basis,valid_from,valid_until\n\
             1.212.555.1XXX,,,1234,block,,\n,+12125552000,1,1234,ported-in,2025-01-01T00:00:00Z,{until}\n"
        )
    };
    let first = of(&world, Format::Allocations, &csv("")).expect("an import");
    assert_eq!((counts(&first), first.added.numbers), ((2, 0, 0), 1_001));
    world.seconds_pass(60);
    let again = of(&world, Format::Allocations, &csv("")).expect("an import");
    assert_eq!((counts(&again), again.changes_nothing()), ((0, 0, 2), true));
    world.lends("acme", "+12125552000");
    let lost = world
        .mints_for("acme", &["one:12125552000"], 7_200)
        .expect("a token");
    let ended = import(&world, Format::Allocations, &csv(&end), CONFIRMED).expect("an import");
    assert_eq!((counts(&ended), ended.ended.numbers), ((0, 1, 1), 1));
    assert_eq!(
        ended.outstanding.grants[0].jti, lost.jti,
        "its token lives a minute longer"
    );
    assert!(
        of(&world, Format::Allocations, &csv(&end))
            .expect("again")
            .changes_nothing()
    );
    world.seconds_pass(7_200);
    assert_eq!(
        code(&world.mints("acme", &["one:12125552000"])),
        "not-authorized"
    );
    // The file still says what was, so it changes nothing.
    assert!(
        of(&world, Format::Allocations, &csv(&end))
            .expect("again")
            .changes_nothing()
    );
    assert_eq!(world.trail("allocations").len(), 2);
}

fn delegations_are_added_and_ended(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.knows("acme");
    world.knows("other");
    let csv = "account,start,end,ca,reference\n\
        acme,+12125551000,+12125551099,true,\"order 1, part 2\"\nother,+12125551100,+12125551199,,\n";
    assert_eq!(
        counts(&of(&world, Format::Delegations, csv).expect("an import")),
        (2, 0, 0)
    );
    assert!(
        of(&world, Format::Delegations, csv)
            .expect("again")
            .changes_nothing()
    );
    let known = world.looks_up("+12125551000", None).delegations;
    assert_eq!(known[0].reference.as_deref(), Some("order 1, part 2"));
    assert!(known[0].ca);
    let lost = world.mints("acme", &["one:12125551000"]).expect("a token");
    world.mints("other", &["one:12125551100"]).expect("a token");
    world.seconds_pass(1);
    let soon = rfc3339(&world.in_seconds(60));
    let csv = format!(
        "account,start,end,ca,reference,valid_until\n\
         acme,+12125551000,+12125551099,yes,\"order 1, part 2\",{soon}\n"
    );
    let ended = of(&world, Format::Delegations, &csv).expect("what it does not name goes on");
    assert_eq!((counts(&ended), ended.outstanding.count), ((0, 1, 0), 1));
    assert_eq!(ended.outstanding.grants[0].jti, lost.jti);
    world.seconds_pass(60);
    assert_eq!(
        outside(&world.mints("acme", &["one:12125551000"]))[0].1,
        "not-delegated"
    );
    assert!(world.mints("other", &["one:12125551100"]).is_ok());
}

fn exclusions_take_authority_away(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    world.mints("acme", &["one:12125551007"]).expect("a token");
    world.mints("acme", &["one:12125551009"]).expect("a token");
    let csv = "start,count,reason\n+12125551007,1,contaminated\n+12125551020,10,reserved\n+12125551025,1,aging\n";
    let done = of(&world, Format::Exclusions, csv).expect("an import");
    assert_eq!((counts(&done), done.outstanding.count), ((3, 0, 0), 1));
    assert!(
        of(&world, Format::Exclusions, csv)
            .expect("again")
            .changes_nothing()
    );
    assert_eq!(
        outside(&world.mints("acme", &["one:12125551007"]))[0].1,
        "contaminated"
    );
    assert!(world.mints("acme", &["one:12125551008"]).is_ok());
    let page = Page::new(10, None);
    let rows = world
        .authority
        .store()
        .read(|tx| tx.list_exclusions(&page))
        .expect("exclusions");
    assert_eq!(rows.items.len(), 3);
}

fn a_number_that_changes_hands_in_one_file(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.knows("next");
    world.lends("acme", "+12125551000+10");
    let then = rfc3339(&world.in_seconds(3_600));
    let csv = format!(
        "account,start,count,valid_from,valid_until\n\
         next,+12125551000,5,{then},\nacme,+12125551000,10,,{then}\nnext,+12125551005,5,{then},\n"
    );
    let done = of(&world, Format::Delegations, &csv).expect("an import");
    assert_eq!(counts(&done), (2, 1, 0));
    world.seconds_pass(3_600);
    assert!(world.mints("next", &["range:12125551000+10"]).is_ok());
    assert_eq!(
        code(&world.mints("acme", &["one:12125551000"])),
        "not-authorized"
    );
}

fn lines_that_cannot_be_are_named(world: World) {
    let known = world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551500");
    let over = rfc3339(&world.in_seconds(-60));
    let csv = format!(
        "start,end,count,spc,basis,valid_from,valid_until\n\
         +12125552000,,10,1234,block,,\n\
         +12125551000,,10,1234,block,,\n\
         +12125552009,,1,1234,ported-in,,\n\
         +12125553000,,1,1234,block,2020-01-01T00:00:00Z,{over}\n\
         +12125554000,,1,1234,block,2030-01-01T00:00:00Z,2029-01-01T00:00:00Z\n\
         +12125555000,+12125554999,,1234,block,,\n\
         +4930123,+49301234,,1234,block,,\n\
         12125556000,,1,1234,block,,\n\
         1.21256E+10,,1,1234,block,,\n\
         +12125557000,,1,1234,stolen,,\n\
         +12125557000,,1,,block,,\n\
         +12125557000,,1,1234,block,tomorrow,\n"
    );
    let taken = format!(
        "overlaps +12125551000 to +12125551999 of allocation {}",
        known.row.id
    );
    let found = refused(&world, Format::Allocations, &csv);
    for (line, why) in [
        (3, taken.as_str()),
        (4, "overlaps +12125552000 to +12125552009 of line 2"),
        (5, "`valid_until` is in the past: "),
        (6, "not after it starts"),
        (7, "before it starts"),
        (8, "same number of digits"),
        (9, "lacks its `+`"),
        (10, "scientific notation"),
        (11, "basis `stolen`: expected one of block"),
        (12, "spc ``: a service provider code is not empty"),
        (13, "valid_from: a time is written as in RFC 3339"),
    ] {
        let reasons: Vec<_> = found.iter().filter(|(n, _)| *n == line).collect();
        assert!(
            reasons.len() == 1 && reasons[0].1.contains(why),
            "{line} {why}: {reasons:?}"
        );
    }
    assert_eq!(found.len(), 11);

    let csv = "account,block,start,ca\nnobody,,+12125551000,\nacme,,+12125551500,1\n\
        acme,1.212.555.2XXX,,\nacme,,+12125551501,maybe\na b,,+12125551502,\nacme,,+12125551503,\nacme,,+12125551503,\n";
    let found = refused(&world, Format::Delegations, csv);
    for (line, why) in [
        (2, "account `nobody` does not exist"),
        (3, "overlaps +12125551500 of delegation"),
        (
            4,
            "the carrier does not hold +12125552000 to +12125552999 when the delegation starts",
        ),
        (5, "ca must be true or false, not `maybe`"),
        (6, "account `a b`"),
        (8, "overlaps +12125551503 of line 7"),
    ] {
        let reasons: Vec<_> = found.iter().filter(|(n, _)| *n == line).collect();
        assert!(
            reasons.len() == 1 && reasons[0].1.contains(why),
            "{line} {why}: {reasons:?}"
        );
    }
    assert_eq!(found.len(), 6);

    let csv = "start,reason\n+12125551500,aging\n+12125551500,aging\n+12125551500,lost\n";
    let found = refused(&world, Format::Exclusions, csv);
    assert_eq!(
        found.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
        [4, 3]
    );
    let page = Page::new(10, None);
    let rows = world
        .authority
        .store()
        .read(|tx| tx.list_exclusions(&page))
        .expect("exclusions");
    assert!(rows.items.is_empty());
}

fn an_end_is_never_put_off(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551500");
    let soon = world.in_seconds(60);
    world.ends(&loan, Some(soon));
    let csv = |until: &str| format!("account,start,valid_until\nacme,+12125551500,{until}\n");
    for until in ["", "2030-01-01T00:00:00Z"] {
        let done = of(&world, Format::Delegations, &csv(until)).expect("an import");
        assert!(done.changes_nothing());
        assert!(
            done.summary
                .notes
                .iter()
                .any(|n| n.what.contains("never postpones an end")),
            "{done:?}"
        );
    }
    world.seconds_pass(60);
    let done = of(&world, Format::Delegations, &csv("")).expect("an import");
    assert_eq!(counts(&done), (1, 0, 0), "the file says that it holds now");
}

fn a_csv_ends_no_more_than_it_may(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let csv = "block,spc,basis,valid_until\n1.212.555.1XXX,1234,block,2026-06-01T00:00:00Z\n";
    let refused = of(&world, Format::Allocations, csv).expect_err("all of it would end");
    assert_eq!(refused.code(), "ends-too-much");
    let done = import(&world, Format::Allocations, csv, CONFIRMED).expect("confirmed");
    assert_eq!((counts(&done), done.ended.numbers), ((0, 1, 0), 1_000));
}

fn a_sheet_that_was_saved_by_hand_is_read(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.knows("acme");
    let csv = "\u{feff}Account ID;Start\r\n";
    let error = of(&world, Format::Delegations, csv).expect_err("semicolons");
    assert!(error.to_string().contains("no column `account`"), "{error}");
    let csv = "\u{feff}\"Account ID\",Start,COUNT,Valid From,Remark\r\rnacme\r";
    assert_eq!(
        of(&world, Format::Delegations, csv)
            .expect_err("cut")
            .code(),
        "refused-lines"
    );
    let csv = "\u{feff}\"Account ID\",Start,COUNT,Valid From,Remark\r\racme,'+12125551000,10,,\"two\rlines\"\racme,+12125551010,,,";
    let done = of(&world, Format::Delegations, csv).expect("an import");
    assert_eq!((counts(&done), done.added.numbers), ((2, 0, 0), 11));
    assert_eq!(done.summary.unknown_columns, ["Remark"]);
    assert_eq!(done.difference.added[0], numbers("+12125551000+10"));
}

fn ending_a_resellers_loan_ends_what_hangs_below_it(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.knows("agency");
    let csv = |until: &str| {
        format!("account,block,lend_on,valid_until\nagency,1.212.555.1XXX,yes,{until}\n")
    };
    of(&world, Format::Delegations, &csv("")).expect("an import");
    let parent = Some(account("agency"));
    let caller = world.provisioner();
    let shop = world
        .authority
        .put_account(&caller, account("shop"), None, parent);
    wait(shop).expect("a customer of the reseller's");
    let loans = world.looks_up("+12125551001", None).delegations;
    let below = NewDelegation {
        parent: Some(loans[0].row.id),
        ..world.loan("shop", "+12125551001")
    };
    world
        .delegates(below)
        .expect("a loan out of the imported one");
    let lost = world.mints("shop", &["one:12125551001"]).expect("a token");
    world.seconds_pass(1);
    let again = of(&world, Format::Delegations, &csv("")).expect("an import");
    assert!(
        again.changes_nothing(),
        "what was lent on is no sibling: {again:?}"
    );
    let soon = rfc3339(&world.in_seconds(60));
    let done = of(&world, Format::Delegations, &csv(&soon)).expect("an import");
    assert_eq!(counts(&done), (0, 1, 0));
    assert_eq!(done.outstanding.grants[0].jti, lost.jti);
    let known = world.looks_up("+12125551001", None).delegations;
    let newest = known
        .iter()
        .filter(|loan| loan.belief.superseded_at.is_none());
    let ends: Vec<_> = newest.map(|loan| loan.window.until()).collect();
    assert_eq!(ends, [Some(world.in_seconds(60)); 2]);
}
