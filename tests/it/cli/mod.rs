//! The commands, run as an operator runs them.

mod audit;
mod certificate_requests;
mod demo;
mod import_blocks;
mod inspection;
mod lists_and_certificates;
mod policy_check;
mod policy_serve;
mod refused_blocks;
mod undone_blocks;
