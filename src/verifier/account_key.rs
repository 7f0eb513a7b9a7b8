//! Whether a public key is one: a CA takes no point beside its curve (RFC 7518 §6.2.1, RFC 8032 §5), so a token that is bound
//! to one is for nobody. Of an RSA key its form tells all that anybody can see.

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcPoint};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use thiserror::Error;

use crate::domain::jwk::{AccountJwk, EcCurve, EdwardsCurve, Point};

/// A key that no CA takes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the point is not on the curve {0}, so that no CA takes the key")]
pub struct OffCurve(String);

/// Checks that the point of a key is on its curve.
///
/// # Errors
/// [`OffCurve`] if it is not.
pub fn check_account_key(key: &AccountJwk) -> Result<(), OffCurve> {
    let (curve, on_curve) = match key.point() {
        None => return Ok(()),
        Some(Point::Ec { curve, x, y }) => (curve.to_string(), is_on_ec(*curve, x, y)),
        Some(Point::Edwards { curve, octets }) => {
            (curve.to_string(), is_on_edwards(*curve, octets))
        }
    };
    match on_curve {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(OffCurve(curve)),
    }
}

/// The curves have no point of small order but infinity, which has no coordinates.
fn is_on_ec(curve: EcCurve, x: &[u8], y: &[u8]) -> Result<bool, ErrorStack> {
    let group = EcGroup::from_curve_name(match curve {
        EcCurve::P256 => Nid::X9_62_PRIME256V1,
        EcCurve::P384 => Nid::SECP384R1,
        EcCurve::P521 => Nid::SECP521R1,
    })?;
    // SEC 1 §2.3.4: the uncompressed form, which is read only if both coordinates are in their range and on the curve.
    let octets = [&[4], x, y].concat();
    let mut context = BigNumContext::new()?;
    Ok(EcPoint::from_bytes(&group, &octets, &mut context).is_ok())
}

/// RFC 8032 §5.1.3 and §5.2.3: whether there is an x for this y. OpenSSL asks this only of a key that it verifies with, and
/// then does not tell it from a wrong signature.
///
/// A point of `a x² + y² = 1 + d x² y²` has `x² = (1 - y²) / (a - d y²)`. With `d = n/m` the right side is a square if and
/// only if `(1 - y²) (a m - n y²) m` is one.
fn is_on_edwards(curve: EdwardsCurve, octets: &[u8]) -> Result<bool, ErrorStack> {
    let small = BigNum::from_u32;
    let (p, a_m, minus_n, m) = match curve {
        // p = 2^255 - 19, a = -1, d = -121665/121666
        EdwardsCurve::Ed25519 => (
            minus(&power(255)?, &small(19)?)?,
            minus(&small(0)?, &small(121_666)?)?,
            small(121_665)?,
            small(121_666)?,
        ),
        // p = 2^448 - 2^224 - 1, a = 1, d = -39081
        EdwardsCurve::Ed448 => (
            minus(&minus(&power(448)?, &power(224)?)?, &small(1)?)?,
            small(1)?,
            small(39_081)?,
            small(1)?,
        ),
    };
    // Little-endian, with the sign of x in the highest bit.
    let mut y: Vec<u8> = octets.iter().rev().copied().collect();
    let x_is_odd = y.first().is_some_and(|first| first & 0x80 != 0);
    if let Some(first) = y.first_mut() {
        *first &= 0x7f;
    }
    let y = BigNum::from_slice(&y)?;
    if y >= p {
        return Ok(false);
    }
    let mut context = BigNumContext::new()?;
    let [mut y2, mut left, mut right, mut ratio, mut symbol, mut half] = numbers()?;
    y2.mod_sqr(&y, &p, &mut context)?;
    left.mod_sub(&*small(1)?, &y2, &p, &mut context)?;
    if left.num_bits() == 0 {
        // x is zero, which has no sign.
        return Ok(!x_is_odd);
    }
    symbol.mod_mul(&minus_n, &y2, &p, &mut context)?;
    right.mod_add(&a_m, &symbol, &p, &mut context)?;
    symbol.mod_mul(&left, &right, &p, &mut context)?;
    ratio.mod_mul(&symbol, &m, &p, &mut context)?;
    // Euler's criterion.
    half.rshift1(&p)?;
    symbol.mod_exp(&ratio, &half, &p, &mut context)?;
    Ok(symbol == small(1)?)
}

fn power(of_two: i32) -> Result<BigNum, ErrorStack> {
    let mut power = BigNum::new()?;
    power.set_bit(of_two)?;
    Ok(power)
}

fn minus(left: &BigNum, right: &BigNum) -> Result<BigNum, ErrorStack> {
    let mut difference = BigNum::new()?;
    difference.checked_sub(left, right)?;
    Ok(difference)
}

fn numbers() -> Result<[BigNum; 6], ErrorStack> {
    let new = BigNum::new;
    Ok([new()?, new()?, new()?, new()?, new()?, new()?])
}

#[cfg(test)]
mod tests {
    use openssl::ec::EcKey;
    use openssl::pkey::{Id, PKey};

    use super::*;

    fn ec(curve: EcCurve, x: &[u8], y: &[u8]) -> bool {
        is_on_ec(curve, x, y).expect("an answer")
    }

    fn edwards(curve: EdwardsCurve, octets: &[u8]) -> bool {
        is_on_edwards(curve, octets).expect("an answer")
    }

    #[test]
    fn the_keys_that_openssl_makes_are_on_their_curves() {
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
                assert!(ec(curve, &x, &y));
                *y.last_mut().expect("an octet") ^= 1;
                assert!(!ec(curve, &x, &y));
                assert!(!ec(curve, &vec![0xff; y.len()], &y));
            }
        }
        for (curve, id) in [
            (EdwardsCurve::Ed25519, Id::ED25519),
            (EdwardsCurve::Ed448, Id::ED448),
        ] {
            for _ in 0..50 {
                let key = match id {
                    Id::ED25519 => PKey::generate_ed25519(),
                    _ => PKey::generate_ed448(),
                };
                let octets = key.expect("a key").raw_public_key().expect("octets");
                assert!(edwards(curve, &octets));
            }
        }
    }

    #[test]
    fn half_of_all_octets_are_no_point_of_an_edwards_curve() {
        for (curve, length) in [(EdwardsCurve::Ed25519, 32), (EdwardsCurve::Ed448, 57)] {
            let point = |first: u8, sign: u8| {
                let mut octets = vec![0; length];
                (octets[0], octets[length - 1]) = (first, sign);
                edwards(curve, &octets)
            };
            let points = (2..=255).filter(|first| point(*first, 0)).count();
            assert!((90..=164).contains(&points), "{points} of {curve}");
            for first in 2..=255 {
                assert_eq!(point(first, 0), point(first, 0x80), "{first} of {curve}");
            }
            // y = 1: x is zero, and has one sign only.
            assert_eq!((point(1, 0), point(1, 0x80)), (true, false));
            // More than any y is.
            assert!(!edwards(curve, &vec![0xff; length]));
        }
    }
}
