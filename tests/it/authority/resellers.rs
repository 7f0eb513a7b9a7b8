//! Resellers lend on what they were lent: in parts, to customers of their own, and not beyond what they have themselves.

use tn_authority::authority::{ChangeError, NewDelegation};
use tn_authority::domain::inventory::Delegation;
use tn_authority::domain::{Caller, Role};

use crate::support::{World, account, code, numbers, outside, wait};

both! {
    a_chain_of_four_reaches_the_carrier,
    what_is_lent_on_is_a_part_of_what_was_lent,
    the_lender_keeps_its_right_only_where_the_loan_says_so,
    ending_a_loan_ends_what_hangs_below_it_at_the_same_instant,
    ending_a_loan_lists_the_tokens_of_those_below,
    a_suspended_reseller_stops_its_customers,
    siblings_do_not_overlap_and_generations_do,
}

pub const LINE: [&str; 4] = ["wholesale", "cpaas", "agency", "shop"];

/// Four accounts, each the customer of the one before.
pub fn line(world: &World) {
    let mut above = None;
    for id in LINE {
        let parent = above.replace(id).map(account);
        wait(
            world
                .authority
                .put_account(&world.provisioner(), account(id), None, parent),
        )
        .expect("an account");
    }
}

/// A loan that may be lent on, cut from another one.
pub fn loan(to: &str, text: &str, from: Option<&Delegation>) -> NewDelegation {
    NewDelegation {
        account: account(to),
        numbers: numbers(text),
        ca: false,
        parent: from.map(|from| from.row.id),
        lend_on: true,
        lender_keeps: false,
        valid_from: None,
        valid_until: None,
        reference: None,
    }
}

/// The block is lent down the line, a smaller part at each step.
pub fn lent_down(world: &World) -> [Delegation; 4] {
    line(world);
    world.carrier_holds("1.212.555.1XXX");
    let mut made: Vec<Delegation> = Vec::new();
    let parts = [
        "1.212.555.1XXX",
        "1.212.555.10XX",
        "1.212.555.100X",
        "+12125551001",
    ];
    for (id, text) in LINE.into_iter().zip(parts) {
        let new = loan(id, text, made.last());
        made.push(world.delegates(new).expect("a loan"));
    }
    made.try_into().expect("four")
}

pub fn reseller(world: &World, id: &str) -> Caller {
    world.caller(Role::Provisioner, &[id])
}

fn a_chain_of_four_reaches_the_carrier(world: World) {
    let chain = lent_down(&world);
    let issued = world.mints("shop", &["one:12125551001"]).expect("a token");
    let rows: Vec<_> = world
        .grant_of(&issued)
        .justified_by
        .iter()
        .map(|j| (j.kind(), j.row()))
        .collect();
    for loan in &chain {
        assert!(rows.contains(&("delegation", loan.row)), "{rows:?}");
    }
    assert_eq!(rows.len(), 5, "four loans and the block");
    let beside = world.mints("shop", &["one:12125551002"]);
    assert_eq!(
        outside(&beside),
        [("+12125551002".into(), "not-delegated".into())]
    );
}

fn what_is_lent_on_is_a_part_of_what_was_lent(world: World) {
    line(&world);
    world.carrier_holds("1.212.555.1XXX");
    let mut first = loan("wholesale", "1.212.555.10XX", None);
    first.valid_until = Some(world.in_seconds(10_000));
    let first = world.delegates(first).expect("a loan");
    let try_to = |change: &dyn Fn(&mut NewDelegation)| {
        let mut new = loan("cpaas", "1.212.555.100X", Some(&first));
        change(&mut new);
        world.delegates(new).map_err(|refused| refused.code())
    };
    for (change, code) in [
        (
            &(|new: &mut NewDelegation| new.numbers = numbers("1.212.555.1XXX"))
                as &dyn Fn(&mut NewDelegation),
            "not-the-lenders",
        ),
        (
            &|new| new.numbers = numbers("+12125551100"),
            "not-the-lenders",
        ),
        (&|new| new.ca = true, "ca-not-delegated"),
        (
            &|new| new.valid_until = Some(world.in_seconds(10_001)),
            "outside-the-lenders",
        ),
        (
            &|new| new.valid_from = Some(world.in_seconds(-1)),
            "outside-the-lenders",
        ),
        (&|new| new.account = account("agency"), "not-a-customer"),
        (&|new| new.account = account("nobody"), "unknown-account"),
        (&|new| new.parent = Some(uuid::Uuid::nil()), "not-found"),
    ] {
        assert_eq!(try_to(change), Err(code));
    }
    // Without an end of its own, a loan ends with what it is cut from.
    let made = try_to(&|_| {}).expect("a loan");
    assert_eq!(made.window.until(), first.window.until());

    let mut last = loan("wholesale", "+12125551900", None);
    last.lend_on = false;
    let last = world.delegates(last).expect("a loan");
    let refused = world.delegates(loan("cpaas", "+12125551900", Some(&last)));
    assert_eq!(refused, Err(ChangeError::NotToBeLentOn(last.row.id)));
}

