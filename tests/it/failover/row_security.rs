//! Row security of PostgreSQL hides rows from a role without a word.

use std::sync::Arc;

use tn_authority::authority::{IssueError, NewExclusion, ReadinessCheck};
use tn_authority::domain::inventory::Reason;

use super::{lends_a_block, mints, short};
use crate::support::{Db, PgServer, PgVersion, Setup, World, numbers, wait};

/// The exclusion of a number that is suspended would be hidden, so nothing is decided.
#[test]
fn a_table_whose_rows_are_hidden_gets_nobody_a_token() {
    let server = PgServer::start(PgVersion::Oldest);
    let db = Arc::new(Db::on(server.url()));
    let url = server.carrier_role(&db);
    let setup = Setup {
        postgres: short(),
        database: Some(url.parse().expect("a URL")),
        ..Setup::default()
    };
    let world = World::over(Arc::clone(&db), setup);
    lends_a_block(&world);
    mints(&world).expect("a token");
    let suspension = NewExclusion {
        numbers: numbers("+12125551001"),
        reason: Reason::Suspended,
        valid_from: None,
        valid_until: None,
        force: false,
    };
    wait(world.authority.exclude(&world.provisioner(), suspension)).expect("a suspension");
    let denied = mints(&world).expect_err("a denial");
    assert!(matches!(denied, IssueError::Denied(_)), "{denied}");

    db.execute("ALTER TABLE exclusions ENABLE ROW LEVEL SECURITY");
    let refused = mints(&world).expect_err("no token");
    assert!(matches!(refused, IssueError::Store(_)), "{refused}");
    wait(world.authority.beat()).expect("a heartbeat");
    let checks = world.authority.readiness().checks.into_iter();
    let mut failures = checks.filter(|one| one.check == ReadinessCheck::Privileges);
    let failure = failures.next().and_then(|one| one.failure);
    let failure = failure.expect("the check fails");
    assert!(failure.contains("exclusions (row security)"), "{failure}");

    db.execute("ALTER TABLE exclusions DISABLE ROW LEVEL SECURITY");
    let denied = mints(&world).expect_err("a denial");
    assert!(matches!(denied, IssueError::Denied(_)), "{denied}");
    drop(world);
}
