//! The trail: every decision and every change leaves an event about its account, and without the event it does not happen.

use tn_authority::authority::{Action, IssueError, NewDisconnect, Refused};
use tn_authority::callers::{ApiKeyError, Callers, NewApiKey, Pepper};
use tn_authority::domain::account::LifetimeMode;
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::{Caller, Role};
use tn_authority::store::{AuditEvent, EventFilter, Page, StoreError};
use uuid::Uuid;

use crate::support::{Kind, World, account, clock_starts, numbers, request, wait};

both! {
    each_change_leaves_an_event_about_its_account,
    what_is_refused_leaves_an_event_that_only_its_caller_sees,
    each_account_that_loses_numbers_finds_it_in_its_trail,
    a_key_leaves_events_and_never_its_secret,
    without_its_event_nothing_is_done,
    the_trail_is_filtered_and_paged,
    a_reseller_sees_what_is_about_its_own,
    old_events_are_given_their_accounts,
}

fn all(world: &World, caller: &Caller, filter: EventFilter) -> Vec<AuditEvent> {
    let page = Page::new(Page::MAX_LIMIT, None);
    let events = world.authority.audit_events(caller, filter, &page);
    events.expect("the trail").items
}

fn auditor(world: &World) -> Caller {
    world.caller(Role::Auditor, &[])
}

/// Verb, account and outcome of the events, in their order.
fn told(events: &[AuditEvent]) -> Vec<(&str, &str, &str)> {
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
    let (clock, metrics) = (world.clock.clone(), world.metrics.clone());
    Callers::new(world.authority.store.clone(), pepper, clock, metrics)
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
    assert!(matches!(foreign, Err(Refused::UnknownAccount(_))));
    let mallory = world.caller(Role::Account, &["other"]);
    let foreign = world.mints_as(&mallory, "acme", request(&["one:12125551001"], false, None));
    assert_eq!(crate::support::code(&foreign), "forbidden");
    // Somebody whose role does not do it.
    let what = "POST /v1/allocations".to_owned();
    let refused = world.authority.forbid(&reseller, Action::Provision, what);
    assert_eq!(wait(refused), Err(Refused::Forbidden));
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
    for id in ["reseller", "shop"] {
        let of_it = EventFilter {
            account: Some(account(id)),
            action: Some("end-delegation".to_owned()),
            ..EventFilter::default()
        };
        assert_eq!(all(&world, &auditor(&world), of_it).len(), 1, "{id}");
    }
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
             BEGIN SELECT RAISE(ABORT, 'no events'); END"
        }
        Kind::Postgres => {
            "CREATE FUNCTION no_events() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'no events'; END $$; \
             CREATE TRIGGER no_events BEFORE INSERT ON audit_events \
             FOR EACH ROW EXECUTE FUNCTION no_events()"
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
    assert!(matches!(wait(put), Err(Refused::Store(_))));
    let suspended = wait(world.authority.suspend(&provisioner, account("acme")));
    assert!(matches!(suspended, Err(Refused::Store(_))));
    let made = wait(keys.create(&admin, new_key(Role::Admin, &[])));
    assert!(matches!(made, Err(ApiKeyError::Store(_))));
    assert!(wait(keys.revoke(&admin, &key.kept.id)).is_err());

    world.db.execute(match world.db.kind() {
        Kind::Sqlite => "DROP TRIGGER no_events",
        Kind::Postgres => "DROP TRIGGER no_events ON audit_events",
    });
    assert_eq!(world.grants().len(), grants);
    let reader = auditor(&world);
    let unknown = world.authority.account(&reader, &account("new"));
    assert!(matches!(unknown, Err(Refused::UnknownAccount(_))));
    assert!(world.mints("acme", &["one:12125551001"]).is_ok());
    let revoked = wait(keys.revoke(&admin, &key.kept.id)).expect("a revocation");
    assert!(revoked.validity.revoked_at.is_some());
}

