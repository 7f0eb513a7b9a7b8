//! What the carrier wrote into the templates of a gateway by HTTP, and whether it can be sent.
//! Values are escaped; this is not, so a mistake in it has to be found before the first message.

use super::error::GatewayError;
use super::template::{Template, Variable};
use crate::domain::Passphrase;

/// Checks what the carrier wrote into the query.
pub(super) fn is_query(query: &Template) -> Result<(), GatewayError> {
    if query.literals().any(|text| text.contains('#')) {
        let why = "has a `#`: what follows it is never sent; write `%23` for the character itself";
        return Err(GatewayError::wrong("target", &why));
    }
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    if !query.literals().all(is_plain) {
        let why =
            "has a space or another character that a URL cannot have; write it percent-encoded";
        return Err(GatewayError::wrong("target", &why));
    }
    Ok(())
}

/// Checks what the carrier wrote into a header field, or puts there from a file.
pub(super) fn is_field(
    name: &str,
    value: &Template,
    secret: Option<&Passphrase>,
) -> Result<(), GatewayError> {
    let is_visible = |text: &str| text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if !value.literals().all(is_visible) {
        let why = format!(
            "has a line break or another character that is not visible ASCII in the value of `{name}`"
        );
        return Err(GatewayError::wrong("headers", &why));
    }
    let secret = secret.filter(|_| value.names(Variable::Secret));
    if secret.is_some_and(|secret| !is_visible(secret.expose())) {
        let why = format!(
            "has a line break or another character that is not visible ASCII, which the header field `{name}` \
             cannot carry"
        );
        return Err(GatewayError::wrong("secret_file", &why));
    }
    Ok(())
}

pub(super) fn is_body(body: &Template) -> Result<(), GatewayError> {
    let is_control = |c: &char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    let control = body
        .literals()
        .find_map(|text| text.chars().find(is_control));
    match control {
        None => Ok(()),
        Some(control) => {
            let why = format!("has the control character U+{:04X}", u32::from(control));
            Err(GatewayError::wrong("body", &why))
        }
    }
}
