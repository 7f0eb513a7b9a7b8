//! The API key secret is changed: no key ends by it, and nothing is done twice.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use crate::support::fixtures::member;
use crate::support::service::{Api, asking};
use crate::support::{Db, Kind, Logged as _, Setup, World, wait, write_private};

both!(
    a_change_of_the_secret_ends_no_key,
    check_counts_what_is_left_under_the_previous_secret,
);

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");
const PATH: &str = "/at/account/acme/token";

/// A service beside another one, with these API key secrets.
fn beside(first: &World, secret: u8, previous: Option<u8>) -> Api {
    let setup = Setup {
        signers: Some(first.signers.clone()),
        ..Setup::default()
    };
    let world = World::over(Arc::clone(&first.db), setup);
    Api::beside_with(world, secret, previous)
}

fn mint(api: &Api, key: &str) -> u16 {
    api.post(key, PATH, &asking(&["one:12125551001"])).status
}

fn log_in(api: &Api, key: &str) -> String {
    let login = json!({ "userId": &key[4..20], "password": key });
    let answer = api.post("", "/api/v1/auth/login", &login).with(200);
    member(&answer, "accessToken").to_owned()
}

/// Whether a session of the facade still works.
fn session(api: &Api, access: &str) -> u16 {
    let head = format!("authorization: {access}\r\ncontent-type: application/json\r\n");
    let body = json!({ "atc": asking(&["one:12125551001"]) }).to_string();
    let path = "/api/v1/account/acme/token";
    api.send("POST", path, &head, body.as_bytes()).status
}

fn a_change_of_the_secret_ends_no_key(kind: Kind) {
    let old = Api::over(World::from(kind));
    let used = old.acme.clone();
    let unused = old.key(tn_authority::domain::Role::Account, &["acme"]);
    // A key with two secrets, of which the client still has the older one.
    let rotated = old.key(tn_authority::domain::Role::Account, &["acme"]);
    let path = format!("/v1/api-keys/{}/rotate", &rotated[4..20]);
    let newer = old.post(&old.admin, &path, &json!({})).with(200);
    let newer = member(&newer, "key").to_owned();
    let number = asking(&["one:12125551001"]);
    let first = old.once("order-1", &used, PATH, &number);
    first.with(200);
    // One that crashed: its grant is recorded, and its answer is not.
    let crashed = old.once("order-2", &used, PATH, &number);
    crashed.with(200);
    let forget = "UPDATE idempotency_keys SET answer = NULL, lease_until = 0 WHERE name <> ''";

    // All replicas have both secrets now.
    let both = beside(&old.world, 8, Some(7));
    let access = log_in(&both, &used);
    assert_eq!(mint(&both, &used), 200);
    both.once("order-1", &used, PATH, &number).repeats(&first);
    let grants = old.world.grants().len();
    old.world.db.execute(forget);
    let again = both.once("order-2", &used, PATH, &number);
    assert_eq!(
        member(&again.with(200), "jti"),
        member(&crashed.json(), "jti")
    );
    assert_eq!(old.world.grants().len(), grants, "done once");
    assert_eq!(mint(&both, &rotated), 200, "the secret before the rotation");
    let keys = both.service.callers.api_keys();
    wait(keys.write_rehashes()).expect("written");
    // Hashed anew, they work with both secrets configured, and by the new one alone.
    assert_eq!((mint(&both, &used), session(&both, &access)), (200, 200));
    assert_eq!(mint(&both, &newer), 200, "the other secret of this key");
    let fresh = both.key(tn_authority::domain::Role::Account, &["acme"]);
    wait(keys.write_rehashes()).expect("written");

    let new = beside(&old.world, 8, None);
    for (key, status) in [
        (&used, 200),
        (&rotated, 200),
        (&newer, 200),
        (&fresh, 200),
        (&unused, 403),
    ] {
        assert_eq!(mint(&new, key), status, "{key}");
    }
    assert_eq!(session(&new, &access), 200);
    // What nobody knows is still nothing.
    let wrong = format!("{}{}", &used[..used.len() - 4], "AAAA");
    assert_eq!((mint(&both, &wrong), mint(&new, &wrong)), (403, 403));
}

/// An operator's machine.
struct Machine {
    dir: TempDir,
    database: String,
    db: Db,
}

