//! Resellers lend on what they were lent: in parts, to customers of their own, and not beyond what they have themselves.

use tn_authority::authority::{NewDelegation, Question, Refused};
use tn_authority::domain::account::Account;
use tn_authority::domain::inventory::{Delegation, Reason};
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
    a_reseller_keeps_its_own_customers_and_sees_nothing_else,
    a_reseller_finds_the_loan_that_it_cuts_from,
    a_reseller_cannot_change_what_it_was_lent,
    accounts_do_not_stand_deeper_than_they_may,
    the_past_of_a_chain_can_be_read,
    a_reseller_does_not_lift_what_was_suspended_above_it,
    a_suspended_reseller_changes_nothing,
}

const LINE: [&str; 4] = ["wholesale", "cpaas", "agency", "shop"];

/// Four accounts, each the customer of the one before.
fn line(world: &World) {
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
fn lent_down(world: &World) -> [Delegation; 4] {
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

fn reseller(world: &World, id: &str) -> Caller {
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
    assert_eq!(refused, Err(Refused::NotToBeLentOn(last.row.id)));
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
        assert_eq!((newest.row.version, newest.window.until()), (2, Some(end)));
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
    let listed = |affected: tn_authority::authority::Affected<Delegation>| {
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
        matches!(&taken, Err(Refused::Overlap { id, kind: "delegation", .. }) if *id == chain[1].row.id),
        "{taken:?}"
    );
    assert!(
        world
            .delegates(loan("other", "1.212.555.11XX", Some(&chain[0])))
            .is_ok()
    );
    let again = world.delegates(loan("other", "+12125551999", None));
    assert!(matches!(again, Err(Refused::Overlap { .. })), "{again:?}");
}

fn a_reseller_keeps_its_own_customers_and_sees_nothing_else(world: World) {
    let chain = lent_down(&world);
    world.carrier_holds("1.212.666.1XXX");
    world.lends("rival", "+12126661950");
    let rivals = world.mints("rival", &["one:12126661950"]).expect("a token");
    let cpaas = reseller(&world, "cpaas");
    let authority = &world.authority;

    let page = tn_authority::store::Page::new(100, None);
    let seen = authority.accounts(&cpaas, &page).expect("accounts").items;
    let seen: Vec<String> = seen.iter().map(|account| account.id.to_string()).collect();
    assert_eq!(seen, ["agency", "cpaas", "shop"]);
    for id in ["wholesale", "rival", "nobody"] {
        let unknown = Err(Refused::UnknownAccount(account(id)));
        assert_eq!(
            authority.account(&cpaas, &account(id)),
            unknown.clone(),
            "{id}"
        );
        assert_eq!(
            authority
                .delegations_of(&cpaas, &account(id), &page)
                .map(drop),
            unknown.clone().map(drop)
        );
        assert_eq!(
            wait(authority.suspend(&cpaas, account(id))).map(drop),
            unknown.clone().map(drop)
        );
        assert_eq!(
            wait(authority.resume(&cpaas, account(id))).map(drop),
            unknown.map(drop)
        );
        let question = Question {
            account: account(id),
            numbers: vec![numbers("+12125551001")],
            ca: false,
            lifetime: None,
        };
        let told = authority.explain(&cpaas, &question).expect("an answer");
        assert!(
            told.decision.is_err() && told.parts.is_empty() && told.facts.delegations.is_empty()
        );
    }
    let hidden = authority.delegation(&cpaas, chain[0].row.id);
    assert_eq!(hidden, Err(Refused::NotFound("delegation")));
    assert!(authority.delegation(&cpaas, chain[1].row.id).is_ok());
    assert_eq!(
        authority.grant(&cpaas, &rivals.jti),
        Err(Refused::NotFound("grant"))
    );
    let refused = wait(authority.withdraw(&cpaas, rivals.jti, "mine".into()));
    assert_eq!(refused, Err(Refused::NotFound("grant")));
    let issued = world.mints("shop", &["one:12125551001"]).expect("a token");
    let ledger = authority
        .grants(&cpaas, tn_authority::store::GrantFilter::default(), &page)
        .expect("grants")
        .items;
    assert_eq!(
        ledger.iter().map(|g| &g.jti).collect::<Vec<_>>(),
        [&issued.jti]
    );

    // Of a number that is its own: its part of the chain. Of another: nothing.
    let own = authority
        .look_up(&cpaas, "+12125551001".parse().expect("a number"), None)
        .expect("known");
    let lent: Vec<&str> = own
        .delegations
        .iter()
        .map(|row| row.account.as_str())
        .collect();
    assert_eq!(lent, ["cpaas", "agency", "shop"]);
    assert_eq!(
        (own.allocations.len(), own.accounts),
        (1, vec![account("shop")])
    );
    let foreign = authority
        .look_up(&cpaas, "+12126661950".parse().expect("a number"), None)
        .expect("known");
    assert!(foreign.delegations.is_empty() && foreign.allocations.is_empty());
    assert!(foreign.accounts.is_empty() && foreign.grants.is_empty());

    // What is the carrier's is closed, whatever the role says.
    assert_eq!(
        authority
            .read(&cpaas, |tx| tx.list_allocations(&page))
            .map(drop),
        Err(Refused::Forbidden)
    );
    let exclusion = tn_authority::authority::NewExclusion {
        numbers: numbers("+12125551001"),
        reason: Reason::Suspended,
        valid_from: None,
        valid_until: None,
    };
    assert_eq!(
        wait(authority.exclude(&cpaas, exclusion)).map(drop),
        Err(Refused::Forbidden)
    );
}

fn a_reseller_finds_the_loan_that_it_cuts_from(world: World) {
    line(&world);
    world.carrier_holds("1.212.555.1XXX");
    let first = world
        .delegates(loan("wholesale", "1.212.555.1XXX", None))
        .expect("a loan");
    let wholesale = reseller(&world, "wholesale");
    let made = wait(
        world
            .authority
            .delegate(&wholesale, loan("cpaas", "1.212.555.10XX", None)),
    );
    let from = made.expect("a loan").cut_from.expect("an origin");
    assert_eq!(
        (from.parent, from.lender),
        (first.row.id, account("wholesale"))
    );
    let too_much = wait(
        world
            .authority
            .delegate(&wholesale, loan("cpaas", "1.212.555.XXXX", None)),
    );
    assert_eq!(
        too_much,
        Err(Refused::NotTheLenders(vec![numbers("1.212.555.XXXX")]))
    );
    // A customer of a customer gets its numbers from its own reseller, who has lent none yet.
    let skipping = wait(
        world
            .authority
            .delegate(&wholesale, loan("agency", "1.212.555.100X", None)),
    );
    assert!(
        skipping.is_ok(),
        "found in what the customer was lent: {skipping:?}"
    );
    // It makes customers below itself, and only there.
    let put = |id: &str, parent: Option<&str>| {
        let parent = parent.map(account);
        wait(
            world
                .authority
                .put_account(&wholesale, account(id), None, parent),
        )
        .map(|(made, _)| made.above)
    };
    assert_eq!(
        put("new", Some("wholesale")),
        Ok(vec![account("wholesale")])
    );
    assert_eq!(put("free", None), Err(Refused::NoParent));
    world.knows("rival");
    assert_eq!(
        put("spy", Some("rival")),
        Err(Refused::UnknownAccount(account("rival")))
    );
    assert_eq!(put("rival", Some("wholesale")), Err(Refused::ParentChange));
}

fn a_reseller_cannot_change_what_it_was_lent(world: World) {
    let chain = lent_down(&world);
    let cpaas = reseller(&world, "cpaas");
    let authority = &world.authority;
    let own = wait(authority.end_delegation(&cpaas, chain[1].row.id, None));
    assert_eq!(own.map(drop), Err(Refused::OwnAccount));
    assert_eq!(
        wait(authority.suspend(&cpaas, account("cpaas"))).map(drop),
        Err(Refused::OwnAccount)
    );
    let more = wait(authority.delegate(&cpaas, loan("cpaas", "+12125551900", None)));
    assert_eq!(more, Err(Refused::OwnAccount));
    let foreign = wait(authority.end_delegation(&cpaas, chain[0].row.id, None));
    assert_eq!(foreign.map(drop), Err(Refused::NotFound("delegation")));
    let from_above =
        wait(authority.delegate(&cpaas, loan("agency", "+12125551900", Some(&chain[0]))));
    assert_eq!(from_above, Err(Refused::NotFound("delegation")));
    assert!(wait(authority.end_delegation(&cpaas, chain[2].row.id, None)).is_ok());
}

fn accounts_do_not_stand_deeper_than_they_may(world: World) {
    let put = |id: String, parent: Option<String>| {
        let parent = parent.map(|id| account(&id));
        wait(
            world
                .authority
                .put_account(&world.provisioner(), account(&id), None, parent),
        )
        .map(drop)
    };
    let mut above = None;
    for depth in 0..=Account::MOST_ABOVE {
        let id = format!("a{depth}");
        assert_eq!(put(id.clone(), above), Ok(()));
        above = Some(id);
    }
    assert_eq!(put("one-more".to_owned(), above), Err(Refused::TooDeep));
    // A circle cannot be made: parents never change.
    assert_eq!(
        put("a0".to_owned(), Some("a3".to_owned())),
        Err(Refused::ParentChange)
    );
}

fn the_past_of_a_chain_can_be_read(world: World) {
    let chain = lent_down(&world);
    world.seconds_pass(100);
    world.ends(&chain[0], None);
    world.seconds_pass(100);
    let holders = |at| world.looks_up("+12125551001", Some(at)).accounts;
    assert_eq!(holders(world.in_seconds(-101)), [account("shop")]);
    assert_eq!(holders(world.in_seconds(-100)), []);
}

fn a_reseller_does_not_lift_what_was_suspended_above_it(world: World) {
    lent_down(&world);
    let cpaas = reseller(&world, "cpaas");
    let authority = &world.authority;
    let resume = |caller: &Caller, id: &str| {
        wait(authority.resume(caller, account(id))).map(|account| account.suspended_since)
    };
    // Its own suspension it lifts.
    wait(authority.suspend(&cpaas, account("shop"))).expect("suspended");
    assert_eq!(resume(&cpaas, "shop"), Ok(None));
    // The carrier's it does not, also where its own came first.
    wait(authority.suspend(&cpaas, account("shop"))).expect("suspended");
    world.suspends("shop");
    wait(authority.suspend(&cpaas, account("shop"))).expect("suspended already");
    assert_eq!(resume(&cpaas, "shop"), Err(Refused::SuspendedAbove));
    assert_eq!(
        code(&world.mints("shop", &["one:12125551001"])),
        "forbidden"
    );
    // Nor that of the reseller above it.
    world.resumes("shop");
    let wholesale = reseller(&world, "wholesale");
    wait(authority.suspend(&wholesale, account("shop"))).expect("suspended");
    assert_eq!(resume(&cpaas, "shop"), Err(Refused::SuspendedAbove));
    assert_eq!(resume(&wholesale, "shop"), Ok(None));
}

fn a_suspended_reseller_changes_nothing(world: World) {
    let chain = lent_down(&world);
    let cpaas = reseller(&world, "cpaas");
    let authority = &world.authority;
    world.suspends("wholesale");
    let new = loan("agency", "+12125551050", None);
    assert_eq!(
        wait(authority.delegate(&cpaas, new)),
        Err(Refused::Forbidden)
    );
    let made = authority.put_account(&cpaas, account("new"), None, Some(account("cpaas")));
    assert_eq!(wait(made).map(drop), Err(Refused::Forbidden));
    let resumed = wait(authority.resume(&cpaas, account("shop")));
    assert_eq!(resumed.map(drop), Err(Refused::Forbidden));
    let ended = wait(authority.end_delegation(&cpaas, chain[2].row.id, None));
    assert_eq!(ended.map(drop), Err(Refused::Forbidden));
}
