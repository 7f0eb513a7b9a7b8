//! What a world is made with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tn_authority::authority::{
    ControlSettings, Limits, PolicySet, ReadinessSettings, ReferenceClock,
};
use tn_authority::signer::SigningKey;
use tn_authority::store::{DatabaseUrl, PostgresSettings};

use super::availability::readiness_settings;
use super::control::control_settings;
use super::patience::patient;

/// What a world is made with, where it is not the usual.
pub struct Setup {
    pub policy: PolicySet,
    pub spcs: Vec<&'static str>,
    /// Seconds from the start until the signing certificate ends.
    pub certificate_lasts: i64,
    pub queue: usize,
    pub batch: usize,
    /// How long a token request may wait for its transaction, in the API.
    pub max_wait: Option<Duration>,
    pub postgres: PostgresSettings,
    /// The URL of the database, if it is not its own.
    pub database: Option<DatabaseUrl>,
    /// Seconds from the publication of a certificate to its first use.
    pub publication_delay: u32,
    /// Whether tokens carry their chain.
    pub x5c: bool,
    /// The longest lifetime in grant-horizon mode.
    pub horizon: u32,
    /// Whether tokens for JWTClaimConstraints can be had.
    pub claim_constraints: bool,
    /// A folder of signers that is there already; without it, each world makes a certificate of its own.
    pub signers: Option<PathBuf>,
    /// Keys that are at hand already.
    pub keys: Vec<Arc<dyn SigningKey>>,
    /// Whether the authority has anything to sign with.
    pub signs: bool,
    pub limits: Limits,
    /// How numbers are asked.
    pub control: ControlSettings,
    /// What codes are hashed and encrypted with: the newest secret, and the one before it.
    pub code_secrets: (u8, Option<u8>),
    /// What the world's clock is compared with; without one, it is right.
    pub reference: Option<ReferenceClock>,
    /// When a replica is ready, and what the others must have in common with it.
    pub readiness: ReadinessSettings,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            policy: PolicySet::built_in().expect("the built-in policies"),
            spcs: vec!["1234"],
            certificate_lasts: 7 * 86_400,
            queue: 1024,
            batch: 256,
            max_wait: None,
            postgres: patient(),
            database: None,
            publication_delay: 0,
            x5c: false,
            horizon: 30 * 86_400,
            claim_constraints: false,
            signers: None,
            keys: Vec::new(),
            signs: true,
            limits: Limits::none(),
            control: control_settings(),
            code_secrets: (0x5e, None),
            reference: None,
            readiness: readiness_settings(),
        }
    }
}
