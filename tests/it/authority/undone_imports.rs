//! An import that was a mistake is undone as a whole: one line that a table lacks costs no customer its numbers.

use std::fmt::Write as _;

use tn_authority::authority::import::Imported;
use tn_authority::authority::{ChangeError, UndoneImport};
use tn_authority::domain::inventory::Reason;
use tn_authority::store::EventFilter;
use tn_authority::tables::Format;
use uuid::Uuid;

use super::imports::{CONFIRMED, DRY_RUN, counts, held, import, of_blocks};
use super::trail::{all, auditor, told};
use super::undo::mistake;
use crate::support::{World, account, numbers, outside, wait};

both! {
    a_line_that_was_missing_costs_a_thousand_customers_nothing,
    port_outs_of_a_wrong_table_are_undone,
    what_a_table_added_is_gone_with_its_tokens,
    what_a_table_ended_is_valid_again_down_the_tree,
    a_range_that_was_split_is_whole_again,
    an_import_is_undone_once_and_the_last_one_first,
    what_ended_otherwise_since_stays_ended,
    what_ended_otherwise_at_the_same_time_stays_ended,
    what_is_used_since_is_not_taken_away,
    only_what_an_import_changed_can_be_undone,
}

fn undoes(world: &World, imported: &Imported) -> Result<UndoneImport, ChangeError> {
    let job = imported.job.expect("a job");
    wait(
        world
            .authority
            .undo_import(&world.provisioner(), job, mistake()),
    )
}

fn would_undo(world: &World, imported: &Imported) -> Result<UndoneImport, ChangeError> {
    let job = imported.job.expect("a job");
    world.authority.try_undo_import(&world.provisioner(), job)
}

/// Restored, removed and left rows.
fn rows(undone: &UndoneImport) -> (u64, u64, u64) {
    let amounts = &undone.amounts;
    (
        amounts.restored.ranges,
        amounts.removed.ranges,
        amounts.left,
    )
}

fn why_not(world: &World, id: &str, entry: &str) -> String {
    let refused = outside(&world.mints(id, &[entry]));
    let (_, code) = refused.into_iter().next().expect("a refused number");
    code
}

const WHOLE: [&str; 2] = ["212-555-1 073H", "646-555-A 073H"];
/// The same, without the line of the block.
const CUT: [&str; 2] = ["212-555-1 9999", "646-555-A 073H"];

