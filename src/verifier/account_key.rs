//! Checks that the public key of an ACME account is valid. A CA refuses a point that is not on its
//! curve (RFC 7518 §6.2.1), so no one could redeem a token that is bound to one. Other kinds of
//! keys are fully checked when their JWK is parsed.

use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcPoint};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use thiserror::Error;

use crate::domain::tokens::jwk::{AccountJwk, EcCurve};

/// A key that every CA refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the point is not on the curve {0}, so every CA would refuse the key")]
pub struct OffCurve(EcCurve);

/// Checks that the point of a key is on its curve.
pub fn check_account_key(key: &AccountJwk) -> Result<(), OffCurve> {
    let Some(point) = key.point() else {
        return Ok(());
    };
    match is_on(point.curve, &point.x, &point.y) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(OffCurve(point.curve)),
    }
}

/// Being on the curve suffices: the only point of small order is infinity, which has no
/// coordinates.
fn is_on(curve: EcCurve, x: &[u8], y: &[u8]) -> Result<bool, ErrorStack> {
    let group = EcGroup::from_curve_name(match curve {
        EcCurve::P256 => Nid::X9_62_PRIME256V1,
        EcCurve::P384 => Nid::SECP384R1,
        EcCurve::P521 => Nid::SECP521R1,
    })?;
    // SEC 1 §2.3.4: OpenSSL accepts the uncompressed form only if both coordinates are in range and
    // on the curve.
    let octets = [&[4], x, y].concat();
    let mut context = BigNumContext::new()?;
    Ok(EcPoint::from_bytes(&group, &octets, &mut context).is_ok())
}

#[cfg(test)]
mod tests {
    use openssl::bn::BigNum;
    use openssl::ec::EcKey;

    use super::*;

    #[test]
    fn the_keys_that_openssl_makes_are_on_their_curves() {
        let on = |curve, x: &[u8], y: &[u8]| is_on(curve, x, y).expect("an answer");
        for (curve, nid, length) in [
            (EcCurve::P256, Nid::X9_62_PRIME256V1, 32),
            (EcCurve::P384, Nid::SECP384R1, 48),
            (EcCurve::P521, Nid::SECP521R1, 66),
        ] {
            let group = EcGroup::from_curve_name(nid).expect("a curve");
            for _ in 0..10 {
                let key = EcKey::generate(&group).expect("a key");
                let [mut x, mut y] = [BigNum::new(), BigNum::new()].map(|n| n.expect("a number"));
                let mut context = BigNumContext::new().expect("a context");
                key.public_key()
                    .affine_coordinates(&group, &mut x, &mut y, &mut context)
                    .expect("coordinates");
                let padded = |n: &BigNum| n.to_vec_padded(length).expect("octets");
                let (x, mut y) = (padded(&x), padded(&y));
                assert!(on(curve, &x, &y));
                *y.last_mut().expect("an octet") ^= 1;
                assert!(!on(curve, &x, &y));
                assert!(!on(curve, &vec![0xff; y.len()], &y));
            }
        }
    }
}
