//! A port-out that meets no number of the carrier: most likely a wrong digit, while the tokens for the number that was
//! meant go on.

use tn_authority::authority::import::ImportOptions;
use tn_authority::authority::{ChangeError, Excluded, NewAllocation, NewExclusion, Withdrawing};
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::inventory::{Allocation, Basis, Reason, RecordedPeriod, RowRef};
use tn_authority::domain::{NumberRange, Time, Tn, Window, new_id};
use tn_authority::store::{Page, StoreError, Tx};
use tn_authority::tables::Format;

use super::imports::{DRY_RUN, UNCONFIRMED, counts, import};
use crate::support::{World, numbers, outside, wait};

both! {
    an_exclusion_that_meets_nothing_is_refused,
    what_is_meant_is_done_by_force,
    the_answer_says_what_was_met,
    numbers_that_come_later_are_met,
    contaminated_numbers_may_come_before_their_block,
    an_imported_exclusion_that_meets_nothing_is_refused,
    a_number_of_another_length_that_is_there_already_stays,
}

fn port_out(text: &str) -> NewExclusion {
    NewExclusion {
        numbers: numbers(text),
        reason: Reason::PortedOut,
        valid_from: None,
        valid_until: None,
        force: false,
    }
}

fn excludes(world: &World, new: NewExclusion) -> Result<Withdrawing<Excluded>, ChangeError> {
    wait(world.authority.exclude(&world.provisioner(), new))
}

fn met(world: &World, new: NewExclusion) -> Vec<NumberRange> {
    excludes(world, new).expect("an exclusion").row.met.ranges
}

fn exclusions(world: &World) -> usize {
    let list = |tx: &mut Tx<'_>| tx.list_exclusions(&Page::new(Page::MAX_LIMIT, None));
    let page = world.authority.store().read(list);
    page.expect("exclusions").items.len()
}

fn an_exclusion_that_meets_nothing_is_refused(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    for reason in [
        Reason::PortedOut,
        Reason::Aging,
        Reason::Suspended,
        Reason::Reserved,
    ] {
        let new = NewExclusion {
            reason,
            ..port_out("+12125552001")
        };
        let refused = excludes(&world, new).expect_err("nobody holds it");
        assert_eq!(refused.code(), "meets-nothing");
        assert_eq!(refused.ranges(), [numbers("+12125552001")]);
        let said = refused.to_string();
        assert!(
            said.contains("check the digits") && said.contains("`force`"),
            "{said}"
        );
    }
    assert_eq!(exclusions(&world), 0);
    assert_eq!(
        world.trail("+12125552001").len(),
        4,
        "a refusal leaves a trail"
    );
    assert!(world.mints("acme", &["one:12125551001"]).is_ok());
}

fn what_is_meant_is_done_by_force(world: World) {
    let forced = NewExclusion {
        force: true,
        ..port_out("+12125552001")
    };
    assert_eq!(met(&world, forced), []);
    world.carrier_holds("1.212.555.2XXX");
    world.lends("acme", "1.212.555.2XXX");
    let refused = world.mints("acme", &["one:12125552001"]);
    assert_eq!(outside(&refused)[0].1, "ported-out");
}

fn the_answer_says_what_was_met(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.carrier_holds("1.212.555.3XXX");
    assert_eq!(
        met(&world, port_out("+12125551001")),
        [numbers("+12125551001")],
        "nobody was lent it, and it is the carrier's all the same"
    );
    assert_eq!(
        met(&world, port_out("+12125551500+2000")),
        [numbers("+12125551500+500"), numbers("+12125553000+500")],
        "a part is enough"
    );
}

fn numbers_that_come_later_are_met(world: World) {
    let (soon, later) = (world.in_seconds(3_600), world.in_seconds(7_200));
    let coming = |text: &str, until: Option<Time>| NewAllocation {
        spc: "1234".parse().expect("a code"),
        numbers: numbers(text),
        basis: Basis::Block,
        valid_from: Some(soon),
        valid_until: until,
    };
    world
        .allocates(coming("1.212.555.1XXX", Some(later)))
        .expect("an allocation");
    assert_eq!(met(&world, port_out("+12125551001")).len(), 1);
    // Exclusions that are over before it starts, or start when it is over, meet nothing.
    let before = NewExclusion {
        valid_until: Some(soon),
        ..port_out("+12125551002")
    };
    let after = NewExclusion {
        valid_from: Some(later),
        ..port_out("+12125551002")
    };
    for new in [before, after] {
        let refused = excludes(&world, new).expect_err("nothing is held then");
        assert_eq!(refused.code(), "meets-nothing");
    }
}

