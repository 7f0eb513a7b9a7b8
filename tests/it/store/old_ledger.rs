//! A ledger of the version before grants and their events were one row: all of it is carried over, and answered as before.

use std::sync::Arc;
use std::time::Instant;

use chrono::TimeDelta;
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::tokens::grant::{Grant, GrantState};
use tn_authority::domain::{AuditEvent, Caller, Role};
use tn_authority::store::{EventFilter, GrantFilter, Page, Store};

use super::old_rows::{CHAIN, insert, old_database, old_grants, sql_of, text};
use crate::control::proven::{mints_for_key, set, setup};
use crate::support::{Db, Kind, Setup, World, account, clock_starts, code, fingerprint, number};

both! {
    grants_and_events_of_older_versions_are_answered_as_before,
    what_was_withdrawn_stays_so_and_is_in_the_feed,
    the_way_back_loses_no_grant_and_no_event,
    keys_of_accounts_stay_known_there_and_back,
}

const OLD_KEYS_ALONE: &str = r#"@id("young") @code("young-key")
    forbid (principal, action == Action::"mint", resource) when { context.key_age < 3600 };"#;

/// How many old grants there are; more by this variable.
const MANY: &str = "TN_AUTHORITY_TEST_OLD_GRANTS";

fn many() -> usize {
    let asked = std::env::var(MANY).ok();
    asked.map_or(3_000, |many| many.parse().expect("a number"))
}

fn upgraded(db: Db) -> World {
    let start = Instant::now();
    let applied = Store::migrate(&db.url()).expect("the migrations");
    assert_eq!(applied.first().map(String::as_str), Some("0021_ledger"));
    println!("the upgrade took {:?}", start.elapsed());
    World::over(Arc::new(db), Setup::default())
}

/// All pages of the trail.
fn trail(world: &World, caller: &Caller, filter: &EventFilter, limit: u16) -> Vec<AuditEvent> {
    let (mut events, mut cursor) = (Vec::new(), None);
    loop {
        let page = Page::new(limit, cursor);
        let found = world.authority.audit_events(caller, filter.clone(), &page);
        let found = found.expect("the trail");
        events.extend(found.items);
        match found.next {
            Some(next) => cursor = Some(next),
            None => return events,
        }
    }
}

fn found(world: &World, filter: GrantFilter) -> Vec<Grant> {
    let page = Page::new(Page::MAX_LIMIT, None);
    let caller = world.caller(Role::Auditor, &[]);
    let found = world.authority.grants(&caller, filter, &page);
    found.expect("grants").items
}

fn grants_and_events_of_older_versions_are_answered_as_before(kind: Kind) {
    let db = old_database(kind);
    let old = old_grants(many());
    let old_events = insert(&db, &old);
    let world = upgraded(db);
    assert!(world.grants() == old, "the ledger differs");
    let auditor = world.caller(Role::Auditor, &[]);
    // The world has published its chain meanwhile.
    let any = EventFilter {
        action: Some("issue".to_owned()),
        ..EventFilter::default()
    };
    assert!(
        trail(&world, &auditor, &any, 1_000) == old_events,
        "the trail differs"
    );

    // By account, by state, and by a number: also of a range that is not the first of its list.
    let first_thousand = |wanted: &dyn Fn(&&Grant) -> bool| -> Vec<Grant> {
        old.iter().filter(wanted).take(1_000).cloned().collect()
    };
    let of_other = GrantFilter {
        account: Some(account("other")),
        ..GrantFilter::default()
    };
    assert_eq!(
        found(&world, of_other),
        first_thousand(&|one| one.account.as_str() == "other")
    );
    let now = world.now();
    for state in GrantState::ALL {
        let in_state = GrantFilter {
            state: Some((state, now)),
            ..GrantFilter::default()
        };
        assert_eq!(
            found(&world, in_state),
            first_thousand(&|one| one.state(now) == state)
        );
    }
    for text in ["+12125551007", "+12125552050", "+12125559999"] {
        let asked = number(text);
        let naming = |one: &&Grant| {
            let numbers = one.tkvalue.numbers().expect("numbers");
            numbers
                .iter()
                .any(|range| range.intersection(asked).is_some())
        };
        let by_number = GrantFilter {
            numbers: Some(asked),
            ..GrantFilter::default()
        };
        assert_eq!(found(&world, by_number.clone()), first_thousand(&naming));
        let outstanding = GrantFilter {
            expiring_after: Some(now),
            ..by_number
        };
        let naming = |one: &&Grant| naming(one) && one.expires_at > now;
        assert_eq!(found(&world, outstanding), first_thousand(&naming));
    }

    // New grants go on from there: their events follow, each once.
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    let issued = world.mints("acme", &["one:12125551007"]).expect("a token");
    let of_acme = EventFilter {
        account: Some(account("acme")),
        action: Some("issue".to_owned()),
        ..EventFilter::default()
    };
    let expected: Vec<&AuditEvent> = old_events.iter().filter(|e| e.subject == "acme").collect();
    for limit in [7, 1_000] {
        let events = trail(&world, &auditor, &of_acme, limit);
        let (last, before) = events.split_last().expect("events");
        assert!(
            before.iter().eq(expected.iter().copied()),
            "pages of {limit} differ"
        );
        assert_eq!(last.detail["jti"], issued.jti.as_str());
        assert_eq!(last.detail["expires"], rfc3339(&issued.expires));
    }
    let known = world.looks_up("+12125551007", None);
    assert_eq!(
        known.grants.first().map(|grant| &grant.jti),
        Some(&issued.jti)
    );
}

