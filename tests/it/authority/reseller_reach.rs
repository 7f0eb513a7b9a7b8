//! What a reseller sees and may change, and what it may not.

use tn_authority::authority::{ChangeError, ExplainRequest};
use tn_authority::domain::Caller;
use tn_authority::domain::accounts::account::Account;
use tn_authority::domain::inventory::Reason;

use super::resellers::{lent_down, line, loan, reseller};
use crate::support::{World, account, code, numbers, wait};

both! {
    a_reseller_keeps_its_own_customers_and_sees_nothing_else,
    a_reseller_finds_the_loan_that_it_cuts_from,
    a_reseller_cannot_change_what_it_was_lent,
    accounts_do_not_stand_deeper_than_they_may,
    the_past_of_a_chain_can_be_read,
    a_reseller_does_not_lift_what_was_suspended_above_it,
    a_suspended_reseller_changes_nothing,
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
        let unknown = Err(ChangeError::UnknownAccount(account(id)));
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
        let question = ExplainRequest {
            account: account(id),
            numbers: vec![numbers("+12125551001")],
            ca: false,
            lifetime: None,
            fingerprint: None,
        };
        let told = authority.explain(&cpaas, &question).expect("an answer");
        assert!(
            told.decision.is_err() && told.parts.is_empty() && told.facts.delegations.is_empty()
        );
    }
    let hidden = authority.delegation(&cpaas, chain[0].row.id);
    assert_eq!(hidden, Err(ChangeError::NotFound("delegation")));
    assert!(authority.delegation(&cpaas, chain[1].row.id).is_ok());
    assert_eq!(
        authority.grant(&cpaas, &rivals.jti),
        Err(ChangeError::NotFound("grant"))
    );
    let refused = wait(authority.withdraw(&cpaas, rivals.jti, "mine".into()));
    assert_eq!(refused, Err(ChangeError::NotFound("grant")));
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
        authority.allocations(&cpaas, &page).map(drop),
        Err(ChangeError::Forbidden)
    );
    let exclusion = tn_authority::authority::NewExclusion {
        numbers: numbers("+12125551001"),
        reason: Reason::Suspended,
        valid_from: None,
        valid_until: None,
        force: false,
    };
    assert_eq!(
        wait(authority.exclude(&cpaas, exclusion)).map(drop),
        Err(ChangeError::Forbidden)
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
        Err(ChangeError::NotTheLenders(vec![numbers("1.212.555.XXXX")]))
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
    assert_eq!(put("free", None), Err(ChangeError::NoParent));
    world.knows("rival");
    assert_eq!(
        put("spy", Some("rival")),
        Err(ChangeError::UnknownAccount(account("rival")))
    );
    assert_eq!(
        put("rival", Some("wholesale")),
        Err(ChangeError::ParentChange)
    );
}

fn a_reseller_cannot_change_what_it_was_lent(world: World) {
    let chain = lent_down(&world);
    let cpaas = reseller(&world, "cpaas");
    let authority = &world.authority;
    let own = wait(authority.end_delegation(&cpaas, chain[1].row.id, None));
    assert_eq!(own.map(drop), Err(ChangeError::OwnAccount));
    assert_eq!(
        wait(authority.suspend(&cpaas, account("cpaas"))).map(drop),
        Err(ChangeError::OwnAccount)
    );
    let more = wait(authority.delegate(&cpaas, loan("cpaas", "+12125551900", None)));
    assert_eq!(more, Err(ChangeError::OwnAccount));
    let foreign = wait(authority.end_delegation(&cpaas, chain[0].row.id, None));
    assert_eq!(foreign.map(drop), Err(ChangeError::NotFound("delegation")));
    let from_above =
        wait(authority.delegate(&cpaas, loan("agency", "+12125551900", Some(&chain[0]))));
    assert_eq!(from_above, Err(ChangeError::NotFound("delegation")));
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
    for depth in 0..=Account::MAX_DEPTH {
        let id = format!("a{depth}");
        assert_eq!(put(id.clone(), above), Ok(()));
        above = Some(id);
    }
    assert_eq!(put("one-more".to_owned(), above), Err(ChangeError::TooDeep));
    // A circle cannot be made: parents never change.
    assert_eq!(
        put("a0".to_owned(), Some("a3".to_owned())),
        Err(ChangeError::ParentChange)
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
    assert_eq!(resume(&cpaas, "shop"), Err(ChangeError::SuspendedAbove));
    assert_eq!(
        code(&world.mints("shop", &["one:12125551001"])),
        "forbidden"
    );
    // Nor that of the reseller above it.
    world.resumes("shop");
    let wholesale = reseller(&world, "wholesale");
    wait(authority.suspend(&wholesale, account("shop"))).expect("suspended");
    assert_eq!(resume(&cpaas, "shop"), Err(ChangeError::SuspendedAbove));
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
        Err(ChangeError::Forbidden)
    );
    let made = authority.put_account(&cpaas, account("new"), None, Some(account("cpaas")));
    assert_eq!(wait(made).map(drop), Err(ChangeError::Forbidden));
    let resumed = wait(authority.resume(&cpaas, account("shop")));
    assert_eq!(resumed.map(drop), Err(ChangeError::Forbidden));
    let ended = wait(authority.end_delegation(&cpaas, chain[2].row.id, None));
    assert_eq!(ended.map(drop), Err(ChangeError::Forbidden));
}
