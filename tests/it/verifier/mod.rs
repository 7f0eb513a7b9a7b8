//! What a CA does with a token: its form, its signature, its claims, and whom it trusts.

mod payloads;
mod tokens;
mod trust;
