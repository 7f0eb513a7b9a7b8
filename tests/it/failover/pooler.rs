//! pgbouncer 1.18 in transaction mode, which knows no prepared statements: everything works through it, and nothing that
//! the service sets reaches another user of its connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use diesel::{Connection as _, PgConnection, QueryableByName, RunQueryDsl as _, sql_query};
use tempfile::TempDir;
use tn_authority::store::Store;
use tn_authority::tables::{self, Format, TableRequest};

use super::{ports_out, short};
use crate::authority::imports::CONFIRMED;
use crate::support::peers::{Peer, free_port, libraries, peer};
use crate::support::unprivileged::{give_away, unprivileged};
use crate::support::{Db, Kind, Setup, World, at_once, wait};

const TABLE: &str = "npa,nxx,x,ocn,company,category\n212,555,2,073H,,\n212,555,3,073H,,\n";

struct PgBouncer {
    address: SocketAddr,
    _process: Peer,
    _dir: TempDir,
}

impl PgBouncer {
    fn before(db: &Db) -> Self {
        let (folder, dir) = (
            peer("pgbouncer"),
            TempDir::new_in("/tmp").expect("a folder"),
        );
        give_away(dir.path());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let server = db.server_address();
        let url = db.text_url();
        let (user, password) = url
            .trim_start_matches("postgres://")
            .split_once('@')
            .and_then(|(user, _)| user.split_once(':'))
            .expect("a user and a password");
        let file = dir.path().join("pgbouncer.ini");
        let configuration = format!(
            "[databases]\n* = host={} port={} user={user} password={password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 200\n",
            server.ip(),
            server.port(),
            address.port()
        );
        std::fs::write(&file, configuration).expect("a file");
        give_away(&file);
        let mut command = unprivileged(&folder.join("usr/sbin/pgbouncer"));
        command
            .env("LD_LIBRARY_PATH", libraries(&folder))
            .arg(&file);
        let mut process = Peer::start(&mut command, &dir.path().join("log"));
        process.listens(address);
        Self {
            address,
            _process: process,
            _dir: dir,
        }
    }
}

#[derive(Debug, QueryableByName)]
struct Found {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    count: i64,
}

fn count(connection: &mut PgConnection, query: &str) -> i64 {
    let found = sql_query(format!("SELECT count(*) AS count FROM {query}"));
    found
        .get_result::<Found>(connection)
        .expect("a count")
        .count
}

#[test]
fn tokens_port_outs_and_imports_pass_and_no_setting_leaks() {
    let db = Arc::new(Db::from(Kind::Postgres));
    let pooler = PgBouncer::before(&db);
    let url = db.text_url_at(pooler.address);
    let worlds = [(); 2].map(|()| {
        let setup = Setup {
            postgres: short(),
            database: Some(url.parse().expect("a URL")),
            ..Setup::default()
        };
        World::over(Arc::clone(&db), setup)
    });
    worlds[0].carrier_holds("1.212.555.1XXX");
    worlds[0].lends("acme", "1.212.555.1XXX");
    // A change of any setting, in the session that another user of the pool gets.
    let changed = "pg_settings WHERE source = 'session' AND setting IS DISTINCT FROM reset_val \
                   AND name NOT IN ('application_name', 'client_encoding', 'TimeZone')";
    let done = AtomicBool::new(false);
    let leaks = at_once(4, |n| {
        if n == 3 {
            let mut other = PgConnection::establish(&url).expect("the pooler");
            let (mut leaks, mut looks) = (0, 0);
            while !done.load(Ordering::SeqCst) {
                leaks += count(&mut other, changed);
                looks += 1;
            }
            assert!(looks > 10, "{looks}");
            return leaks;
        }
        let world = &worlds[n % 2];
        for number in 0..60 {
            let number = 12_125_551_000_u64 + (n as u64) * 100 + number;
            world
                .mints("acme", &[&format!("one:{number}")])
                .expect("a token");
            if number % 20 == 0 {
                ports_out(world, &format!("+{number}")).expect("a port-out");
            }
        }
        done.store(true, Ordering::SeqCst);
        0
    });
    assert_eq!(leaks, [0; 4]);

    let world = &worlds[1];
    let wanted = TableRequest {
        format: Format::NanpBlocks,
        ocns: ["073H".to_owned()].into(),
        spc: Some("1234".parse().expect("a code")),
    };
    let draft = tables::read(TABLE.as_bytes(), &wanted, world.now(), &mut |_| true);
    let (caller, draft) = (world.provisioner(), draft.expect("a table"));
    let imported = wait(world.authority.import(&caller, draft, CONFIRMED, None));
    assert_eq!(imported.expect("an import").added.numbers, 2_000);

    // Each of the pool's sessions has nothing that is prepared.
    let mut others: Vec<PgConnection> = (0..3)
        .map(|_| PgConnection::establish(&url).expect("the pooler"))
        .collect();
    for other in &mut others {
        assert_eq!(count(other, "pg_prepared_statements"), 0);
        assert_eq!(count(other, changed), 0);
    }
    assert_eq!(worlds[0].grants().len(), 180);
}

#[test]
fn replicas_migrate_through_it_at_once() {
    let db = Db::empty(Kind::Postgres);
    let pooler = PgBouncer::before(&db);
    let url = db.text_url_at(pooler.address).parse().expect("a URL");
    let applied = at_once(3, |_| Store::migrate(&url).expect("migrations"));
    let who = applied.iter().filter(|names| !names.is_empty()).count();
    assert_eq!(who, 1, "{applied:?}");
    Store::check(&url).expect("the schema of this version");
}

#[test]
fn connections_of_our_own_are_not_taken_for_those_of_a_pooler() {
    let world = World::from(Kind::Postgres);
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    for _ in 0..3 {
        world.mints("acme", &["one:12125551001"]).expect("a token");
    }
    // The writer repeats its statements by their names, which only its own session knows; so its transactions are as fast
    // as they were.
    world.db.execute(
        "CREATE TABLE prepared AS SELECT 0 AS count; \
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           INSERT INTO prepared SELECT count(*) FROM pg_prepared_statements; RETURN NEW; END $$; \
         CREATE TRIGGER look BEFORE INSERT ON grants FOR EACH ROW EXECUTE FUNCTION look()",
    );
    world.mints("acme", &["one:12125551001"]).expect("a token");
    assert!(world.db.count("SELECT max(count) FROM prepared") > 3);
}
