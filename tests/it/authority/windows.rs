//! Time: what starts, ends, and follows on something else.

use tn_authority::authority::ChangeError;
use tn_authority::domain::inventory::Reason;

use crate::support::{World, code, outside};

both! {
    a_loan_to_come_is_no_loan_yet,
    a_known_end_shortens_the_token_until_too_little_is_left,
    an_ended_loan_is_none,
    loans_that_follow_on_each_other_carry_over,
    a_gap_between_two_loans_ends_the_token,
    a_returned_allocation_takes_the_tokens_with_it,
    a_port_date_shortens_the_token,
    ending_before_the_start_cancels,
    ending_can_be_repeated_and_is_never_put_off,
    what_is_over_is_not_recorded,
}

fn lent_from_to(
    world: &World,
    text: &str,
    from: i64,
    until: Option<i64>,
) -> tn_authority::domain::inventory::Delegation {
    let mut loan = world.loan("acme", text);
    loan.valid_from = Some(world.in_seconds(from));
    loan.valid_until = until.map(|until| world.in_seconds(until));
    world.delegates(loan).expect("a delegation")
}

fn a_loan_to_come_is_no_loan_yet(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    lent_from_to(&world, "+12125551001", 100, None);
    world.seconds_pass(99);
    let early = world.mints("acme", &["one:12125551001"]);
    assert_eq!(
        outside(&early),
        [("+12125551001".into(), "not-delegated".into())]
    );
    world.seconds_pass(1);
    assert!(world.mints("acme", &["one:12125551001"]).is_ok());
}

fn a_known_end_shortens_the_token_until_too_little_is_left(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    lent_from_to(&world, "+12125551001", 0, Some(4000));
    let ends = world.in_seconds(4000);
    assert_eq!(
        world
            .mints("acme", &["one:12125551001"])
            .expect("a token")
            .expires,
        world.in_seconds(3600)
    );
    world.seconds_pass(400);
    assert_eq!(
        world
            .mints("acme", &["one:12125551001"])
            .expect("a token")
            .expires,
        ends
    );
    world.seconds_pass(3_300);
    assert_eq!(
        world
            .mints("acme", &["one:12125551001"])
            .expect("a token")
            .expires,
        ends
    );
    world.seconds_pass(1);
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "ends-too-soon"
    );
    world.seconds_pass(298);
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "ends-too-soon"
    );
    world.seconds_pass(1);
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "not-authorized"
    );
}

fn an_ended_loan_is_none(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551001");
    world.seconds_pass(10);
    let ended = world.ends(&loan, None).row;
    assert_eq!(
        (ended.row.version, ended.window.until()),
        (2, Some(world.now()))
    );
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "not-authorized"
    );
    // The number can be lent anew.
    world.lends("umbrella", "+12125551001");
    assert!(world.mints("umbrella", &["one:12125551001"]).is_ok());
}

fn loans_that_follow_on_each_other_carry_over(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    let first = lent_from_to(&world, "+12125551001", 0, Some(1000));
    let second = lent_from_to(&world, "1.212.555.10XX", 1000, Some(2000));
    let issued = world.mints("acme", &["one:12125551001"]).expect("a token");
    assert_eq!(issued.expires, world.in_seconds(2000));
    let because: Vec<_> = world
        .grant_of(&issued)
        .justified_by
        .iter()
        .map(|j| j.row())
        .collect();
    assert_eq!(because, [first.row, second.row, block.row]);
}

fn a_gap_between_two_loans_ends_the_token(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    lent_from_to(&world, "+12125551001", 0, Some(1000));
    lent_from_to(&world, "+12125551001", 1001, None);
    let issued = world.mints("acme", &["one:12125551001"]).expect("a token");
    assert_eq!(issued.expires, world.in_seconds(1000));
    world.seconds_pass(1000);
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "not-authorized"
    );
    world.seconds_pass(1);
    assert_eq!(
        world
            .mints("acme", &["one:12125551001"])
            .expect("a token")
            .expires,
        world.in_seconds(3600)
    );
}

