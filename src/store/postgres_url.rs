//! What libpq would do with the URL of a PostgreSQL database, as far as secrets are concerned. It
//! repeats the piece that it cannot read; if a password is not percent-encoded, that is a piece of
//! the password. So such a URL never reaches it.

use crate::domain::text::percent;

/// How to write a character that has a meaning in a URL.
const ENCODE: &str =
    "in a user name or a password, write `/` as `%2F`, `@` as `%40`, `%` as `%25` and `&` as `%26`";

/// The parameters that libpq knows, and `ssl`, which it takes from JDBC.
const PARAMETERS: [&str; 51] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "options",
    "passfile",
    "password",
    "port",
    "replication",
    "require_auth",
    "requirepeer",
    "scram_client_key",
    "scram_server_key",
    "service",
    "ssl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslkeylogfile",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];
/// Those that hold a secret.
const SECRET: [&str; 5] = [
    "password",
    "sslpassword",
    "oauth_client_secret",
    "scram_client_key",
    "scram_server_key",
];

/// The parts of a URL, as libpq divides it (PostgreSQL, "Connection URIs").
pub(super) struct UrlParts<'a> {
    pub(super) user: &'a str,
    pub(super) hosts: &'a str,
    pub(super) path: &'a str,
    query: &'a str,
    /// From the hosts on.
    after_user: &'a str,
}

impl<'a> UrlParts<'a> {
    /// `rest` is what follows `postgres://`.
    pub(super) fn of(rest: &'a str) -> Self {
        let (user, after_user) = match rest.find(['@', '/']) {
            Some(at) if rest[at..].starts_with('@') => (&rest[..at], &rest[at + 1..]),
            _ => ("", rest),
        };
        let (before, query) = after_user.split_once('?').unwrap_or((after_user, ""));
        let (hosts, path) = before.split_once('/').unwrap_or((before, ""));
        Self {
            user,
            hosts,
            path,
            query,
            after_user,
        }
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = &'a str> {
        self.query.split('&').filter(|one| !one.is_empty())
    }
}

/// Checks what follows `postgres://`, without repeating any of it.
pub(super) fn check(rest: &str) -> Result<(), String> {
    let is_encoded =
        |part: &str| percent::decode(part.as_bytes()).is_some_and(|all| !all.contains(&0));
    if !is_encoded(rest) {
        return Err(format!(
            "has a `%` that is not followed by two hex digits: {ENCODE}"
        ));
    }
    let parts = UrlParts::of(rest);
    if parts.hosts.contains('@') || parts.path.contains('@') {
        return Err(format!(
            "has an `@` that does not end a user name and password: {ENCODE}"
        ));
    }
    // A host can be an IPv6 address in brackets.
    let numbers = parts.hosts.split(',').map(|host| {
        let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
        after.split_once(':').map_or("", |(_, port)| port)
    });
    let is_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if !numbers.into_iter().all(is_number) {
        return Err(format!(
            "has a port that is not a number; if that is a password, `@` and the host are missing after it, or: {ENCODE}"
        ));
    }
    for parameter in parts.parameters() {
        let known = parameter
            .split_once('=')
            .is_some_and(|(name, value)| PARAMETERS.contains(&name) && !value.contains('='));
        if !known {
            return Err(format!(
                "has a parameter after `?` that is not `name=value` with a name that libpq knows: {ENCODE}, and `=` as `%3D`"
            ));
        }
    }
    Ok(())
}

/// The secrets in what follows `postgres://`, as they are written and as they are meant.
pub(super) fn secrets(rest: &str) -> Vec<String> {
    let parts = UrlParts::of(rest);
    let password = parts.user.split_once(':').map(|(_, password)| password);
    let given = parts.parameters().filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        SECRET.contains(&name).then_some(value)
    });
    let mut secrets = Vec::new();
    for written in password.into_iter().chain(given) {
        let meant = percent::decode(written.as_bytes()).unwrap_or_default();
        secrets.push(written.to_owned());
        secrets.push(String::from_utf8_lossy(&meant).into_owned());
    }
    secrets.retain(|secret| !secret.is_empty());
    // The longest first, in case one contains another.
    secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.dedup();
    secrets
}

