//! Encrypts the stored answers of requests with an idempotency key, and derives the names under
//! which they are stored. A copy of the database reveals neither who sent which key, nor any token.
//!
//! All secrets here are derived from the secret of the API keys, with HMAC-SHA256. Without that
//! secret, or with another one, no stored answer can be found or decrypted.

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;

use super::aead::{self, SealError, part};
use super::pepper::{Pepper, PepperError, Peppers};
use crate::domain::{AccountId, Caller, IdempotencyKey, Role};

/// Derives the [`Seal`] of each request.
pub struct Seals {
    newest: PKey<Private>,
    /// Answers that were kept before the secret of the API keys was changed.
    previous: Option<PKey<Private>>,
}

impl std::fmt::Debug for Seals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seals(..)")
    }
}

/// Encrypts and decrypts the answers for one idempotency key of one tenant.
#[derive(Clone)]
pub struct Seal {
    name: String,
    secret: Vec<u8>,
    digesting: PKey<Private>,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Peppers {
    /// The derived secrets that seal answers.
    pub fn seals(&self) -> Result<Seals, PepperError> {
        let sealing = |pepper: &Pepper| -> Result<PKey<Private>, PepperError> {
            let secret = pepper.hash(b"tn-authority: idempotency keys and answers")?;
            Ok(PKey::hmac(&secret)?)
        };
        Ok(Seals {
            newest: sealing(&self.newest)?,
            previous: self.previous.as_ref().map(sealing).transpose()?,
        })
    }
}

impl Seals {
    /// The seal for a key of this caller's tenant.
    pub fn seal(&self, caller: &Caller, key: &IdempotencyKey) -> Result<Seal, SealError> {
        Seal::derived(&self.newest, caller, key)
    }

    /// The seal that the key had before the secret of the API keys was changed; `None` if it was
    /// not.
    pub fn previous_seal(
        &self,
        caller: &Caller,
        key: &IdempotencyKey,
    ) -> Result<Option<Seal>, SealError> {
        let previous = self.previous.as_ref();
        let seal = previous.map(|secret| Seal::derived(secret, caller, key));
        seal.transpose()
    }
}

impl Seal {
    fn derived(
        secret: &PKey<Private>,
        caller: &Caller,
        key: &IdempotencyKey,
    ) -> Result<Self, SealError> {
        let mut context = tenant(caller);
        part(&mut context, key.as_str());
        let derive = |what: &str| -> Result<Vec<u8>, ErrorStack> {
            let mut text = Vec::new();
            part(&mut text, what);
            text.extend_from_slice(&context);
            Signer::new(MessageDigest::sha256(), secret)?.sign_oneshot_to_vec(&text)
        };
        Ok(Self {
            name: hex::encode(derive("name")?),
            secret: derive("answer")?,
            digesting: PKey::hmac(&derive("request")?)?,
        })
    }

    /// The digest of a request whose body has a secret that can be guessed, such as a code of six
    /// digits: nobody can try all of them against a copy of the database. `digest` is its SHA-256.
    pub fn digest_of_secret(&self, digest: &str) -> Result<String, SealError> {
        let mut signer = Signer::new(MessageDigest::sha256(), &self.digesting)?;
        Ok(hex::encode(signer.sign_oneshot_to_vec(digest.as_bytes())?))
    }

    /// The name under which the key is stored.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Encrypts an answer to a request with AES-256-GCM. Returns nonce, ciphertext and tag.
    pub fn close(&self, request: &str, answer: &[u8]) -> Result<Vec<u8>, SealError> {
        aead::close(&self.secret, &self.associated_data(request), answer)
    }

    /// Decrypts the answer to a request.
    ///
    /// # Errors
    /// [`SealError::Broken`] if it was not encrypted by this seal, for this request.
    pub fn open(&self, request: &str, closed: &[u8]) -> Result<Vec<u8>, SealError> {
        aead::open(&self.secret, &self.associated_data(request), closed)
    }

