//! Standing rights to renew: short tokens until the delegation ends, and not a second longer.

use chrono::TimeDelta;
use tn_authority::authority::{ChangeError, IssueError, Issued, NewAccount, NewRenewal};
use tn_authority::domain::inventory::{Delegation, Reason};
use tn_authority::domain::tokens::renewal::Renewal;
use tn_authority::domain::{
    Caller, Dialect, Fingerprint, Role, TkType, TkValue, TnAuthList, TokenRequest,
};
use tn_authority::store::Page;
use uuid::Uuid;

use crate::support::{World, account, code, fingerprint, outside, request, wait};

both! {
    tokens_are_to_be_had_until_the_delegation_ends,
    a_right_that_ends_before_its_delegation,
    another_loan_of_the_same_numbers_is_none_of_its,
    whatever_takes_authority_away_stops_it,
    it_is_for_one_list_and_one_key,
    a_legacy_account_renews_in_its_own_spelling,
    a_right_that_is_taken_back_is_over_at_once,
    whoever_renews_alone_does_nothing_else,
}

pub const NUMBER: &str = "one:12125551001";

/// The carrier holds a block and lends a part of it to `acme`.
pub fn lent(world: &World) -> Delegation {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX")
}

pub fn listed(entries: &[&str]) -> TnAuthList {
    let entries = entries.iter().map(|text| text.parse().expect("an entry"));
    TnAuthList::from_entries(entries.collect()).expect("a list")
}

pub fn wanted(loan: &Delegation) -> NewRenewal {
    NewRenewal {
        account: loan.account.clone(),
        delegation: loan.row.id,
        list: listed(&[NUMBER]),
        fingerprint: fingerprint(),
        lifetime: 600,
        not_after: None,
        caller: None,
        control: None,
    }
}

pub fn gives(world: &World, new: NewRenewal) -> Result<Renewal, ChangeError> {
    wait(world.authority.allow_renewal(&world.provisioner(), new))
}

pub fn right(world: &World, loan: &Delegation) -> Renewal {
    gives(world, wanted(loan)).expect("a right")
}

pub fn acme(world: &World) -> Caller {
    world.caller(Role::Account, &["acme"])
}

pub fn renews_as(
    world: &World,
    caller: &Caller,
    id: Uuid,
    wanted: Option<TokenRequest>,
) -> Result<Issued, IssueError> {
    let right = world.authority.renewal_to_use(id).expect("the store");
    wait(world.authority.renew(caller, (id, right), wanted, None))
}

pub fn renews(world: &World, right: &Renewal) -> Result<Issued, IssueError> {
    renews_as(world, &acme(world), right.id, None)
}

fn tokens_are_to_be_had_until_the_delegation_ends(world: World) {
    let loan = lent(&world);
    let right = right(&world, &loan);
    let first = renews(&world, &right).expect("a token");
    assert_eq!(first.expires, world.in_seconds(600));
    let end = world.in_seconds(4000);
    world.ends(&loan, Some(end));

    let mut last = first.expires;
    while (end - world.now()).num_seconds() >= 300 {
        let token = renews(&world, &right).expect("a token");
        let usual = world.in_seconds(600);
        assert_eq!(token.expires, usual.min(end));
        last = token.expires;
        world.seconds_pass(100);
    }
    // The last token ends with the delegation, to the second; nothing is left for a shorter one.
    assert_eq!(last, end);
    assert_eq!(code(&renews(&world, &right)), "ends-too-soon");
    world.clock.set(end - TimeDelta::seconds(1));
    assert_eq!(code(&renews(&world, &right)), "ends-too-soon");
    world.clock.set(end);
    assert_eq!(code(&renews(&world, &right)), "not-authorized");
    assert!(world.grants().iter().all(|grant| grant.expires_at <= end));
}

fn a_right_that_ends_before_its_delegation(world: World) {
    let loan = lent(&world);
    let end = world.in_seconds(1000);
    let not_after = Some(end);
    let right = gives(
        &world,
        NewRenewal {
            not_after,
            ..wanted(&loan)
        },
    )
    .expect("a right");
    world.seconds_pass(650);
    assert_eq!(renews(&world, &right).expect("a token").expires, end);
    world.seconds_pass(349);
    assert_eq!(code(&renews(&world, &right)), "ends-too-soon");
    world.seconds_pass(1);
    assert_eq!(code(&renews(&world, &right)), "renewal-ended");
    world
        .mints("acme", &[NUMBER])
        .expect("the account still has its numbers");
}

