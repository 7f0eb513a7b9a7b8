//! Row security of PostgreSQL hides rows from a role without a word.

use std::sync::Arc;

use tn_authority::authority::{IssueError, ReadinessCheck};

use super::{lends_a_block, mints, ports_out, short};
use crate::support::{Db, PgServer, PgVersion, Setup, World, wait};

/// The exclusion of a number that was ported out would be hidden, so nothing is decided.
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
    ports_out(&world, "+12125551001").expect("a port-out");
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
