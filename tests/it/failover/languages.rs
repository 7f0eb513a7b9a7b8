//! A server that writes other than English: what became of a statement is told by its code, never by its text.

use super::{lends_a_block, mints, ports_out};
use crate::support::{Kind, World, at_once};

/// Inserts into the table fail this number of times, as a server with `lc_messages = 'de_DE'` says it.
fn fails(world: &World, table: &str, times: u32, code: &str) {
    world.db.execute(&format!(
        "CREATE SEQUENCE failures; \
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF nextval('failures') <= {times} THEN \
             RAISE EXCEPTION 'Verklemmung (Deadlock) entdeckt' USING ERRCODE = '{code}'; \
           END IF; RETURN NEW; END $$; \
         CREATE TRIGGER fail BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fail()"
    ));
}

#[test]
fn a_deadlock_is_repeated_in_any_language() {
    for code in ["40P01", "40001"] {
        let world = World::from(Kind::Postgres);
        lends_a_block(&world);
        fails(&world, "grants", 1, code);
        mints(&world).expect("a token");
        assert_eq!(world.grants().len(), 1);
    }
    let world = World::from(Kind::Postgres);
    lends_a_block(&world);
    fails(&world, "exclusions", 1, "40P01");
    ports_out(&world, "+12125551002").expect("a port-out");
}

#[test]
fn a_failure_that_stays_is_repeated_once() {
    let world = World::from(Kind::Postgres);
    lends_a_block(&world);
    fails(&world, "grants", 1_000, "XX000");
    mints(&world).expect_err("no token");
    let tried = world.db.count("SELECT last_value FROM failures");
    assert_eq!(tried, 2);
}

#[test]
fn sessions_that_the_server_ends_are_replaced_in_any_language() {
    let world = World::from(Kind::Postgres);
    lends_a_block(&world);
    // The text of the last word of the server is nothing that this depends on; only that it hangs up.
    world.db.end_all_sessions();
    let answers = at_once(8, |_| mints(&world));
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}
