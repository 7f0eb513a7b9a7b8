//! What is missing when a policy refuses a token, because control of its numbers is not proven.

use std::fmt;

use super::denial::{RefusedPart, listed};
use crate::domain::accounts::account::AccountId;
use crate::domain::control::facts::MAX_NUMBERS;
use crate::domain::control::proof::Method;
use crate::domain::control::sample::SAMPLED_FROM;

/// The numbers that lack a proof which the policies accept, and what they stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlLack {
    pub account: AccountId,
    /// One for each number. Empty if no number can be named.
    pub refused: Vec<RefusedPart>,
    /// How many numbers the list has.
    pub total: u64,
    /// Whether a sample stands for the list.
    pub is_sample: bool,
    /// How the service proves control by itself, for the right to renew that was used; `None` if
    /// the account has to start proofs.
    pub renewed_by: Option<Method>,
}

impl fmt::Display for ControlLack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.refused.is_empty(), self.is_sample) {
            (true, _) if self.total == 0 => f.write_str("there is no number in the list"),
            (true, true) => f.write_str(
                "a sample of the numbers is drawn, and named, when the token is requested",
            ),
            (true, false) => write!(
                f,
                "more than {MAX_NUMBERS} numbers of the list have to be proven; request fewer, or ask the carrier to set \
                 `control.sample`, which is for ranges of delegations of {SAMPLED_FROM} numbers or more"
            ),
            (false, is_sample) => {
                let each = if self.refused.len() == 1 {
                    "a proof"
                } else {
                    "proofs"
                };
                let sample = if is_sample { " of the sample" } else { "" };
                if let Some(method) = self.renewed_by {
                    let answer = match method {
                        Method::Sip => "keep `tn-authority control-agent` running",
                        Method::Sms | Method::Voice => "have the codes returned",
                    };
                    return write!(
                        f,
                        "the service starts {each} for this right by itself, by `{method}`; {answer} for {}{sample}",
                        listed(&self.refused)
                    );
                }
                write!(
                    f,
                    "start {each} with `POST /v1/accounts/{}/control-proofs` for {}{sample}",
                    self.account,
                    listed(&self.refused)
                )
            }
        }
    }
}
