//! The language of the server's messages: retries recognise some failures by their English text, as
//! [`Remedy::for_error`](super::error::Remedy::for_error) says.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::Text;

use super::connection::AnyConnection;

/// What to do if the messages of the server may not be in English.
pub(super) fn warning(connection: &mut AnyConnection) -> QueryResult<Option<String>> {
    let AnyConnection::Postgres(connection) = connection else {
        return Ok(None);
    };
    let locale: String =
        diesel::select(sql::<Text>("current_setting('lc_messages')")).get_result(connection)?;
    Ok((!is_english(&locale)).then(|| {
        format!(
            "`lc_messages` is `{locale}`, but a deadlock and a shutdown of the server are recognised by their English \
             messages, so requests that meet one would be answered 503 in place of being retried; as a superuser, run \
             `ALTER ROLE .. SET lc_messages = 'C'` for the role of the service"
        )
    }))
}

/// Whether PostgreSQL writes English under this locale. It has no translation for any English one.
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
    fn english_is_told_from_other_languages() {
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
