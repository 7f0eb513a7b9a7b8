//! Reads the claims of a verified token: audience, validity, subject, role and accounts.

use std::collections::BTreeMap;

use openssl::sha::sha256;
use serde_json::{Map, Value};

use super::rejection::TokenFault;
use super::role_accounts::role_accounts;
use crate::domain::{AccountId, Role};

/// Accounts that a token can name.
const MAX_ACCOUNTS: usize = 256;
/// Characters of a subject that is used as it is. A longer one is hashed.
const MAX_SUBJECT: usize = 96;
/// The last second that RFC 3339 can express.
const LAST_SECOND: i64 = 253_402_300_799;

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
    /// A claim that is a string or an array of strings. It is required for every role but `admin`,
    /// even if it is empty.
    ClaimPath(ClaimPath),
}

impl RoleFrom {
    pub(super) fn of(&self, claims: &Map<String, Value>) -> Result<Role, TokenFault> {
        let (claim, roles) = match self {
            Self::Fixed(role) => return Ok(*role),
            Self::ClaimPath(claim, roles) => (claim, roles),
        };
        let value = claim.of(claims).ok_or(TokenFault::Role)?;
        let values: Vec<&str> = match value {
            // RFC 8693 §4.2: scopes are separated by spaces.
            Value::String(scopes) if claim.0 == "scope" => scopes.split(' ').collect(),
            Value::String(one) => vec![one],
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().ok_or(TokenFault::Role))
                .collect::<Result<_, _>>()?,
            _ => return Err(TokenFault::Role),
        };
        let mut given: Vec<Role> = values
            .iter()
            .filter_map(|v| roles.get(*v))
            .copied()
            .collect();
        given.dedup();
        match given[..] {
            // With several roles, it is ambiguous which one is meant.
            [role] => Ok(role),
            _ => Err(TokenFault::Role),
        }
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
                Some(Value::String(one)) => vec![account(one)?],
                Some(Value::Array(items)) if items.len() <= MAX_ACCOUNTS => items
                    .iter()
                    .map(|item| account(item.as_str().ok_or(TokenFault::Accounts)?))
                    .collect::<Result<_, _>>()?,
                None | Some(_) => return Err(TokenFault::Accounts),
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

/// Whether `aud` contains the audience (RFC 7519 §4.1.3): a string, or an array of strings.
pub(super) fn is_for(claims: &Map<String, Value>, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => {
            several.iter().all(Value::is_string) && several.iter().any(|one| one == audience)
        }
        _ => false,
    }
}

/// A `NumericDate`. RFC 7519 allows a fraction, but issuers write whole seconds, and rounding would
/// be ambiguous.
pub(super) fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            Some(seconds @ 0..=LAST_SECOND) => Ok(Some(seconds)),
            _ => Err(TokenFault::Times),
        },
    }
}

fn account(text: &str) -> Result<AccountId, TokenFault> {
    text.parse().map_err(|_| TokenFault::Accounts)
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
    fn a_numeric_date_is_a_whole_number() {
        let date = |value: Value| seconds(&claims(json!({ "exp": value })), "exp");
        assert_eq!(date(json!(1_767_225_600)), Ok(Some(1_767_225_600)));
        for wrong in [
            json!("1767225600"),
            json!(1.5),
            json!(1e9),
            json!(-1),
            json!(null),
            json!([1]),
            json!(true),
            json!(u64::MAX),
            json!(LAST_SECOND + 1),
        ] {
            assert_eq!(date(wrong.clone()), Err(TokenFault::Times), "{wrong}");
        }
    }
}