fn a_line_that_was_missing_costs_a_thousand_customers_nothing(world: World) {
    of_blocks(&world, &WHOLE, CONFIRMED).expect("an import");
    let mut orders = "start,count,account\n".to_owned();
    for n in 0..1_000 {
        let id = format!("customer-{n}");
        world.knows(&id);
        writeln!(orders, "+1212555{},1,{id}", 1_000 + n).expect("a line");
    }
    import(&world, Format::Delegations, &orders, CONFIRMED).expect("an import");
    world.seconds_pass(60);
    // Three had ended before: one by contract, one ported out, one out of service.
    let provisioner = world.provisioner();
    let of = |id: &str| {
        let page = tn_authority::store::Page::new(1, None);
        let found = world
            .authority
            .store()
            .read(|tx| tx.list_delegations_of(&account(id), &page));
        found.expect("a delegation").items.remove(0)
    };
    world.ends(&of("customer-1"), None);
    let back = world.excludes("+12125551002", Reason::PortedOut, None).row;
    world.seconds_pass(60);
    world.ends_exclusion(&back, None);
    world.excludes("+12125551003", Reason::PortedOut, None);

    world.seconds_pass(60);
    let cut = of_blocks(&world, &CUT, CONFIRMED).expect("an import");
    assert_eq!(counts(&cut).1, 1);
    assert_eq!(
        why_not(&world, "customer-500", "one:12125551500"),
        "not-allocated"
    );
    world.seconds_pass(60);
    let again = of_blocks(&world, &WHOLE, CONFIRMED).expect("an import");
    assert_eq!(
        why_not(&world, "customer-500", "one:12125551500"),
        "delegation-ended"
    );

    world.seconds_pass(60);
    let first = would_undo(&world, &cut).expect_err("the numbers are held otherwise");
    assert!(
        matches!(first, ChangeError::UndoFirst { kind: "allocation", by, .. } if Some(by) == again.job),
        "{first}"
    );
    let undone = undoes(&world, &again).expect("undone");
    assert_eq!(rows(&undone), (0, 1, 0));
    assert_eq!(held(&world), ["+16465550000 to +16465559999"]);
    let dry = would_undo(&world, &cut).expect("nothing in the way");
    assert_eq!(
        why_not(&world, "customer-500", "one:12125551500"),
        "not-allocated"
    );
    let undone = undoes(&world, &cut).expect("undone");
    assert_eq!((rows(&undone), undone.delegations.count), ((1, 0, 0), 997));
    assert_eq!(dry.delegations, undone.delegations);
    assert_eq!((dry.dry_run, undone.dry_run), (true, false));

    for n in (0..1_000).step_by(100).chain([4, 999]) {
        let (id, entry) = (format!("customer-{n}"), format!("one:1212555{}", 1_000 + n));
        world.mints(&id, &[&entry]).expect("a token");
    }
    for (n, why) in [
        (1, "not-delegated"),
        (2, "delegation-ended"),
        (3, "ported-out"),
    ] {
        let (id, entry) = (format!("customer-{n}"), format!("one:1212555100{n}"));
        assert_eq!(why_not(&world, &id, &entry), why);
    }
    let job = world
        .authority
        .job(&provisioner, cut.job.expect("a job"))
        .expect("a job");
    let done = job.undone.expect("undone");
    assert_eq!((done.at, done.by), (world.now(), provisioner.id));
    assert_eq!(done.reason, "the wrong number");
    // Importing the right table now changes nothing.
    let right = of_blocks(&world, &WHOLE, CONFIRMED).expect("an import");
    assert!(right.changes_nothing() && right.job.is_none());
}

fn port_outs_of_a_wrong_table_are_undone(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "1.212.555.10XX");
    let before = world.mints("acme", &["one:12125551001"]).expect("a token");
    world.seconds_pass(60);
    let table = "start,count,reason\n+12125551000,20,ported-out\n+12125551050,1,reserved\n";
    let imported = import(&world, Format::Exclusions, table, CONFIRMED).expect("an import");
    assert_eq!(why_not(&world, "acme", "one:12125551001"), "ported-out");
    let undone = undoes(&world, &imported).expect("undone");
    assert_eq!(rows(&undone), (0, 2, 0));
    assert_eq!(undone.delegations.rows[0].row, loan.row);
    for entry in ["one:12125551001", "one:12125551050"] {
        world.mints("acme", &[entry]).expect("a token");
    }
    assert!(world.grant_of(&before).withdrawal.is_some());
}

fn what_a_table_added_is_gone_with_its_tokens(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.knows("wholesale");
    let customer = wait(world.authority.put_account(
        &world.provisioner(),
        account("shop"),
        None,
        Some(account("wholesale")),
    ));
    customer.expect("an account");
    world.lends("acme", "1.212.555.11XX");
    let table = "start,count,account,lend_on\n+12125551000,100,wholesale,yes\n";
    let imported = import(&world, Format::Delegations, table, CONFIRMED).expect("an import");
    world.seconds_pass(60);
    let mut below = super::resellers::loan("shop", "+12125551001", None);
    below.lend_on = false;
    let below = wait(
        world
            .authority
            .delegate(&super::resellers::reseller(&world, "wholesale"), below),
    )
    .expect("a delegation");
    let theirs = world.mints("shop", &["one:12125551001"]).expect("a token");
    let others = world.mints("acme", &["one:12125551101"]).expect("a token");

    world.seconds_pass(60);
    let dry = would_undo(&world, &imported).expect("nothing in the way");
    assert_eq!((dry.outstanding.count, dry.outstanding.withdrawn), (1, 0));
    assert_eq!(world.grant_of(&theirs).withdrawal, None);
    let undone = undoes(&world, &imported).expect("undone");
    assert_eq!(rows(&undone), (0, 1, 0));
    assert_eq!(undone.outstanding.withdrawn, 1);
    let withdrawal = world.grant_of(&theirs).withdrawal.expect("a withdrawal");
    assert_eq!(withdrawal.reason, "delegation-ended");
    assert_eq!(world.grant_of(&others).withdrawal, None);
    assert_eq!(why_not(&world, "shop", "one:12125551001"), "not-delegated");
    let found = world
        .authority
        .store()
        .read(|tx| tx.delegation(below.row.id));
    let ended = found.expect("a row").expect("a row");
    assert_eq!(ended.window.until(), Some(world.now()));
    let trail = all(
        &world,
        &auditor(&world),
        EventFilter {
            from: Some(world.now()),
            ..EventFilter::default()
        },
    );
    let told = told(&trail);
    for event in [
        ("undo-import", "-", "done"),
        ("undo-import", "wholesale", "done"),
        ("end-delegation", "shop", "done"),
    ] {
        assert!(told.contains(&event), "{told:?}");
    }
}

