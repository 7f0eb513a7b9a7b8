//! What every kind of gateway has in common.

use std::fmt;
use std::sync::mpsc::Sender as Channel;

use uuid::Uuid;

use super::worker::GatewayEvent;
use crate::authority::CodeReceipt;
use crate::domain::clock::Time;
use crate::domain::control::codes::ControlCode;
use crate::domain::control::sending::{SendFailure, SendOutcome};
use crate::domain::{AccountId, Tn};
use crate::telemetry::BackgroundTasks;

/// A way to reach numbers. Several threads send over it at the same time.
pub trait Gateway: fmt::Debug + Send + Sync {
    /// Starts what it needs besides the calls of [`Self::send`], such as a session. Each of its
    /// threads is a task of `tasks`, named `gateways`.
    ///
    /// # Errors
    /// The system's error if a thread cannot be started.
    fn start(&self, reports: Reports, tasks: &BackgroundTasks) -> std::io::Result<()> {
        let _ = (reports, tasks);
        Ok(())
    }

    /// Ends what [`Self::start`] began, and waits for that.
    fn stop(&self) {}

    /// Whether it can send now. As long as it cannot, nothing is leased for it.
    fn is_ready(&self) -> bool {
        true
    }

    /// Makes one attempt. Blocks, at most for the timeout of the configuration.
    fn send(&self, code: &OutgoingCode) -> SendOutcome;
}

/// A code on its way to a number.
#[derive(Clone)]
pub struct OutgoingCode {
    pub proof: Uuid,
    pub account: AccountId,
    /// How messages name the account: without a link.
    pub account_name: String,
    pub number: Tn,
    /// The digits, or the nonce of a SIP `MESSAGE`.
    pub code: ControlCode,
    /// The message to a person, from the carrier's template.
    pub text: String,
    /// Whole minutes in which the code can be confirmed, from now on.
    pub minutes: u32,
    pub expires_at: Time,
}

/// Neither the code nor the text, which contains it.
impl fmt::Debug for OutgoingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingCode")
            .field("proof", &self.proof)
            .finish_non_exhaustive()
    }
}

/// Where a gateway says what it learns.
#[derive(Debug, Clone)]
pub struct Reports {
    pub(super) wake: Channel<GatewayEvent>,
    /// The gateway, by its place in the configuration.
    pub(super) index: usize,
}

impl Reports {
    /// Where nobody listens: for a gateway without a service.
    #[must_use]
    pub fn unheard() -> Self {
        let (wake, _) = std::sync::mpsc::channel();
        Self { wake, index: 0 }
    }

    /// Says under which id the gateway accepted a code, for the receipt, which any process can get.
    /// Does not block.
    pub fn accepted(&self, proof: Uuid, message_id: String) {
        // The dispatcher is gone when the service stops; then the receipt says nothing.
        let _ = self.wake.send(GatewayEvent::Accepted {
            gateway: self.index,
            proof,
            message_id,
        });
    }

    /// Hands over a receipt for a code that any process has sent. Does not block.
    pub fn receipt(&self, receipt: CodeReceipt) {
        let _ = self.wake.send(GatewayEvent::Receipt {
            gateway: self.index,
            receipt,
        });
    }

    /// Says that the gateway can send again, so that nothing waits for the next poll.
    pub fn is_ready(&self) {
        let _ = self.wake.send(GatewayEvent::Ready);
    }

    /// Counts a failure that belongs to no code, such as a session that cannot be opened.
    pub fn failed(&self, failure: SendFailure) {
        let _ = self.wake.send(GatewayEvent::Failed(self.index, failure));
    }
}
