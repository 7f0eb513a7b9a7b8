//! Grants that are taken back when authority ends, and the feed that tells of them.

use tn_authority::authority::{Issued, NewDisconnect};
use tn_authority::domain::clock::Time;
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::inventory::withdrawal::{EndingRow, Withdrawn};
use tn_authority::domain::tokens::grant::{GrantState, Jti};
use tn_authority::domain::{Caller, Role};
use tn_authority::store::{GrantFilter, Page};

use crate::support::{World, account, numbers, wait};

both! {
    whatever_takes_authority_away_takes_its_grants_back,
    an_end_to_come_takes_them_back_from_then_on,
    an_end_that_comes_earlier_is_told_again,
    what_was_taken_back_stays_so,
    a_row_that_was_to_come_takes_nothing_that_ends_before_it,
    everybody_follows_what_is_theirs,
}

/// The whole feed as this caller sees it.
pub fn feed(world: &World, caller: &Caller) -> Vec<Withdrawn> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = world
            .authority
            .withdrawals(caller, after, 7)
            .expect("a feed");
        all.extend(page.items);
        if !page.more {
            return all;
        }
        after = page.next_after;
    }
}

pub fn auditor(world: &World) -> Caller {
    world.caller(Role::Auditor, &[])
}

/// What the feed tells of a token: why, by what, from when on.
pub fn told(world: &World, issued: &Issued) -> Vec<(String, Option<EndingRow>, Time)> {
    let all = feed(world, &auditor(world)).into_iter();
    all.filter(|entry| entry.jti == issued.jti)
        .map(|entry| (entry.ended.reason, entry.ended.cause, entry.ended.at))
        .collect()
}

pub fn state(world: &World, issued: &Issued) -> GrantState {
    let status = world.authority.grant_status(&issued.jti).expect("a grant");
    assert_eq!(status.state, world.grant_of(issued).state(world.now()));
    status.state
}

fn whatever_takes_authority_away_takes_its_grants_back(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    let acme = world.lends("acme", "1.212.555.10XX");
    world.lends("umbrella", "1.212.555.11XX");
    world.lends("initech", "1.212.555.12XX");
    let mint = |id: &str, entry: &str| world.mints(id, &[entry]).expect("a token");
    let ported = mint("acme", "one:12125551001");
    let ended = mint("acme", "one:12125551002");
    let suspended = mint("umbrella", "one:12125551101");
    let disconnected = mint("initech", "one:12125551201");
    let returned = mint("initech", "one:12125551202");
    world.seconds_pass(10);
    let now = world.now();

    let exclusion = world.excludes("+12125551001", Reason::PortedOut, None).row;
    let cause = Some(EndingRow::Exclusion(exclusion.row.id));
    assert_eq!(
        told(&world, &ported),
        [("ported-out".to_owned(), cause, now)]
    );
    assert_eq!(state(&world, &ended), GrantState::Active);

    world.ends(&acme, None);
    let cause = Some(EndingRow::Delegation(acme.row.id));
    assert_eq!(
        told(&world, &ended),
        [("delegation-ended".to_owned(), cause, now)]
    );
    // It was taken back already.
    assert_eq!(told(&world, &ported).len(), 1);

    world.suspends("umbrella");
    let of_umbrella = told(&world, &suspended);
    assert_eq!(of_umbrella.len(), 1);
    assert_eq!(of_umbrella[0].0, "account-suspended");
    assert!(matches!(of_umbrella[0].1, Some(EndingRow::Suspension(_))));

    let given_up = NewDisconnect {
        numbers: numbers("+12125551201"),
        class: "residential".to_owned(),
        at: None,
    };
    let done = wait(world.authority.disconnect(&world.provisioner(), given_up));
    let cause = Some(EndingRow::Exclusion(
        done.expect("a disconnect").row.aging.row.id,
    ));
    assert_eq!(
        told(&world, &disconnected),
        [("aging".to_owned(), cause, now)]
    );

    world.returns(&block, None);
    let cause = Some(EndingRow::Allocation(block.row.id));
    assert_eq!(
        told(&world, &returned),
        [("allocation-returned".to_owned(), cause, now)]
    );

    let all = feed(&world, &auditor(&world));
    assert_eq!(all.len(), 5);
    assert!(all.is_sorted_by(|a, b| a.sequence < b.sequence), "{all:?}");
    assert_eq!(all[0].numbers, [numbers("+12125551001")]);
    assert_eq!(
        (&all[0].account, all[0].expires_at),
        (&account("acme"), ported.expires)
    );
    for issued in [&ported, &ended, &suspended, &disconnected, &returned] {
        assert_eq!(state(&world, issued), GrantState::Withdrawn);
    }
    let event = world
        .trail(&exclusion.row.id.to_string())
        .pop()
        .expect("an event");
    assert_eq!(event.detail["withdrawn"], 1);
    // What is repeated takes nothing more.
    world.suspends("umbrella");
    world.returns(&block, None);
    world.ends(&acme, None);
    assert_eq!(feed(&world, &auditor(&world)), all);
}

