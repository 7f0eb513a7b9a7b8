//! Loads, indexes and evaluates Cedar policies. Only of interest to change how policies run, not
//! what they say.

pub(super) mod cache;
pub(super) mod files;
pub(super) mod index;
pub(super) mod inputs;
pub(super) mod load;
pub(super) mod nesting;
pub(super) mod request;
