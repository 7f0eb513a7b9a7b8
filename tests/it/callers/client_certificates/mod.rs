//! Client certificates: real TLS handshakes with certificates that openssl makes, and those that a proxy hands on.

mod books;
mod client;
mod connections;
mod encodings;
mod junk;
mod proxies;
mod real_proxies;
mod replaced_files;
mod revocation;
mod tls;

pub use client::{acme, trust};
pub use tls::Tls;

const READ: &str = "/v1/accounts/acme";
