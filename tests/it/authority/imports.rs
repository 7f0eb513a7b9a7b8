//! Importing what the carrier holds out of tables: all or nothing, repeatable, and ending only what a table speaks for.

use std::collections::BTreeSet;

use tn_authority::authority::NewAllocation;
use tn_authority::authority::import::{ImportError, ImportOptions, Imported};
use tn_authority::domain::NumberRange;
use tn_authority::domain::inventory::{Allocation, Basis, Reason};
use tn_authority::store::Page;
use tn_authority::tables::{self, Format, TableRequest};

use crate::support::{Setup, World, at_once, code, number, numbers, outside, wait};

both! {
    an_import_can_be_repeated,
    what_the_table_no_longer_gives_ends,
    a_table_speaks_for_its_own_numbers_alone,
    ported_in_and_toll_free_numbers_are_never_touched,
    a_range_that_changes_its_shape_is_held_throughout,
    the_answer_lists_what_can_still_be_redeemed,
    a_dry_run_says_the_same_and_writes_nothing,
    two_imports_at_once_are_serial,
    ten_thousand_ranges_are_one_import,
}

/// Anything may end.
pub const CONFIRMED: ImportOptions = ImportOptions {
    dry_run: false,
    confirm: true,
    force: false,
    max_ended_ppm: 0,
};
/// A tenth may end.
pub const UNCONFIRMED: ImportOptions = ImportOptions {
    dry_run: false,
    confirm: false,
    force: false,
    max_ended_ppm: 100_000,
};
pub const DRY_RUN: ImportOptions = ImportOptions {
    dry_run: true,
    confirm: false,
    force: false,
    max_ended_ppm: 100_000,
};

/// Imports a table for the OCN 073H and the code 1234.
pub fn import(
    world: &World,
    format: Format,
    table: &str,
    consent: ImportOptions,
) -> Result<Imported, ImportError> {
    let everybody = format.lists_everybody();
    let wanted = TableRequest {
        format,
        ocns: everybody
            .then(|| "073H".to_owned())
            .into_iter()
            .collect::<BTreeSet<_>>(),
        spc: everybody.then(|| "1234".parse().expect("a code")),
    };
    let draft = tables::read(table.as_bytes(), &wanted, world.now(), &mut |_| true)?;
    wait(
        world
            .authority
            .import(&world.provisioner(), draft, consent, None),
    )
}

/// A table of blocks, `NPA-NXXX OCN` each.
pub(super) fn blocks(lines: &[&str]) -> String {
    let lines = lines.iter().map(|line| {
        let (place, ocn) = line.split_once(' ').expect("a place and an OCN");
        format!("{},{ocn},,\n", place.replace('-', ","))
    });
    format!(
        "npa,nxx,x,ocn,company,category\n{}",
        lines.collect::<String>()
    )
}

pub fn of_blocks(
    world: &World,
    lines: &[&str],
    consent: ImportOptions,
) -> Result<Imported, ImportError> {
    import(world, Format::NanpBlocks, &blocks(lines), consent)
}

/// Added, ended and unchanged ranges.
pub fn counts(imported: &Imported) -> (u64, u64, u64) {
    (
        imported.added.ranges,
        imported.ended.ranges,
        imported.unchanged.ranges,
    )
}

/// The newest versions of all allocations.
pub(super) fn rows(world: &World) -> Vec<Allocation> {
    let page = Page::new(Page::MAX_LIMIT, None);
    let page = world
        .authority
        .store()
        .read(|tx| tx.list_allocations(&page));
    page.expect("allocations").items
}

/// What is held now, as few ranges.
pub fn held(world: &World) -> Vec<String> {
    let held = rows(world)
        .into_iter()
        .filter(|row| row.window.contains(world.now()));
    let merged =
        tn_authority::domain::numbers::range_set::merged(held.map(|row| row.numbers).collect());
    merged.iter().map(ToString::to_string).collect()
}

fn an_import_can_be_repeated(world: World) {
    let table = [
        "212-555-1 073H",
        "212-555-3 073H",
        "646-555-A 073H",
        "212-555-2 9999",
    ];
    let first = of_blocks(&world, &table, UNCONFIRMED).expect("an import");
    assert_eq!(counts(&first), (3, 0, 0));
    assert_eq!(first.added.numbers, 12_000);
    let before = rows(&world);
    world.seconds_pass(1);
    let again = of_blocks(&world, &table, UNCONFIRMED).expect("an import");
    assert_eq!((counts(&again), again.changes_nothing()), ((0, 0, 3), true));
    assert_eq!(rows(&world), before, "no new versions");
    let trail = world.trail("1234");
    assert_eq!(
        trail.len(),
        1,
        "nothing happened, so there is nothing to tell"
    );
    assert_eq!(trail[0].detail["sha256"], first.summary.sha256);
    assert_eq!(trail[0].detail["added_numbers"], 12_000);
    world.seconds_pass(1);
    let more = [table.as_slice(), &["212-555-4 073H"]].concat();
    let more = of_blocks(&world, &more, UNCONFIRMED).expect("an import");
    assert_eq!(
        counts(&more),
        (1, 0, 2),
        "a known range grew by one thousand"
    );
    world.lends("acme", "+12125553999+2");
    assert!(world.mints("acme", &["range:12125553999+2"]).is_ok());
    let unchanged = world.metric("imports_total{format=\"nanp-blocks\",outcome=\"unchanged\"}");
    assert!((unchanged - 1.0).abs() < f64::EPSILON);
    let done = world.metric("imports_total{format=\"nanp-blocks\",outcome=\"done\"}");
    assert!((done - 2.0).abs() < f64::EPSILON);
}

