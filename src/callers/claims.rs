//! What the claims of a verified token say: whom it is for, when it holds, and which role and accounts it gives.

use std::collections::BTreeMap;

use openssl::sha::sha256;
use serde_json::{Map, Value};

use super::rejection::TokenFault;
use super::role_accounts::standing;
use crate::domain::{AccountId, Role};

/// Accounts that a token may name.
const MAX_ACCOUNTS: usize = 256;
/// Characters of a subject that names a caller as it is.
const MAX_SUBJECT: usize = 96;
/// The last second that RFC 3339 can write.
const LAST_SECOND: i64 = 253_402_300_799;

/// A claim: the name of a member, or a JSON pointer (RFC 6901), which starts with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(pub String);

/// Which role a token gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleFrom {
    /// Every token of the issuer has this one.
    Fixed(Role),
    /// The values of a claim, each with its role. What is not among them gives none.
    ClaimPath(ClaimPath, BTreeMap<String, Role>),
}

/// Which accounts a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountsFrom {
    Fixed(Vec<AccountId>),
    /// A text, or a list of texts. It must be there, also if it is empty, for every role but `admin`.
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
            // RFC 8693 §4.2: scopes are words with a space between them.
            Value::String(words) if claim.0 == "scope" => words.split(' ').collect(),
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
            // Which of several would be meant is left to nobody's guess.
            [role] => Ok(role),
            _ => Err(TokenFault::Role),
        }
    }
}

impl AccountsFrom {
    /// The accounts, if the role can speak for them.
    pub(super) fn of(
        &self,
        claims: &Map<String, Value>,
        role: Role,
    ) -> Result<Vec<AccountId>, TokenFault> {
        let accounts = match self {
            Self::Fixed(accounts) => accounts.clone(),
            Self::ClaimPath(claim) => match claim.of(claims) {
                // Elsewhere a claim that was forgotten would widen what the token is confined to.
                None if role == Role::Admin => Vec::new(),
                Some(Value::String(one)) => vec![account(one)?],
                Some(Value::Array(items)) if items.len() <= MAX_ACCOUNTS => items
                    .iter()
                    .map(|item| account(item.as_str().ok_or(TokenFault::Accounts)?))
                    .collect::<Result<_, _>>()?,
                None | Some(_) => return Err(TokenFault::Accounts),
            },
        };
        standing(role, accounts).map_err(|_| TokenFault::Accounts)
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

/// RFC 6901 §4. An array has no members by name, so that no step leads into one.
fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// RFC 7519 §4.1.3: a text, or a list of texts.
pub(super) fn is_for(claims: &Map<String, Value>, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => {
            several.iter().all(Value::is_string) && several.iter().any(|one| one == audience)
        }
        _ => false,
    }
}

/// A `NumericDate`. RFC 7519 lets it have a fraction; whole seconds are all that issuers write, and one reading is safer
/// than two.
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

/// The subject as the audit trail names it: as it is, if it is a plain word, else `#` and its SHA-256. `#` is in no plain
/// word, so two subjects never have one name.
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
            other => panic!("{other} is no object"),
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
    fn two_subjects_never_have_one_name() {
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