fn a_returned_allocation_takes_the_tokens_with_it(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    world.returns(&block, Some(world.in_seconds(500)));
    assert_eq!(
        world
            .mints("acme", &["one:12125551001"])
            .expect("a token")
            .expires,
        world.in_seconds(500)
    );
    world.seconds_pass(500);
    let refused = world.mints("acme", &["one:12125551001"]);
    assert_eq!(
        outside(&refused),
        [("+12125551001".into(), "not-allocated".into())]
    );
    // Another one takes its place, but the loan went with the first.
    world.carrier_holds("1.212.555.1XXX");
    let refused = world.mints("acme", &["one:12125551001"]);
    assert_eq!(
        outside(&refused),
        [("+12125551001".into(), "delegation-ended".into())]
    );
}

fn a_port_date_shortens_the_token(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    world.excludes(
        "+12125551005",
        Reason::PortedOut,
        Some(world.in_seconds(1000)),
    );
    let date = world.in_seconds(1000);
    assert_eq!(
        world
            .mints("acme", &["range:12125551000+10"])
            .expect("a token")
            .expires,
        date
    );
    assert_eq!(
        world
            .mints("acme", &["one:12125551004"])
            .expect("a token")
            .expires,
        world.in_seconds(3600)
    );
    world.seconds_pass(701);
    assert_eq!(
        code(&world.mints("acme", &["one:12125551005"])),
        "ends-too-soon"
    );
    world.seconds_pass(299);
    let refused = world.mints("acme", &["range:12125551000+10"]);
    assert_eq!(
        outside(&refused),
        [("+12125551005".into(), "ported-out".into())]
    );
}

fn ending_before_the_start_cancels(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = lent_from_to(&world, "+12125551001", 100, None);
    let cancelled = world.ends(&loan, Some(world.in_seconds(50))).row;
    assert_eq!(cancelled.belief.superseded_at, Some(world.now()));
    world.seconds_pass(40);
    // Once more, as a client does that got no answer.
    assert_eq!(world.ends(&loan, Some(world.in_seconds(10))).row, cancelled);
    world.seconds_pass(100);
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "not-authorized"
    );
    assert_eq!(
        world.looks_up("+12125551001", None).delegations,
        [cancelled]
    );
    world.lends("umbrella", "+12125551001");
}

fn ending_can_be_repeated_and_is_never_put_off(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551001");
    let exclusion = world.excludes("+12125551900", Reason::Aging, None).row;
    world.seconds_pass(10);
    let (end, later) = (Some(world.in_seconds(100)), Some(world.in_seconds(200)));

    let ended = world.ends(&loan, end).row;
    let free = world.ends_exclusion(&exclusion, end);
    let returned = world.returns(&block, end).row;
    for at in [end, later] {
        world.seconds_pass(1);
        assert_eq!(world.ends(&loan, at).row, ended);
        assert_eq!(world.ends_exclusion(&exclusion, at), free);
        assert_eq!(world.returns(&block, at).row, returned);
    }
    assert_eq!(world.ends(&loan, None).row.row.version, 3);
    for (subject, times) in [(loan.row.id, 3), (block.row.id, 2), (exclusion.row.id, 2)] {
        assert_eq!(world.trail(&subject.to_string()).len(), times);
    }
}

fn what_is_over_is_not_recorded(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let mut loan = world.loan("acme", "+12125551001");
    loan.valid_from = Some(world.in_seconds(-100));
    loan.valid_until = Some(world.now());
    assert_eq!(
        world.delegates(loan.clone()),
        Err(ChangeError::Over(world.now()))
    );
    loan.valid_until = Some(world.in_seconds(-100));
    assert_eq!(
        world.delegates(loan.clone()).expect_err("no window").code(),
        "window"
    );
    loan.valid_until = Some(world.in_seconds(1000));
    assert!(
        world.delegates(loan).is_ok(),
        "a loan that started in the past"
    );
}
