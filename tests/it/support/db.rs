//! Databases for tests: one each, fresh, and gone afterwards.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use diesel::connection::SimpleConnection as _;
use diesel::sqlite::SqliteConnection;
use diesel::{Connection as _, PgConnection, QueryableByName, RunQueryDsl as _};
use parking_lot::Mutex;
use tempfile::TempDir;
use tn_authority::store::{DatabaseUrl, Store};

/// Names the URL of a PostgreSQL superuser.
const SERVER: &str = "TN_AUTHORITY_TEST_POSTGRES";

/// Which of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// A database of its own. It lives as long as this value.
#[derive(Debug)]
pub struct Db(Held);

#[derive(Debug)]
enum Held {
    Sqlite(TempDir),
    Postgres {
        server: String,
        name: String,
        _template: Option<Arc<Template>>,
    },
}

impl From<Kind> for Db {
    /// One with all migrations.
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => {
                let db = Self::empty(kind);
                Store::migrate(&db.url()).expect("migrations of SQLite");
                db
            }
            Kind::Postgres => {
                let template = Template::get();
                let clause = format!(" TEMPLATE {}", template.0);
                Self::in_postgres(&clause, Some(template))
            }
        }
    }
}

impl Db {
    /// One without any table.
    pub fn empty(kind: Kind) -> Self {
        super::keep_log();
        match kind {
            Kind::Sqlite => Self(Held::Sqlite(TempDir::new().expect("a folder"))),
            Kind::Postgres => Self::in_postgres("", None),
        }
    }

    /// One with all migrations, on another PostgreSQL server.
    pub fn on(server: String) -> Self {
        super::keep_log();
        let name = fresh_name();
        on_server(&server, &format!("CREATE DATABASE {name}"));
        let db = Self(Held::Postgres {
            server,
            name,
            _template: None,
        });
        Store::migrate(&db.url()).expect("migrations of PostgreSQL");
        db
    }

    fn in_postgres(clause: &str, template: Option<Arc<Template>>) -> Self {
        super::keep_log();
        let (server, name) = (server(), fresh_name());
        on_server(&server, &format!("CREATE DATABASE {name}{clause}"));
        Self(Held::Postgres {
            server,
            name,
            _template: template,
        })
    }

    pub fn kind(&self) -> Kind {
        match self.0 {
            Held::Sqlite(_) => Kind::Sqlite,
            Held::Postgres { .. } => Kind::Postgres,
        }
    }

    pub fn url(&self) -> DatabaseUrl {
        self.text_url().parse().expect("a URL of a database")
    }

    /// The URL as a configuration spells it.
    pub fn text_url(&self) -> String {
        match &self.0 {
            Held::Sqlite(dir) => format!("sqlite:{}", dir.path().join("authority.db").display()),
            Held::Postgres { server, name, .. } => url_of(server, name),
        }
    }

    /// The address of the server of a PostgreSQL database.
    pub fn server_address(&self) -> SocketAddr {
        let (_, host) = self.server_part();
        let mut found = host.to_socket_addrs().expect("an address");
        found.next().expect("an address")
    }

    /// The URL of a PostgreSQL database by way of another address, such as a proxy's.
    pub fn text_url_at(&self, address: SocketAddr) -> String {
        let (url, host) = self.server_part();
        url.replacen(&host, &address.to_string(), 1)
    }

    fn server_part(&self) -> (String, String) {
        let url = self.text_url();
        let (_, rest) = url
            .split_once('@')
            .expect("a user in the URL of the server");
        let (host, _) = rest.split_once('/').expect("a database");
        (url.clone(), host.to_owned())
    }

    /// The file of an SQLite database.
    pub fn sqlite_path(&self) -> PathBuf {
        match &self.0 {
            Held::Sqlite(dir) => dir.path().join("authority.db"),
            Held::Postgres { .. } => panic!("a file of PostgreSQL"),
        }
    }

