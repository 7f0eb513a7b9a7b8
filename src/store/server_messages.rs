//! The language of the server's messages. Retries recognise some failures by their English text, as
//! [`Remedy::for_error`](super::error::Remedy::for_error) says.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::Text;

use super::connection::AnyConnection;

/// A warning, with what to do, if the server's messages may not be in English.
pub(super) fn warning(connection: &mut AnyConnection) -> QueryResult<Option<String>> {
    let AnyConnection::Postgres(connection) = connection else {
        return Ok(None);
    };
    let locale: String =
        diesel::select(sql::<Text>("current_setting('lc_messages')")).get_result(connection)?;
    Ok((!is_english(&locale)).then(|| {
        format!(
            "`lc_messages` is `{locale}`, but deadlocks and shutdowns of the server are recognised by their English \
             messages; requests that meet one would be answered with 503 instead of being retried; as a superuser, run \
             `ALTER ROLE .. SET lc_messages = 'C'` for the role of the service"
        )
    }))
}

/// Whether PostgreSQL writes English messages under this locale. It has no translations for any
/// variant of English.
fn is_english(locale: &str) -> bool {
    let name = locale.split(['.', '@']).next().unwrap_or_default();
    let language = name.split(['_', '-']).next().unwrap_or_default();
    // Windows spells languages out.
    ["C", "POSIX", "en", "English"].contains(&language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_is_distinguished_from_other_languages() {
        for english in [
            "C",
            "C.UTF-8",
            "POSIX",
            "en",
            "en_US.UTF-8",
            "en_GB@euro",
            "en-GB",
            "English_United States.1252",
        ] {
            assert!(is_english(english), "{english}");
        }
        for other in [
            "",
            "de_DE.UTF-8",
            "fr_CA",
            "cs_CZ",
            "enm",
            "German_Germany.1252",
        ] {
            assert!(!is_english(other), "{other}");
        }
    }
}
