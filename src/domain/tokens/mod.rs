//! Authority tokens: TNAuthList, claims, fingerprints, grants and the rights to renew (RFC 8226, RFC 9447, RFC 9448).

pub mod claim_constraints;
pub mod claims;
pub mod fingerprint;
pub mod grant;
pub mod jwk;
pub mod renewal;
pub mod tkvalue;
pub mod tn_auth_list;
