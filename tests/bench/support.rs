//! What the measurements set up alike: databases, a service over one, a signer of a development CA.

#![allow(dead_code, reason = "no bench uses all of it")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use diesel::connection::SimpleConnection;
use diesel::{Connection as _, PgConnection, SqliteConnection};
use tn_authority::app::block_on;
use tn_authority::authority::{
    AgingDays, Authority, Carrier, ControlParts, ControlSettings, Lifetimes, Limits, NewAllocation,
    NewDelegation, OutboxSignal, Parts, PolicySet, ProofLimits, ReadinessSettings, Rotation,
    ScanMode, Signers,
};
use tn_authority::callers::{Pepper, Peppers};
use tn_authority::domain::control::proof::Method;
use tn_authority::domain::inventory::Basis;
use tn_authority::domain::numbers::block;
use tn_authority::domain::replica::SharedSettings;
use tn_authority::domain::{
    AccountId, Caller, Clock, Fingerprint, Spc, TnAuthList, TokenRequest, new_id,
};
use tn_authority::signer::Sources;
use tn_authority::signer::development::{DevelopmentCa, IssuedChain, SpcCertificate, Validity};
use tn_authority::signer::key_pool::PoolSettings;
use tn_authority::signer::pkcs11::Pkcs11;
use tn_authority::store::{DatabaseUrl, PostgresSettings, Purpose, Settings, Store};
use tn_authority::telemetry::Metrics;

/// One number of the block that [`lend_block`] lends, as the value of a `TNAuthList` identifier.
pub const LENT_NUMBER: &str = "MA-iDRYLMTIxMjU1NTEwMDE";

/// Whether it is `cargo test --benches` that runs this, which only asks whether every benchmark starts.
pub fn only_tested() -> bool {
    std::env::args().any(|arg| arg == "--test")
}

/// The one in the middle.
pub fn median<T: Copy + PartialOrd>(mut all: Vec<T>) -> T {
    all.sort_unstable_by(|a, b| a.partial_cmp(b).expect("numbers"));
    all[all.len() / 2]
}

/// The server for PostgreSQL, if one is named.
pub fn postgres() -> Option<String> {
    std::env::var("TN_AUTHORITY_TEST_POSTGRES").ok()
}

/// The URL of a database of SQLite in this folder.
pub fn sqlite(dir: &Path, name: &str) -> String {
    format!("sqlite:{}", dir.join(name).display())
}

