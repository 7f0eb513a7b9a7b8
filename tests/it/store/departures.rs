//! What the migration that brought departures finds: what is out at that moment has left, what had come back has not.

use std::path::Path;

use tn_authority::domain::inventory::Reason;
use tn_authority::domain::inventory::departure::DepartureKind;
use tn_authority::store::Versions;

use crate::support::{Kind, World, numbers, outside};

both! {
    what_is_out_at_the_upgrade_has_left,
    changes_are_counted,
}

/// Runs a file of the migration behind the back of the store.
fn runs(world: &World, file: &str) {
    let kind = match world.db.kind() {
        Kind::Sqlite => "sqlite",
        Kind::Postgres => "postgres",
    };
    let path = format!("migrations/{kind}/0012_departures/{file}");
    let sql = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    world.db.execute(&sql.expect("a migration"));
}

fn what_is_out_at_the_upgrade_has_left(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    let back = world.excludes("+12125551001", Reason::PortedOut, None);
    world.ends_exclusion(&back.row, None);
    let out = world.excludes("+12125551002", Reason::PortedOut, None).row;
    let aging = world.excludes("+12125551003", Reason::Aging, None).row;
    world.excludes("+12125551004", Reason::Reserved, None);
    runs(&world, "down.sql");
    runs(&world, "up.sql");

    let found = world.authority.store().read(|tx| {
        let all = [numbers("1.212.555.1XXX")];
        tx.departures_touching(&all, Versions::All, 10)
    });
    let found: Vec<_> = found
        .expect("departures")
        .into_iter()
        .map(|d| (d.kind, d.cause, d.at, d.sequence))
        .collect();
    let start = world.now();
    assert_eq!(
        found,
        [
            (DepartureKind::PortedOut, out.row.id, start, 1),
            (DepartureKind::Aging, aging.row.id, start, 1),
        ]
    );
    world.ends_exclusion(&out, None);
    let refused = world.mints("acme", &["one:12125551002"]);
    assert_eq!(
        outside(&refused),
        [("+12125551002".into(), "delegation-ended".into())]
    );
    assert!(world.mints("acme", &["one:12125551001"]).is_ok());
    let known = world.looks_up("+12125551005", None).delegations;
    assert_eq!((known[0].sequence, known[0].made_at), (0, start));
    world.lends("next", "+12125551002");
    assert!(world.mints("next", &["one:12125551002"]).is_ok());
}

fn changes_are_counted(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let made: Vec<i64> = (0..3)
        .map(|n| world.lends("acme", &format!("+1212555100{n}")).sequence)
        .collect();
    assert!(made[0] > 1, "{made:?}");
    assert!(made.windows(2).all(|pair| pair[0] < pair[1]), "{made:?}");
}
