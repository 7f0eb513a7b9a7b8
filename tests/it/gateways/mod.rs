//! Codes on their way to numbers: the outbox, and gateways of every kind, good and bad.

pub mod asking;
mod bad_servers;
mod check;
mod https;
mod kannel;
mod outbox;
mod receipts;
mod repeats;
mod smpp;
mod smpp_faults;
