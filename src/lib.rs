#![doc = include_str!("../ARCHITECTURE.md")]

pub mod acme;
pub mod api;
pub mod app;
pub mod authority;
pub mod callers;
pub mod config;
pub mod domain;
pub mod outgoing;
pub mod regular_file;
pub mod signer;
pub mod store;
pub mod tables;
pub mod telemetry;
pub mod verifier;
pub mod webhooks;
