//! The life of a number: ported in and out, disconnected and aging, contaminated, returned.

use tn_authority::authority::{
    ChangeError, Disconnected, NewAllocation, NewDisconnect, NewExclusion, Withdrawing,
};
use tn_authority::domain::inventory::{Basis, Delegation, Reason};
use tn_authority::domain::{Role, Time};

use crate::support::{World, account, code, numbers, outside, wait};

both! {
    a_port_with_a_due_date_ends_the_tokens_at_that_second,
    a_ported_in_number_belongs_to_a_block_of_somebody_else,
    a_disconnected_number_ages_and_its_loan_ends,
    who_was_lent_more_keeps_the_block,
    a_disconnect_ends_loans_with_what_hangs_below,
    a_ported_in_number_snaps_back_when_it_has_aged,
    a_disconnect_to_come_is_no_disconnect_yet,
    what_cannot_be_disconnected,
    a_contaminated_number_is_nobodys_in_a_lent_block,
    german_numbers_of_several_lengths_do_not_leak,
}

const DAY: i64 = 86_400;

fn disconnects(
    world: &World,
    text: &str,
    class: &str,
    at: Option<Time>,
) -> Result<Withdrawing<Disconnected>, ChangeError> {
    let new = NewDisconnect {
        numbers: numbers(text),
        class: class.to_owned(),
        at,
    };
    wait(world.authority.disconnect(&world.provisioner(), new))
}

fn a_port_with_a_due_date_ends_the_tokens_at_that_second(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    let due = world.in_seconds(2000);
    let reaching_over = world
        .mints("acme", &["one:12125551001"])
        .expect("a token")
        .jti;
    let ported = world.excludes("+12125551001", Reason::PortedOut, Some(due));
    let listed: Vec<_> = ported
        .outstanding_grants
        .grants
        .into_iter()
        .map(|g| g.jti)
        .collect();
    assert_eq!(listed, [reaching_over]);

    let issued = world.mints("acme", &["one:12125551001"]).expect("a token");
    assert_eq!(issued.expires, due);
    assert!(world.mints("acme", &["range:12125551002+10"]).is_ok());
    world.seconds_pass(2000);
    let refused = world.mints("acme", &["range:12125551000+10"]);
    assert_eq!(
        outside(&refused),
        [("+12125551001".into(), "ported-out".into())]
    );
    // Back again, to nobody until it is delegated anew.
    world.ends_exclusion(&ported.row, None);
    let refused = world.mints("acme", &["range:12125551000+10"]);
    assert_eq!(
        outside(&refused),
        [("+12125551001".into(), "delegation-ended".into())]
    );
    world.lends("acme", "+12125551001");
    assert!(world.mints("acme", &["range:12125551000+10"]).is_ok());
}

fn ported_in(
    world: &World,
    text: &str,
) -> Result<tn_authority::domain::inventory::Allocation, ChangeError> {
    world.allocates(NewAllocation {
        spc: "1234".parse().expect("a code"),
        numbers: numbers(text),
        basis: Basis::PortedIn,
        valid_from: None,
        valid_until: None,
    })
}

fn a_ported_in_number_belongs_to_a_block_of_somebody_else(world: World) {
    ported_in(&world, "+13125550123").expect("a ported number");
    world.lends("acme", "+13125550123");
    assert!(world.mints("acme", &["one:13125550123"]).is_ok());
    let beside = world.delegates(world.loan("acme", "+13125550124"));
    assert_eq!(
        beside,
        Err(ChangeError::NotHeld(vec![numbers("+13125550124")]))
    );
    assert_eq!(
        ported_in(&world, "+13125550123").map_err(|e| e.code()),
        Err("overlap")
    );
}

fn a_disconnected_number_ages_and_its_loan_ends(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551001");
    let before = world
        .mints("acme", &["one:12125551001"])
        .expect("a token")
        .jti;
    let done = disconnects(&world, "+12125551001", "residential", None).expect("a disconnect");
    assert_eq!(
        done.row.aging.window.until(),
        Some(world.in_seconds(90 * DAY))
    );
    assert_eq!(
        done.row
            .ended_delegations
            .iter()
            .map(|d| d.row.id)
            .collect::<Vec<_>>(),
        [loan.row.id]
    );
    assert_eq!(
        done.outstanding_grants
            .grants
            .into_iter()
            .map(|g| g.jti)
            .collect::<Vec<_>>(),
        [before]
    );
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "not-authorized"
    );

    // Lent again before it has aged, it is without authority until then.
    world.lends("next", "+12125551001");
    let aging = world.mints("next", &["one:12125551001"]);
    assert_eq!(outside(&aging), [("+12125551001".into(), "aging".into())]);
    world.seconds_pass(6 * DAY);
    assert_eq!(
        outside(&world.mints("next", &["one:12125551001"])),
        [("+12125551001".into(), "aging".into())]
    );
    assert_eq!(
        world
            .looks_up("+12125551001", Some(world.in_seconds(84 * DAY)))
            .accounts,
        [account("next")]
    );
    assert_eq!(
        world
            .looks_up("+12125551001", Some(world.in_seconds(84 * DAY - 1)))
            .accounts,
        []
    );
}

