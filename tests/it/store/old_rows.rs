//! A database as the version before migration `0021_ledger` left it, and rows as that version wrote them.

use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::json;
use tn_authority::domain::decision::policy_trace::PolicyTrace;
use tn_authority::domain::inventory::RowRef;
use tn_authority::domain::tokens::grant::{Grant, Jti, Justification, Withdrawal};
use tn_authority::domain::{AuditEvent, Dialect, TkType, TkValue};
use uuid::Uuid;

use crate::domain::claim_constraints;
use crate::support::{Db, Kind, account, clock_starts, request};

/// The chain of all old grants.
pub(super) const CHAIN: &str = "5c0ffee5c0ffee";
pub(super) fn sql_of(kind: Kind, folder: &str, file: &str) -> String {
    let kind = match kind {
        Kind::Sqlite => "sqlite",
        Kind::Postgres => "postgres",
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("migrations").join(kind).join(folder).join(file);
    std::fs::read_to_string(path).expect("a migration")
}

/// A database as the version before left it.
pub(super) fn old_database(kind: Kind) -> Db {
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
pub(super) fn old_grants(count: usize) -> Vec<Grant> {
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

pub(super) fn text(value: impl ToString) -> String {
    format!("'{}'", value.to_string().replace('\'', "''"))
}

fn or_null(value: Option<impl ToString>) -> String {
    value.map_or("NULL".to_owned(), text)
}

/// Inserts them as the version before did.
pub(super) fn insert(db: &Db, grants: &[Grant]) -> Vec<AuditEvent> {
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