fn the_trail_is_filtered_and_paged(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    world.lends("other", "1.212.555.11XX");
    world.seconds_pass(100);
    let mut caller = world.caller(Role::Account, &["acme"]);
    for n in 0..5 {
        caller.request_id = Uuid::from_u128(n);
        let entry = format!("one:{}", 12_125_551_099 + n);
        let _ = world.mints_as(&caller, "acme", request(&[&entry], false, None));
    }
    world.seconds_pass(100);
    world.suspends("other");
    let reader = auditor(&world);
    let count = |filter| all(&world, &reader, filter).len();
    let any = EventFilter::default;
    let text = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (
            EventFilter {
                account: Some(account("other")),
                ..any()
            },
            3,
        ),
        (
            EventFilter {
                account: Some(account("nobody")),
                ..any()
            },
            0,
        ),
        (
            EventFilter {
                caller: text("key-of-account"),
                ..any()
            },
            5,
        ),
        (
            EventFilter {
                action: text("issue"),
                ..any()
            },
            5,
        ),
        (
            EventFilter {
                outcome: text("not-authorized"),
                ..any()
            },
            4,
        ),
        (
            EventFilter {
                request_id: Some(Uuid::from_u128(3)),
                ..any()
            },
            1,
        ),
        (
            EventFilter {
                subject: text("other"),
                ..any()
            },
            2,
        ),
        (
            EventFilter {
                from: Some(world.in_seconds(-100)),
                until: Some(world.now()),
                ..any()
            },
            5,
        ),
        (
            EventFilter {
                from: Some(world.now()),
                ..any()
            },
            1,
        ),
        (
            EventFilter {
                from: Some(world.in_seconds(1)),
                ..any()
            },
            0,
        ),
        (
            EventFilter {
                until: Some(clock_starts()),
                ..any()
            },
            0,
        ),
        (
            EventFilter {
                account: Some(account("acme")),
                outcome: text("done"),
                action: text("issue"),
                from: Some(clock_starts()),
                ..any()
            },
            1,
        ),
    ] {
        assert_eq!(count(filter.clone()), expected, "{filter:?}");
    }

    let whole = all(&world, &reader, any());
    let (mut paged, mut cursor) = (Vec::new(), None);
    loop {
        let page = Page::new(2, cursor);
        let found = world.authority.audit_events(&reader, any(), &page);
        let found = found.expect("a page");
        assert!(found.items.len() <= 2);
        paged.extend(found.items);
        cursor = found.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(paged, whole);
    assert!(whole.windows(2).all(|pair| pair[0].at <= pair[1].at));
}

fn a_reseller_sees_what_is_about_its_own(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let mut lent = world.loan("reseller", "1.212.555.10XX");
    lent.lend_on = true;
    world.delegates(lent).expect("a loan");
    world.lends("other", "1.212.555.11XX");
    let own = world.caller(Role::Provisioner, &["reseller"]);
    let shop = world
        .authority
        .put_account(&own, account("shop"), None, Some(account("reseller")));
    wait(shop).expect("a customer");
    let _ = world.mints("shop", &["one:12125551001"]);
    let _ = world.mints("other", &["one:12125551101"]);

    let of_reseller = world.caller(Role::Auditor, &["reseller"]);
    let seen = all(&world, &of_reseller, EventFilter::default());
    assert_eq!(
        told(&seen),
        [
            ("put-account", "reseller", "done"),
            ("delegate", "reseller", "done"),
            ("put-account", "shop", "done"),
            ("issue", "shop", "not-authorized"),
        ]
    );
    // The carrier's people stay unnamed; its own and its customers' do not.
    let named: Vec<&str> = seen.iter().map(|event| event.caller.as_str()).collect();
    let carriers = world.provisioner().id;
    assert_eq!(named, ["", "", own.id.as_str(), "key-of-account"]);
    for (filter, expected) in [
        (
            EventFilter {
                account: Some(account("other")),
                ..EventFilter::default()
            },
            0,
        ),
        (
            EventFilter {
                account: Some(account("shop")),
                ..EventFilter::default()
            },
            2,
        ),
        (
            EventFilter {
                subject: Some("other".to_owned()),
                ..EventFilter::default()
            },
            0,
        ),
        // By an id that it is not shown it finds nothing; the two provisioners of this world share theirs.
        (
            EventFilter {
                caller: Some(carriers),
                ..EventFilter::default()
            },
            1,
        ),
        (
            EventFilter {
                caller: Some("command".to_owned()),
                ..EventFilter::default()
            },
            0,
        ),
        (
            EventFilter {
                request_id: Some(own.request_id),
                ..EventFilter::default()
            },
            4,
        ),
    ] {
        let found = all(&world, &of_reseller, filter.clone());
        assert_eq!(found.len(), expected, "{filter:?}");
    }
    let of_shop = world.caller(Role::Auditor, &["shop"]);
    assert_eq!(all(&world, &of_shop, EventFilter::default()).len(), 2);
    for role in [Role::Account, Role::Portal] {
        let caller = world.caller(role, &["shop"]);
        let page = Page::new(10, None);
        let refused = world
            .authority
            .audit_events(&caller, EventFilter::default(), &page);
        assert_eq!(refused, Err(Refused::Forbidden));
    }
}

fn old_events_are_given_their_accounts(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "1.212.555.1XXX");
    let issued = world.mints("acme", &["one:12125551001"]).expect("a token");
    let provisioner = world.provisioner();
    let withdrawn = world
        .authority
        .withdraw(&provisioner, issued.jti, "lost".to_owned());
    wait(withdrawn).expect("a grant");
    world.ends(&loan, None);
    let before = all(&world, &auditor(&world), EventFilter::default());
    let folder = match world.db.kind() {
        Kind::Sqlite => "sqlite",
        Kind::Postgres => "postgres",
    };
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/migrations/{folder}/0007_trail/up.sql");
    let text = std::fs::read_to_string(path).expect("the migration");
    let updates: Vec<&str> = text
        .split(';')
        .filter_map(|statement| Some(&statement[statement.find("UPDATE ")?..]))
        .collect();
    assert_eq!(updates.len(), 3);
    world
        .db
        .execute("UPDATE audit_events SET account_id = NULL");
    world.db.execute(&updates.join(";"));
    assert_eq!(
        all(&world, &auditor(&world), EventFilter::default()),
        before
    );
}