fn what_the_table_no_longer_gives_ends(world: World) {
    let all = ["212-555-1 073H", "212-556-1 073H", "212-557-1 073H"];
    of_blocks(&world, &all, UNCONFIRMED).expect("an import");
    world.lends("acme", "+12125551001");
    assert!(world.mints("acme", &["one:12125551001"]).is_ok());
    world.seconds_pass(10);
    let fewer = ["212-555-1 9999", "212-556-1 073H", "212-557-1 073H"];
    let done = of_blocks(&world, &fewer, CONFIRMED).expect("an import");
    assert_eq!((counts(&done), done.ended.numbers), ((0, 1, 2), 1_000));
    assert_eq!(done.difference.ended, [numbers("1.212.555.1XXX")]);
    let denied = world.mints("acme", &["one:12125551001"]);
    assert_eq!(outside(&denied)[0].1, "not-allocated");
    let then = world.looks_up("+12125551001", Some(world.in_seconds(-1)));
    assert!(!then.allocations.is_empty(), "history is kept");
}

fn a_table_speaks_for_its_own_numbers_alone(world: World) {
    let both = ["212-555-1 073H", "646-555-1 073H"];
    of_blocks(&world, &both, UNCONFIRMED).expect("an import");
    world.carrier_holds("44.20.7946.0XXX");
    let one = of_blocks(&world, &["212-555-1 073H"], UNCONFIRMED).expect("an import");
    assert_eq!(counts(&one), (0, 0, 1));
    assert_eq!(one.elsewhere, 2_000, "646 and the United Kingdom");
    assert_eq!(held(&world).len(), 3);
    // A line of anybody is enough to speak for an NPA.
    let done = of_blocks(&world, &["212-555-1 073H", "646-200-A 9999"], CONFIRMED);
    assert_eq!(counts(&done.expect("an import")), (0, 1, 1));
    assert_eq!(held(&world).len(), 2);
}

fn ported_in_and_toll_free_numbers_are_never_touched(world: World) {
    let other = |text: &str, basis| {
        let new = NewAllocation {
            spc: "1234".parse().expect("a code"),
            numbers: numbers(text),
            basis,
            valid_from: None,
            valid_until: None,
        };
        world.allocates(new).expect("an allocation")
    };
    let ported = other("+12125551500", Basis::PortedIn);
    let free = other("+18005551500", Basis::TollFree);
    let table = ["212-555-2 073H", "800-200-A 9999", "212-555-1 9999"];
    let done = of_blocks(&world, &table, CONFIRMED).expect("an import");
    assert_eq!(counts(&done), (1, 0, 0));
    // The block around the ported number becomes ours: the number is held already.
    let around = ["212-555-2 073H", "800-200-A 9999", "212-555-1 073H"];
    let done = of_blocks(&world, &around, CONFIRMED).expect("an import");
    assert_eq!((counts(&done), done.added.numbers), ((2, 0, 0), 999));
    let again = of_blocks(&world, &around, CONFIRMED).expect("an import");
    assert!(again.changes_nothing(), "{again:?}");
    assert_eq!(again.unchanged.numbers, 2_000);
    let done = of_blocks(&world, &table, CONFIRMED).expect("an import");
    assert_eq!(done.ended.numbers, 999);
    for row in [ported, free] {
        assert!(rows(&world).contains(&row), "{row:?}");
    }
}

fn a_range_that_changes_its_shape_is_held_throughout(world: World) {
    let wide: Vec<String> = (0..10).map(|x| format!("212-555-{x} 073H")).collect();
    let wide: Vec<&str> = wide.iter().map(String::as_str).collect();
    of_blocks(&world, &wide, UNCONFIRMED).expect("an import");
    assert_eq!(held(&world), ["+12125550000 to +12125559999"]);
    world.lends("acme", "+12125551001");
    world.seconds_pass(60);
    // The middle of the range goes; what is left and right of it goes on at the same instant.
    let holed: Vec<&str> = wide
        .iter()
        .copied()
        .filter(|line| !line.contains("-5 "))
        .collect();
    let done = of_blocks(&world, &holed, UNCONFIRMED).expect("one tenth may end");
    assert_eq!((counts(&done), done.ended.numbers), ((0, 1, 2), 1_000));
    for second in [-61, -60, -1, 0, 1] {
        let known = world.looks_up("+12125551001", Some(world.in_seconds(second)));
        let at = world.in_seconds(second);
        let newest = known
            .allocations
            .iter()
            .filter(|row| row.belief.superseded_at.is_none());
        let holds = newest.filter(|row| row.window.contains(at));
        assert_eq!(
            holds.count(),
            usize::from(second > -61),
            "{second}: {known:?}"
        );
    }
    assert!(world.mints("acme", &["one:12125551001"]).is_ok());
    // The same numbers, cut by hand where the table has one range.
    let held_now = rows(&world).into_iter();
    let left = held_now
        .filter(|row| row.window.contains(world.now()))
        .find(|row| row.numbers.contains(number("+12125551001").first()));
    assert_eq!(left.expect("a row").numbers, numbers("+12125550000+5000"));
    let again = of_blocks(&world, &wide, UNCONFIRMED).expect("an import");
    assert_eq!((counts(&again), again.added.numbers), ((1, 0, 0), 1_000));
    let again = of_blocks(&world, &wide, UNCONFIRMED).expect("an import");
    assert_eq!((counts(&again), again.changes_nothing()), ((0, 0, 1), true));
}