fn an_end_to_come_takes_them_back_from_then_on(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    let short = world
        .mints_for("acme", &["one:12125551001"], 600)
        .expect("a token");
    let long = world
        .mints_for("acme", &["one:12125551001"], 1200)
        .expect("a token");
    let at = world.in_seconds(600);
    world.excludes("+12125551001", Reason::PortedOut, Some(at));
    assert_eq!(told(&world, &short), []);
    assert_eq!(told(&world, &long)[0].2, at);
    let in_state = |wanted| {
        let filter = GrantFilter {
            state: Some((wanted, world.now())),
            ..GrantFilter::default()
        };
        let page = Page::new(10, None);
        let found = world
            .authority
            .store()
            .read(|tx| tx.list_grants(&filter, &page));
        let found = found
            .expect("grants")
            .items
            .into_iter()
            .map(|grant| grant.jti);
        found.collect::<Vec<Jti>>()
    };
    let mut both = vec![short.jti.clone(), long.jti.clone()];
    both.sort_unstable();
    assert_eq!(in_state(GrantState::Active), both);
    assert_eq!(in_state(GrantState::Withdrawn), []);
    assert_eq!(state(&world, &long), GrantState::Active);
    assert_eq!(
        world.authority.grant_status(&long.jti).expect("a grant").at,
        Some(at)
    );
    world.seconds_pass(599);
    assert_eq!(state(&world, &long), GrantState::Active);
    world.seconds_pass(1);
    assert_eq!(state(&world, &long), GrantState::Withdrawn);
    assert_eq!(state(&world, &short), GrantState::Expired);
    assert_eq!(in_state(GrantState::Active), []);
    assert_eq!(
        in_state(GrantState::Withdrawn),
        std::slice::from_ref(&long.jti)
    );
    assert_eq!(
        in_state(GrantState::Expired),
        std::slice::from_ref(&short.jti)
    );
}

fn an_end_that_comes_earlier_is_told_again(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551001");
    let issued = world.mints("acme", &["one:12125551001"]).expect("a token");
    let (later, sooner) = (world.in_seconds(1200), world.in_seconds(600));
    world.excludes("+12125551001", Reason::PortedOut, Some(later));
    world.ends(&loan, Some(sooner));
    // An end is never put off.
    world.excludes("+12125551001", Reason::Suspended, Some(later));
    let told = told(&world, &issued);
    let ends: Vec<_> = told
        .iter()
        .map(|(why, _, at)| (why.as_str(), *at))
        .collect();
    assert_eq!(ends, [("ported-out", later), ("delegation-ended", sooner)]);
    let withdrawal = world.grant_of(&issued).withdrawal.expect("a withdrawal");
    assert_eq!(
        (withdrawal.reason.as_str(), withdrawal.at),
        ("delegation-ended", sooner)
    );
    // A person is quicker.
    let (caller, jti) = (world.provisioner(), issued.jti.clone());
    wait(world.authority.withdraw(&caller, jti, "lost".to_owned())).expect("a grant");
    assert_eq!(
        super::withdrawals::told(&world, &issued)[2],
        ("lost".to_owned(), None, world.now())
    );
}

