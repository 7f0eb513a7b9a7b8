//! The domain by itself: published vectors, real certificates, and the rule of authority against oracles.

mod certificates;
pub mod claim_constraints;
mod decision;
mod decision_cases;
mod delegation_chains;
mod departures;
mod profile_rules;
mod sti_profile;
pub mod values;
