//! Rows are ended, not edited: what was known, and since when, can be read afterwards.

use tn_authority::domain::inventory::{Reason, RecordedPeriod};

use crate::support::{World, account};

both! {
    both_versions_of_an_ended_row_can_be_read,
    who_could_have_had_a_token_on_that_day,
    the_newest_grants_of_a_number_are_shown,
}

fn both_versions_of_an_ended_row_can_be_read(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "1.212.555.10XX");
    let exclusion = world.excludes("+12125551001", Reason::Aging, None).row;
    let start = world.now();
    world.seconds_pass(10);
    let end = Some(world.in_seconds(90));
    world.ends(&loan, end);
    world.returns(&block, end);
    world.ends_exclusion(&exclusion, end);

    let known = world.looks_up("+12125551001", None);
    let beliefs = [
        RecordedPeriod {
            recorded_at: start,
            superseded_at: Some(world.now()),
        },
        RecordedPeriod {
            recorded_at: world.now(),
            superseded_at: None,
        },
    ];
    macro_rules! versions {
        ($rows:expr, $first:expr) => {{
            let rows = &$rows;
            assert_eq!(
                rows.iter()
                    .map(|r| (r.row.id, r.row.version))
                    .collect::<Vec<_>>(),
                [($first.id, 1), ($first.id, 2)]
            );
            assert_eq!(rows.iter().map(|r| r.belief).collect::<Vec<_>>(), beliefs);
            assert_eq!(
                rows.iter().map(|r| r.window.until()).collect::<Vec<_>>(),
                [None, end]
            );
            assert!(rows.iter().all(|r| r.window.from() == start));
        }};
    }
    versions!(known.allocations, block.row);
    versions!(known.delegations, loan.row);
    versions!(known.exclusions, exclusion.row);
    assert_eq!(world.looks_up("+12125551100", None).delegations, []);
}

fn who_could_have_had_a_token_on_that_day(world: World) {
    let (before, start) = (world.in_seconds(-1), world.now());
    let block = world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551001");
    let could = |at| world.looks_up("+12125551001", Some(at)).accounts;
    world.seconds_pass(100);
    world.suspends("acme");
    let suspended = world.now();
    world.seconds_pass(100);
    world.resumes("acme");
    let resumed = world.now();
    world.seconds_pass(100);
    world.ends(&loan, None);
    world.lends("umbrella", "+12125551001");
    let handed_over = world.now();
    world.seconds_pass(100);
    world.excludes(
        "+12125551001",
        Reason::PortedOut,
        Some(world.in_seconds(100)),
    );
    let told_of_the_port = world.now();
    let ported = world.in_seconds(100);
    world.returns(&block, Some(world.in_seconds(1_000)));

    for (instant, accounts) in [
        (before, vec![]),
        (start, vec!["acme"]),
        (suspended, vec![]),
        (resumed, vec!["acme"]),
        (handed_over, vec!["umbrella"]),
        (told_of_the_port, vec!["umbrella"]),
        (ported, vec![]),
    ] {
        let accounts: Vec<_> = accounts.into_iter().map(account).collect();
        assert_eq!(could(instant), accounts, "at {instant}");
    }
    // Ending it backwards does not undo that tokens could be had.
    world.seconds_pass(10);
    let umbrellas = world
        .looks_up("+12125551001", None)
        .delegations
        .pop()
        .expect("a loan");
    world.ends(&umbrellas, Some(handed_over));
    assert_eq!(could(told_of_the_port), [account("umbrella")]);
    assert_eq!(could(world.now()), []);
}

fn the_newest_grants_of_a_number_are_shown(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    let mut last = None;
    for _ in 0..101 {
        world.seconds_pass(1);
        last = Some(world.mints("acme", &["one:12125551001"]).expect("a token"));
    }
    let shown = world.looks_up("+12125551001", None).grants;
    assert_eq!(shown.len(), 100);
    assert_eq!(
        shown.first().map(|grant| &grant.jti),
        last.as_ref().map(|issued| &issued.jti)
    );
}