fn what_a_table_ended_is_valid_again_down_the_tree(world: World) {
    let chain = super::resellers::lent_down(&world);
    let end = tn_authority::domain::clock::rfc3339(&world.in_seconds(600));
    let table =
        format!("start,count,account,lend_on,valid_until\n+12125551000,1000,wholesale,yes,{end}\n");
    let imported = import(&world, Format::Delegations, &table, CONFIRMED).expect("an import");
    assert_eq!(counts(&imported), (0, 1, 0));
    world.seconds_pass(660);
    assert_eq!(why_not(&world, "shop", "one:12125551001"), "not-delegated");
    let undone = undoes(&world, &imported).expect("undone");
    assert_eq!(rows(&undone), (4, 0, 0), "with the three below");
    for loan in &chain {
        let found = world
            .authority
            .store()
            .read(|tx| tx.delegation(loan.row.id));
        let restored = found.expect("a row").expect("a row");
        assert_eq!((restored.row.version, restored.window), (3, loan.window));
    }
    world.mints("shop", &["one:12125551001"]).expect("a token");
}

fn a_range_that_was_split_is_whole_again(world: World) {
    of_blocks(&world, &["212-555-A 073H"], CONFIRMED).expect("an import");
    world.lends("acme", "1.212.555.1XXX");
    world.lends("other", "1.212.555.2XXX");
    world.seconds_pass(60);
    let split = ["212-555-1 073H", "212-555-2 9999"];
    let imported = of_blocks(&world, &split, CONFIRMED).expect("an import");
    world.mints("acme", &["one:12125551001"]).expect("a token");
    assert_eq!(why_not(&world, "other", "one:12125552001"), "not-allocated");
    let kept = world.mints("acme", &["one:12125551002"]).expect("a token");
    world.seconds_pass(60);
    let undone = undoes(&world, &imported).expect("undone");
    assert_eq!(rows(&undone), (1, 1, 0));
    assert_eq!(held(&world), ["+12125550000 to +12125559999"]);
    world.mints("other", &["one:12125552001"]).expect("a token");
    // The numbers were held all along, so nothing is withdrawn.
    assert_eq!(world.grant_of(&kept).withdrawal, None);
    assert_eq!(undone.outstanding.withdrawn, 0);
}

fn an_import_is_undone_once_and_the_last_one_first(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    let until = |seconds| {
        let end = tn_authority::domain::clock::rfc3339(&world.in_seconds(seconds));
        format!(
            "start,count,account,valid_from,valid_until\n+12125551000,100,acme,2026-01-01T00:00:00Z,{end}\n"
        )
    };
    let first = import(&world, Format::Delegations, &until(9_000), CONFIRMED).expect("an import");
    let second = import(&world, Format::Delegations, &until(6_000), CONFIRMED).expect("an import");
    let refused = undoes(&world, &first).expect_err("the second builds on it");
    assert!(
        matches!(refused, ChangeError::UndoFirst { kind: "delegation", by, .. } if Some(by) == second.job),
        "{refused}"
    );
    undoes(&world, &second).expect("undone");
    let twice = undoes(&world, &second).expect_err("undone already");
    assert_eq!(twice.code(), "already-undone");
    undoes(&world, &first).expect("undone");
    world.seconds_pass(10_000);
    world.mints("acme", &["one:12125551001"]).expect("a token");
}

