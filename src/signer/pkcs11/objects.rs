//! The objects of a token that belong to a key: the private key, and the public key in whatever
//! object holds it.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use openssl::x509::X509;

use super::device;
use super::uri::KeyUri;
use crate::signer::error::HsmError;
use crate::signer::p256::{P256, canonical_spki, is_p256, spki_of_point};

/// The one private key that the URI names, if the session can see it.
pub(super) fn private_key(
    session: &Session,
    uri: &KeyUri,
) -> Result<Option<ObjectHandle>, HsmError> {
    match find(session, &uri.key_template(), ObjectClass::PRIVATE_KEY)?[..] {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        _ => Err(HsmError::Key(format!(
            "`{uri}` matches more than one private key; add `id`"
        ))),
    }
}

/// Checks what the token says about a private key. What it does not say is seen at its first
/// signature.
pub(super) fn must_be_usable(
    session: &Session,
    uri: &KeyUri,
    private: ObjectHandle,
) -> Result<(), HsmError> {
    if let Some(Attribute::EcParams(parameters)) =
        attribute(session, private, AttributeType::EcParams)
        && !is_p256(&parameters)
    {
        return Err(HsmError::Key(format!(
            "`{uri}` is not an EC key on the curve P-256, which ES256 needs (RFC 7518 §3.4)"
        )));
    }
    if let Some(Attribute::AlwaysAuthenticate(true)) =
        attribute(session, private, AttributeType::AlwaysAuthenticate)
    {
        return Err(HsmError::Key(format!(
            "`{uri}` wants a login for each signature (`CKA_ALWAYS_AUTHENTICATE`), which is not supported; make a \
             key without this attribute"
        )));
    }
    Ok(())
}

/// The public keys that the token has for a private key, each as a `SubjectPublicKeyInfo`: in an
/// object of its own, as `CKA_PUBLIC_KEY_INFO` (PKCS #11 v3.0 §4.9), or in a certificate. Only a
/// signature shows which of them is right.
pub(super) fn public_keys(
    session: &Session,
    uri: &KeyUri,
    private: ObjectHandle,
) -> Result<Vec<Vec<u8>>, HsmError> {
    let id = match attribute(session, private, AttributeType::Id) {
        Some(Attribute::Id(id)) if !id.is_empty() => Some(id),
        _ => None,
    };
    let named = match id {
        Some(id) => vec![Attribute::Id(id)],
        None => uri.object_template(),
    };
    let mut keys = named_public_keys(session, &named)?;
    if let Some(Attribute::PublicKeyInfo(der)) =
        attribute(session, private, AttributeType::PublicKeyInfo)
    {
        keys.extend(canonical_spki(&der));
    }
    Ok(distinct(keys))
}

/// The public keys that a URI names, in their own objects and in certificates. A session sees most
/// of these without a login.
pub(super) fn visible_public_keys(
    session: &Session,
    uri: &KeyUri,
) -> Result<Vec<Vec<u8>>, HsmError> {
    Ok(distinct(named_public_keys(
        session,
        &uri.object_template(),
    )?))
}

fn named_public_keys(session: &Session, named: &[Attribute]) -> Result<Vec<Vec<u8>>, HsmError> {
    let mut keys = Vec::new();
    for public in find(session, named, ObjectClass::PUBLIC_KEY)? {
        let parameters = attribute(session, public, AttributeType::EcParams);
        let point = attribute(session, public, AttributeType::EcPoint);
        if let Some(Attribute::EcParams(parameters)) = parameters
            && let Some(Attribute::EcPoint(point)) = point
            && is_p256(&parameters)
        {
            keys.extend(spki_of_point(&point));
        }
    }
    let mut certificates = named.to_vec();
    certificates.push(Attribute::CertificateType(CertificateType::X_509));
    for certificate in find(session, &certificates, ObjectClass::CERTIFICATE)? {
        if let Some(Attribute::Value(der)) = attribute(session, certificate, AttributeType::Value) {
            let key = X509::from_der(&der).and_then(|certificate| certificate.public_key());
            let der = key.and_then(|key| key.public_key_to_der());
            keys.extend(der.ok().and_then(|der| canonical_spki(&der)));
        }
    }
    Ok(keys)
}

/// Generates a key pair, from which the private key cannot be extracted.
pub(super) fn generate(session: &Session, uri: &KeyUri) -> Result<ObjectHandle, HsmError> {
    if uri.object_template().is_empty() {
        let why = "a new key needs a name; add `object` or `id` to the URI";
        return Err(HsmError::Key(why.to_owned()));
    }
    let known = find(session, &uri.key_template(), ObjectClass::PRIVATE_KEY)?;
    if !known.is_empty() {
        return Err(HsmError::Key(format!("the key `{uri}` exists already")));
    }
    let public = [
        uri.object_template(),
        vec![
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
            Attribute::EcParams(P256.to_vec()),
        ],
    ];
    let private = [
        uri.object_template(),
        vec![
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ],
    ];
    let made = session.generate_key_pair(
        &Mechanism::EccKeyPairGen,
        &public.concat(),
        &private.concat(),
    );
    made.map(|(_, private)| private).map_err(|e| device(&e))
}

fn find(
    session: &Session,
    named: &[Attribute],
    class: ObjectClass,
) -> Result<Vec<ObjectHandle>, HsmError> {
    let mut template = named.to_vec();
    template.push(Attribute::Class(class));
    session.find_objects(&template).map_err(|e| device(&e))
}

/// An attribute, if the object has it. Modules answer differently for one that they do not know.
fn attribute(session: &Session, object: ObjectHandle, kind: AttributeType) -> Option<Attribute> {
    let read = session.get_attributes(object, &[kind]).ok()?;
    read.into_iter().next()
}

fn distinct(mut keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    keys.sort_unstable();
    keys.dedup();
    keys
}
