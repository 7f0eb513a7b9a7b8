//! Keys and chains: what is refused and why, hardware security modules, and rotation without a restart.

mod development;
mod distrust;
mod folders;
mod hsm;
mod keyring;
mod keys;
mod rotation;
mod softhsm;
mod softhsm_carrier;
mod softhsm_hang;
mod softhsm_keys;
mod softhsm_pin;
mod softhsm_tokens;
pub mod sources;