    /// Binds an answer to its key and request, so that it cannot be moved to another row.
    fn associated_data(&self, request: &str) -> Vec<u8> {
        let mut text = Vec::new();
        part(&mut text, &self.name);
        part(&mut text, request);
        text
    }
}

/// Encodes the tenant that owns a key. Callers with the same role and the same accounts share their
/// keys, so that a key outlives the credential it was sent with. A caller without accounts has its
/// own, and so has a renewer, because a right to renew can name a single caller. Two tenants never
/// share keys, because they have different accounts.
fn tenant(caller: &Caller) -> Vec<u8> {
    let mut accounts: Vec<&str> = caller.accounts.iter().map(AccountId::as_str).collect();
    accounts.sort_unstable();
    accounts.dedup();
    let mut text = Vec::new();
    part(&mut text, caller.role.as_str());
    if accounts.is_empty() || caller.role == Role::Renewer {
        part(&mut text, "caller");
        part(&mut text, &caller.id);
    } else {
        part(&mut text, "accounts");
        text.extend_from_slice(&(accounts.len() as u64).to_be_bytes());
        for account in accounts {
            part(&mut text, account);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::Role;

    fn seal_of(id: &str, role: Role, accounts: &[&str], key: &str) -> Seal {
        let mut caller = Caller::the_service(Uuid::nil());
        (caller.id, caller.role) = (id.to_owned(), role);
        caller.accounts = accounts
            .iter()
            .map(|id| id.parse().expect("an id"))
            .collect();
        let pepper = Pepper::new(&[7; 32]).expect("a pepper");
        let seals = Peppers::new(pepper, None).and_then(|peppers| peppers.seals());
        let key = key.parse().expect("a key");
        seals.expect("seals").seal(&caller, &key).expect("a seal")
    }

    fn name(id: &str, role: Role, accounts: &[&str]) -> String {
        seal_of(id, role, accounts, "k").name
    }

    #[test]
    fn a_tenant_is_a_role_and_its_accounts() {
        let of_acme = name("a", Role::Account, &["acme"]);
        assert_eq!(
            of_acme,
            name("b", Role::Account, &["acme"]),
            "another key of the same account"
        );
        assert_eq!(
            name("a", Role::Portal, &["x", "y"]),
            name("b", Role::Portal, &["y", "x", "y"])
        );
        let all = [
            of_acme,
            name("a", Role::Account, &["other"]),
            name("a", Role::Portal, &["acme"]),
            name("a", Role::Portal, &["acme", "other"]),
            name("a", Role::Portal, &["acm", "eother"]),
            name("a", Role::Provisioner, &[]),
            name("b", Role::Provisioner, &[]),
            name("a", Role::Admin, &[]),
            // A right to renew can name one of them.
            name("a", Role::Renewer, &["acme"]),
            name("b", Role::Renewer, &["acme"]),
            seal_of("a", Role::Account, &["acme"], "l").name,
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn only_the_same_key_opens_for_the_same_request() {
        let seal = seal_of("a", Role::Account, &["acme"], "k");
        let closed = seal.close("request", b"a token").expect("closed");
        assert_eq!(seal.open("request", &closed).expect("open"), b"a token");
        assert!(!closed.windows(7).any(|part| part == b"a token"));
        assert_ne!(closed, seal.close("request", b"a token").expect("closed"));
        assert_eq!(seal.open("another", &closed), Err(SealError::Broken));
        let other = seal_of("a", Role::Account, &["acme"], "l");
        assert_eq!(other.open("request", &closed), Err(SealError::Broken));
        for at in 0..closed.len() {
            let mut changed = closed.clone();
            changed[at] ^= 1;
            assert_eq!(seal.open("request", &changed), Err(SealError::Broken));
            assert_eq!(seal.open("request", &closed[..at]), Err(SealError::Broken));
        }
    }
}
