//! Certificates that may sign, and the rule that chooses the chain that signs at an instant.

pub mod certificate;
pub mod chain;
