//! A ledger of the version before grants and their events were one row: all of it is carried over, and answered as before.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use chrono::TimeDelta;
use serde_json::json;
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::decision::policy_trace::PolicyTrace;
use tn_authority::domain::inventory::RowRef;
use tn_authority::domain::tokens::grant::{Grant, GrantState, Jti, Justification, Withdrawal};
use tn_authority::domain::{AuditEvent, Caller, Dialect, Role, TkType, TkValue};
use tn_authority::store::{EventFilter, GrantFilter, Page, Store};
use uuid::Uuid;

use crate::domain::claim_constraints;
use crate::support::{Db, Kind, Setup, World, account, clock_starts, number, request};

both! {
    grants_and_events_of_older_versions_are_answered_as_before,
    what_was_withdrawn_stays_so_and_is_in_the_feed,
    the_way_back_loses_no_grant_and_no_event,
}

/// The chain of all old grants.
const CHAIN: &str = "5c0ffee5c0ffee";
/// How many old grants there are; more by this variable.
const MANY: &str = "TN_AUTHORITY_TEST_OLD_GRANTS";

fn many() -> usize {
    let asked = std::env::var(MANY).ok();
    asked.map_or(3_000, |many| many.parse().expect("a number"))
}

fn sql_of(kind: Kind, folder: &str, file: &str) -> String {
    let kind = match kind {
        Kind::Sqlite => "sqlite",
        Kind::Postgres => "postgres",
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("migrations").join(kind).join(folder).join(file);
    std::fs::read_to_string(path).expect("a migration")
}

/// A database as the version before left it.
fn old_database(kind: Kind) -> Db {
    let db = Db::empty(kind);
    db.execute(
        "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, \
         run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let folders = std::fs::read_dir(root).expect("migrations");
    let mut folders: Vec<String> = folders
        .map(|entry| {
            entry
                .expect("a folder")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name.as_str() < "0021")
        .collect();
    folders.sort_unstable();
    for folder in folders {
        db.execute(&sql_of(kind, &folder, "up.sql"));
        let (version, _) = folder.split_once('_').expect("a version");
        db.execute(&format!(
            "INSERT INTO __diesel_schema_migrations (version) VALUES ('{version}')"
        ));
    }
    for id in ["acme", "other"] {
        db.execute(&format!(
            "INSERT INTO accounts (id, name, path, created_at) VALUES ('{id}', '', '/{id}', 0)"
        ));
    }
    db
}

/// Grants of all kinds, in the order of their ids: of one number, of several ranges, of none, of claim constraints; some
/// withdrawn, some expired, some older than policies were recorded.
fn old_grants(count: usize) -> Vec<Grant> {
    let constraints = claim_constraints::tkvalue();
    let set: Arc<str> = "5e".repeat(32).into();
    let grant = |n: usize| {
        let issued_at = clock_starts() - TimeDelta::seconds(i64::try_from(count - n).expect("few"));
        let one = format!("one:{}", 12_125_551_000_u64 + n as u64 % 900);
        let tkvalue = match n % 5 {
            0 | 1 => request(&[&one], false, None).tkvalue().clone(),
            2 => request(
                &["range:12125552000+100", &one, "one:12125559999"],
                false,
                None,
            )
            .tkvalue()
            .clone(),
            3 => request(&["spc:709J"], false, None).tkvalue().clone(),
            _ => TkValue::read(TkType::JwtClaimConstraints, &constraints, Dialect::Strict)
                .expect("constraints"),
        };
        let row = |id: u128| RowRef {
            id: Uuid::from_u128(id),
            version: 2,
        };
        let mut justified_by = vec![Justification::Delegation(row(7))];
        if n % 7 == 0 {
            justified_by.push(Justification::Renewal(row(8)));
        }
        Grant {
            jti: Jti::from_text(&format!("{:012x}{n:032x}", issued_at.timestamp_millis())),
            account: account(if n % 3 == 0 { "other" } else { "acme" }),
            tkvalue,
            dialect: if n % 11 == 0 {
                Dialect::Legacy
            } else {
                Dialect::Strict
            },
            ca: n % 4 == 0,
            fingerprint: [u8::try_from(n % 251).expect("a byte"); 32].into(),
            issued_at,
            expires_at: issued_at + TimeDelta::seconds(if n % 2 == 0 { 300 } else { 86_400 }),
            chain: CHAIN.to_owned(),
            iss: None,
            caller: format!("key-{}", n % 13),
            request_id: Uuid::from_u128(0x4000 + n as u128),
            justified_by,
            policies: match n % 6 {
                0 => PolicyTrace::default(),
                _ => PolicyTrace::new(&set, vec!["own".into(), format!("p{}", n % 3)], false),
            },
            withdrawal: (n % 10 == 0).then(|| Withdrawal {
                at: issued_at + TimeDelta::seconds(5),
                reason: "it's lost".to_owned(),
            }),
        }
    };
    (0..count).map(grant).collect()
}

/// The event of an old grant: a row of its own, with an id of its own.
fn old_event(grant: &Grant, n: usize) -> AuditEvent {
    let mut detail = json!({ "jti": grant.jti, "expires": grant.expires_at });
    grant.policies.add_to(&mut detail);
    AuditEvent {
        id: Uuid::parse_str(&format!(
            "{}-{}-7000-8000-{n:012x}",
            &grant.jti.as_str()[..8],
            &grant.jti.as_str()[8..12]
        ))
        .expect("an id"),
        at: grant.issued_at,
        caller: grant.caller.clone(),
        action: "issue".to_owned(),
        subject: grant.account.to_string(),
        outcome: "done".to_owned(),
        detail,
        request_id: grant.request_id,
        account: Some(grant.account.clone()),
        caller_account: None,
    }
}

fn text(value: impl ToString) -> String {
    format!("'{}'", value.to_string().replace('\'', "''"))
}

fn or_null(value: Option<impl ToString>) -> String {
    value.map_or("NULL".to_owned(), text)
}

/// Inserts them as the version before did.
fn insert(db: &Db, grants: &[Grant]) -> Vec<AuditEvent> {
    let events: Vec<AuditEvent> = grants
        .iter()
        .zip(0..)
        .map(|(one, n)| old_event(one, n))
        .collect();
    for (grants, events) in grants.chunks(500).zip(events.chunks(500)) {
        let (mut rows, mut numbers) = (Vec::new(), Vec::new());
        for grant in grants {
            let justified_by = grant.justified_by.iter();
            let justified_by = justified_by.map(|j| format!("{}:{}", j.kind(), j.row()));
            let seconds = |time: &chrono::DateTime<chrono::Utc>| time.timestamp().to_string();
            let withdrawal = grant.withdrawal.as_ref();
            rows.push(
                [
                    text(&grant.jti),
                    text(&grant.account),
                    text(grant.tkvalue.text()),
                    grant.ca.to_string(),
                    text(grant.fingerprint),
                    seconds(&grant.issued_at),
                    seconds(&grant.expires_at),
                    text(&grant.chain),
                    text(&grant.caller),
                    text(grant.request_id),
                    text(justified_by.collect::<Vec<_>>().join(" ")),
                    withdrawal.map_or("NULL".to_owned(), |w| seconds(&w.at)),
                    or_null(withdrawal.map(|w| &w.reason)),
                    text(grant.policies.to_text()),
                    or_null(grant.policies.set()),
                    text(grant.tkvalue.tktype()),
                    text(grant.dialect.as_str()),
                ]
                .join(", "),
            );
            for (range, entry) in grant.tkvalue.numbers().expect("numbers").iter().zip(1..) {
                let (first, last) = (range.first().position(), range.last().position());
                let (jti, until) = (text(&grant.jti), grant.expires_at.timestamp());
                let span = range.span();
                numbers.push(format!("{jti}, {entry}, {first}, {last}, {span}, {until}"));
            }
        }
        let insert = |table: &str, rows: &[String]| {
            let rows: Vec<String> = rows.iter().map(|row| format!("({row})")).collect();
            db.execute(&format!("INSERT INTO {table} VALUES {}", rows.join(", ")));
        };
        insert("grants", &rows);
        insert("grant_numbers", &numbers);
        let events = events.iter().map(|event| {
            [
                text(event.id),
                event.at.timestamp().to_string(),
                text(&event.caller),
                text(&event.action),
                text(&event.subject),
                text(&event.outcome),
                text(&event.detail),
                text(event.request_id),
                or_null(event.account.as_ref()),
                "NULL".to_owned(),
            ]
            .join(", ")
        });
        insert("audit_events", &events.collect::<Vec<_>>());
    }
    events
}

fn upgraded(db: Db) -> World {
    let start = Instant::now();
    assert_eq!(
        Store::migrate(&db.url()).expect("the migration"),
        ["0021_ledger"]
    );
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
