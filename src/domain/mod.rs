//! The language of the field: telephone numbers and ranges, TNAuthLists, tokens, and who holds
//! which numbers when.
//!
//! Pure code: no I/O, no database, no HTTP. Time comes in as an argument; only [`clock::Clock`]
//! reads the system clock. Each type is parsed once, at the edge, and has private fields, so a
//! value that exists is valid.

pub mod accounts;
pub mod audit;
pub mod audit_action;
pub mod clock;
pub mod control;
pub mod credentials;
pub mod decision;
pub mod ids;
pub mod inventory;
pub mod issuance;
pub mod jobs;
pub mod network;
pub mod numbers;
pub mod replica;
pub mod signing;
pub mod text;
pub mod tokens;
pub mod webhook;

// The types that most modules need, under short paths. The rest is imported from its sub-module.
pub use accounts::account::AccountId;
pub use accounts::dialect::Dialect;
pub use audit::{AuditEvent, Event};
pub use audit_action::AuditAction;
pub use clock::{Clock, Time};
pub use credentials::Actor;
pub use credentials::caller::{Caller, Proof, Role};
pub use credentials::idempotency::IdempotencyKey;
pub use credentials::passphrase::Passphrase;
pub use decision::denial::Denial;
pub use ids::new_id;
pub use inventory::window::Window;
pub use network::cidr::Network;
pub use numbers::inventory_range::InventoryRange;
pub use numbers::number::{NumberRange, Tn};
pub use numbers::spc::Spc;
pub use tokens::claims::{Claims, TokenRequest};
pub use tokens::fingerprint::Fingerprint;
pub use tokens::tkvalue::{TkType, TkValue};
pub use tokens::tn_auth_list::{TnAuthList, TnEntry};
