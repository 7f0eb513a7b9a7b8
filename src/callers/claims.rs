//! Reads the claims of a verified token: audience, validity, subject, role and accounts.

use std::collections::BTreeMap;

use openssl::sha::sha256;
use serde_json::{Map, Value};

use super::rejection::TokenFault;
use super::role_accounts::role_accounts;
use crate::domain::tokens::numeric_date::{self, Boundary};
use crate::domain::{AccountId, Role, Time};

/// Accounts that a token can name.
const MAX_ACCOUNTS: usize = 256;
/// Characters of a subject that is used as it is. A longer one is hashed.
const MAX_SUBJECT: usize = 96;

/// A claim: the name of a member, or a JSON pointer (RFC 6901), which starts with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(pub String);

/// How a token determines the role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleFrom {
    /// Every token of the issuer has this one.
    Fixed(Role),
    /// A claim, and the role for each of its values. Other values give no role.
    ClaimPath(ClaimPath, BTreeMap<String, Role>),
}

/// How a token determines the accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountsFrom {
    Fixed(Vec<AccountId>),
    /// A claim that is an array of strings, or a string of words. It is required for every role but
    /// `admin`, even if it is empty.
    ClaimPath(ClaimPath),
}

impl RoleFrom {
    pub(super) fn of(&self, claims: &Map<String, Value>) -> Result<Role, TokenFault> {
        let (claim, roles) = match self {
            Self::Fixed(role) => return Ok(*role),
            Self::ClaimPath(claim, roles) => (claim, roles),
        };
        let values = claim.of(claims).and_then(values).ok_or(TokenFault::Role)?;
        let mut given = values.iter().filter_map(|value| roles.get(*value)).copied();
        let role = given.next().ok_or(TokenFault::Role)?;
        // With several roles, it is ambiguous which one is meant.
        if given.any(|other| other != role) {
            return Err(TokenFault::Role);
        }
        Ok(role)
    }
}

impl AccountsFrom {
    /// The accounts, if the role allows them.
    pub(super) fn of(
        &self,
        claims: &Map<String, Value>,
        role: Role,
    ) -> Result<Vec<AccountId>, TokenFault> {
        let accounts = match self {
            Self::Fixed(accounts) => accounts.clone(),
            Self::ClaimPath(claim) => match claim.of(claims) {
                // For other roles, no accounts can mean all of them, so a missing claim would widen
                // the access.
                None if role == Role::Admin => Vec::new(),
                None => return Err(TokenFault::Accounts),
                // A text names at least one account. Only a list can be empty on purpose.
                Some(Value::String(text)) if words(text).next().is_none() => {
                    return Err(TokenFault::Accounts);
                }
                Some(Value::String(text)) => several(words(text))?,
                Some(value) => several(values(value).ok_or(TokenFault::Accounts)?.into_iter())?,
            },
        };
        role_accounts(role, accounts).map_err(|_| TokenFault::Accounts)
    }
}

impl ClaimPath {
    fn of<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let Some(pointer) = self.0.strip_prefix('/') else {
            return claims.get(&self.0);
        };
        let mut steps = pointer.split('/').map(unescaped);
        let first = claims.get(&steps.next()?)?;
        steps.try_fold(first, |value, step| value.get(&step))
    }
}

/// RFC 6901 §4. Array indices are not supported.
fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// The values that a claim lists: an array of strings, or a string of words (RFC 6749 §3.3, RFC
/// 8693 §4.2), whatever the claim is called. A string with spaces can also be one value, such as
/// the name of a group, so it is one of the values itself. `None` for anything else.
fn values(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) if text.contains(' ') => {
            Some(words(text).chain([text.as_str()]).collect())
        }
        Value::String(one) => Some(vec![one]),
        Value::Array(items) => items.iter().map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

