//! The trail: every decision and every change leaves an event about its account, and without the event it does not happen.

use tn_authority::authority::{Action, ChangeError, IssueError, NewDisconnect};
use tn_authority::callers::{ApiKeyError, Callers, NewApiKey, Pepper, Peppers};
use tn_authority::domain::accounts::account::LifetimeMode;
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::{AuditEvent, Caller, Role};
use tn_authority::store::{EventFilter, Page, StoreError};

use crate::support::{Kind, World, account, numbers, request, wait};

both! {
    each_change_leaves_an_event_about_its_account,
    what_is_refused_leaves_an_event_that_only_its_caller_sees,
    each_account_that_loses_numbers_finds_it_in_its_trail,
    a_key_leaves_events_and_never_its_secret,
    without_its_event_nothing_is_done,
}

pub fn all(world: &World, caller: &Caller, filter: EventFilter) -> Vec<AuditEvent> {
    let page = Page::new(Page::MAX_LIMIT, None);
    let events = world.authority.audit_events(caller, filter, &page);
    events.expect("the trail").items
}

pub fn auditor(world: &World) -> Caller {
    world.caller(Role::Auditor, &[])
}

/// Verb, account and outcome of the events, in their order.
pub fn told(events: &[AuditEvent]) -> Vec<(&str, &str, &str)> {
    let of = |event: &AuditEvent| event.account.as_ref().map(ToString::to_string);
    let about: Vec<_> = events.iter().map(of).collect();
    // Leaked for the length of a test, so that texts can be compared.
    let about = Box::leak(about.into_boxed_slice());
    let pairs = events.iter().zip(about);
    pairs
        .map(|(event, about)| {
            let about = about.as_deref().unwrap_or("-");
            (event.action.as_str(), about, event.outcome.as_str())
        })
        .collect()
}

fn callers(world: &World) -> Callers {
    let pepper = Pepper::new(&[7; 32]).expect("a pepper");
    let peppers = Peppers::new(pepper, None).expect("peppers");
    let (clock, metrics) = (world.clock.clone(), world.metrics.clone());
    Callers::new(world.authority.store().clone(), peppers, clock, metrics)
}

fn new_key(role: Role, accounts: &[&str]) -> NewApiKey {
    NewApiKey {
        role,
        accounts: accounts.iter().map(|id| account(id)).collect(),
        label: "billing".to_owned(),
        expires_at: None,
        allow_from: Vec::new(),
    }
}

fn each_change_leaves_an_event_about_its_account(world: World) {
    let before = all(&world, &auditor(&world), EventFilter::default()).len();
    let block = world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "1.212.555.1XXX");
    let issued = world.mints("acme", &["one:12125551001"]).expect("a token");
    let _ = world.mints("acme", &["one:12125552001"]);
    let provisioner = world.provisioner();
    let withdrawn = world
        .authority
        .withdraw(&provisioner, issued.jti.clone(), "lost".to_owned());
    wait(withdrawn).expect("a grant");
    let mode = LifetimeMode::GrantHorizon;
    wait(
        world
            .authority
            .set_lifetime_mode(&provisioner, account("acme"), mode),
    )
    .expect("an account");
    world.suspends("acme");
    let _ = world.mints("acme", &["one:12125551001"]);
    world.resumes("acme");
    let gone = world.excludes("+12125551009", Reason::PortedOut, None).row;
    world.ends_exclusion(&gone, None);
    world.ends(&loan, None);
    world.returns(&block, None);
    let events = all(&world, &auditor(&world), EventFilter::default());
    assert_eq!(
        told(&events[before..]),
        [
            ("allocate", "-", "done"),
            ("put-account", "acme", "done"),
            ("delegate", "acme", "done"),
            ("issue", "acme", "done"),
            ("issue", "acme", "not-authorized"),
            ("withdraw", "acme", "done"),
            ("set-lifetime", "acme", "done"),
            ("suspend", "acme", "done"),
            ("issue", "acme", "forbidden"),
            ("resume", "acme", "done"),
            // The number left, and the delegation ended for it.
            ("end-delegation", "acme", "done"),
            ("exclude", "-", "done"),
            ("end-exclusion", "-", "done"),
            ("end-delegation", "acme", "done"),
            ("return", "-", "done"),
        ]
    );
    let refused = &events[before + 4];
    assert!(
        refused.detail["reason"]
            .as_str()
            .is_some_and(|why| why.contains("+12125552001")),
        "{refused:?}"
    );
}

