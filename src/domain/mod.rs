//! The language of the field: numbers, blocks, lists, tokens, and who holds what when.
//!
//! Pure: no I/O, no database, no HTTP, and no clock but [`clock::Clock`], which is handed in.
//! A value that exists is valid: each type here is parsed once, at the edge, and has private fields.

pub mod account;
pub mod algorithm;
pub mod api_key;
pub mod audit;
pub mod block;
pub mod caller;
pub mod certificate;
pub mod claim_constraints;
pub mod claims;
pub mod clock;
pub mod credentials;
pub mod deciding;
pub mod decision;
pub mod denial;
pub mod dialect;
pub mod encoding;
pub mod explanation;
pub mod fingerprint;
pub mod grant;
pub mod hex;
pub mod idempotency;
pub mod ids;
pub mod inventory;
pub mod issuance;
pub mod job;
pub mod jwk;
pub mod network;
pub mod number;
pub mod passphrase;
pub mod proxy;
pub mod public_address;
pub mod range_set;
pub mod renewal;
pub mod shown;
pub mod signing;
pub mod spc;
pub mod strict_json;
pub mod tkvalue;
pub mod tn_auth_list;
pub mod webhook;
pub mod window;
pub mod withdrawal;

pub use account::AccountId;
pub use audit::{AuditEvent, Event};
pub use caller::{Caller, Proof, Role};
pub use claims::{Claims, TokenRequest};
pub use clock::{Clock, Time};
pub use credentials::Actor;
pub use denial::Denial;
pub use dialect::Dialect;
pub use fingerprint::Fingerprint;
pub use idempotency::IdempotencyKey;
pub use ids::new_id;
pub use network::Network;
pub use number::{NumberRange, Tn};
pub use passphrase::Passphrase;
pub use spc::Spc;
pub use tkvalue::{TkType, TkValue};
pub use tn_auth_list::{TnAuthList, TnEntry};
pub use window::Window;
