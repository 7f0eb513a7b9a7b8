//! The database goes away and comes back: no token without a grant, and no restart.

use tn_authority::authority::IssueError;

use crate::support::{Kind, World};

#[test]
fn the_writer_and_the_readers_survive_the_end_of_their_sessions() {
    let world = World::from(Kind::Postgres);
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    for round in 1..=3 {
        world.db.end_all_sessions();
        world
            .mints("acme", &["one:12125551001"])
            .expect("a token over a new connection");
        // A reader that is found broken is thrown away.
        let read = (0..8).any(|_| world.authority.store().ready().is_ok());
        assert!(read, "no reader comes back");
        assert!(world.authority.store().ready().is_ok());
        assert_eq!(world.grants().len(), round);
    }
}

#[test]
fn while_the_database_is_away_there_are_no_tokens() {
    let world = World::from(Kind::Postgres);
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551001");
    let before = world.mints("acme", &["one:12125551001"]).expect("a token");

    world.db.let_in(false);
    world.db.end_all_sessions();
    for _ in 0..3 {
        let refused = world.mints("acme", &["one:12125551001"]);
        assert!(matches!(refused, Err(IssueError::Store(_))), "{refused:?}");
    }
    assert!(world.authority.store().ready().is_err());
    world.db.let_in(true);

    // The ledger is in the order of seconds, and within one second in none.
    world.seconds_pass(1);
    let after = world.mints("acme", &["one:12125551001"]).expect("a token");
    let mut known: Vec<_> = world
        .ends(&loan, None)
        .outstanding_grants
        .grants
        .into_iter()
        .map(|grant| grant.jti)
        .collect();
    // Of two in one second, chance says which is the first.
    let mut both = [before.jti, after.jti];
    known.sort_unstable();
    both.sort_unstable();
    assert_eq!(known, both);
}

/// libpq repeats what it cannot read; the password is not for the log.
#[test]
fn an_error_of_the_connection_tells_no_password() {
    for url in [
        "postgres://carrier:SECRETPW@[::1",
        "postgres://carrier:SECRETPW@127.0.0.1:1/nothing",
        "postgres://carrier:SECRET@PW@127.0.0.1:1/nothing",
    ] {
        let checked = url
            .parse()
            .and_then(|url| tn_authority::store::Store::check(&url));
        let told = checked.expect_err("nobody there").to_string();
        assert!(!told.contains("SECRET") && !told.contains("PW@"), "{told}");
    }
}