impl Machine {
    fn run(&self, secrets: (&str, Option<&str>), args: &[&str]) -> Output {
        let file = |name: &str| self.dir.path().join(name);
        let mut command = Command::new(EXECUTABLE);
        command
            .args(args)
            .env("RUST_LOG", "warn")
            .env("TN_AUTHORITY__DATABASE__URL", &self.database)
            .env("TN_AUTHORITY__API_KEYS__SECRET_FILE", file(secrets.0));
        if let Some(previous) = secrets.1 {
            command.env(
                "TN_AUTHORITY__API_KEYS__PREVIOUS_SECRET_FILE",
                file(previous),
            );
        }
        command.logged_output()
    }

    fn check(&self, newest: &str, previous: Option<&str>) -> String {
        let ran = self.run((newest, previous), &["check"]);
        let out = String::from_utf8(ran.stdout).expect("text");
        let lines = out.lines().filter(|line| line.contains("API key secret"));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn open_to_others(&self, name: &str) {
        let path: &Path = &self.dir.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("a mode");
    }
}

fn check_counts_what_is_left_under_the_previous_secret(db: Db) {
    let machine = Machine {
        dir: TempDir::new().expect("a folder"),
        database: db.text_url(),
        db,
    };
    for (name, byte) in [("old", "07"), ("new", "08")] {
        write_private(
            &machine.dir.path().join(name),
            &format!("{}\n", byte.repeat(32)),
        );
    }
    assert!(machine.run(("old", None), &["migrate"]).status.success());
    for _ in 0..2 {
        let made = machine.run(("old", None), &["api-key", "create", "--role", "admin"]);
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
    assert_eq!(machine.check("old", None), "ok      API key secret");
    assert_eq!(
        machine.check("new", Some("old")),
        "ok      API key secret: 2 of 2 API keys in use are hashed with the previous one until they are used, and 0 \
         webhooks have a secret from it until they are rotated"
    );
    // The secret of another machine: nobody could call.
    let wrong = machine.run(("new", None), &["check"]);
    assert_eq!(wrong.status.code(), Some(1));
    let alone = machine.check("new", None);
    assert!(
        alone.starts_with("FAILED  API key secret: none of the 2 API keys in use works")
            && alone.contains("`api_keys.secret_file`")
            && alone.contains("`api_keys.previous_secret_file`"),
        "{alone}"
    );
    // A key that was created anew works; the others do not.
    let made = machine.run(("new", None), &["api-key", "create", "--role", "admin"]);
    let made = String::from_utf8(made.stdout).expect("text");
    let mixed = machine.check("new", None);
    assert!(
        mixed.contains("warning API key secret: 2 of 3 API keys in use are hashed with another secret and do not work"),
        "{mixed}"
    );
    let revoked = machine.run(("new", None), &["api-key", "revoke", &made[4..20]]);
    assert!(revoked.status.success());
    // Keys of an older version say nothing of their secret.
    machine.db.execute("UPDATE api_keys SET hashed_by = NULL");
    assert!(
        machine
            .check("new", Some("old"))
            .contains(": 2 of 2 API keys")
    );
    assert_eq!(machine.check("new", None), "ok      API key secret");
    machine.db.execute("UPDATE api_keys SET revoked_at = 1");
    machine.db.execute(
        "INSERT INTO webhooks (id, below, url, kinds, generation, position, next_attempt_at, created_at, created_by, derived_by) \
         VALUES ('00000000-0000-0000-0000-000000000001', FALSE, 'https://a.example/', 'withdrawn', 1, 0, 0, 1, 'x', 'ffffffffffffffff')",
    );
    let foreign = machine.check("new", None);
    assert!(
        foreign.contains("warning API key secret: 1 webhooks have a secret that comes from another API key secret"),
        "{foreign}"
    );
    machine.db.execute("DELETE FROM webhooks");
    let done = machine.check("new", Some("old"));
    assert!(
        done.ends_with("nothing needs the previous one; remove `api_keys.previous_secret_file`"),
        "{done}"
    );

    // As with keys.
    let complaint =
        "other users have access to the file of the API key secret; restrict it with `chmod 6";
    let stderr = |ran: Output| String::from_utf8(ran.stderr).expect("text");
    let quiet = stderr(machine.run(("new", Some("old")), &["check"]));
    assert!(!quiet.contains("other users"), "{quiet}");
    for name in ["old", "new"] {
        machine.open_to_others(name);
        let told = stderr(machine.run(("new", Some("old")), &["check"]));
        assert!(told.contains(complaint), "{name}: {told}");
    }
    fs::write(machine.dir.path().join("old"), "short").expect("a file");
    let wrong = machine.check("new", Some("old"));
    assert!(
        wrong.starts_with("FAILED  API key secret: ") && wrong.contains("old` is malformed"),
        "{wrong}"
    );
}
