//! Who may ask: API keys, and what becomes of requests whose key ends while they wait.

mod command;
mod keys;
mod refusals;
mod waiting;
