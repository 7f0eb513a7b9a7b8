//! Authority tokens (RFC 9447, RFC 9448): `tkvalue`, TNAuthLists (RFC 8226 §9) and claim
//! constraints (RFC 8226 §8), claims, times, fingerprints, grants and rights to renew.

pub mod claim_constraints;
pub mod claims;
pub mod fingerprint;
pub mod grant;
pub mod jwk;
pub mod numeric_date;
pub mod renewal;
pub mod tkvalue;
pub mod tn_auth_list;