fn what_is_refused_leaves_an_event_that_only_its_caller_sees(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    world.knows("other");
    let before = all(&world, &auditor(&world), EventFilter::default()).len();
    // The carrier lends numbers twice.
    let taken = world.delegates(world.loan("other", "+12125551001"));
    assert_eq!(taken.expect_err("an overlap").code(), "overlap");
    // A reseller suspends somebody else's account, and asks for a token of it.
    let reseller = world.caller(Role::Provisioner, &["other"]);
    let foreign = wait(world.authority.suspend(&reseller, account("acme")));
    assert!(matches!(foreign, Err(ChangeError::UnknownAccount(_))));
    let mallory = world.caller(Role::Account, &["other"]);
    let foreign = world.mints_as(&mallory, "acme", request(&["one:12125551001"], false, None));
    assert_eq!(crate::support::code(&foreign), "forbidden");
    // Somebody whose role does not do it.
    let what = "POST /v1/allocations".to_owned();
    let refused = world.authority.forbid(&reseller, Action::Provision, what);
    assert_eq!(wait(refused), Err(ChangeError::Forbidden));
    let events = all(&world, &auditor(&world), EventFilter::default());
    let news = &events[before..];
    assert_eq!(
        told(news),
        [
            ("delegate", "-", "overlap"),
            ("suspend", "other", "unknown-account"),
            ("issue", "other", "forbidden"),
            ("provision", "other", "forbidden"),
        ]
    );
    assert_eq!(news[1].subject, "acme");
    assert_eq!(news[3].subject, "POST /v1/allocations");
    // The account that others have tried for is not told who they are.
    let of_acme = world.caller(Role::Auditor, &["acme"]);
    let seen = all(&world, &of_acme, EventFilter::default());
    assert!(seen.iter().all(|event| event.outcome == "done"), "{seen:?}");
}

fn each_account_that_loses_numbers_finds_it_in_its_trail(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let mut lent = world.loan("reseller", "+12125551001");
    lent.lend_on = true;
    let first = world.delegates(lent).expect("a loan");
    let provisioner = world.provisioner();
    let shop = world.authority.put_account(
        &provisioner,
        account("shop"),
        None,
        Some(account("reseller")),
    );
    wait(shop).expect("an account");
    let mut below = world.loan("shop", "+12125551001");
    below.parent = Some(first.row.id);
    world.delegates(below).expect("a loan below");
    let disconnected = world.authority.disconnect(
        &provisioner,
        NewDisconnect {
            numbers: numbers("+12125551001"),
            class: "business".to_owned(),
            at: None,
        },
    );
    wait(disconnected).expect("a disconnect");
    let ends = |id: &str| {
        let of_it = EventFilter {
            account: Some(account(id)),
            action: Some("end-delegation".to_owned()),
            ..EventFilter::default()
        };
        all(&world, &auditor(&world), of_it).len()
    };
    // The reseller keeps its block while the number ages, and loses it with a port.
    assert_eq!([ends("reseller"), ends("shop")], [0, 1]);
    world.excludes("+12125551001", Reason::PortedOut, None);
    assert_eq!([ends("reseller"), ends("shop")], [1, 1]);
}

