//! OAuth2 access tokens (RFC 9068): who issued one, whether it is for us and holds now, and whom its claims name.
//!
//! The rules are those of RFC 8725. A token proves a caller only if everything about it is as its issuer's configuration
//! says; there is no default for a claim that is missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use openssl::sha::sha256;
use serde_json::{Map, Value};
use thiserror::Error;

use super::Proven;
use super::jwt::Jwt;
use super::key_source::{Current, KeySettings, KeySource, KeysError};
use super::refusal::{Refusal, TokenFault};
use super::remembered::Remembered;
use super::standing::{StandingError, standing};
use crate::domain::algorithm::Algorithm;
use crate::domain::clock::from_unix;
use crate::domain::hex::hex;
use crate::domain::{AccountId, Clock, Proof, Role, Time};
use crate::telemetry::Metrics;

/// Accounts that a token may name.
const MAX_ACCOUNTS: usize = 256;
/// Characters of a subject that names a caller as it is.
const LONGEST_SUBJECT: usize = 96;
/// The last second that RFC 3339 can write.
const LAST_SECOND: i64 = 253_402_300_799;

/// A claim: the name of a member, or a JSON pointer (RFC 6901), which starts with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim(pub String);

/// Which role a token gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleFrom {
    /// Every token of the issuer has this one.
    Fixed(Role),
    /// The values of a claim, each with its role. What is not among them gives none.
    Claim(Claim, BTreeMap<String, Role>),
}

/// Which accounts a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountsFrom {
    Fixed(Vec<AccountId>),
    /// A text, or a list of texts. It must be there, also if it is empty, for every role but `admin`.
    Claim(Claim),
}

/// How the tokens of an issuer are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerSettings {
    /// `iss`, byte for byte.
    pub issuer: String,
    /// What `aud` has to name.
    pub audience: String,
    pub algorithms: Vec<Algorithm>,
    /// `typ`, without `application/`.
    pub token_type: String,
    /// Seconds by which the clocks of the issuer and of the service may differ.
    pub leeway: u32,
    /// The longest time from `iat` to `exp`, in seconds.
    pub max_lifetime: u32,
    pub max_token_bytes: usize,
    pub role: RoleFrom,
    pub accounts: AccountsFrom,
}

