//! Public keys on P-256 in the encodings that occur, and the one that certificates use: a
//! `SubjectPublicKeyInfo` with a named curve and an uncompressed point (RFC 5480 §2).

use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcGroupRef, EcKey, EcPoint, EcPointRef, PointConversionForm};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::PKey;

/// The OID of P-256 in DER (RFC 5480 §2.1.1.1), which is the `CKA_EC_PARAMS` of a key.
pub(super) const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// Its names in the `curveName` of PKCS #11 v3.0 §2.3.3.
const P256_NAMES: [&[u8]; 3] = [b"secp256r1", b"prime256v1", b"P-256"];
/// `id-ecPublicKey` in DER.
const EC_PUBLIC_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const UNCOMPRESSED: usize = 65;
const COMPRESSED: usize = 33;

/// Whether these `ECParameters` (RFC 3279 §2.3.5) are those of P-256: by OID, by name, or explicit
/// ones that are equal to them.
pub(super) fn is_p256(parameters: &[u8]) -> bool {
    match parameters {
        // PrintableString or UTF8String.
        [0x13 | 0x0c, length, name @ ..] => {
            usize::from(*length) == name.len() && P256_NAMES.contains(&name)
        }
        [0x30, ..] => explicit_is_p256(parameters).unwrap_or(false),
        oid => oid == P256,
    }
}

/// The public key with this `CKA_EC_POINT`; `None` if it is no point on P-256.
pub(super) fn spki_of_point(encoded: &[u8]) -> Option<Vec<u8>> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).ok()?;
    let mut context = BigNumContext::new().ok()?;
    let point = EcPoint::from_bytes(&group, bare_point(encoded)?, &mut context).ok()?;
    spki(&group, &point).ok()
}

/// The public key of a `SubjectPublicKeyInfo` in any encoding; `None` if it is not on P-256.
pub(super) fn canonical_spki(der: &[u8]) -> Option<Vec<u8>> {
    let key = PKey::public_key_from_der(der).ok()?.ec_key().ok()?;
    named_spki(key.group(), key.public_key()).ok().flatten()
}

/// The public key of a point on a curve, which may have been read from explicit parameters; `None`
/// if the curve is another one.
pub(super) fn named_spki(
    curve: &EcGroupRef,
    point: &EcPointRef,
) -> Result<Option<Vec<u8>>, ErrorStack> {
    // OpenSSL finds the name of explicit parameters itself.
    if curve.curve_name() != Some(Nid::X9_62_PRIME256V1) {
        return Ok(None);
    }
    let mut context = BigNumContext::new()?;
    let bytes = point.to_bytes(curve, PointConversionForm::UNCOMPRESSED, &mut context)?;
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let point = EcPoint::from_bytes(&group, &bytes, &mut context)?;
    spki(&group, &point).map(Some)
}

fn spki(group: &EcGroup, point: &EcPointRef) -> Result<Vec<u8>, ErrorStack> {
    let key = EcKey::from_public_key(group, point)?;
    key.check_key()?;
    PKey::from_ec_key(key)?.public_key_to_der()
}

/// PKCS #11 wraps the point in an OCTET STRING; some modules omit that, or use a BIT STRING, or a
/// longer form of the length. The lengths tell these encodings apart.
fn bare_point(encoded: &[u8]) -> Option<&[u8]> {
    let is_point = |bare: &&[u8]| {
        matches!(
            (bare.len(), bare.first()),
            (UNCOMPRESSED, Some(0x04)) | (COMPRESSED, Some(0x02 | 0x03))
        )
    };
    let (tag, content) = match encoded {
        bare if is_point(&bare) => return Some(bare),
        [tag, 0x81, length, content @ ..] | [tag, length, content @ ..]
            if usize::from(*length) == content.len() =>
        {
            (*tag, content)
        }
        _ => return None,
    };
    let ((0x04, bare) | (0x03, [0x00, bare @ ..])) = (tag, content) else {
        return None;
    };
    Some(bare).filter(is_point)
}

/// Decodes the parameters in the `SubjectPublicKeyInfo` of the generator of P-256.
fn explicit_is_p256(parameters: &[u8]) -> Option<bool> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).ok()?;
    let mut context = BigNumContext::new().ok()?;
    let form = PointConversionForm::UNCOMPRESSED;
    let point = group
        .generator_opt()?
        .to_bytes(&group, form, &mut context)
        .ok()?;
    let algorithm = der(0x30, &[&EC_PUBLIC_KEY, parameters])?;
    let key = der(0x30, &[&algorithm, &der(0x03, &[&[0], &point])?])?;
    let key = PKey::public_key_from_der(&key).ok()?.ec_key().ok()?;
    Some(key.group().curve_name() == Some(Nid::X9_62_PRIME256V1))
}

/// A DER value of up to 65,535 bytes.
fn der(tag: u8, parts: &[&[u8]]) -> Option<Vec<u8>> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).ok()?.to_be_bytes();
    let mut value = match length {
        [0, length @ 0..=0x7f] => vec![tag, length],
        [0, length] => vec![tag, 0x81, length],
        [high, low] => vec![tag, 0x82, high, low],
    };
    value.extend(content);
    Some(value)
}