fn the_answer_lists_what_can_still_be_redeemed(world: World) {
    let all = ["212-555-1 073H", "212-555-3 073H"];
    of_blocks(&world, &all, UNCONFIRMED).expect("an import");
    world.lends("acme", "+12125551000+2");
    world.lends("acme", "+12125553000");
    let lost = world
        .mints("acme", &["range:12125551000+2"])
        .expect("a token");
    world.mints("acme", &["one:12125553000"]).expect("a token");
    let done = of_blocks(&world, &all[1..], CONFIRMED).expect("an import");
    assert_eq!((done.outstanding.count, done.outstanding.more), (1, false));
    assert_eq!(done.outstanding.grants[0].jti, lost.jti);
    assert_eq!(
        world.trail("1234").last().expect("an event").detail["outstanding_grants"],
        1
    );
    world.seconds_pass(3_600);
    let done = of_blocks(&world, &["212-200-1 073H"], CONFIRMED).expect("an import");
    assert_eq!(done.outstanding.count, 0, "all tokens have expired");
}

fn a_dry_run_says_the_same_and_writes_nothing(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let table = ["212-555-1 073H", "212-555-2 073H"];
    let dry = of_blocks(&world, &table, DRY_RUN).expect("a dry run");
    assert_eq!((counts(&dry), dry.added.numbers), ((1, 0, 0), 1_000));
    assert_eq!(dry.difference.added, [numbers("1.212.555.2XXX")]);
    assert_eq!(rows(&world).len(), 1);
    assert_eq!(world.trail("1234").len(), 0);
    let done = of_blocks(&world, &table, UNCONFIRMED).expect("an import");
    assert_eq!(done.difference, dry.difference);
}

fn two_imports_at_once_are_serial(world: World) {
    let table: Vec<String> = (200..400).map(|nxx| format!("212-{nxx}-1 073H")).collect();
    let table: Vec<&str> = table.iter().map(String::as_str).collect();
    let replica = World::over(world.db.clone(), Setup::default());
    let both = [&world, &replica];
    let mut done = at_once(2, |n| {
        counts(&of_blocks(both[n], &table, UNCONFIRMED).expect("an import"))
    });
    done.sort_unstable();
    assert_eq!(
        done,
        [(0, 0, 200), (200, 0, 0)],
        "the second sees the first"
    );
    assert_eq!(rows(&world).len(), 200);
}

fn ten_thousand_ranges_are_one_import(world: World) {
    let lines: Vec<String> = (0..10_000)
        .map(|n| {
            format!(
                "{},{},{},073H,,\n",
                200 + n / 5_000,
                200 + n / 10 % 500,
                n % 10
            )
        })
        .filter(|line| !line.contains(",5,073H"))
        .collect();
    let table = format!("npa,nxx,x,ocn,company,category\n{}", lines.concat());
    let first = import(&world, Format::NanpBlocks, &table, UNCONFIRMED).expect("an import");
    assert_eq!((first.added.numbers, first.ended.numbers), (9_000_000, 0));
    let again = import(&world, Format::NanpBlocks, &table, UNCONFIRMED).expect("an import");
    assert!(again.changes_nothing());
    assert_eq!(again.unchanged, first.added);
    world.lends("acme", "+12002000000");
    assert!(world.mints("acme", &["one:12002000000"]).is_ok());
    assert_eq!(
        code(&world.mints("acme", &["one:12002005000"])),
        "not-authorized"
    );
    // All of it can end in one import as well.
    world.excludes("+12002000001", Reason::Contaminated, None);
    let none = blocks(&["200-200-A 073H", "200-200-9 9999", "201-200-A 9999"]);
    let done = import(&world, Format::NanpBlocks, &none, CONFIRMED).expect("an import");
    let all: u64 = done
        .difference
        .ended
        .iter()
        .map(|r: &NumberRange| r.count())
        .sum();
    assert!(all > 0 && done.ended.numbers == 9_000_000);
    assert_eq!(done.outstanding.count, 1);
    assert_eq!(held(&world), Vec::<String>::new());
}