fn what_ended_otherwise_since_stays_ended(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let one = world.lends("acme", "1.212.555.10XX");
    world.lends("other", "1.212.555.11XX");
    let end = tn_authority::domain::clock::rfc3339(&world.in_seconds(9_000));
    let table = format!(
        "start,count,account,valid_until\n+12125551000,100,acme,{end}\n+12125551100,100,other,{end}\n\
         +12125551200,100,other,\n"
    );
    let imported = import(&world, Format::Delegations, &table, CONFIRMED).expect("an import");
    assert_eq!(counts(&imported), (1, 2, 0));
    world.seconds_pass(60);
    world.ends(&one, None);
    let undone = undoes(&world, &imported).expect("undone");
    assert_eq!(rows(&undone), (1, 1, 1));
    world.seconds_pass(9_000);
    assert_eq!(why_not(&world, "acme", "one:12125551001"), "not-delegated");
    assert_eq!(why_not(&world, "other", "one:12125551201"), "not-delegated");
    world.mints("other", &["one:12125551101"]).expect("a token");
}

fn what_ended_otherwise_at_the_same_time_stays_ended(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "1.212.555.10XX");
    let suspended = world.excludes("+12125551101", Reason::Suspended, None).row;
    let imports = |format, head: &str, seconds| {
        let end = tn_authority::domain::clock::rfc3339(&world.in_seconds(seconds));
        let table = format!("{head},valid_until\n");
        let line = match format {
            Format::Exclusions => format!("+12125551101,1,suspended,{end}\n"),
            _ => format!("+12125551000,100,acme,{end}\n"),
        };
        let done = import(&world, format, &(table + &line), CONFIRMED).expect("an import");
        assert_eq!(counts(&done), (0, 1, 0));
        done
    };
    let first = imports(Format::Delegations, "start,count,account", 9_000);
    let second = imports(Format::Delegations, "start,count,account", 6_000);
    let third = imports(Format::Exclusions, "start,count,reason", 9_000);
    // As the first one left it, with two more versions.
    undoes(&world, &second).expect("undone");
    let end = Some(world.in_seconds(9_000));
    assert_eq!(world.ends(&loan, end).row.row.version, 5);
    assert_eq!(world.ends_exclusion(&suspended, end).row.version, 3);
    assert_eq!(world.ends_exclusion(&suspended, end).row.version, 3);
    for imported in [&first, &third] {
        let undone = undoes(&world, imported).expect("undone");
        assert_eq!(rows(&undone), (0, 0, 1));
    }
    world.seconds_pass(9_000);
    assert_eq!(why_not(&world, "acme", "one:12125551001"), "not-delegated");
}

fn what_is_used_since_is_not_taken_away(world: World) {
    let imported = of_blocks(&world, &WHOLE, CONFIRMED).expect("an import");
    let user = world.lends("acme", "+12125551001");
    let refused = undoes(&world, &imported).expect_err("in use");
    let (numbers, id) = (numbers("+12125551001"), user.row.id);
    assert_eq!(refused, ChangeError::InUse { numbers, id });
    world
        .mints("acme", &["one:12125551001"])
        .expect("nothing was undone");
    world.seconds_pass(60);
    world.ends(&user, None);
    let undone = undoes(&world, &imported).expect("undone");
    assert_eq!(rows(&undone), (0, 2, 0));
    assert!(held(&world).is_empty());
}

fn only_what_an_import_changed_can_be_undone(world: World) {
    let dry = of_blocks(&world, &WHOLE, DRY_RUN).expect("a dry run");
    assert_eq!(dry.job, None);
    let provisioner = world.provisioner();
    let unknown = world
        .authority
        .try_undo_import(&provisioner, Uuid::from_u128(1));
    assert_eq!(unknown.expect_err("no such job").code(), "not-found");
    let imported = of_blocks(&world, &WHOLE, CONFIRMED).expect("an import");
    // As before imports kept what they changed.
    world.db.execute("UPDATE jobs SET changed_rows = NULL");
    let old = undoes(&world, &imported).expect_err("not known");
    assert_eq!(old.code(), "not-undoable");
    assert!(old.to_string().contains("before this version"), "{old}");
}