    /// Runs SQL behind the back of the store.
    pub fn execute(&self, sql: &str) {
        match self.connect() {
            Raw::Sqlite(mut connection) => connection.batch_execute(sql),
            Raw::Postgres(mut connection) => connection.batch_execute(sql),
        }
        .expect(sql);
    }

    /// A number that PostgreSQL finds.
    pub fn count(&self, query: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            count: i64,
        }
        let Raw::Postgres(mut connection) = self.connect() else {
            panic!("PostgreSQL only")
        };
        let query = diesel::sql_query(format!("SELECT ({query})::bigint AS count"));
        query
            .get_result::<Found>(&mut connection)
            .expect("a number")
            .count
    }

    /// A connection that is not the store's.
    pub fn connect(&self) -> Raw {
        let url = self.text_url();
        match &self.0 {
            Held::Sqlite(_) => {
                let path = url.trim_start_matches("sqlite:");
                let mut connection = SqliteConnection::establish(path).expect("SQLite");
                connection
                    .batch_execute("PRAGMA busy_timeout = 10000")
                    .expect("a pragma");
                Raw::Sqlite(connection)
            }
            Held::Postgres { .. } => {
                Raw::Postgres(PgConnection::establish(&url).expect("PostgreSQL"))
            }
        }
    }

    /// Ends all sessions of a PostgreSQL database, as a restart of the server would.
    pub fn end_all_sessions(&self) {
        if let Held::Postgres { server, name, .. } = &self.0 {
            on_server(
                server,
                &format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
                ),
            );
        }
    }

    /// Whether new sessions are let in; PostgreSQL only.
    pub fn let_in(&self, yes: bool) {
        if let Held::Postgres { server, name, .. } = &self.0 {
            on_server(
                server,
                &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {yes}"),
            );
        }
    }
}

/// A plain connection of diesel.
pub enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Drop for Db {
    fn drop(&mut self) {
        if let Held::Postgres { server, name, .. } = &self.0 {
            on_server(
                server,
                &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            );
        }
    }
}

/// A database with all migrations, made once, of which the others are copies. It goes with the last of them.
#[derive(Debug)]
struct Template(String);

impl Template {
    fn get() -> Arc<Self> {
        static KNOWN: Mutex<Weak<Template>> = Mutex::new(Weak::new());
        let mut known = KNOWN.lock();
        if let Some(template) = known.upgrade() {
            return template;
        }
        let (server, name) = (server(), fresh_name());
        on_server(&server, &format!("CREATE DATABASE {name}"));
        let template = Arc::new(Self(name));
        let url = url_of(&server, &template.0)
            .parse()
            .expect("a URL of a database");
        Store::migrate(&url).expect("migrations of PostgreSQL");
        *known = Arc::downgrade(&template);
        template
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        on_server(
            &server(),
            &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.0),
        );
    }
}

fn server() -> String {
    std::env::var(SERVER).unwrap_or_else(|_| {
        panic!("{SERVER} is not set, so there is no PostgreSQL to test on; use tests/run, which starts one")
    })
}

fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("tn_authority_test_{}_{count}", std::process::id())
}

/// The same server, another database.
fn url_of(server: &str, name: &str) -> String {
    let (url, query) = server
        .split_once('?')
        .map_or((server, None), |(url, query)| (url, Some(query)));
    let (host, _) = url
        .rsplit_once('/')
        .expect("a database in the URL of the server");
    query.map_or_else(
        || format!("{host}/{name}"),
        |query| format!("{host}/{name}?{query}"),
    )
}

fn on_server(server: &str, sql: &str) {
    let done = PgConnection::establish(server).map(|mut connection| connection.batch_execute(sql));
    match done {
        Ok(Ok(())) => {}
        // A panic while another one is on its way would hide that one.
        failed if std::thread::panicking() => eprintln!("{sql}: {failed:?}"),
        failed => panic!("{sql}: {failed:?}"),
    }
}
