//! What can still be redeemed when authority goes, and grants that are taken back.

use tn_authority::authority::{ChangeError, Issued};
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::tokens::grant::{GrantState, Jti};
use tn_authority::store::{GrantFilter, Page};

use crate::support::{World, account, numbers, wait};

both! {
    whatever_takes_authority_away_lists_what_can_still_be_redeemed,
    what_expires_before_the_authority_ends_is_not_listed,
    more_than_one_answer_holds_is_said,
    a_grant_is_withdrawn_once,
    the_ledger_is_searched_by_account_number_and_state,
}

fn jtis(issued: &[&Issued]) -> Vec<Jti> {
    let mut jtis: Vec<Jti> = issued.iter().map(|issued| issued.jti.clone()).collect();
    jtis.sort_unstable();
    jtis
}

fn listed(outstanding: &tn_authority::authority::Outstanding) -> Vec<Jti> {
    outstanding
        .grants
        .iter()
        .map(|grant| grant.jti.clone())
        .collect()
}

fn whatever_takes_authority_away_lists_what_can_still_be_redeemed(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "1.212.555.10XX");
    world.lends("umbrella", "1.212.555.11XX");
    let one = world.mints("acme", &["one:12125551001"]).expect("a token");
    let list = world
        .mints("acme", &["one:12125551050", "range:12125551000+3"])
        .expect("a token");
    let other = world.mints("acme", &["one:12125551099"]).expect("a token");
    let umbrella = world
        .mints("umbrella", &["one:12125551101"])
        .expect("a token");
    world.seconds_pass(10);

    let excluded = world.excludes("+12125551001", Reason::PortedOut, None);
    assert_eq!(listed(&excluded.outstanding_grants), jtis(&[&one, &list]));
    let excluded = world.excludes("+12125551060+60", Reason::Suspended, None);
    assert_eq!(
        listed(&excluded.outstanding_grants),
        jtis(&[&other, &umbrella])
    );
    let suspended = world.suspends("acme");
    assert_eq!(
        listed(&suspended.outstanding_grants),
        jtis(&[&one, &list, &other])
    );
    let ended = world.ends(&loan, None);
    assert_eq!(
        listed(&ended.outstanding_grants),
        jtis(&[&one, &list, &other])
    );
    let returned = world.returns(&block, None);
    assert_eq!(
        listed(&returned.outstanding_grants),
        jtis(&[&one, &list, &other, &umbrella])
    );
    assert!(!returned.outstanding_grants.more);

    world.seconds_pass(3_590);
    assert_eq!(world.returns(&block, None).outstanding_grants.grants, []);
    assert_eq!(world.suspends("acme").outstanding_grants.grants, []);
}

fn what_expires_before_the_authority_ends_is_not_listed(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551001");
    let short = world
        .mints_for("acme", &["one:12125551001"], 600)
        .expect("a token");
    let long = world
        .mints_for("acme", &["one:12125551001"], 1200)
        .expect("a token");
    let at = |seconds| Some(world.in_seconds(seconds));
    let reason = Reason::PortedOut;
    assert_eq!(
        listed(
            &world
                .excludes("+12125551001", reason, at(1200))
                .outstanding_grants
        ),
        []
    );
    assert_eq!(
        listed(
            &world
                .excludes("+12125551001", reason, at(1199))
                .outstanding_grants
        ),
        jtis(&[&long])
    );
    assert_eq!(
        listed(&world.ends(&loan, at(600)).outstanding_grants),
        jtis(&[&long])
    );
    assert_eq!(
        listed(&world.ends(&loan, at(599)).outstanding_grants),
        jtis(&[&short, &long])
    );
}

fn more_than_one_answer_holds_is_said(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551001");
    crate::support::at_once(8, |_| {
        for _ in 0..126 {
            world.mints("acme", &["one:12125551001"]).expect("a token");
        }
    });
    let outstanding = world.ends(&loan, None).outstanding_grants;
    assert_eq!((outstanding.grants.len(), outstanding.more), (1000, true));
    assert_eq!(world.grants().len(), 1008);
}

fn a_grant_is_withdrawn_once(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551001");
    let issued = world.mints("acme", &["one:12125551001"]).expect("a token");
    let withdraw = |reason: &str| {
        let withdrawn = wait(world.authority.withdraw(
            &world.provisioner(),
            issued.jti.clone(),
            reason.to_owned(),
        ));
        withdrawn.expect("a grant")
    };
    world.seconds_pass(5);
    let withdrawn = withdraw("lost device");
    assert_eq!(withdrawn.state(world.now()), GrantState::Withdrawn);
    assert_eq!(withdrawn, world.grant_of(&issued));
    world.seconds_pass(5);
    assert_eq!(withdraw("another reason"), withdrawn);
    assert_eq!(world.trail(issued.jti.as_str()).len(), 1);
    // The token itself still verifies, so it is still listed as redeemable.
    assert_eq!(
        listed(&world.ends(&loan, None).outstanding_grants),
        jtis(&[&issued])
    );

    let unknown = wait(world.authority.withdraw(
        &world.provisioner(),
        Jti::from_text("unknown"),
        String::new(),
    ));
    assert_eq!(unknown, Err(ChangeError::NotFound("grant")));
}

fn the_ledger_is_searched_by_account_number_and_state(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    world.lends("umbrella", "1.212.555.11XX");
    let old = world
        .mints_for("acme", &["one:12125551001"], 300)
        .expect("a token");
    world.seconds_pass(400);
    let new = world
        .mints("acme", &["range:12125551000+10"])
        .expect("a token");
    let umbrella = world
        .mints("umbrella", &["one:12125551101"])
        .expect("a token");
    wait(
        world
            .authority
            .withdraw(&world.provisioner(), umbrella.jti.clone(), "r".into()),
    )
    .expect("a grant");

    let find = |filter: GrantFilter| -> Vec<Jti> {
        let page = world
            .authority
            .store()
            .read(|tx| tx.list_grants(&filter, &Page::new(10, None)))
            .expect("grants");
        page.items.into_iter().map(|grant| grant.jti).collect()
    };
    let of = |id: &str| GrantFilter {
        account: Some(account(id)),
        ..GrantFilter::default()
    };
    assert_eq!(find(of("acme")), jtis(&[&old, &new]));
    assert_eq!(find(of("nobody")), []);
    let naming = |text: &str| GrantFilter {
        numbers: Some(numbers(text)),
        ..GrantFilter::default()
    };
    assert_eq!(find(naming("+12125551001")), jtis(&[&old, &new]));
    assert_eq!(find(naming("+12125551009")), jtis(&[&new]));
    assert_eq!(find(naming("+12125551010")), []);
    assert_eq!(
        find(naming("1.212.555.1XXX")),
        jtis(&[&old, &new, &umbrella])
    );
    let in_state = |state| GrantFilter {
        state: Some((state, world.now())),
        ..GrantFilter::default()
    };
    assert_eq!(find(in_state(GrantState::Active)), jtis(&[&new]));
    assert_eq!(find(in_state(GrantState::Expired)), jtis(&[&old]));
    assert_eq!(find(in_state(GrantState::Withdrawn)), jtis(&[&umbrella]));
}
