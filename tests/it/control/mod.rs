//! Effective control: a number is asked, and what it was sent comes back.

mod access;
mod api;
mod codes;
mod ends;
mod limits;
mod secrecy;
mod signed;
mod starts;
