//! What identifies a caller: API keys, roles and passphrases, the idempotency keys of its requests,
//! and the signature algorithms of access tokens.

pub mod actor;
pub mod api_key;
pub mod caller;
pub mod idempotency;
pub mod jws_algorithm;
pub mod passphrase;

pub use actor::Actor;