fn a_key_leaves_events_and_never_its_secret(world: World) {
    world.knows("acme");
    let (callers, admin) = (callers(&world), world.caller(Role::Admin, &[]));
    let keys = callers.api_keys();
    let shown = wait(keys.create(&admin, new_key(Role::Account, &["acme"]))).expect("a key");
    let id = &shown.kept.id;
    wait(keys.revoke(&admin, id)).expect("a revocation");
    // Once is enough.
    wait(keys.revoke(&admin, id)).expect("an answer");
    let trail = world.trail(id);
    assert_eq!(
        told(&trail),
        [
            ("create-api-key", "acme", "done"),
            ("revoke-api-key", "acme", "done")
        ]
    );
    assert_eq!(
        trail[0].detail,
        serde_json::json!({
            "role": "account", "accounts": ["acme"], "label": "billing", "expires_at": null, "allow_from": [],
        })
    );
    // A secret may have a `_` in it.
    let secret = shown.key.splitn(3, '_').nth(2).expect("a secret");
    assert!(!format!("{trail:?}").contains(secret));
}

fn without_its_event_nothing_is_done(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    let (callers, admin) = (callers(&world), world.caller(Role::Admin, &[]));
    let keys = callers.api_keys();
    let key = wait(keys.create(&admin, new_key(Role::Account, &["acme"]))).expect("a key");
    let grants = world.grants().len();
    let refuse = match world.db.kind() {
        Kind::Sqlite => {
            "CREATE TRIGGER no_events BEFORE INSERT ON audit_events \
             BEGIN SELECT RAISE(ABORT, 'no events'); END; \
             CREATE TRIGGER no_grants BEFORE INSERT ON grants WHEN new.event IS NOT NULL \
             BEGIN SELECT RAISE(ABORT, 'no events'); END"
        }
        Kind::Postgres => {
            "CREATE FUNCTION no_events() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'no events'; END $$; \
             CREATE TRIGGER no_events BEFORE INSERT ON audit_events \
             FOR EACH ROW EXECUTE FUNCTION no_events(); \
             CREATE TRIGGER no_grants BEFORE INSERT ON grants \
             FOR EACH ROW WHEN (new.event IS NOT NULL) EXECUTE FUNCTION no_events()"
        }
    };
    world.db.execute(refuse);
    let minted = world.mints("acme", &["one:12125551001"]);
    assert!(matches!(
        minted,
        Err(IssueError::Store(StoreError::Unavailable(_)))
    ));
    let denied = world.mints("acme", &["one:12125559999"]);
    assert!(
        matches!(denied, Err(IssueError::Store(_))),
        "what cannot be recorded is not even denied: {denied:?}"
    );
    let provisioner = world.provisioner();
    let put = world
        .authority
        .put_account(&provisioner, account("new"), None, None);
    assert!(matches!(wait(put), Err(ChangeError::Store(_))));
    let suspended = wait(world.authority.suspend(&provisioner, account("acme")));
    assert!(matches!(suspended, Err(ChangeError::Store(_))));
    let made = wait(keys.create(&admin, new_key(Role::Admin, &[])));
    assert!(matches!(made, Err(ApiKeyError::Store(_))));
    assert!(wait(keys.revoke(&admin, &key.kept.id)).is_err());

    world.db.execute(match world.db.kind() {
        Kind::Sqlite => "DROP TRIGGER no_events; DROP TRIGGER no_grants",
        Kind::Postgres => {
            "DROP TRIGGER no_events ON audit_events; DROP TRIGGER no_grants ON grants"
        }
    });
    assert_eq!(world.grants().len(), grants);
    let reader = auditor(&world);
    let unknown = world.authority.account(&reader, &account("new"));
    assert!(matches!(unknown, Err(ChangeError::UnknownAccount(_))));
    assert!(world.mints("acme", &["one:12125551001"]).is_ok());
    let revoked = wait(keys.revoke(&admin, &key.kept.id)).expect("a revocation");
    assert!(revoked.validity.revoked_at.is_some());
}
