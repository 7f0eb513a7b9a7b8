//! What ends in the second in which a request is decided. The request was received a second before.

use std::sync::Arc;

use tn_authority::domain::inventory::Reason;

use crate::support::{Db, Kind, Setup, World};

both! {
    a_port_in_this_second_is_named,
    the_end_of_a_delegation_in_this_second_is_named,
    a_port_that_is_known_in_advance_ends_too_soon,
}

/// Two replicas; the clock of the second one is a second ahead, so its changes have already begun
/// when the first one decides.
fn a_second_apart(kind: Kind) -> [World; 2] {
    let db = Arc::new(Db::from(kind));
    let worlds = [(); 2].map(|()| World::over(Arc::clone(&db), Setup::default()));
    worlds[0].carrier_holds("1.212.555.1XXX");
    worlds[1].seconds_pass(1);
    worlds
}

fn refusal(world: &World) -> (String, Vec<&'static str>) {
    let refused = world.mints("acme", &["one:12125551001"]);
    let Err(tn_authority::authority::IssueError::Denied(denial)) = refused else {
        panic!("{refused:?}")
    };
    let causes = denial.refusals().iter().map(|part| part.cause.code());
    (denial.code().to_owned(), causes.collect())
}

fn a_port_in_this_second_is_named(kind: Kind) {
    let worlds = a_second_apart(kind);
    worlds[0].lends("acme", "1.212.555.1XXX");
    worlds[1].excludes("+12125551001", Reason::PortedOut, None);
    let expected = ("not-authorized".to_owned(), vec!["ported-out"]);
    assert_eq!(refusal(&worlds[0]), expected);
    assert_eq!(refusal(&worlds[1]), expected);
    assert!(worlds[0].mints("acme", &["one:12125551002"]).is_ok());
}

fn the_end_of_a_delegation_in_this_second_is_named(kind: Kind) {
    let worlds = a_second_apart(kind);
    let delegation = worlds[0].lends("acme", "1.212.555.1XXX");
    worlds[1].ends(&delegation, None);
    let expected = ("not-authorized".to_owned(), vec!["not-delegated"]);
    assert_eq!(refusal(&worlds[0]), expected);
    assert_eq!(refusal(&worlds[1]), expected);
}

fn a_port_that_is_known_in_advance_ends_too_soon(kind: Kind) {
    let worlds = a_second_apart(kind);
    worlds[0].lends("acme", "1.212.555.1XXX");
    let soon = worlds[1].in_seconds(60);
    worlds[1].excludes("+12125551001", Reason::PortedOut, Some(soon));
    assert_eq!(refusal(&worlds[0]), ("ends-too-soon".to_owned(), vec![]));
}