fn who_was_lent_more_keeps_the_block(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let block = world.lends("acme", "1.212.555.10XX");
    let done = disconnects(&world, "+12125551001", "business", None)
        .expect("a disconnect")
        .row;
    assert_eq!(
        (done.ended_delegations.len(), done.kept_delegations),
        (0, vec![block])
    );
    let refused = world.mints("acme", &["range:12125551000+3"]);
    assert_eq!(outside(&refused), [("+12125551001".into(), "aging".into())]);
    assert!(world.mints("acme", &["range:12125551002+8"]).is_ok());
}

fn a_disconnect_ends_loans_with_what_hangs_below(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.knows("reseller");
    let (caller, above) = (world.provisioner(), Some(account("reseller")));
    wait(
        world
            .authority
            .put_account(&caller, account("shop"), None, above),
    )
    .expect("an account");
    let mut new = world.loan("reseller", "1.212.555.100X");
    new.lend_on = true;
    let first = world.delegates(new).expect("a loan");
    let mut new = world.loan("reseller", "+12125551001");
    (new.account, new.parent) = (account("shop"), Some(first.row.id));
    let second = world.delegates(new).expect("a loan");

    let done = disconnects(&world, "1.212.555.100X", "business", None)
        .expect("a disconnect")
        .row;
    let ids = |rows: &[Delegation]| rows.iter().map(|d| d.row.id).collect::<Vec<_>>();
    assert_eq!(ids(&done.ended_delegations), [second.row.id]);
    // The block of the reseller goes on, who assigns its numbers anew when they have aged.
    assert_eq!(ids(&done.kept_delegations), [first.row.id]);
    assert_eq!(
        code(&world.mints("shop", &["one:12125551001"])),
        "not-authorized"
    );
    let versions = world.looks_up("+12125551001", None).delegations;
    assert!(
        versions.iter().all(|row| row.row.version <= 2),
        "{versions:?}"
    );
}

fn a_ported_in_number_snaps_back_when_it_has_aged(world: World) {
    let ported = ported_in(&world, "+13125550123").expect("a ported number");
    let done = disconnects(&world, "+13125550123", "residential", None)
        .expect("a disconnect")
        .row;
    let back = world.in_seconds(90 * DAY);
    assert_eq!(done.returned_allocations.len(), 1);
    assert_eq!(done.returned_allocations[0].row.id, ported.row.id);
    assert_eq!(done.returned_allocations[0].window.until(), Some(back));
}

fn a_disconnect_to_come_is_no_disconnect_yet(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    let due = world.in_seconds(1000);
    disconnects(&world, "+12125551001", "business", Some(due)).expect("a disconnect");
    let issued = world.mints("acme", &["one:12125551001"]).expect("a token");
    assert_eq!(issued.expires, due);
    world.seconds_pass(1000);
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "not-authorized"
    );
}

fn what_cannot_be_disconnected(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let code = |text, class, at| {
        disconnects(&world, text, class, at)
            .map(drop)
            .map_err(|e| e.code())
    };
    assert_eq!(code("+12125551001", "martian", None), Err("unknown-class"));
    assert_eq!(code("+12125552001", "business", None), Err("not-allocated"));
    assert_eq!(
        code("+12125551001", "business", Some(world.in_seconds(-1))),
        Err("window-over")
    );
    let far = tn_authority::domain::Time::MAX_UTC;
    assert!(code("+12125551001", "business", Some(far)).is_err());
    let new = NewDisconnect {
        numbers: numbers("+12125551001"),
        class: "business".to_owned(),
        at: None,
    };
    let account = world.caller(Role::Account, &["acme"]);
    assert_eq!(
        wait(world.authority.disconnect(&account, new)).map(drop),
        Err(ChangeError::Forbidden)
    );
}

fn a_contaminated_number_is_nobodys_in_a_lent_block(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    let new = NewExclusion {
        numbers: numbers("+12125551007"),
        reason: Reason::Contaminated,
        valid_from: None,
        valid_until: None,
        force: false,
    };
    wait(world.authority.exclude(&world.provisioner(), new)).expect("an exclusion");
    let refused = world.mints("acme", &["range:12125551000+1000"]);
    assert_eq!(
        outside(&refused),
        [("+12125551007".into(), "contaminated".into())]
    );
}

fn german_numbers_of_several_lengths_do_not_leak(world: World) {
    world.carrier_holds("+4930123");
    world.lends("alt", "+4930123");
    let longer = world.delegates(world.loan("alt", "+49301234"));
    assert_eq!(
        longer,
        Err(ChangeError::NotHeld(vec![numbers("+49301234")]))
    );
    assert_eq!(
        outside(&world.mints("alt", &["one:49301234"])),
        [("+49301234".into(), "not-delegated".into())]
    );
    world.carrier_holds("49.30.1234X");
    world.lends("neu", "49.30.1234X");
    assert!(world.mints("neu", &["range:493012340+10"]).is_ok());
    assert_eq!(
        outside(&world.mints("neu", &["one:4930123"])),
        [("+4930123".into(), "not-delegated".into())]
    );
    assert!(world.mints("alt", &["one:4930123"]).is_ok());
}
