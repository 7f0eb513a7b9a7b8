//! Keys and chains: what is refused and why, hardware security modules, and rotation without a restart.

mod development;
mod hsm;
mod keyring;
mod keys;
mod rotation;
mod softhsm;
mod softhsm_carrier;
pub mod sources;
