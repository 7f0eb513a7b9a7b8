//! Keys that ES256 cannot use, each refused with its own reason.

use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use tn_authority::signer::development::{Curve, SpcCertificate};
use tn_authority::signer::{FileKey, SigningKey as _};

use super::sources::{issue, refusal, wanted};

#[test]
fn a_key_that_is_none_of_es256_is_refused() {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
    let ec = EcKey::generate(&group).expect("a key");
    let key = PKey::from_ec_key(ec.clone()).expect("a key");
    let rsa = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
    let p384 = issue(&SpcCertificate {
        curve: Curve::P384,
        ..wanted()
    });
    let ed25519 = PKey::generate_ed25519().expect("a key");
    let pem = |pem: Result<Vec<u8>, _>| pem.expect("PEM");
    let encrypted = "the signing key is encrypted and no passphrase is configured";
    let cases = [
        (
            pem(rsa.private_key_to_pem_pkcs8()),
            "the signing key is of type RSA; ES256 needs an EC key on the curve P-256",
        ),
        (
            pem(ed25519.private_key_to_pem_pkcs8()),
            "the signing key is of type Ed25519; ES256 needs",
        ),
        (
            p384.key_pem.into_bytes(),
            "the signing key is on the curve `secp384r1`; ES256 needs P-256",
        ),
        (
            pem(key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"secret")),
            encrypted,
        ),
        (
            pem(ec.private_key_to_pem_passphrase(Cipher::aes_256_cbc(), b"secret")),
            encrypted,
        ),
        (
            pem(key.public_key_to_pem()),
            "the key file contains no private key: expected `-----BEGIN PRIVATE KEY-----`, found `PUBLIC KEY`",
        ),
        (
            p384.chain_pem.into_bytes(),
            "the key file contains no private key: expected `-----BEGIN PRIVATE KEY-----`, found `CERTIFICATE`",
        ),
        (
            pem(key.private_key_to_der()),
            "the key file contains no private key: expected `-----BEGIN PRIVATE KEY-----`, found no PEM at all",
        ),
        (Vec::new(), "the key file contains no private key"),
        (
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_vec(),
            "the signing key is malformed: ",
        ),
    ];
    for (pem, reason) in cases {
        let message = refusal(FileKey::from_pem(&pem));
        assert!(message.starts_with(reason), "{message}");
    }
    let another = EcKey::generate(&group).expect("a key");
    let torn = EcKey::from_private_components(&group, another.private_key(), ec.public_key());
    let torn = pem(torn.and_then(|key| key.private_key_to_pem()));
    let message = refusal(FileKey::from_pem(&torn));
    assert!(
        message.starts_with("the signing key is malformed: "),
        "{message}"
    );
    for pem in [
        pem(ec.private_key_to_pem()),
        pem(key.private_key_to_pem_pkcs8()),
    ] {
        let read = FileKey::from_pem(&pem).expect("a key");
        assert_eq!(read.public_key_der(), key.public_key_to_der().expect("DER"));
        // `openssl ecparam -genkey` writes the curve in front.
        let with_parameters = [
            b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
                .as_slice(),
            &pem,
        ]
        .concat();
        assert!(FileKey::from_pem(&with_parameters).is_ok());
        assert_eq!(format!("{read:?}"), "FileKey { .. }");
    }
}