/// The environment variables by which an operator can set these parameters, too.
const BY_ENVIRONMENT: [(&str, &str); 3] = [
    ("application_name", "PGAPPNAME"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
];

/// The URL with these parameters, unless the operator has set them, there or in the environment.
pub(super) fn with_parameters(
    url: &str,
    parameters: &[(&'static str, String)],
    is_in_environment: impl Fn(&str) -> bool,
) -> String {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let parts = UrlParts::of(rest);
    let given: Vec<&str> = parts
        .parameters()
        .filter_map(|one| one.split_once('=').map(|(name, _)| name))
        .collect();
    let by_environment = |name: &str| {
        let mut all = BY_ENVIRONMENT.iter();
        all.any(|(parameter, variable)| *parameter == name && is_in_environment(variable))
    };
    let mut url = url.trim_end_matches(['?', '&']).to_owned();
    let mut separator = if rest.contains('?') && !given.is_empty() {
        '&'
    } else {
        '?'
    };
    for (name, value) in parameters {
        if !given.contains(name) && !by_environment(name) {
            url.push(separator);
            url.push_str(name);
            url.push('=');
            url.push_str(value);
            separator = '&';
        }
    }
    url
}

/// What makes libpq choose hosts, ports or their order by other rules than those of the list in
/// front of the path.
const HOSTS_ELSEWHERE: [&str; 5] = ["host", "hostaddr", "load_balance_hosts", "port", "service"];
const HOSTS_IN_ENVIRONMENT: [&str; 5] = [
    "PGHOST",
    "PGHOSTADDR",
    "PGLOADBALANCEHOSTS",
    "PGPORT",
    "PGSERVICE",
];

/// The URL for each of its hosts alone, in their order; itself, if libpq has to decide.
pub(super) fn each_host(url: &str, is_in_environment: impl Fn(&str) -> bool) -> Vec<String> {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let parts = UrlParts::of(rest);
    let is_elsewhere = parts.parameters().any(|parameter| {
        let (name, _) = parameter.split_once('=').unwrap_or((parameter, ""));
        HOSTS_ELSEWHERE.contains(&name)
    });
    let hosts: Vec<&str> = parts.hosts.split(',').collect();
    if is_elsewhere
        || HOSTS_IN_ENVIRONMENT.into_iter().any(is_in_environment)
        || hosts.iter().any(|host| host.is_empty())
    {
        return vec![url.to_owned()];
    }
    let before = &url[..url.len() - parts.after_user.len()];
    let after = &parts.after_user[parts.hosts.len()..];
    let alone = hosts.iter().map(|host| format!("{before}{host}{after}"));
    alone.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_a_url_of_its_own() {
        let url = "postgres://u:p%2C@a:1,[::1]:2,c/d?connect_timeout=3";
        let expected = [
            "postgres://u:p%2C@a:1/d?connect_timeout=3",
            "postgres://u:p%2C@[::1]:2/d?connect_timeout=3",
            "postgres://u:p%2C@c/d?connect_timeout=3",
        ];
        let alone = |url| each_host(url, |_| false);
        assert_eq!(alone(url), expected);
        assert_eq!(alone("postgres://a,b"), ["postgres://a", "postgres://b"]);
        for whole in [
            "postgres://a/d",
            "postgres:///d",
            "postgres://,a/d",
            "postgres://?host=a,b&port=1,2",
            "postgres://a,b/d?port=1,2",
            "postgres://a,b/d?service=s",
            "postgres://a,b/d?load_balance_hosts=random",
        ] {
            assert_eq!(alone(whole), [whole]);
        }
        for variable in HOSTS_IN_ENVIRONMENT {
            let whole = each_host("postgres://a,b/d", |name| name == variable);
            assert_eq!(whole, ["postgres://a,b/d"], "{variable}");
        }
    }

    #[test]
    fn parameters_are_added_unless_the_operator_has_set_them() {
        let ours = [
            ("connect_timeout", "3".to_owned()),
            ("target_session_attrs", "read-write".to_owned()),
        ];
        for (url, expected) in [
            (
                "postgres://h/d",
                "postgres://h/d?connect_timeout=3&target_session_attrs=read-write",
            ),
            (
                "postgres://h/d?",
                "postgres://h/d?connect_timeout=3&target_session_attrs=read-write",
            ),
            (
                "postgres://u:p?w@h/d",
                "postgres://u:p?w@h/d?connect_timeout=3&target_session_attrs=read-write",
            ),
            (
                "postgres://?host=/run&connect_timeout=20",
                "postgres://?host=/run&connect_timeout=20&target_session_attrs=read-write",
            ),
            (
                "postgres://a,b/d?target_session_attrs=any&connect_timeout=20",
                "postgres://a,b/d?target_session_attrs=any&connect_timeout=20",
            ),
        ] {
            assert_eq!(with_parameters(url, &ours, |_| false), expected);
            let checked = check(expected.split_once("://").expect("a URL").1);
            assert_eq!(checked, Ok(()), "{expected}");
        }
        let by_environment = |name: &str| name == "PGCONNECT_TIMEOUT";
        assert_eq!(
            with_parameters("postgres://h/d", &ours, by_environment),
            "postgres://h/d?target_session_attrs=read-write"
        );
        let all = super::super::timeouts::DatabaseTimeouts::default().parameters();
        assert!(all.iter().all(|(name, _)| PARAMETERS.contains(name)));
    }

    #[test]
    fn what_libpq_would_repeat_of_a_password_is_refused_without_it() {
        for rest in [
            "tna:hunter/2@db.example/tna",
            "tna:hunter@two@db.example/tna",
            "tna:hun/ter@two@db.example",
            "tna:hunter%zz@db.example/tna",
            "tna:hunter%@db.example/tna",
            "tna:hunter%00@db.example/tna",
            "tna:hunter",
            "tna:hunter/tna",
            "tna@db.example:hunter/tna",
            "tna@db.example/tna?password=hunter%zz",
            "tna@db.example/tna?password=a&hunter",
            "tna@db.example/tna?password=a&hunter=2",
            "tna@db.example/tna?password=a=hunter",
            "tna@db.example/tna?passwort=hunter",
            "tna:x?hunter/y@db.example/tna",
        ] {
            let why = check(rest).expect_err(rest);
            assert!(
                !why.contains("hunter") && why.contains("%2F"),
                "{rest}: {why}"
            );
        }
    }

    #[test]
    fn what_libpq_reads_is_accepted() {
        for rest in [
            "",
            "/tna",
            "db.example",
            "db.example:5432",
            "tna@db.example/tna",
            "tna:hunter%2F2%40%25@db.example:5432/tna",
            "tna:hun?ter@db.example/tna",
            "tna:a:b@db.example/tna",
            "one.example:5432,two.example:5433/tna?target_session_attrs=read-write",
            "[2001:db8::1]:5432/tna",
            "%2Fvar%2Frun%2Fpostgresql/tna",
            "/tna?host=/var/run/postgresql&user=tna",
            "db.example/tna?sslmode=verify-full&sslrootcert=system&connect_timeout=3",
            "db.example/tna?password=hunter%26&ssl=true",
        ] {
            assert_eq!(check(rest), Ok(()), "{rest}");
        }
    }

    #[test]
    fn every_secret_of_a_url_is_known() {
        assert_eq!(
            secrets("tna:hunter%2F2@db.example/tna"),
            ["hunter%2F2", "hunter/2"]
        );
        assert_eq!(
            secrets("tna@db/tna?sslpassword=a%20b&password=c"),
            ["a%20b", "a b", "c"]
        );
        assert!(secrets("tna:@db.example/tna?sslmode=require").is_empty());
        let mut sorted = PARAMETERS;
        sorted.sort_unstable();
        assert_eq!(sorted, PARAMETERS);
        assert!(SECRET.iter().all(|name| PARAMETERS.contains(name)));
    }
}
