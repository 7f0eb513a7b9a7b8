//! Delegations that ended because their numbers left stay rows without an end. They count towards no bound.

use tn_authority::domain::inventory::departure::{Departure, DepartureKind};
use tn_authority::domain::inventory::{Delegation, RecordedPeriod, RowRef};
use tn_authority::domain::{Window, new_id};
use tn_authority::store::Tx;

use super::resellers::{line, loan, reseller};
use super::undo::why_not;
use crate::support::{World, account, numbers, wait};

both! {
    a_number_that_came_back_many_times_is_not_too_fragmented,
    a_reseller_delegates_a_number_that_came_back_many_times,
    what_was_delegated_further_before_the_numbers_left_is_not_too_fragmented,
}

const NUMBER: &str = "+12125551001";
const ENTRY: &str = "one:12125551001";

/// As many delegations of these numbers as would exceed every bound, all ended because the numbers left.
fn came_back(world: &World, count: i64, row: impl Fn(Delegation) -> Delegation) {
    let now = world.now();
    let delegations: Vec<Delegation> = (0..count)
        .map(|n| {
            row(Delegation {
                row: RowRef {
                    id: new_id(now),
                    version: 1,
                },
                account: account("acme"),
                cut_from: None,
                numbers: numbers(NUMBER),
                ca: false,
                lend_on: true,
                reference: None,
                window: Window::open(now),
                belief: RecordedPeriod {
                    recorded_at: now,
                    superseded_at: None,
                },
                sequence: 2 + n % 2,
                made_at: now,
            })
        })
        .collect();
    let left = Departure {
        id: new_id(now),
        kind: DepartureKind::PortedOut,
        cause: uuid::Uuid::nil(),
        numbers: numbers("1.212.555.100X"),
        at: now,
        sequence: 100,
        belief: RecordedPeriod {
            recorded_at: now,
            superseded_at: None,
        },
    };
    let write = move |tx: &mut Tx<'_>| {
        for _ in 0..100 {
            tx.next_change()?;
        }
        tx.insert_delegations(&delegations)?;
        tx.insert_departures(std::slice::from_ref(&left))
    };
    wait(
        world
            .authority
            .store()
            .change(world.acting(), "test", write),
    )
    .expect("rows");
    world.seconds_pass(60);
}

fn a_number_that_came_back_many_times_is_not_too_fragmented(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.knows("acme");
    came_back(&world, 21_000, |row| row);
    assert_eq!(why_not(&world, "acme", ENTRY), "delegation-ended");
    let made = world.lends("acme", NUMBER);
    let issued = world.mints("acme", &[ENTRY]).expect("a token");
    assert_eq!(world.grant_of(&issued).justified_by[0].row(), made.row);
    let explained = world.explains("acme", &[NUMBER], false);
    assert!(explained.decision.is_ok() && !explained.more);
    assert_eq!(world.looks_up(NUMBER, None).accounts, [account("acme")]);
    let new = tn_authority::authority::NewDisconnect {
        numbers: numbers(NUMBER),
        class: "business".to_owned(),
        at: None,
    };
    let done = wait(world.authority.disconnect(&world.provisioner(), new)).expect("a disconnect");
    assert_eq!(
        done.row.kept_delegations.len() + done.row.ended_delegations.len(),
        1
    );
}

fn a_reseller_delegates_a_number_that_came_back_many_times(world: World) {
    line(&world);
    world.carrier_holds("1.212.555.1XXX");
    came_back(&world, 2_100, |row| Delegation {
        account: account("wholesale"),
        ..row
    });
    let top = world
        .delegates(loan("wholesale", NUMBER, None))
        .expect("a loan");
    let below = wait(
        world
            .authority
            .delegate(&reseller(&world, "wholesale"), loan("cpaas", NUMBER, None)),
    );
    let below = below.expect("a loan");
    assert_eq!(below.cut_from.expect("a parent").parent, top.row.id);
    world.mints("cpaas", &[ENTRY]).expect("a token");
}

fn what_was_delegated_further_before_the_numbers_left_is_not_too_fragmented(world: World) {
    line(&world);
    world.carrier_holds("1.212.555.1XXX");
    let top = world
        .delegates(loan("wholesale", "1.212.555.1XXX", None))
        .expect("a loan");
    came_back(&world, 2_100, |row| Delegation {
        account: account("cpaas"),
        cut_from: Some(tn_authority::domain::inventory::CutFrom {
            parent: top.row.id,
            lender: account("wholesale"),
            lender_keeps: false,
        }),
        ..row
    });
    world
        .delegates(loan("wholesale", NUMBER, None))
        .expect("a loan");
    world.mints("wholesale", &[ENTRY]).expect("a token");
}
