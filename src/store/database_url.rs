//! The URL of the database. What another tool would read differently is refused: a service that
//! starts with an empty ledger in the wrong place is worse than one that does not start.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::OpenError;
use super::postgres_url;
use super::timeouts::Timeouts;

/// What is left as it is in a `file:` URI.
const URI_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The URL of the database; its scheme decides which database it is.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite:PATH`
    Sqlite(PathBuf),
    /// `postgres://..` or `postgresql://..`; can contain a password, so `Debug` omits it.
    Postgres(String),
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(_) => f.write_str("postgres://.."),
        }
    }
}

/// Schemes are compared without regard to case (RFC 3986 §3.1).
///
/// No error repeats the URL, which can contain a password.
impl FromStr for DatabaseUrl {
    type Err = OpenError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(OpenError::Url(
                "has no scheme: write `sqlite:PATH` or `postgres://..`",
            ));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "sqlite" => sqlite_path(rest).map(Self::Sqlite).map_err(OpenError::Url),
            // libpq reads only lower-case schemes.
            known @ ("postgres" | "postgresql") if rest.starts_with("//") => {
                postgres_url::check(&rest[2..]).map_err(OpenError::PostgresUrl)?;
                Ok(Self::Postgres(format!("{known}:{rest}")))
            }
            "postgres" | "postgresql" => Err(OpenError::Url(
                "lacks `//` after its scheme: write `postgres://user@host/database`",
            )),
            "file" | "sqlite3" => Err(OpenError::Url(
                "has another scheme: an SQLite file is written `sqlite:PATH`",
            )),
            _ => Err(OpenError::Url(
                "is neither `sqlite:PATH` nor `postgres://..`",
            )),
        }
    }
}

fn sqlite_path(rest: &str) -> Result<PathBuf, &'static str> {
    if rest.chars().any(char::is_control) || rest.trim() != rest {
        return Err("has a line break or spaces around its path");
    }
    if rest.starts_with("file:") {
        return Err("is a URI of SQLite's own: write `sqlite:PATH`, without `file:`");
    }
    if rest.contains('?') {
        return Err("has parameters (`?..`), which are not supported: write `sqlite:PATH`");
    }
    if rest.contains(":memory:") {
        return Err("names a database in memory: the ledger has to be kept, so name a file");
    }
    let path = match rest.strip_prefix("//") {
        // Some tools read a relative path here, others a host.
        Some(absolute) if !absolute.starts_with('/') => {
            return Err(
                "is ambiguous: write `sqlite:data.sqlite` for a relative path, or \
                 `sqlite:///var/lib/data.sqlite` for an absolute one",
            );
        }
        // More slashes mean the same path, but not in a `file:` URI.
        Some(absolute) => format!("/{}", absolute.trim_start_matches('/')),
        None => rest.to_owned(),
    };
    if path.is_empty() || path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..") {
        return Err("names no file: write `sqlite:PATH`, such as `sqlite:/var/lib/data.sqlite`");
    }
    let after_percent = path.split('%').skip(1);
    let is_hex = |text: &str| {
        let digits = text.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if after_percent.into_iter().any(is_hex) {
        return Err(
            "is percent-encoded, which is not supported: write the path as it is, and without \
             `%` and two hex digits",
        );
    }
    Ok(path.into())
}

impl DatabaseUrl {
    /// The path of an SQLite database that does not exist yet; `None` for PostgreSQL.
    ///
    /// # Errors
    /// [`OpenError`] if there is something else, or no folder that could contain it.
    pub fn missing_file(&self) -> Result<Option<PathBuf>, OpenError> {
        let Self::Sqlite(path) = self else {
            return Ok(None);
        };
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        match fs::metadata(path) {
            Ok(found) if found.is_file() => Ok(None),
            Ok(_) => Err(OpenError::Connect(format!(
                "`{}` is not a file",
                whole.display()
            ))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                match whole.parent().map(Path::is_dir) {
                    Some(true) => Ok(Some(whole)),
                    Some(false) | None => Err(OpenError::Connect(format!(
                        "the folder of `{}` does not exist",
                        whole.display()
                    ))),
                }
            }
            Err(error) => Err(OpenError::Connect(format!(
                "`{}`: {error}",
                whole.display()
            ))),
        }
    }

    /// Whether it makes libpq verify the server against OpenSSL's default root certificates
    /// (`sslrootcert=system`).
    #[must_use]
    pub fn uses_system_roots(&self) -> bool {
        let Self::Postgres(url) = self else {
            return false;
        };
        let query = url.split_once('?').map_or("", |(_, query)| query);
        // libpq uses the last one.
        let roots = query
            .split('&')
            .rev()
            .find_map(|part| part.strip_prefix("sslrootcert="));
        match roots {
            Some(roots) => roots == "system",
            None => std::env::var_os("PGSSLROOTCERT").is_some_and(|roots| roots == "system"),
        }
    }

