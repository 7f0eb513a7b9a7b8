//! Servers that may be asked without TLS why they refuse the service (`refusal.rs`). Such a
//! question shows the names of user and database, and what a dictionary needs to find the
//! password. So it is asked only where the operator has switched TLS off, or within this machine,
//! and only if the URL alone decides how libpq connects.

use std::ffi::OsString;
use std::net::IpAddr;

use super::postgres_url::UrlParts;
use crate::domain::text::percent;

/// Parameters of the URL that change neither where libpq connects, nor how it authenticates.
const HARMLESS_PARAMETERS: [&str; 8] = [
    "application_name",
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// The same for variables of the environment. Any other one may concern TLS or authentication, as
/// `PGSSLMODE`, `PGREQUIREAUTH` and `PGSERVICE` do.
const HARMLESS_VARIABLES: [&str; 3] = ["PGAPPNAME", "PGCONNECT_TIMEOUT", "PGTARGETSESSIONATTRS"];

/// One server that may be asked without TLS.
pub(super) struct PlainServer {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) database: String,
    /// Whether libpq does not use TLS even if it is offered.
    pub(super) disables_tls: bool,
}

impl PlainServer {
    /// The server of a URL that says all of that itself; `None` for any other URL. `variables` are
    /// the names of the environment.
    pub(super) fn of(url: &str, variables: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let is_harmless = |name: &OsString| {
            let name = name.to_string_lossy();
            !name.starts_with("PG") || HARMLESS_VARIABLES.contains(&name.as_ref())
        };
        if !variables.into_iter().all(|name| is_harmless(&name)) {
            return None;
        }
        let (_, rest) = url.split_once("://")?;
        let parts = UrlParts::of(rest);
        let text = |part: &str| String::from_utf8(percent::decode(part.as_bytes())?).ok();
        let disables_tls = parts.parameters().any(|one| one == "sslmode=disable");
        let mut other = parts.parameters().filter(|one| *one != "sslmode=disable");
        let is_known = |one: &str| {
            let name = one.split_once('=').map(|(name, _)| name);
            name.is_some_and(|name| HARMLESS_PARAMETERS.contains(&name))
        };
        if parts.hosts.contains(',') || !other.all(is_known) {
            return None;
        }
        let (user, password) = match parts.user.split_once(':') {
            Some((user, password)) => (user, Some(text(password)?)),
            None => (parts.user, None),
        };
        let (host, port) = match parts.hosts.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            Some(_) | None => (parts.hosts, 5432),
        };
        let host = text(host.trim_start_matches('[').trim_end_matches(']'))?;
        let (user, database) = (text(user)?, text(parts.path)?);
        // An empty one comes from the environment, and a folder is a socket.
        let says_all = ![&host, &user, &database].into_iter().any(String::is_empty);
        let may_be_seen = disables_tls || is_loopback(&host);
        (says_all && may_be_seen && !host.starts_with('/')).then_some(Self {
            host,
            port,
            user,
            password,
            database,
            disables_tls,
        })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Option<PlainServer> {
        PlainServer::of(url, ["PATH".into(), "PGAPPNAME".into()])
    }

    #[test]
    fn the_server_of_a_plain_url_is_known() {
        let plain = "postgres://carrier:a%2Fb@[::1]:5433/db?connect_timeout=3";
        let server = of(plain).expect("a server");
        let (host, port) = (server.host.as_str(), server.port);
        assert_eq!((host, port, server.user.as_str()), ("::1", 5433, "carrier"));
        assert_eq!(server.password.as_deref(), Some("a/b"));
        assert_eq!(server.database, "db");
        assert!(!server.disables_tls);
        let disabled = of("postgres://carrier@db.example/db?sslmode=disable").expect("a server");
        assert_eq!((disabled.port, disabled.password), (5432, None));
        assert!(disabled.disables_tls);
        for other in [
            "postgres://carrier@one,two/db?sslmode=disable",
            "postgres://carrier@127.0.0.1/db?sslmode=require",
            "postgres://carrier@127.0.0.1/db?sslmode=prefer",
            "postgres://carrier@127.0.0.1/db?sslmode=disable&sslmode=verify-full",
            "postgres://carrier@127.0.0.1/db?host=two",
            "postgres://carrier@127.0.0.1/db?require_auth=scram-sha-256",
            "postgres://carrier@%2Frun%2Fpostgresql/db",
            "postgres:///db",
            "postgres://carrier@127.0.0.1/",
        ] {
            assert!(of(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_server_elsewhere_is_asked_only_where_tls_is_switched_off() {
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"] {
            assert!(of(&format!("postgres://u:p@{host}/db")).is_some(), "{host}");
        }
        for host in [
            "db.example",
            "10.0.0.1",
            "localhost.example",
            "[2001:db8::1]",
        ] {
            assert!(of(&format!("postgres://u:p@{host}/db")).is_none(), "{host}");
        }
    }

    #[test]
    fn nothing_is_asked_if_the_environment_may_want_tls() {
        for variable in [
            "PGSSLMODE",
            "PGREQUIREAUTH",
            "PGSERVICE",
            "PGHOSTADDR",
            "PGPORT",
        ] {
            for url in [
                "postgres://u:p@127.0.0.1/db",
                "postgres://u:p@127.0.0.1/db?sslmode=disable",
            ] {
                let variables = [OsString::from("PATH"), variable.into()];
                assert!(PlainServer::of(url, variables).is_none(), "{variable}");
            }
        }
    }
}
