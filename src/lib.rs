//! A Token Authority for telephone numbers (RFC 9447, RFC 9448).
//!
//! # The rooms, and who may import whom
//! ```text
//! main, commands -> app -> every room          api -> callers, authority, tables, webhooks, domain
//! authority -> store, signer, verifier, tables, domain          callers -> store, outgoing, domain
//! webhooks -> authority, store, outgoing, domain
//! store, signer, verifier, tables -> domain  domain -> nothing  telemetry: a leaf that every room but domain may use
//! commands -> acme, the enterprise's side -> outgoing, signer, verifier, domain          outgoing: a leaf
//! Only store knows diesel, only api and app know actix, only signer knows cryptoki, only outgoing and webhooks know ureq.
//! ```
//! A test reads the sources and fails on a forbidden `use`.

pub mod acme;
pub mod api;
pub mod app;
pub mod authority;
pub mod callers;
pub mod config;
pub mod domain;
pub mod outgoing;
pub mod signer;
pub mod store;
pub mod tables;
pub mod telemetry;
pub mod verifier;
pub mod webhooks;
