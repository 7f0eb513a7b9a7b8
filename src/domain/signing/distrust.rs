//! Signing keys that are distrusted, such as stolen ones. Distrust is permanent: a key that was
//! said to be known to others stays so.

use uuid::Uuid;

use crate::domain::clock::Time;
use crate::domain::numbers::spc::Spc;

/// That the key of a certificate chain is distrusted. Nothing is signed with it from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distrust {
    /// The same for all chains of the key.
    pub id: Uuid,
    /// The name of the chain.
    pub chain: String,
    /// SHA-256 of the public key (`SubjectPublicKeyInfo`), in hex. A new certificate for the same
    /// key is recognized by it.
    pub public_key: String,
    /// SHA-256 of the signing certificate, in hex.
    pub certificate: String,
    pub at: Time,
    /// Why, in the words of the operator.
    pub reason: String,
    /// The id of the credential of the operator.
    pub by: String,
}

/// A chain that must not sign, as a decision needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistrustedChain {
    pub name: String,
    /// The service provider codes of its certificate.
    pub spcs: Vec<Spc>,
}