#[cfg(test)]
mod tests {
    use openssl::ec::Asn1Flag;

    use super::*;

    fn group(curve: Nid) -> EcGroup {
        EcGroup::from_curve_name(curve).expect("a curve")
    }

    /// The `ECParameters` of a key on this curve, explicit.
    fn explicit(curve: Nid) -> Vec<u8> {
        let mut group = group(curve);
        group.set_asn1_flag(Asn1Flag::EXPLICIT_CURVE);
        let key = EcKey::generate(&group).expect("a key");
        let der = PKey::from_ec_key(key).and_then(|key| key.public_key_to_der());
        let der = der.expect("DER");
        // SEQUENCE, SEQUENCE, id-ecPublicKey, and then the parameters, which are a SEQUENCE of more
        // than 127 bytes.
        let at = der
            .windows(EC_PUBLIC_KEY.len())
            .position(|part| part == EC_PUBLIC_KEY)
            .expect("id-ecPublicKey")
            + EC_PUBLIC_KEY.len();
        let (head, length) = match der[at..] {
            [0x30, 0x81, length, ..] => (3, usize::from(length)),
            [0x30, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
            _ => panic!("no explicit parameters: {}", hex::encode(&der)),
        };
        der[at..at + head + length].to_vec()
    }

    #[test]
    fn a_curve_is_the_one_whose_parameters_it_has() {
        assert!(is_p256(&P256));
        for name in ["secp256r1", "prime256v1", "P-256"] {
            let length = u8::try_from(name.len()).expect("a length");
            for tag in [0x13, 0x0c] {
                assert!(
                    is_p256(&[&[tag, length], name.as_bytes()].concat()),
                    "{name}"
                );
            }
            assert!(!is_p256(&[&[0x13, length + 1], name.as_bytes()].concat()));
        }
        assert!(
            is_p256(&explicit(Nid::X9_62_PRIME256V1)),
            "explicit ones of P-256"
        );
        for other in [Nid::SECP384R1, Nid::SECP256K1] {
            assert!(!is_p256(&explicit(other)), "{other:?}");
        }
        let mut changed = explicit(Nid::X9_62_PRIME256V1);
        // A byte of the prime.
        changed[40] ^= 2;
        for other in [
            &changed[..],
            &[],
            &[0x05, 0x00],
            &[0x13],
            &[0x30, 0x00],
            b"\x13\x05P-384",
        ] {
            assert!(!is_p256(other), "{}", hex::encode(other));
        }
    }

    #[test]
    fn a_point_is_read_in_every_encoding() {
        let group = group(Nid::X9_62_PRIME256V1);
        let key = EcKey::generate(&group).expect("a key");
        let mut context = BigNumContext::new().expect("a context");
        let mut bytes = |form| {
            let point = key.public_key().to_bytes(&group, form, &mut context);
            point.expect("a point")
        };
        let long = bytes(PointConversionForm::UNCOMPRESSED);
        let short = bytes(PointConversionForm::COMPRESSED);
        let public = EcKey::from_public_key(&group, key.public_key()).expect("a key");
        let expected = PKey::from_ec_key(public).and_then(|key| key.public_key_to_der());
        let expected = expected.expect("DER");
        for (head, point) in [
            (&[][..], &long),
            (&[0x04, 0x41], &long),
            (&[0x04, 0x81, 0x41], &long),
            (&[0x03, 0x42, 0x00], &long),
            (&[], &short),
            (&[0x04, 0x21], &short),
            (&[0x03, 0x22, 0x00], &short),
        ] {
            let encoded = [head, point].concat();
            let read = spki_of_point(&encoded);
            assert_eq!(read.as_ref(), Some(&expected), "{}", hex::encode(encoded));
        }
        let mut off_the_curve = long.clone();
        off_the_curve[64] ^= 1;
        for wrong in [
            &off_the_curve[..],
            &long[1..],
            &[],
            &[0x04],
            &[0x00],
            &[&[0x04, 0x40], &long[..]].concat(),
            &[&[0x03, 0x42, 0x01], &long[..]].concat(),
            &[&[0x0c, 0x41], &long[..]].concat(),
        ] {
            assert_eq!(spki_of_point(wrong), None, "{}", hex::encode(wrong));
        }
        assert_eq!(canonical_spki(&expected), Some(expected.clone()));
        assert_eq!(canonical_spki(&expected[1..]), None);
    }

    #[test]
    fn a_key_with_explicit_parameters_gets_the_name_of_its_curve() {
        let mut explicit = group(Nid::X9_62_PRIME256V1);
        explicit.set_asn1_flag(Asn1Flag::EXPLICIT_CURVE);
        let key = EcKey::generate(&explicit).expect("a key");
        let der = PKey::from_ec_key(key.clone()).and_then(|key| key.public_key_to_der());
        let der = der.expect("DER");
        assert!(der.len() > 200, "the parameters are in it");
        let named = canonical_spki(&der).expect("P-256");
        assert_eq!(named.len(), 91);
        assert_eq!(
            named_spki(key.group(), key.public_key()).expect("DER"),
            Some(named)
        );
    }
}
