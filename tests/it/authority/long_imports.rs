//! Tables of delegations that are too long for one transaction: their rows are written over a time, and all of them count
//! from one instant on, or none ever.

use std::fmt::Write as _;
use std::time::Duration;

use tn_authority::authority::ChangeError;
use tn_authority::authority::import::ImportError;
use tn_authority::domain::clock::{Time, rfc3339};
use tn_authority::domain::inventory::{Delegation, Reason, RecordedPeriod, RowRef};
use tn_authority::domain::{NumberRange, Window, new_id};
use tn_authority::store::{EventFilter, Page, StoreError, Tx, UnfinishedImport, Versions};
use tn_authority::tables::Format;
use uuid::Uuid;

use super::imports::{CONFIRMED, DRY_RUN, UNCONFIRMED, counts, import};
use super::trail::{all, auditor};
use super::undo::mistake;
use crate::support::{World, account, numbers, outside, wait};

both! {
    a_long_table_is_imported_repeated_and_undone,
    lines_of_a_long_table_that_cannot_be_are_named_and_nothing_is_left,
    a_long_table_ends_rows_and_starts_others_at_the_same_instant,
    what_is_staged_counts_for_nothing_but_its_numbers_are_taken,
    numbers_that_leave_while_a_table_is_staged_have_left,
    what_a_dead_process_has_staged_never_counts,
    history_knows_when_a_long_table_took_effect,
}

/// More than what is imported in one transaction.
const LINES: u64 = 5_500;

/// Every other number of a block, for one account; `more` are further lines.
fn table(more: &str) -> String {
    let mut table = "start,count,account,valid_from,valid_until\n".to_owned();
    // Not in the order of the numbers.
    for n in (0..LINES).rev() {
        writeln!(table, "+1212555{:04},1,acme,,", n % 10_000).expect("a line");
    }
    table + more
}

fn world_with_a_block(world: &World) {
    world.carrier_holds("1.212.555.XXXX");
    world.knows("acme");
}

/// How many delegations are listed.
fn listed(world: &World) -> usize {
    let (mut count, mut after) = (0, None);
    loop {
        let page = Page::new(1_000, after);
        let found = world
            .authority
            .store()
            .read(|tx| tx.list_delegations(&page));
        let found = found.expect("a page");
        count += found.items.len();
        after = found.next;
        if after.is_none() {
            return count;
        }
    }
}

/// The imports that have left rows which do not count.
pub fn unfinished(world: &World) -> Vec<UnfinishedImport> {
    fn read(tx: &mut Tx<'_>) -> Result<Vec<UnfinishedImport>, StoreError> {
        tx.unfinished_imports()
    }
    world.authority.store().read(read).expect("imports")
}

fn a_long_table_is_imported_repeated_and_undone(world: World) {
    world_with_a_block(&world);
    let dry = import(&world, Format::Delegations, &table(""), DRY_RUN).expect("a dry run");
    assert_eq!(counts(&dry), (LINES, 0, 0));
    assert_eq!((listed(&world), dry.job), (0, None));

    let first = import(&world, Format::Delegations, &table(""), UNCONFIRMED).expect("an import");
    assert_eq!(
        (counts(&first), first.added.numbers),
        ((LINES, 0, 0), LINES)
    );
    assert_eq!(first.difference.added.len(), 100);
    assert_eq!(listed(&world), usize::try_from(LINES).expect("a count"));
    assert_eq!(unfinished(&world), []);
    world.mints("acme", &["one:12125550000"]).expect("a token");
    world.mints("acme", &["one:12125555499"]).expect("a token");
    let events = all(&world, &auditor(&world), EventFilter::default());
    let of_acme = events
        .iter()
        .find(|event| event.detail["delegations_added"] == LINES);
    assert!(of_acme.is_some(), "{events:?}");

    world.seconds_pass(60);
    let again = import(&world, Format::Delegations, &table(""), UNCONFIRMED).expect("an import");
    assert_eq!(
        (counts(&again), again.changes_nothing()),
        ((0, 0, LINES), true)
    );
    assert_eq!((again.job, unfinished(&world)), (None, vec![]));

    let job = first.job.expect("a job");
    let by = world.provisioner();
    let undone = wait(world.authority.undo_import(&by, job, mistake())).expect("undone");
    assert_eq!(undone.amounts.removed.ranges, LINES);
    assert_eq!(undone.outstanding.withdrawn, 2);
    assert_eq!(listed(&world), 0);
    assert!(world.mints("acme", &["one:12125550000"]).is_err());
}

