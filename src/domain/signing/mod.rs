//! Signing certificates (RFC 8226), and the rule that chooses the certificate chain that signs.

pub mod certificate;
pub mod chain_choice;
pub mod distrust;
pub mod profile_fault;
mod sti_profile;
