//! `[carrier]`: the carrier that runs the service.

use serde::Deserialize;

use super::lists::list;
use crate::domain::{AccountId, Spc};

/// The carrier that runs the service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Carrier {
    /// The carrier's service provider codes (OCNs).
    #[serde(deserialize_with = "list")]
    pub spcs: Vec<Spc>,
    /// The codes that other replicas still have while `spcs` is changed, one replica after the
    /// other.
    #[serde(deserialize_with = "list")]
    pub previous_spcs: Vec<Spc>,
    /// The carrier's own account, the only one that can get tokens with an `spc` entry.
    pub account: Option<AccountId>,
}
