//! Effective control: numbers are asked, and policies see what answered.

mod answers;
mod policies;
mod policy_facts;
pub mod proven;
pub mod reproof;
mod samples;
