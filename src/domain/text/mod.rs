//! Parsing untrusted text strictly, and showing it safely.

pub mod for_people;
pub mod links;
pub mod percent;
pub mod printable;
pub mod strict_encoding;
pub mod strict_json;
pub mod words;
