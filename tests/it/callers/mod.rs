//! Who may ask: API keys, and what becomes of requests whose key ends while they wait.

mod api_key_secret;
pub mod authentication;
pub mod client_certificates;
mod command;
mod every_verb;
mod key_refusals;
mod keys;
pub mod oauth;
mod refusals;
mod waiting;
