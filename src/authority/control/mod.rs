//! Effective control: proofs that a number was reached, and that what it was sent came back.

pub mod outbox;
