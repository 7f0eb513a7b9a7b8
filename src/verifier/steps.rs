//! The nine steps of RFC 9448 §6, in order and with the numbers of the RFC.

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
const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::seconds(60);

pub(super) fn walk(jws: &Jws<'_>, expected: &Expectations, at: Time) -> VerificationReport {
    let atc = AtcClaim::read(jws.payload());
    let by_url = jws
        .header("x5u")
        .map(|x5u| expected.trust.by_url(x5u, jws, at));
    let url_signer = by_url.as_ref().and_then(|signer| signer.as_ref().ok());
    let by_chain = jws
        .header("x5c")
        .map(|x5c| expected.trust.by_chain(x5c, url_signer, at));

    let mut steps = vec![
        Step::from_result(
            1,
            atc.as_ref().map(|_| "all members are present".to_owned()),
        ),
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
        let skipped = |number| Step::new(number, StepOutcome::Skipped, "`atc` is malformed");
        steps.extend([skipped(5), skipped(6), remaining, skipped(8), skipped(9)]);
    }
    let no_answer = matches!(by_url, Some(Err(TrustError::NoAnswer { .. })));
    VerificationReport::new(steps, jws.payload().clone(), no_answer)
}

type SignerResult = Result<TrustedSigner, TrustError>;

/// Steps 2 and 3: `x5u` and `x5c`, if present, must each lead to a trusted authority.
fn trusted(number: usize, signer: Option<&SignerResult>) -> Step {
    match signer {
        Some(signer) => Step::from_result(number, signer.as_ref().map(TrustedSigner::to_string)),
        None => Step::new(number, StepOutcome::Skipped, "not in the header"),
    }
}

/// Step 4.
fn signature(
    jws: &Jws<'_>,
    by_url: Option<&SignerResult>,
    by_chain: Option<&SignerResult>,
) -> Result<String, &'static str> {
    let signer = match (by_url, by_chain) {
        (None, None) => return Err("the header has neither `x5u` nor `x5c`"),
        (Some(Ok(one)), Some(Ok(other))) if one.public_key() != other.public_key() => {
            return Err("`x5u` and `x5c` lead to different keys");
        }
        (Some(Err(_)), _) | (_, Some(Err(_))) => {
            return Err("there is no trusted key to verify it with");
        }
        (Some(Ok(signer)), _) | (None, Some(Ok(signer))) => signer,
    };
    match jws.is_signed_by(signer.public_key()) {
        Ok(true) => Ok("ES256, verified with the trusted key".to_owned()),
        Ok(false) | Err(_) => Err("it does not verify with the trusted key"),
    }
}

/// Step 5.
fn tktype(atc: &AtcClaim, expected: &Expectations) -> Result<String, ClaimsError> {
    atc.check_tktype(expected.tktype)?;
    Ok(format!("`{}`", atc.tktype))
}

/// Step 6: compares character by character. A broader or narrower list is a different list.
fn tkvalue(atc: &AtcClaim, expected: &Expectations) -> Step {
    let value = match atc.tkvalue(expected.tktype, expected.dialect) {
        Ok(value) => value,
        Err(error) => return Step::from_result(6, Err(error)),
    };
    let entries = value.entries();
    match &expected.identifier {
        None => {
            let detail = format!(
                "a {}, entries: {entries}; no identifier was given to compare it with",
                value.tktype()
            );
            Step::new(6, StepOutcome::Skipped, detail)
        }
        Some(identifier) if value == *identifier => {
            Step::new(6, StepOutcome::Passed, format!("equal, entries: {entries}"))
        }
        Some(identifier) => {
            let detail = format!(
                "`tkvalue` is `{}`, but the identifier is `{}`",
                printable(&atc.tkvalue),
                printable(&identifier.text())
            );
            Step::new(6, StepOutcome::Failed, detail)
        }
    }
}

/// Step 7: RFC 7519 §4.1. A token is expired on and after `exp`.
fn remaining(jws: &Jws<'_>, expected: &Expectations, at: Time) -> Result<String, String> {
    let claims = RegisteredClaims::read(jws.payload()).map_err(|e| e.to_string())?;
    if at >= claims.exp {
        return Err(format!("the token expired at {}", rfc3339(&claims.exp)));
    }
    let starts = [("nbf", claims.nbf), ("iat", claims.iat)];
    for (name, start) in starts {
        if let Some(start) = start.filter(|start| *start - MAX_CLOCK_SKEW > at) {
            return Err(format!("`{name}` is in the future: {}", rfc3339(&start)));
        }
    }
    let is_ours = |name: &String| Some(name) == expected.audience.as_ref();
    if !claims.aud.is_empty() && !claims.aud.iter().any(is_ours) {
        return Err(format!(
            "the audience of the token is `{}`",
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
            "the token is bound to {fingerprint}, but the account key is {}",
            expected.fingerprint
        ))
    }
}

/// Step 9: both must be equal, so a token with `ca` cannot be used for an end-entity certificate
/// either.
fn ca(atc: &AtcClaim, expected: &Expectations) -> Step {
    match expected.ca {
        None => {
            let detail = format!("`ca` is {}; no CSR was given to compare it with", atc.ca);
            Step::new(9, StepOutcome::Skipped, detail)
        }
        Some(ca) if ca == atc.ca => Step::new(9, StepOutcome::Passed, format!("both are {ca}")),
        Some(ca) => {
            let detail = format!("`ca` is {}, but the CSR's `cA` is {ca}", atc.ca);
            Step::new(9, StepOutcome::Failed, detail)
        }
    }
}