fn another_loan_of_the_same_numbers_is_none_of_its(world: World) {
    let loan = lent(&world);
    let right = right(&world, &loan);
    world.ends(&loan, None);
    world.lends("acme", "1.212.555.10XX");
    world
        .mints("acme", &[NUMBER])
        .expect("a token by the new loan");
    let refused = renews(&world, &right);
    assert_eq!(
        outside(&refused),
        [("+12125551001".to_owned(), "not-delegated".to_owned())]
    );
}

fn whatever_takes_authority_away_stops_it(world: World) {
    let loan = lent(&world);
    let right = right(&world, &loan);
    let token = renews(&world, &right).expect("a token");
    world.suspends("acme");
    assert_eq!(code(&renews(&world, &right)), "forbidden");
    let grant = world.grant_of(&token);
    assert!(grant.withdrawal.is_some(), "what was out is taken back");
    world.resumes("acme");
    renews(&world, &right).expect("a token again");

    let until = world.in_seconds(400);
    let kept = world.excludes("+12125551001", Reason::Suspended, Some(until));
    world.ends_exclusion(&kept.row, None);
    assert_eq!(
        renews(&world, &right).expect("a token").expires,
        world.in_seconds(600)
    );
    let ported = world.in_seconds(350);
    wait(world.authority.exclude(
        &world.provisioner(),
        tn_authority::authority::NewExclusion {
            numbers: crate::support::numbers("+12125551001"),
            reason: Reason::PortedOut,
            valid_from: Some(ported),
            valid_until: None,
            force: false,
        },
    ))
    .expect("an exclusion");
    assert_eq!(renews(&world, &right).expect("a token").expires, ported);
    world.clock.set(ported);
    assert_eq!(
        outside(&renews(&world, &right)),
        [("+12125551001".to_owned(), "ported-out".to_owned())]
    );
}

fn it_is_for_one_list_and_one_key(world: World) {
    let loan = lent(&world);
    let right = right(&world, &loan);
    let asks = |wanted| renews_as(&world, &acme(&world), right.id, Some(wanted));
    let shorter = asks(request(&[NUMBER], false, Some(300))).expect("a token");
    assert_eq!(shorter.expires, world.in_seconds(300));
    let same = asks(request(&[NUMBER], false, None)).expect("a token");
    assert_eq!(same.expires, world.in_seconds(600));
    let other_key = TokenRequest::new(
        right.list.clone(),
        false,
        Fingerprint::from([0x5f; 32]),
        None,
    );
    let before = world.grants().len();
    for wrong in [
        request(&["one:12125551002"], false, None),
        request(&[NUMBER, "one:12125551002"], false, None),
        request(&["range:12125551001+2"], false, None),
        request(&[NUMBER], true, None),
        request(&[NUMBER], false, Some(601)),
        other_key.expect("a request"),
    ] {
        assert_eq!(code(&asks(wrong.clone())), "outside-renewal", "{wrong:?}");
    }
    assert_eq!(world.grants().len(), before);
    // The bounds of the configuration hold too.
    let tiny = asks(request(&[NUMBER], false, Some(299)));
    assert_eq!(code(&tiny), "lifetime-not-allowed");
    let refused = world.trail("acme");
    let refused = refused
        .iter()
        .filter(|event| event.outcome == "outside-renewal");
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused.len(), 6);
    assert_eq!(refused[0].detail["renewal"], right.id.to_string());
    assert_ne!(refused[0].detail["tkvalue"], right.list.to_tkvalue());
}

