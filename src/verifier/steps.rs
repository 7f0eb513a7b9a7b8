//! The nine steps of RFC 9448 §6, in their order and by their numbers.

use chrono::TimeDelta;

use super::Expectations;
use super::claims::{AtcClaim, ClaimsError, RegisteredClaims};
use super::jws::Jws;
use super::report::{Step, StepOutcome, VerificationReport};
use super::trust::{TrustError, TrustedSigner};
use crate::domain::Time;
use crate::domain::clock::rfc3339;
use crate::domain::text::printable::printable;

/// How far the clock of an authority may be ahead of ours. There is no leeway for `exp`.
const AHEAD: TimeDelta = TimeDelta::seconds(60);

pub(super) fn walk(jws: &Jws<'_>, expected: &Expectations, at: Time) -> VerificationReport {
    let atc = AtcClaim::read(jws.payload());
    let by_url = jws
        .header("x5u")
        .map(|x5u| expected.trust.by_url(x5u, jws, at));
    let led_to = by_url.as_ref().and_then(|signer| signer.as_ref().ok());
    let by_chain = jws
        .header("x5c")
        .map(|x5c| expected.trust.by_chain(x5c, led_to, at));

    let mut steps = vec![
        Step::from_result(1, atc.as_ref().map(|_| "all members are there".to_owned())),
        trusted(2, by_url.as_ref()),
        trusted(3, by_chain.as_ref()),
        Step::from_result(4, signature(jws, by_url.as_ref(), by_chain.as_ref())),
    ];
    let remaining = Step::from_result(7, remaining(jws, expected, at));
    if let Ok(atc) = &atc {
        steps.extend([
            Step::from_result(5, tktype(atc, expected)),
            tkvalue(atc, expected),
            remaining,
            Step::from_result(8, fingerprint(atc, expected)),
            ca(atc, expected),
        ]);
    } else {
        let unread = |number| Step::new(number, StepOutcome::Skipped, "`atc` could not be read");
        steps.extend([unread(5), unread(6), remaining, unread(8), unread(9)]);
    }
    VerificationReport::new(steps, jws.payload().clone())
}

type Found = Result<TrustedSigner, TrustError>;

/// Steps 2 and 3: each of `x5u` and `x5c` that is present has to lead to a trusted authority.
fn trusted(number: usize, found: Option<&Found>) -> Step {
    match found {
        Some(found) => Step::from_result(number, found.as_ref().map(TrustedSigner::to_string)),
        None => Step::new(number, StepOutcome::Skipped, "the header has none"),
    }
}

/// Step 4.
fn signature(
    jws: &Jws<'_>,
    by_url: Option<&Found>,
    by_chain: Option<&Found>,
) -> Result<String, &'static str> {
    let signer = match (by_url, by_chain) {
        (None, None) => return Err("the header has neither `x5u` nor `x5c`"),
        (Some(Ok(one)), Some(Ok(other))) if one.public_key() != other.public_key() => {
            return Err("`x5u` and `x5c` lead to different keys");
        }
        (Some(Err(_)), _) | (_, Some(Err(_))) => {
            return Err("there is no trusted key to check it with");
        }
        (Some(Ok(signer)), _) | (None, Some(Ok(signer))) => signer,
    };
    match jws.is_signed_by(signer.public_key()) {
        Ok(true) => Ok("ES256, made by the trusted key".to_owned()),
        Ok(false) | Err(_) => Err("the trusted key did not make it"),
    }
}

/// Step 5.
fn tktype(atc: &AtcClaim, expected: &Expectations) -> Result<String, ClaimsError> {
    atc.check_tktype(expected.tktype)?;
    Ok(format!("`{}`", atc.tktype))
}

/// Step 6: equality, character for character; a broader or narrower list is another list.
fn tkvalue(atc: &AtcClaim, expected: &Expectations) -> Step {
    let value = match atc.tkvalue(expected.tktype, expected.dialect) {
        Ok(value) => value,
        Err(error) => return Step::from_result(6, Err(error)),
    };
    let entries = value.entries();
    match &expected.identifier {
        None => {
            let detail = format!(
                "a {}, entries: {entries}; no identifier to compare it with",
                value.tktype()
            );
            Step::new(6, StepOutcome::Skipped, detail)
        }
        Some(identifier) if value == *identifier => {
            Step::new(6, StepOutcome::Passed, format!("equal, entries: {entries}"))
        }
        Some(identifier) => {
            let detail = format!(
                "`tkvalue` is `{}`, the identifier is `{}`",
                printable(&atc.tkvalue),
                printable(&identifier.text())
            );
            Step::new(6, StepOutcome::Failed, detail)
        }
    }
}

/// Step 7: RFC 7519 §4.1. On or after `exp` a token is expired.
fn remaining(jws: &Jws<'_>, expected: &Expectations, at: Time) -> Result<String, String> {
    let claims = RegisteredClaims::read(jws.payload()).map_err(|e| e.to_string())?;
    if at >= claims.exp {
        return Err(format!("the token expired at {}", rfc3339(&claims.exp)));
    }
    let starts = [("nbf", claims.nbf), ("iat", claims.iat)];
    for (name, start) in starts {
        if let Some(start) = start.filter(|start| *start - AHEAD > at) {
            return Err(format!("`{name}` is in the future: {}", rfc3339(&start)));
        }
    }
    let is_ours = |name: &String| Some(name) == expected.audience.as_ref();
    if !claims.aud.is_empty() && !claims.aud.iter().any(is_ours) {
        return Err(format!(
            "the token is made out to `{}`",
            printable(&claims.aud.join("`, `"))
        ));
    }
    Ok(format!(
        "`exp` {}, `jti` `{}`",
        rfc3339(&claims.exp),
        printable(&claims.jti)
    ))
}

/// Step 8.
fn fingerprint(atc: &AtcClaim, expected: &Expectations) -> Result<String, String> {
    let fingerprint = atc.fingerprint().map_err(|e| e.to_string())?;
    if fingerprint == expected.fingerprint {
        Ok("equal".to_owned())
    } else {
        Err(format!(
            "the token is bound to {fingerprint}, the account's key is {}",
            expected.fingerprint
        ))
    }
}

/// Step 9: both ways, so a token with `ca` does not serve for an end-entity certificate either.
fn ca(atc: &AtcClaim, expected: &Expectations) -> Step {
    match expected.ca {
        None => {
            let detail = format!("`ca` is {}; no CSR to compare it with", atc.ca);
            Step::new(9, StepOutcome::Skipped, detail)
        }
        Some(ca) if ca == atc.ca => Step::new(9, StepOutcome::Passed, format!("both are {ca}")),
        Some(ca) => {
            let detail = format!("`ca` is {}, the CSR's `cA` is {ca}", atc.ca);
            Step::new(9, StepOutcome::Failed, detail)
        }
    }
}