fn the_lender_keeps_its_right_only_where_the_loan_says_so(world: World) {
    line(&world);
    world.carrier_holds("1.212.555.1XXX");
    let first = world
        .delegates(loan("wholesale", "1.212.555.1XXX", None))
        .expect("a loan");
    world
        .delegates(loan("cpaas", "+12125551001", Some(&first)))
        .expect("a loan");
    let mut kept = loan("cpaas", "+12125551002", Some(&first));
    kept.lender_keeps = true;
    world.delegates(kept).expect("a loan");
    let mut later = loan("cpaas", "+12125551003", Some(&first));
    later.valid_from = Some(world.in_seconds(1000));
    world.delegates(later).expect("a loan");

    let refused = world.mints("wholesale", &["range:12125551000+10"]);
    assert_eq!(
        outside(&refused),
        [("+12125551001".into(), "lent-on".into())]
    );
    assert!(world.mints("wholesale", &["one:12125551002"]).is_ok());
    assert!(world.mints("cpaas", &["range:12125551001+2"]).is_ok());
    // A loan to come shortens what the lender can still vouch for.
    let issued = world
        .mints("wholesale", &["one:12125551003"])
        .expect("a token");
    assert_eq!(issued.expires, world.in_seconds(1000));
}

fn ending_a_loan_ends_what_hangs_below_it_at_the_same_instant(world: World) {
    let chain = lent_down(&world);
    let end = world.in_seconds(1000);
    world.ends(&chain[1], Some(end));
    for loan in &chain[1..] {
        let newest = world
            .authority
            .delegation(&world.provisioner(), loan.row.id);
        let newest = newest.expect("a row");
        assert_eq!(
            (newest.row.row.version, newest.row.window.until()),
            (2, Some(end))
        );
    }
    let issued = world.mints("shop", &["one:12125551001"]).expect("a token");
    assert_eq!(issued.expires, end, "a known end shortens the token");

    world.seconds_pass(1000);
    for id in ["cpaas", "agency", "shop"] {
        assert_eq!(
            code(&world.mints(id, &["one:12125551001"])),
            "not-authorized",
            "{id}"
        );
    }
    assert!(world.mints("wholesale", &["one:12125551001"]).is_ok());
    // Ended at once, with what was already to end.
    world.ends(&chain[0], None);
    assert_eq!(
        code(&world.mints("wholesale", &["one:12125551001"])),
        "not-authorized"
    );
}

fn ending_a_loan_lists_the_tokens_of_those_below(world: World) {
    let chain = lent_down(&world);
    let of_shop = world
        .mints("shop", &["one:12125551001"])
        .expect("a token")
        .jti;
    let of_wholesale = world
        .mints("wholesale", &["one:12125551900"])
        .expect("a token")
        .jti;
    let listed = |affected: tn_authority::authority::Withdrawing<Delegation>| {
        let grants = affected.outstanding_grants.grants;
        grants
            .into_iter()
            .map(|grant| grant.jti)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        listed(world.ends(&chain[1], None)),
        std::slice::from_ref(&of_shop)
    );
    let mut both = vec![of_shop, of_wholesale];
    both.sort_unstable();
    assert_eq!(listed(world.ends(&chain[0], None)), both);
}

fn a_suspended_reseller_stops_its_customers(world: World) {
    lent_down(&world);
    world.carrier_holds("1.212.666.1XXX");
    // The carrier's own loan to the same customer hangs on nobody else.
    world
        .delegates(loan("shop", "+12126661500", None))
        .expect("a loan");
    let before = world
        .mints("shop", &["one:12125551001"])
        .expect("a token")
        .jti;
    let suspended = world.suspends("cpaas");
    let listed = suspended.outstanding_grants.grants.into_iter();
    assert_eq!(listed.map(|grant| grant.jti).collect::<Vec<_>>(), [before]);

    assert_eq!(
        code(&world.mints("cpaas", &["one:12125551050"])),
        "forbidden"
    );
    let below = world.mints("shop", &["one:12125551001"]);
    assert_eq!(
        outside(&below),
        [("+12125551001".into(), "lender-suspended".into())]
    );
    assert!(world.mints("shop", &["one:12126661500"]).is_ok());
    assert_eq!(world.looks_up("+12125551001", None).accounts, []);

    world.resumes("cpaas");
    assert!(world.mints("shop", &["one:12125551001"]).is_ok());
    assert_eq!(
        world.looks_up("+12125551001", None).accounts,
        [account("shop")]
    );
}

fn siblings_do_not_overlap_and_generations_do(world: World) {
    let chain = lent_down(&world);
    wait(world.authority.put_account(
        &world.provisioner(),
        account("other"),
        None,
        Some(account("wholesale")),
    ))
    .expect("an account");
    let taken = world.delegates(loan("other", "1.212.555.105X", Some(&chain[0])));
    assert!(
        matches!(&taken, Err(ChangeError::Overlap { id, kind: "delegation", .. }) if *id == chain[1].row.id),
        "{taken:?}"
    );
    assert!(
        world
            .delegates(loan("other", "1.212.555.11XX", Some(&chain[0])))
            .is_ok()
    );
    let again = world.delegates(loan("other", "+12125551999", None));
    assert!(
        matches!(again, Err(ChangeError::Overlap { .. })),
        "{again:?}"
    );
}