fn what_was_taken_back_stays_so(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    let mint = || world.mints("acme", &["one:12125551001"]).expect("a token");
    let first = mint();
    world.suspends("acme");
    world.resumes("acme");
    let second = mint();
    assert_eq!(state(&world, &first), GrantState::Withdrawn);
    assert_eq!(state(&world, &second), GrantState::Active);
    // A port that is called off before it happens.
    let port = world
        .excludes(
            "+12125551001",
            Reason::PortedOut,
            Some(world.in_seconds(60)),
        )
        .row;
    world.ends_exclusion(&port, None);
    let third = mint();
    world.seconds_pass(60);
    assert_eq!(state(&world, &second), GrantState::Withdrawn);
    assert_eq!(state(&world, &third), GrantState::Active);
    assert_eq!(feed(&world, &auditor(&world)).len(), 2);
}

fn a_row_that_was_to_come_takes_nothing_that_ends_before_it(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let mut loan = world.loan("acme", "+12125551001");
    loan.valid_until = Some(world.in_seconds(1200));
    world.delegates(loan.clone()).expect("a loan");
    loan.valid_from = loan.valid_until.take();
    let next = world.delegates(loan).expect("a loan");
    let short = world
        .mints_for("acme", &["one:12125551001"], 1200)
        .expect("a token");
    let long = world
        .mints_for("acme", &["one:12125551001"], 1800)
        .expect("a token");
    let cancelled = world.ends(&next, None);
    assert_eq!(cancelled.outstanding_grants.exposure.tokens, 1);
    assert_eq!(told(&world, &short), []);
    assert_eq!(told(&world, &long)[0].2, world.in_seconds(1200));
}

fn everybody_follows_what_is_theirs(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    for (id, above) in [
        ("reseller", None),
        ("shop", Some("reseller")),
        ("acme", None),
    ] {
        let (caller, above) = (world.provisioner(), above.map(account));
        wait(
            world
                .authority
                .put_account(&caller, account(id), None, above),
        )
        .expect("an account");
    }
    let shop = world.lends("shop", "1.212.555.10XX");
    let acme = world.lends("acme", "1.212.555.11XX");
    let of_shop = world.mints("shop", &["one:12125551001"]).expect("a token");
    let of_acme = world.mints("acme", &["one:12125551101"]).expect("a token");
    world.ends(&acme, None);
    world.ends(&shop, None);

    let seen = |role, accounts: &[&str]| {
        let entries = feed(&world, &world.caller(role, accounts));
        entries
            .into_iter()
            .map(|entry| entry.jti)
            .collect::<Vec<_>>()
    };
    let (both, shops, acmes) = (
        vec![of_acme.jti.clone(), of_shop.jti.clone()],
        vec![of_shop.jti.clone()],
        vec![of_acme.jti.clone()],
    );
    assert_eq!(seen(Role::Auditor, &[]), both);
    assert_eq!(seen(Role::Provisioner, &[]), both);
    assert_eq!(seen(Role::Account, &["acme"]), acmes);
    assert_eq!(seen(Role::Account, &["shop"]), shops);
    assert_eq!(seen(Role::Portal, &["acme", "shop"]), both);
    assert_eq!(seen(Role::Auditor, &["reseller"]), shops);
    // The key by which a reseller has tokens of its own does not keep its customers.
    assert_eq!(seen(Role::Account, &["reseller"]), []);
    assert_eq!(seen(Role::Portal, &["nobody"]), []);

    // A place that another one was given is only a place.
    let shops_key = world.caller(Role::Account, &["shop"]);
    let acmes_place = feed(&world, &world.caller(Role::Account, &["acme"]))[0].sequence;
    let page = world
        .authority
        .withdrawals(&shops_key, acmes_place, 10)
        .expect("a feed");
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].jti, of_shop.jti);
    let end = world
        .authority
        .withdrawals(&shops_key, page.next_after, 10)
        .expect("a feed");
    assert_eq!((end.items.len(), end.next_after), (0, page.next_after));
    // Which row of the carrier's it was is for the carrier to know.
    assert_eq!(page.items[0].ended.cause, None);
    assert!(
        feed(&world, &auditor(&world))
            .iter()
            .all(|entry| entry.ended.cause.is_some())
    );
}
