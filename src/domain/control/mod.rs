//! Effective control: a number was reached, and what it was sent came back. A proof is a factor
//! beside the delegation, never in its place: it gives no authority that the inventory does not.

pub mod channel;
pub mod codes;
pub mod facts;
pub mod failure;
pub mod message;
pub mod proof;
pub mod receipt_ids;
pub mod reproofing;
pub mod sample;
pub mod sending;