/// Whether the token is for this audience (RFC 7519 §4.1.3): `aud` contains it, and so does the
/// claim that stands for `aud`, if that is another. A token of such an issuer usually has no `aud`;
/// if it has one, the RFC forbids to ignore it.
pub(super) fn is_for(claims: &Map<String, Value>, stands_for: &ClaimPath, audience: &str) -> bool {
    let contains = |value: &Value| match value {
        Value::String(one) => one == audience,
        Value::Array(several) => {
            several.iter().all(Value::is_string) && several.iter().any(|one| one == audience)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    stands_for.of(claims).is_some_and(contains) && claims.get("aud").is_none_or(contains)
}

/// Whether each of these claims has its required value, alone or among others.
pub(super) fn has_required(claims: &Map<String, Value>, required: &[(ClaimPath, String)]) -> bool {
    required.iter().all(|(claim, expected)| {
        let values = claim.of(claims).and_then(values).unwrap_or_default();
        values.contains(&expected.as_str())
    })
}

/// A time of the token, if it has one.
pub(super) fn time(
    claims: &Map<String, Value>,
    name: &str,
    boundary: Boundary,
) -> Result<Option<Time>, TokenFault> {
    let read = |value| numeric_date::read(value, boundary).ok_or(TokenFault::Times);
    claims.get(name).map(read).transpose()
}

fn several<'a>(ids: impl Iterator<Item = &'a str>) -> Result<Vec<AccountId>, TokenFault> {
    let accounts: Vec<AccountId> = ids
        .take(MAX_ACCOUNTS + 1)
        .map(|id| id.parse().map_err(|_| TokenFault::Accounts))
        .collect::<Result<_, _>>()?;
    if accounts.len() > MAX_ACCOUNTS {
        return Err(TokenFault::Accounts);
    }
    Ok(accounts)
}

/// The subject as the audit trail names it: unchanged if it is short and plain, else `#` and its
/// SHA-256. A plain subject has no `#`, so two subjects never have the same name.
pub(super) fn subject(claims: &Map<String, Value>) -> Result<String, TokenFault> {
    let subject = claims.get("sub").and_then(Value::as_str);
    let subject = subject.filter(|subject| !subject.is_empty());
    let subject = subject.ok_or(TokenFault::Subject)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~-@+=/:|".contains(&b);
    Ok(
        if subject.len() <= MAX_SUBJECT && subject.bytes().all(plain) {
            subject.to_owned()
        } else {
            format!("#{}", hex::encode(sha256(subject.as_bytes())))
        },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(members) => members,
            other => panic!("{other} is not an object"),
        }
    }

    #[test]
    fn a_claim_is_a_name_or_a_pointer() {
        let claims = claims(json!({ "a/b": 1, "a": { "b~/c": { "": 2 }, "d": [3] } }));
        for (claim, value) in [
            ("a/b", Some(json!(1))),
            ("/a/b~0~1c/", Some(json!(2))),
            ("/a~1b", Some(json!(1))),
            ("/a/d/0", None),
            ("/a/x", None),
            ("/", None),
            ("b", None),
        ] {
            let claim = ClaimPath(claim.to_owned());
            assert_eq!(claim.of(&claims), value.as_ref(), "{claim:?}");
        }
    }

    #[test]
    fn two_subjects_never_have_the_same_name() {
        let name = |sub: &str| subject(&claims(json!({ "sub": sub })));
        assert_eq!(
            name("auth0|5f7c@clients").as_deref(),
            Ok("auth0|5f7c@clients")
        );
        let long = "x".repeat(MAX_SUBJECT + 1);
        let names = ["a b", "a\nb", "a\u{1b}b", "ä", "#", &long].map(|sub| name(sub).expect(sub));
        for one in &names {
            assert!(one.len() == 65 && one.starts_with('#'), "{one}");
            assert_eq!(names.iter().filter(|other| *other == one).count(), 1);
        }
        assert_eq!(name(""), Err(TokenFault::Subject));
        assert_eq!(
            subject(&claims(json!({ "sub": 7 }))),
            Err(TokenFault::Subject)
        );
    }

    #[test]
    fn an_audience_is_the_whole_claim_and_aud_is_never_ignored() {
        let is_for = |value: Value, claim: &str| {
            is_for(&claims(value), &ClaimPath(claim.to_owned()), "7example")
        };
        assert!(is_for(json!({ "client_id": "7example" }), "client_id"));
        let both = json!({ "client_id": "7example", "aud": ["other", "7example"] });
        assert!(is_for(both, "client_id"));
        for wrong in [
            json!({}),
            json!({ "aud": "7example" }),
            json!({ "client_id": "8example" }),
            json!({ "client_id": "7example 8example" }),
            json!({ "client_id": ["7example", 7] }),
            json!({ "client_id": "7example", "aud": "other" }),
            json!({ "client_id": "7example", "aud": null }),
        ] {
            assert!(!is_for(wrong.clone(), "client_id"), "{wrong}");
        }
    }
}