fn what_was_withdrawn_stays_so_and_is_in_the_feed(kind: Kind) {
    let db = old_database(kind);
    let old = old_grants(100);
    insert(&db, &old);
    let withdrawn: Vec<&Grant> = old.iter().filter(|one| one.withdrawal.is_some()).collect();
    for (grant, sequence) in withdrawn.iter().zip(1..) {
        let (jti, account) = (text(&grant.jti), text(&grant.account));
        let (at, until) = (
            grant.issued_at.timestamp() + 5,
            grant.expires_at.timestamp(),
        );
        db.execute(&format!(
            "INSERT INTO withdrawals VALUES ({sequence}, {jti}, {account}, {at}, {until}, 'it''s lost', NULL, {at})"
        ));
    }
    db.execute(&format!(
        "INSERT INTO signing_chains (name, spcs, pem, not_before, not_after, published_at, active_from, noted) \
         VALUES ('{CHAIN}', '709J', '', 0, 9999999999, 0, 0, 'active')"
    ));
    let world = upgraded(db);
    let store = world.authority.store();
    let fed = store
        .read(|tx| tx.withdrawals_after(None, (0, None), 100))
        .expect("the feed");
    let expected = withdrawn.iter().map(|grant| {
        let numbers = grant.tkvalue.numbers().expect("numbers");
        (grant.jti.clone(), grant.account.clone(), numbers)
    });
    let fed: Vec<_> = fed
        .into_iter()
        .map(|e| (e.jti, e.account, e.numbers))
        .collect();
    assert_eq!(fed, expected.collect::<Vec<_>>());
    // Until when the chain is published, and what its loss would affect.
    let last = old
        .iter()
        .map(|grant| grant.expires_at)
        .max()
        .expect("grants");
    let kept = store
        .read(|tx| tx.last_expiry_of(CHAIN))
        .expect("a chain")
        .expect("a time");
    assert!(
        kept >= last && kept < last + TimeDelta::seconds(600),
        "{kept} {last}"
    );
    let now = world.now();
    let exposed = store.read(|tx| tx.exposure_of_chains(&[CHAIN.to_owned()], now));
    let outstanding = old.iter().filter(|grant| grant.expires_at > now).count();
    assert_eq!(exposed.expect("a count").tokens, outstanding as u64);
}

fn the_way_back_loses_no_grant_and_no_event(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    let list = ["one:12125551001", "range:12125551100+10", "one:12125551300"];
    for n in 0..list.len() {
        world.mints("acme", &list[n..]).expect("a token");
    }
    let (grants, events) = (world.grants(), world.trail("acme"));
    let kind = world.db.kind();
    // Callers had ids below 0 for whichever grants.
    for file in ["down.sql", "up.sql"] {
        world
            .db
            .execute(&sql_of(kind, "0026_grants_by_caller", file));
    }
    let by_caller = EventFilter {
        caller: Some(grants[0].caller.clone()),
        action: Some("issue".to_owned()),
        ..EventFilter::default()
    };
    let found_by_caller = trail(&world, &world.caller(Role::Auditor, &[]), &by_caller, 2);
    assert_eq!(found_by_caller.len(), grants.len());
    world.db.execute(&sql_of(kind, "0021_ledger", "down.sql"));
    world.db.execute(&sql_of(kind, "0021_ledger", "up.sql"));
    let without_iss = |grant: &Grant| Grant {
        iss: None,
        ..grant.clone()
    };
    let grants: Vec<Grant> = grants.iter().map(without_iss).collect();
    assert_eq!(world.grants(), grants);
    let ids = |events: &[AuditEvent]| {
        events
            .iter()
            .map(|one| (one.id, one.at))
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&world.trail("acme")), ids(&events));
    let found = found(
        &world,
        GrantFilter {
            numbers: Some(number("+12125551300")),
            ..GrantFilter::default()
        },
    );
    assert_eq!(found.len(), 3);
}

fn keys_of_accounts_stay_known_there_and_back(kind: Kind) {
    let db = old_database(kind);
    let (key, an_hour_ago) = (fingerprint(), clock_starts().timestamp() - 3_600);
    db.execute(&format!(
        "INSERT INTO account_keys (account_id, fingerprint, first_used_at) VALUES ('acme', '{key}', {an_hour_ago})"
    ));
    Store::migrate(&db.url()).expect("the migrations");
    for file in ["down.sql", "up.sql"] {
        db.execute(&sql_of(kind, "0024_account_keys", file));
    }
    let world = World::over(Arc::new(db), setup(set(OLD_KEYS_ALONE), 0));
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    let mints = |key: u8| mints_for_key(&world, "acme", &["one:12125551007"], key);
    mints(0x5e).expect("a token");
    assert_eq!(code(&mints(0x66)), "young-key");
}
