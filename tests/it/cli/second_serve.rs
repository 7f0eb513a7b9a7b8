//! `serve` twice over one database, and commands beside it.

use std::process::Child;

use crate::crash::kill::{Carrier, free_port};
use crate::support::{Db, Kind, Logged as _};

both!(
    a_second_serve_is_refused_on_sqlite_with_what_to_do,
    commands_work_beside_a_service,
);

/// A service that is killed at the end.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn a_second_serve_is_refused_on_sqlite_with_what_to_do(db: Db) {
    let carrier = Carrier::over(&db);
    let first = Serving(carrier.serve(free_port()));
    if db.kind() == Kind::Postgres {
        // A replica.
        drop(Serving(carrier.serve(free_port())));
        return;
    }
    let mut second = carrier.command(&["serve"]);
    second.env("TN_AUTHORITY__SERVER__LISTEN", free_port().to_string());
    let refused = second.logged_output();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    for part in [
        "another `tn-authority serve`",
        "authority.db.lock",
        "PostgreSQL",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // A service that was killed leaves the file, and does not keep the next from starting.
    drop(first);
    assert!(db.sqlite_path().with_extension("db.lock").exists());
    drop(Serving(carrier.serve(free_port())));
}

fn commands_work_beside_a_service(db: Db) {
    let carrier = Carrier::over(&db);
    let _serving = Serving(carrier.serve(free_port()));
    for args in [
        &["account", "create", "beside"][..],
        &["exclusion", "add", "+12125551009", "--reason", "ported-out"],
        &["api-key", "list"],
        &["audit", "export"],
    ] {
        let output = carrier.command(args).logged_output();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {said}");
    }
}

/// A restore without the secret, which is a file of its own.
#[test]
fn a_service_does_not_invent_a_secret_for_keys_that_exist() {
    let db = Db::from(Kind::Sqlite);
    let carrier = Carrier::over(&db);
    let mut serve = carrier.command(&["serve"]);
    serve.env_remove("TN_AUTHORITY__API_KEYS__SECRET");
    serve.env("TN_AUTHORITY__SERVER__LISTEN", free_port().to_string());
    let refused = serve.logged_output();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{said}");
    assert!(said.contains("authority.db.api-key-secret"), "{said}");
    assert!(
        !db.sqlite_path()
            .with_extension("db.api-key-secret")
            .exists()
    );
}