fn contaminated_numbers_may_come_before_their_block(world: World) {
    let new = NewExclusion {
        reason: Reason::Contaminated,
        ..port_out("+12125551007")
    };
    assert_eq!(met(&world, new), []);
    let list = "start,reason\n+12125551009,contaminated\n";
    let done = import(&world, Format::Exclusions, list, UNCONFIRMED).expect("an import");
    assert_eq!(counts(&done), (1, 0, 0));
    let notes: Vec<_> = done
        .summary
        .notes
        .iter()
        .map(|n| (n.count, &*n.what, &*n.lines))
        .collect();
    assert_eq!(
        notes,
        [(
            1,
            "lines exclude numbers of which the carrier holds none",
            &[2][..]
        )]
    );
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    for number in ["one:12125551007", "one:12125551009"] {
        assert_eq!(
            outside(&world.mints("acme", &[number]))[0].1,
            "contaminated"
        );
    }
}

fn an_imported_exclusion_that_meets_nothing_is_refused(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let soon = rfc3339(&world.in_seconds(60));
    let list = format!(
        "start,count,reason,valid_from\n+12125551001,1,ported-out,{soon}\n+12125552001,1,ported-out,\n\
         +12125551990,20,aging,\n+13125551001,1,reserved,\n"
    );
    let dry = import(&world, Format::Exclusions, &list, DRY_RUN).expect("a dry run");
    let refused = import(&world, Format::Exclusions, &list, UNCONFIRMED).expect_err("two lines");
    assert_eq!(refused.code(), "refused-lines");
    let named: Vec<u64> = dry
        .summary
        .refused
        .named
        .iter()
        .map(|line| line.line)
        .collect();
    assert_eq!(named, [3, 5]);
    let said = refused.to_string();
    assert!(
        said.contains("line 3: the carrier holds none of +12125552001")
            && said.contains("`--force`"),
        "{said}"
    );
    assert_eq!(exclusions(&world), 0);

    let forced = ImportOptions {
        force: true,
        ..UNCONFIRMED
    };
    let done = import(&world, Format::Exclusions, &list, forced).expect("it is meant");
    assert_eq!(counts(&done), (4, 0, 0));
    let notes: Vec<_> = done
        .summary
        .notes
        .iter()
        .map(|n| (n.count, &*n.lines))
        .collect();
    assert_eq!(
        notes,
        [(1, &[4][..]), (2, &[3, 5][..])],
        "a part of line 4, and none of the others"
    );
    let again = import(&world, Format::Exclusions, &list, UNCONFIRMED).expect("nothing to do");
    assert!(again.changes_nothing());
}

/// A row of an earlier time, when a digit could be forgotten, is read, and grants what it says.
fn a_number_of_another_length_that_is_there_already_stays(world: World) {
    let now = world.now();
    let short: Tn = "+1212555101".parse().expect("a number");
    let row = Allocation {
        row: RowRef {
            id: new_id(now),
            version: 1,
        },
        spc: "1234".parse().expect("a code"),
        numbers: short.into(),
        basis: Basis::Block,
        window: Window::new(now, None).expect("a window"),
        belief: RecordedPeriod {
            recorded_at: now,
            superseded_at: None,
        },
    };
    let written = row.clone();
    let write = move |tx: &mut Tx<'_>| tx.insert_allocations(std::slice::from_ref(&written));
    let change = world
        .authority
        .store()
        .change(world.acting(), "test", write);
    wait(change).unwrap_or_else(|error: StoreError| panic!("{error}"));
    assert_eq!(
        world.looks_up("+1212555101", None).allocations,
        std::slice::from_ref(&row)
    );
    let refused = world.mints("acme", &["one:1212555101"]);
    assert!(
        refused.is_err(),
        "a list of others is read as it is, and nobody was lent the number"
    );
    let ended = world.returns(&row, Some(world.in_seconds(60)));
    assert_eq!(ended.row.window.until(), Some(world.in_seconds(60)));
}