/// Measures on two fresh databases of SQLite, and on two of PostgreSQL if a server is named, which are dropped afterwards.
/// `measure` is given what manages the databases, and the URLs of both.
pub fn on_two_databases(dir: &Path, names: [&str; 2], measure: impl Fn(&str, &str, &str)) {
    let [first, second] = names.map(|name| sqlite(dir, name));
    measure("SQLite", &first, &second);
    if let Some(server) = postgres() {
        let names = names.map(|name| format!("tn_authority_bench_{name}"));
        let [first, second] = names.each_ref().map(|name| create(&server, name));
        measure("PostgreSQL", &first, &second);
        for name in names {
            administer(&server, &format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

/// Makes a fresh database, and says its URL.
fn create(server: &str, name: &str) -> String {
    administer(
        server,
        &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
    );
    administer(server, &format!("CREATE DATABASE {name}"));
    let (front, _) = server.rsplit_once('/').expect("a URL with a database");
    format!("{front}/{name}")
}

fn administer(server: &str, statement: &str) {
    execute(&DatabaseUrl::Postgres(server.to_owned()), &[statement]);
}

/// The URL of a database that has its tables now.
pub fn migrated(url: &str) -> DatabaseUrl {
    let url = url.parse().expect("a URL");
    Store::migrate(&url).expect("migrations");
    url
}

/// Runs one batch of statements after the other, over one connection.
pub fn execute(database: &DatabaseUrl, batches: &[&str]) {
    let mut connection: Box<dyn SimpleConnection> = match database {
        DatabaseUrl::Sqlite(path) => {
            Box::new(SqliteConnection::establish(&path.to_string_lossy()).expect("SQLite"))
        }
        DatabaseUrl::Postgres(url) => Box::new(PgConnection::establish(url).expect("PostgreSQL")),
    };
    for batch in batches {
        connection.batch_execute(batch).expect(batch);
    }
}

/// What to select `n` from, to have it count from 0 up to `count`, which is not reached.
pub fn series(database: &DatabaseUrl, count: u64) -> String {
    match database {
        DatabaseUrl::Sqlite(_) => format!(
            "(WITH RECURSIVE s (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n + 1 < {count}) SELECT n FROM s)"
        ),
        DatabaseUrl::Postgres(_) => format!("generate_series(0, {}) AS s (n)", count - 1),
    }
}

/// An expression for a UUID with `n` in its last digits.
pub fn uuid_of_n(database: &DatabaseUrl) -> &'static str {
    match database {
        DatabaseUrl::Sqlite(_) => "printf('00000000-0000-7000-9000-%012x', n)",
        DatabaseUrl::Postgres(_) => "('00000000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))",
    }
}

/// Where a number stands among all numbers, as the database counts them.
pub fn position(number: u64) -> u64 {
    11_000_000_000_000_000 + number
}

/// A store that few use, one at a time.
pub fn small_store(url: &str) -> Settings {
    Settings {
        url: url.parse().expect("a URL"),
        purpose: Purpose::FirstStep,
        pool_size: 1,
        migrate: true,
        queue: 16,
        batch: 16,
        postgres: PostgresSettings::default(),
    }
}

/// Asks no number.
fn control() -> ControlParts {
    let pepper = Pepper::new(&[0x5e; 32]).expect("a pepper");
    let codes = Peppers::new(pepper, None).and_then(|peppers| peppers.control_codes());
    ControlParts {
        settings: ControlSettings {
            digits: 6,
            valid: 600,
            tries: 5,
            sample: 0,
            limits: ProofLimits {
                per_number_hour: 1_000_000,
                per_number_day: 1_000_000,
                per_account_hour: 1_000_000,
                per_gateway_hour: 1_000_000,
                wrong_codes_per_account_day: 100,
            },
            gateways: [("sms".to_owned(), [Method::Sms].into())].into(),
        },
        codes: Arc::new(codes.expect("codes")),
        signal: OutboxSignal::default(),
        reference: tn_authority::authority::ReferenceClock::Database,
    }
}

/// A service with the built-in policies, and without limits.
pub fn authority(settings: &Settings, signers: Option<Signers>) -> Authority {
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    Authority::new(Parts {
        store: Arc::new(Store::open(settings, Arc::clone(&metrics)).expect("a store")),
        policy: PolicySet::built_in().expect("policies").into(),
        signers: signers.map(Arc::new),
        clock: Clock::system(),
        carrier: Carrier::default(),
        lifetimes: Lifetimes {
            default: 3600,
            minimum: 300,
            maximum: 86_400,
            horizon: 86_400,
        },
        aging: AgingDays::new(),
        limits: Limits::none(),
        claim_constraints: false,
        control: control(),
        readiness: ReadinessSettings {
            name: "bench".to_owned(),
            shared: SharedSettings::default(),
            max_age: Duration::from_secs(3),
            require_synchronous: false,
            trust_storage: false,
            max_clock_offset: 5,
        },
        metrics,
    })
}

/// A service that signs for the code of [`spc`] and takes many orders at once. Its key and chain are put into the folder.
pub fn signing_authority(url: &str, dir: &Path) -> Authority {
    let settings = Settings {
        url: url.parse().expect("a URL"),
        purpose: Purpose::FirstStep,
        pool_size: 2,
        migrate: true,
        queue: 1024,
        batch: 256,
        postgres: PostgresSettings::default(),
    };
    let authority = authority(&settings, Some(signers(dir)));
    let found = authority.look_for_signers(ScanMode::Asked);
    let caller = Caller::the_service(new_id(authority.now()));
    let agreed = authority.agree_on_signers(&caller, found.expect("signers"));
    block_on(agreed).expect("an agreement");
    authority
}

fn signers(dir: &Path) -> Signers {
    let issued = certificate(&development_ca(), a_day());
    let (key_file, chain_file) = (dir.join("key.pem"), dir.join("chain.pem"));
    std::fs::write(&key_file, issued.key_pem).expect("a file");
    std::fs::write(&chain_file, issued.chain_pem).expect("a file");
    let sources = Sources {
        key_file: Some(key_file),
        key_uri: None,
        keys: Vec::new(),
        chain_file: Some(chain_file),
        dir: None,
        passphrase: None,
        pkcs11: Pkcs11 {
            module: None,
            pin: None,
            open_timeout: Duration::from_secs(30),
            pool: PoolSettings {
                sessions: 1,
                queue: 1,
                timeout: Duration::from_secs(1),
            },
        },
        public_url: "https://authority.example".to_owned(),
        x5c: false,
        spcs: vec![spc()],
    };
    let rotation = Rotation {
        publication_delay: 0,
    };
    Signers::new(sources, rotation)
}

/// The code of the carrier.
pub fn spc() -> Spc {
    "1234".parse().expect("a code")
}

/// From an hour ago, until tomorrow.
pub fn a_day() -> Validity {
    let now = Clock::system().now();
    now - TimeDelta::hours(1)..=now + TimeDelta::days(1)
}

pub fn development_ca() -> DevelopmentCa {
    DevelopmentCa::new("Development CA", a_day()).expect("a CA")
}

/// A new key and certificate for the code of [`spc`].
pub fn certificate(ca: &DevelopmentCa, validity: Validity) -> IssuedChain {
    let wanted = SpcCertificate::new(spc(), validity).expect("a list");
    ca.issue_spc_certificate(&wanted).expect("a certificate")
}

/// Lends a block of a thousand numbers to the account `acme`, which is made for it.
pub async fn lend_block(authority: &Authority, caller: &Caller) -> AccountId {
    let account: AccountId = "acme".parse().expect("an id");
    let numbers = block::parse_inventory("1.212.555.1XXX").expect("a block");
    let put = authority.put_account(caller, account.clone(), None, None);
    put.await.expect("an account");
    let allocation = NewAllocation {
        spc: spc(),
        numbers,
        basis: Basis::Block,
        valid_from: None,
        valid_until: None,
    };
    let allocated = authority.allocate(caller, allocation);
    allocated.await.expect("an allocation");
    let delegation = NewDelegation {
        account: account.clone(),
        numbers,
        ca: false,
        parent: None,
        lend_on: false,
        lender_keeps: false,
        valid_from: None,
        valid_until: None,
        reference: None,
    };
    let delegated = authority.delegate(caller, delegation);
    delegated.await.expect("a delegation");
    account
}

/// What a client asks of the service for these entries.
pub fn request_for(list: TnAuthList) -> TokenRequest {
    TokenRequest::new(list, false, Fingerprint::from([7; 32]), None).expect("a request")
}
