//! Effective control: a number is asked, and what it was sent comes back; and policies see that.

mod access;
mod answers;
mod api;
mod cancel;
mod clocks;
mod codes;
mod delegation_ends;
mod ends;
mod guesses;
mod lent_samples;
mod limits;
mod policies;
mod policy_facts;
pub mod proven;
pub mod reproof;
mod samples;
mod secrecy;
mod signed;
mod starts;