fn lines_of_a_long_table_that_cannot_be_are_named_and_nothing_is_left(world: World) {
    world_with_a_block(&world);
    let bad = "+12125550007,2,acme,,\n+12125559000,1,nobody,,\n+12125560000,1,acme,,\n";
    let dry = import(&world, Format::Delegations, &table(bad), DRY_RUN).expect("a dry run");
    let error = import(&world, Format::Delegations, &table(bad), CONFIRMED).expect_err("refused");
    let ImportError::Lines(refused) = &error else {
        panic!("{error}")
    };
    assert_eq!(refused, &dry.summary.refused);
    let named: Vec<String> = refused.named.iter().map(ToString::to_string).collect();
    assert_eq!(
        named,
        [
            "line 5502: overlaps +12125550008 of line 5493",
            "line 5503: account `nobody` does not exist; create it first",
            "line 5504: the carrier does not hold +12125560000 when the delegation starts",
        ]
    );
    assert_eq!((listed(&world), unfinished(&world)), (0, vec![]));
    world.lends("acme", "+12125550007");
}

fn a_long_table_ends_rows_and_starts_others_at_the_same_instant(world: World) {
    world_with_a_block(&world);
    let old = world.lends("acme", "+12125559000");
    world.knows("other");
    let at = rfc3339(&world.in_seconds(7_200));
    let more = format!("+12125559000,1,acme,,{at}\n+12125559000,1,other,{at},\n");
    let done = import(&world, Format::Delegations, &table(&more), CONFIRMED).expect("an import");
    assert_eq!(counts(&done), (LINES + 1, 1, 0));
    world.mints("acme", &["one:12125559000"]).expect("a token");
    world.seconds_pass(7_200);
    world.mints("other", &["one:12125559000"]).expect("a token");
    let refused = outside(&world.mints("acme", &["one:12125559000"]));
    assert_eq!(refused[0].1, "not-delegated");

    let by = world.provisioner();
    let job = done.job.expect("a job");
    let undone = wait(world.authority.undo_import(&by, job, mistake())).expect("undone");
    let rows = (
        undone.amounts.restored.ranges,
        undone.amounts.removed.ranges,
    );
    assert_eq!(rows, (1, LINES + 1));
    let restored = world.authority.store().read(|tx| tx.delegation(old.row.id));
    let restored = restored.expect("a read").expect("the old row");
    assert_eq!(restored.window, old.window);
}

/// Begins an import as a process does that then does nothing any more, and stages numbers of acme.
fn stages(world: &World, staged: &str) -> (i64, Delegation) {
    let now = world.now();
    let import = new_id(now);
    let numbers: NumberRange = numbers(staged);
    let work = move |tx: &mut Tx<'_>| {
        let sequence = tx.begin_staged_import(import, now)?;
        let row = delegation(numbers, sequence, now);
        tx.stage_delegations(std::slice::from_ref(&row))?;
        Ok::<_, StoreError>((sequence, row))
    };
    let store = world.authority.store();
    wait(store.change(world.acting(), "test", work)).expect("staged rows")
}