fn a_legacy_account_renews_in_its_own_spelling(world: World) {
    let padded = "MA+iDRYLMTIxMjU1NTEwMDE=";
    let loan = lent(&world);
    let right = right(&world, &loan);
    let asks = |lifetime| {
        let list = TkValue::read(TkType::TnAuthList, padded, Dialect::Legacy).expect("a list");
        let wanted = TokenRequest::new(list, false, fingerprint(), lifetime).expect("E.164");
        renews_as(&world, &acme(&world), right.id, Some(wanted))
    };
    assert_eq!(code(&asks(None)), "malformed-tkvalue");
    let legacy = NewAccount {
        dialect: Some(Dialect::Legacy),
        ..NewAccount::default()
    };
    let by = world.provisioner();
    let put = world.authority.put_account_as(&by, account("acme"), legacy);
    wait(put).expect("a legacy account");
    let token = asks(None).expect("a token");
    // No longer than any other token of the right.
    assert_eq!(token.expires, world.in_seconds(600));
    assert_eq!(world.grant_of(&token).tkvalue.text(), padded);
    let shorter = asks(Some(400)).expect("a token");
    assert_eq!(shorter.expires, world.in_seconds(400));
    assert_eq!(code(&asks(Some(601))), "outside-renewal");
    // Constraints on claims are another thing.
    let constraints = TkValue::read(
        TkType::JwtClaimConstraints,
        "MAigBjAEFgJpZA",
        Dialect::Strict,
    );
    let constraints = constraints.expect("constraints");
    let wanted = TokenRequest::new(constraints, false, fingerprint(), None).expect("a request");
    let outcome = renews_as(&world, &acme(&world), right.id, Some(wanted));
    assert_eq!(code(&outcome), "claim-constraints-not-allowed");
}

fn a_right_that_is_taken_back_is_over_at_once(world: World) {
    let loan = lent(&world);
    for by in [world.provisioner(), acme(&world)] {
        let right = right(&world, &loan);
        renews(&world, &right).expect("a token");
        let revoke = || wait(world.authority.revoke_renewal(&by, right.id)).expect("a right");
        let revoked = revoke();
        assert_eq!(revoked.revoked_at, Some(world.now()));
        assert_eq!(code(&renews(&world, &right)), "renewal-ended");
        world.seconds_pass(1);
        assert_eq!(revoke(), revoked);
        let trail = world.trail(&right.id.to_string());
        let actions: Vec<&str> = trail.iter().map(|event| event.action.as_str()).collect();
        assert_eq!(actions, ["allow-renewal", "revoke-renewal"]);
    }
    // What was read of it before is out of date.
    let right = right(&world, &loan);
    let read = world.authority.renewal_to_use(right.id).expect("the store");
    wait(world.authority.revoke_renewal(&acme(&world), right.id)).expect("a right");
    let late = wait(
        world
            .authority
            .renew(&acme(&world), (right.id, read), None, None),
    );
    assert_eq!(code(&late), "renewal-ended");
}

fn whoever_renews_alone_does_nothing_else(world: World) {
    let loan = lent(&world);
    let agent = Caller {
        id: "agent".to_owned(),
        ..world.caller(Role::Renewer, &["acme"])
    };
    let other = Caller {
        id: "another".to_owned(),
        ..agent.clone()
    };
    let anybodys = right(&world, &loan);
    let caller = Some("agent".to_owned());
    let own = gives(
        &world,
        NewRenewal {
            caller,
            ..wanted(&loan)
        },
    )
    .expect("a right");
    let token = renews_as(&world, &agent, own.id, None).expect("a token");
    assert_eq!(world.grant_of(&token).caller, "agent");

    let wanted = request(&[NUMBER], false, None);
    for refused in [
        renews_as(&world, &agent, anybodys.id, None),
        renews_as(&world, &other, own.id, None),
        renews_as(&world, &acme(&world), own.id, None),
        world.mints_as(&agent, "acme", wanted),
    ] {
        assert_eq!(code(&refused), "forbidden");
    }
    let page = Page::new(10, None);
    assert_eq!(
        world
            .authority
            .renewals(&agent, &page)
            .expect("a page")
            .items,
        []
    );
    let shown = world.authority.renewal(&agent, own.id);
    assert_eq!(shown, Err(ChangeError::NotFound("renewal")));
    let revoked = wait(world.authority.revoke_renewal(&agent, own.id));
    assert_eq!(revoked, Err(ChangeError::Forbidden));
    let feed = world.authority.withdrawals(&agent, 0, 10).expect("a feed");
    assert_eq!(feed.items, []);
    world.ends(&loan, None);
    let feed = world.authority.withdrawals(&agent, 0, 10).expect("a feed");
    assert_eq!(feed.items, []);
    assert_eq!(
        code(&renews_as(&world, &agent, own.id, None)),
        "not-authorized"
    );
}