/// Why an issuer cannot be configured like this.
#[derive(Debug, Error)]
pub enum IssuerError {
    #[error(transparent)]
    Standing(#[from] StandingError),
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// An issuer that is trusted.
#[derive(Debug)]
pub struct Issuer {
    name: String,
    settings: IssuerSettings,
    keys: KeySource,
    remembered: Remembered<Kept>,
}

/// What a token proved.
#[derive(Debug, Clone)]
struct Kept {
    proven: Arc<Proven>,
    from: Time,
    until: Time,
    /// Of the keys that verified it.
    generation: u64,
}

impl Issuer {
    /// Trusts an issuer.
    ///
    /// # Errors
    /// [`IssuerError`] if a fixed role and fixed accounts do not go together.
    pub fn new(
        settings: IssuerSettings,
        keys: KeySettings,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, IssuerError> {
        if let (RoleFrom::Fixed(role), AccountsFrom::Fixed(accounts)) =
            (&settings.role, &settings.accounts)
        {
            standing(*role, accounts.clone())?;
        }
        Ok(Self {
            name: keys.name.clone(),
            settings,
            keys: KeySource::new(keys, clock, metrics),
            remembered: Remembered::new(),
        })
    }

    /// Asks for the issuer's keys now, and not when the first token comes. An endpoint is not waited for.
    ///
    /// # Errors
    /// [`IssuerError`] if a file with keys cannot be used.
    pub fn start(&self) -> Result<(), IssuerError> {
        Ok(self.keys.start()?)
    }

    /// Reads or fetches the keys once: how many can be used, and what is wrong with the others. Blocks.
    ///
    /// # Errors
    /// [`IssuerError`] if there are none.
    pub fn check(&self) -> Result<(usize, Vec<String>), IssuerError> {
        Ok(self.keys.check()?)
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn prove(&self, text: &str, jwt: &Jwt<'_>, now: Time) -> Result<Proven, Refusal> {
        let settings = &self.settings;
        if text.len() > settings.max_token_bytes {
            return Err(TokenFault::Long.into());
        }
        let algorithm = jwt.algorithm(&settings.algorithms)?;
        jwt.check_type(&settings.token_type)?;
        let current = self.keys.current(now).ok_or(Refusal::NoKeys)?;
        if let Some(kept) = self.remember(text, &current, now) {
            return Ok(kept);
        }
        let generation = self.verify(jwt, algorithm, current, now)?;
        let claims = jwt.claims();
        if !is_for(claims, &settings.audience) {
            return Err(TokenFault::Audience.into());
        }
        let (from, until) = self.holds(claims, now)?;
        if claims.contains_key("cnf") {
            return Err(TokenFault::Bound.into());
        }
        let role = self.role(claims)?;
        let accounts = self.accounts(claims, role)?;
        let proven = Proven {
            id: format!("oauth:{}:{}", self.name, subject(claims)?),
            proof: Proof::AccessToken,
            role,
            accounts,
            expires: Some(until),
        };
        let kept = Kept {
            proven: Arc::new(proven.clone()),
            from,
            until,
            generation,
        };
        self.remembered
            .keep(text.as_bytes(), kept, |kept| now < kept.until);
        Ok(proven)
    }

    /// A signature is verified once for each token, as long as the keys stay what they are.
    fn remember(&self, text: &str, current: &Current, now: Time) -> Option<Proven> {
        let holds = |kept: &Kept| {
            kept.generation == current.generation && kept.from <= now && now < kept.until
        };
        let kept = self.remembered.get(text.as_bytes(), holds)?;
        Some((*kept.proven).clone())
    }

    fn verify(
        &self,
        jwt: &Jwt<'_>,
        algorithm: Algorithm,
        mut current: Current,
        now: Time,
    ) -> Result<u64, TokenFault> {
        let kid = jwt.kid()?;
        if current.keys.find(kid, algorithm).err() == Some(TokenFault::UnknownKey) {
            current = self
                .keys
                .newer_than(&current, now)
                .ok_or(TokenFault::UnknownKey)?;
        }
        jwt.verify(current.keys.find(kid, algorithm)?)?;
        Ok(current.generation)
    }

    /// From when until when the token holds, the leeway included, if it holds now.
    fn holds(&self, claims: &Map<String, Value>, now: Time) -> Result<(Time, Time), TokenFault> {
        let settings = &self.settings;
        let leeway = TimeDelta::seconds(settings.leeway.into());
        let expires = seconds(claims, "exp")?.ok_or(TokenFault::Times)?;
        let issued = seconds(claims, "iat")?.ok_or(TokenFault::Times)?;
        let starts = seconds(claims, "nbf")?.unwrap_or(issued).max(issued);
        if expires <= issued {
            return Err(TokenFault::Times);
        }
        if expires - issued > i64::from(settings.max_lifetime) {
            return Err(TokenFault::Lifetime);
        }
        let (from, until) = (from_unix(starts) - leeway, from_unix(expires) + leeway);
        if now < from {
            return Err(TokenFault::NotYetValid);
        }
        if now >= until {
            return Err(TokenFault::Expired);
        }
        Ok((from, until))
    }

    fn role(&self, claims: &Map<String, Value>) -> Result<Role, TokenFault> {
        let (claim, roles) = match &self.settings.role {
            RoleFrom::Fixed(role) => return Ok(*role),
            RoleFrom::Claim(claim, roles) => (claim, roles),
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
        let mut given: Vec<Role> = values.iter().filter_map(|v| roles.get(*v)).copied().collect();
        given.dedup();
        match given[..] {
            // Which of several would be meant is left to nobody's guess.
            [role] => Ok(role),
            _ => Err(TokenFault::Role),
        }
    }

    fn accounts(
        &self,
        claims: &Map<String, Value>,
        role: Role,
    ) -> Result<Vec<AccountId>, TokenFault> {
        let accounts = match &self.settings.accounts {
            AccountsFrom::Fixed(accounts) => accounts.clone(),
            AccountsFrom::Claim(claim) => match claim.of(claims) {
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

/// Proves by an access token of one of these issuers.
pub(super) fn prove(issuers: &[Issuer], text: &str, now: Time) -> Result<Proven, Refusal> {
    let longest = issuers.iter().map(|one| one.settings.max_token_bytes).max();
    if longest.is_none_or(|longest| text.len() > longest) {
        return Err(TokenFault::Long.into());
    }
    let jwt = Jwt::parse(text)?;
    // The claim is not to be believed yet: it says whose keys would have to verify it (RFC 8725 §3.8).
    let claimed = jwt.claims().get("iss").and_then(Value::as_str);
    let issuer = issuers
        .iter()
        .find(|issuer| Some(issuer.settings.issuer.as_str()) == claimed);
    issuer.ok_or(TokenFault::Issuer)?.prove(text, &jwt, now)
}

impl Claim {
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
fn is_for(claims: &Map<String, Value>, audience: &str) -> bool {
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
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, TokenFault> {
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
fn subject(claims: &Map<String, Value>) -> Result<String, TokenFault> {
    let subject = claims.get("sub").and_then(Value::as_str);
    let subject = subject.filter(|subject| !subject.is_empty());
    let subject = subject.ok_or(TokenFault::Subject)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~-@+=/:|".contains(&b);
    Ok(
        if subject.len() <= LONGEST_SUBJECT && subject.bytes().all(plain) {
            subject.to_owned()
        } else {
            format!("#{}", hex(&sha256(subject.as_bytes())))
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
            let claim = Claim(claim.to_owned());
            assert_eq!(claim.of(&claims), value.as_ref(), "{claim:?}");
        }
    }

    #[test]
    fn two_subjects_never_have_one_name() {
        let name = |sub: &str| subject(&claims(json!({ "sub": sub })));
        assert_eq!(name("auth0|5f7c@clients").as_deref(), Ok("auth0|5f7c@clients"));
        let long = "x".repeat(LONGEST_SUBJECT + 1);
        let names = ["a b", "a\nb", "a\u{1b}b", "ä", "#", &long].map(|sub| name(sub).expect(sub));
        for one in &names {
            assert!(one.len() == 65 && one.starts_with('#'), "{one}");
            assert_eq!(names.iter().filter(|other| *other == one).count(), 1);
        }
        assert_eq!(name(""), Err(TokenFault::Subject));
        assert_eq!(subject(&claims(json!({ "sub": 7 }))), Err(TokenFault::Subject));
    }

    #[test]
    fn a_numeric_date_is_a_whole_number() {
        let date = |value: Value| seconds(&claims(json!({ "exp": value })), "exp");
        assert_eq!(date(json!(1_767_225_600)), Ok(Some(1_767_225_600)));
        for wrong in [
            json!("1767225600"), json!(1.5), json!(1e9), json!(-1), json!(null), json!([1]), json!(true),
            json!(u64::MAX), json!(LAST_SECOND + 1),
        ] {
            assert_eq!(date(wrong.clone()), Err(TokenFault::Times), "{wrong}");
        }
    }
}