    /// With the bounds of a connection to PostgreSQL, unless the operator has set them.
    #[must_use]
    pub fn with_timeouts(&self, timeouts: &Timeouts) -> Self {
        match self {
            Self::Sqlite(_) => self.clone(),
            Self::Postgres(url) => {
                let in_environment = |name: &str| std::env::var_os(name).is_some();
                let parameters = timeouts.parameters();
                Self::Postgres(postgres_url::with_parameters(
                    url,
                    &parameters,
                    in_environment,
                ))
            }
        }
    }

    /// The text of a connection error, without the password, which libpq can repeat.
    pub(super) fn without_secrets(&self, error: &dyn ToString) -> String {
        let text = error.to_string();
        let Self::Postgres(url) = self else {
            return text;
        };
        let text = text.replace(url, "postgres://..");
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let secrets = postgres_url::secrets(rest);
        secrets
            .iter()
            .fold(text, |text, secret| text.replace(secret, "***"))
    }
}

/// SQLite's URI of a file that exists. With `mode=rw`, opening it creates nothing.
pub(super) fn existing_file_uri(path: &Path) -> String {
    let path = path.to_string_lossy();
    format!("file:{}?mode=rw", utf8_percent_encode(&path, URI_PATH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_other_tools_write_them() {
        for (url, path) in [
            ("sqlite:data.sqlite", "data.sqlite"),
            ("sqlite:./data.sqlite", "./data.sqlite"),
            ("sqlite:/var/lib/data.sqlite", "/var/lib/data.sqlite"),
            ("sqlite:///var/lib/data.sqlite", "/var/lib/data.sqlite"),
            ("sqlite:////var/lib/data.sqlite", "/var/lib/data.sqlite"),
            ("SQLite:data.sqlite", "data.sqlite"),
            ("sqlite:a b#c/50%.sqlite", "a b#c/50%.sqlite"),
        ] {
            let read: DatabaseUrl = url.parse().expect(url);
            assert_eq!(read, DatabaseUrl::Sqlite(path.into()), "{url}");
        }
        for url in ["postgres://u:p@h/d?sslmode=require", "postgresql://h/d"] {
            let read: DatabaseUrl = url.parse().expect(url);
            assert_eq!(read, DatabaseUrl::Postgres(url.to_owned()));
        }
        let upper: DatabaseUrl = "POSTGRES://U@h/D".parse().expect("a URL");
        assert_eq!(upper, DatabaseUrl::Postgres("postgres://U@h/D".to_owned()));
    }

    #[test]
    fn a_url_that_another_tool_reads_differently_is_refused() {
        for (url, why) in [
            ("sqlite://data.sqlite", "ambiguous"),
            ("sqlite://./data.sqlite", "ambiguous"),
            ("sqlite://localhost/data.sqlite", "ambiguous"),
            ("sqlite:file:data.sqlite?mode=rwc", "without `file:`"),
            ("sqlite:data.sqlite?cache=shared", "parameters"),
            ("sqlite:///var/data.sqlite?mode=rwc", "parameters"),
            ("sqlite::memory:", "in memory"),
            ("sqlite://:memory:", "in memory"),
            ("sqlite:my%20data.sqlite", "percent-encoded"),
            ("sqlite:", "names no file"),
            ("sqlite://", "ambiguous"),
            ("sqlite:///", "names no file"),
            ("sqlite:/var/lib/", "names no file"),
            ("sqlite:/var/lib/.", "names no file"),
            ("sqlite:data.sqlite\n", "line break"),
            ("sqlite: data.sqlite", "spaces"),
            ("postgres:u@h/d", "lacks `//`"),
            ("postgresql:/h/d", "lacks `//`"),
            ("file:data.sqlite", "another scheme"),
            ("data.sqlite", "no scheme"),
            ("", "no scheme"),
            ("mysql://u:SECRETPW@h/d", "neither"),
        ] {
            let refused = url.parse::<DatabaseUrl>().expect_err(url).to_string();
            assert!(refused.contains(why), "{url}: {refused}");
            assert!(!refused.contains("SECRETPW"), "{refused}");
        }
    }

    #[test]
    fn the_roots_of_the_system_are_recognized() {
        for (url, uses) in [
            (
                "postgres://h/d?sslmode=verify-full&sslrootcert=system",
                true,
            ),
            (
                "postgres://h/d?sslrootcert=system&sslrootcert=/ca.pem",
                false,
            ),
            ("postgres://h/d?sslrootcert=/etc/system", false),
            ("postgres://h/sslrootcert=system", false),
            ("sqlite:system", false),
        ] {
            let read: DatabaseUrl = url.parse().expect(url);
            assert_eq!(read.uses_system_roots(), uses, "{url}");
        }
    }

    #[test]
    fn a_uri_names_the_same_file() {
        let uri = existing_file_uri(Path::new("/a b/50%#?é.sqlite"));
        assert_eq!(uri, "file:/a%20b/50%25%23%3F%C3%A9.sqlite?mode=rw");
    }
}
