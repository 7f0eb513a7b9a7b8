//! Effective control: numbers are asked, and what they were sent comes back. `domain::control` has
//! the words.

mod cancel;
mod clock;
mod confirm;
mod failures;
mod guesses;
mod limits;
mod list;
mod outbox;
mod receipts;
mod refusal;
mod reproof;
mod settled;
mod signal;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::TimeDelta;

use super::{Action, Authority, ChangeError};
use crate::domain::control::codes::Codes;
use crate::domain::control::proof::Method;
use crate::domain::{Caller, Role};

pub(super) use cancel::record_cancelled;
pub use clock::ReferenceClock;
pub use confirm::{Confirmation, RefusedCode};
pub use failures::FailureFeed;
pub use outbox::{AssignedCode, AttemptResult};
pub use receipts::CodeReceipt;
pub use refusal::{CannotStart, ProofLimit, RefusedStart, StartCause};
pub use reproof::ReproofRun;
pub use signal::OutboxSignal;
pub use start::NewControlProofs;

/// How numbers are asked.
#[derive(Debug, Clone)]
pub struct ControlSettings {
    /// Digits of a code, 6 to 8.
    pub digits: u32,
    /// Seconds in which a code can be confirmed.
    pub valid: u32,
    /// Wrong codes after which a proof fails.
    pub tries: u32,
    /// How many numbers stand for a longer list; 0: every number has to be proven.
    pub sample: u32,
    pub limits: ProofLimits,
    /// The methods of each gateway, by its name.
    pub gateways: BTreeMap<String, BTreeSet<Method>>,
}

/// How many proofs can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofLimits {
    pub per_number_hour: u32,
    pub per_number_day: u32,
    pub per_account_hour: u32,
    pub per_gateway_hour: u32,
    /// Wrong codes in a day for one account, of all its proofs.
    pub wrong_codes_per_account_day: u32,
}

/// What an [`Authority`] needs to ask numbers.
#[derive(Debug, Clone)]
pub struct ControlParts {
    pub settings: ControlSettings,
    pub codes: Arc<dyn Codes>,
    pub signal: OutboxSignal,
    pub reference: ReferenceClock,
}

impl ControlSettings {
    /// The gateway that sends codes by a method: of several, the first by name.
    #[must_use]
    pub fn gateway(&self, method: Method) -> Option<&str> {
        let mut gateways = self.gateways.iter();
        let found = gateways.find(|(_, methods)| methods.contains(&method));
        found.map(|(name, _)| name.as_str())
    }

    fn valid(&self) -> TimeDelta {
        TimeDelta::seconds(self.valid.into())
    }
}

impl Authority {
    /// How numbers are asked, and by what.
    #[must_use]
    pub const fn control(&self) -> &ControlParts {
        &self.control
    }

    /// Refuses a caller that can neither start nor confirm proofs. Whose proofs these can be is
    /// checked in the transaction.
    fn may_prove(&self, caller: &Caller) -> Result<(), ChangeError> {
        match caller.role {
            Role::Admin | Role::Provisioner => self.require(caller, Action::Manage),
            Role::Portal | Role::Account => Ok(()),
            Role::Auditor | Role::Renewer => Err(ChangeError::Forbidden),
        }
    }
}
