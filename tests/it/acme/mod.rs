//! Redemption: what a token is worth at a CA, and what a client does when the CA or the authority is not as it should be.

mod acme2certifier;
mod at_a_ca;
mod bad_ca;
pub mod carrier;
mod command;
mod little_ca;
mod plug_in;
mod raw_client;
mod renewal;
mod repeats;
mod star;
mod unproven;
mod x5u;