fn delegation(numbers: NumberRange, sequence: i64, now: Time) -> Delegation {
    Delegation {
        row: RowRef {
            id: new_id(now),
            version: 1,
        },
        account: account("acme"),
        cut_from: None,
        numbers,
        ca: false,
        lend_on: true,
        reference: None,
        window: Window::open(now),
        belief: RecordedPeriod {
            recorded_at: now,
            superseded_at: None,
        },
        sequence,
        made_at: now,
    }
}

fn takes_effect(world: &World, sequence: i64) -> bool {
    let now = world.now();
    let last: Uuid = new_id(now);
    let work = move |tx: &mut Tx<'_>| tx.make_import_effective(sequence, last, now);
    let store = world.authority.store();
    wait(store.change(world.acting(), "test", work)).expect("a change")
}

fn what_is_staged_counts_for_nothing_but_its_numbers_are_taken(world: World) {
    world_with_a_block(&world);
    let (sequence, row) = stages(&world, "+12125551000");
    let refused = outside(&world.mints("acme", &["one:12125551000"]));
    assert_eq!(refused[0].1, "not-delegated");
    assert_eq!(listed(&world), 0);
    let store = world.authority.store();
    assert_eq!(store.read(|tx| tx.delegation(row.row.id)), Ok(None));
    let of_acme = store.read(|tx| tx.list_delegations_of(&account("acme"), &Page::new(10, None)));
    assert_eq!(of_acme.expect("a page").items, []);

    let taken = world.delegates(world.loan("other", "+12125551000"));
    let taken = taken.expect_err("the numbers are taken");
    assert!(matches!(taken, ChangeError::Overlap { .. }), "{taken}");
    world.lends("other", "+12125551001");
    for lines in [table(""), "start,account\n+12125552000,acme\n".to_owned()] {
        let other = import(&world, Format::Delegations, &lines, CONFIRMED);
        assert_eq!(other.expect_err("one at a time"), ImportError::UnderWay);
    }

    assert!(takes_effect(&world, sequence));
    assert_eq!(listed(&world), 2);
    world.mints("acme", &["one:12125551000"]).expect("a token");
}

fn numbers_that_leave_while_a_table_is_staged_have_left(world: World) {
    world_with_a_block(&world);
    let (sequence, _) = stages(&world, "1.212.555.1XXX");
    let out = Reason::PortedOut;
    let back = world.excludes("+12125551007", out, None).row;
    world.seconds_pass(1);
    world.ends_exclusion(&back, None);
    assert!(takes_effect(&world, sequence));
    world.mints("acme", &["one:12125551008"]).expect("a token");
    let refused = outside(&world.mints("acme", &["one:12125551007"]));
    assert_eq!(refused[0].1, "delegation-ended");
}

fn what_a_dead_process_has_staged_never_counts(world: World) {
    world_with_a_block(&world);
    let (sequence, _) = stages(&world, "+12125551000");
    wait(world.authority.discard_failed_imports(Duration::MAX)).expect("nothing to discard");
    assert_eq!(unfinished(&world).len(), 1, "its process may live");
    world.seconds_pass(60);
    wait(world.authority.discard_failed_imports(Duration::MAX)).expect("discarded");
    assert_eq!(unfinished(&world), []);
    assert!(
        !takes_effect(&world, sequence),
        "the process lives after all"
    );
    world.lends("other", "+12125551000");
    assert_eq!(listed(&world), 1);
}

fn history_knows_when_a_long_table_took_effect(world: World) {
    world_with_a_block(&world);
    let (sequence, _) = stages(&world, "+12125551000");
    world.seconds_pass(100);
    assert!(takes_effect(&world, sequence));
    let believed = |seconds| {
        let at = world.in_seconds(seconds);
        let versions = Versions::HeldAt {
            at: world.now(),
            believed: at,
        };
        let numbers = [numbers::<NumberRange>("+12125551000")];
        let store = world.authority.store();
        let found = store.read(|tx| tx.delegations_touching(&numbers, versions, 10));
        found.expect("rows").len()
    };
    assert_eq!((believed(-1), believed(0)), (0, 1));
}
