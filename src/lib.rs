//! A Token Authority for telephone numbers (RFC 9447, RFC 9448).
//!
//! # The rooms, and who may import whom
//! ```text
//! main, commands -> app -> every room          api -> callers, authority, webhooks, domain
//! webhooks -> authority, store, domain
//! authority -> store, signer, verifier, domain          callers -> store, domain
//! store, signer, verifier -> domain  domain -> nothing  telemetry: a leaf that every room but domain may use
//! Only store knows diesel, only api and app know actix, only signer knows cryptoki.
//! ```
//! A test reads the sources and fails on a forbidden `use`.

pub mod api;
pub mod app;
pub mod authority;
pub mod callers;
pub mod config;
pub mod domain;
pub mod signer;
pub mod store;
pub mod telemetry;
pub mod verifier;
pub mod webhooks;
