//! Receipts: which codes reached their numbers. How a gateway writes the ids of messages in them is
//! learned from those that came.

use uuid::Uuid;

use super::{OutboxDispatcher, or_failed};
use crate::authority::CodeReceipt;
use crate::domain::control::receipt_ids::{IdConversion, ReceiptMatch};
use crate::store::Waiter;
use crate::telemetry::RunningTask;

/// What is logged if that fails.
const RECEIPT: &str = "a delivery receipt could not be recorded";

impl OutboxDispatcher {
    /// Records that a gateway accepted the code of a proof under an id.
    pub(super) fn awaits(
        &mut self,
        task: &RunningTask,
        waiter: &Waiter,
        gateway: usize,
        (message_id, proof): (String, Uuid),
    ) {
        let (name, conversion) = self.receipts_of(gateway);
        let awaited = self
            .authority
            .receipt_awaited(name, message_id, proof, conversion);
        let found = or_failed(task, RECEIPT, waiter.wait(awaited));
        self.learn(task, waiter, gateway, found);
    }

    /// The name of a gateway, and how the ids of its receipts are converted.
    fn receipts_of(&self, gateway: usize) -> (&str, Option<IdConversion>) {
        let conversion = self.lanes[gateway].ids.conversion();
        (&self.gateways.all[gateway].name, conversion)
    }

    pub(super) fn record(
        &mut self,
        task: &RunningTask,
        waiter: &Waiter,
        gateway: usize,
        receipt: CodeReceipt,
    ) {
        let (name, conversion) = self.receipts_of(gateway);
        let received = self.authority.receipt_received(name, receipt, conversion);
        let found = or_failed(task, RECEIPT, waiter.wait(received));
        self.learn(task, waiter, gateway, found);
    }

    /// Takes note of how a receipt was found, and records those whose ids are understood by now.
    fn learn(
        &mut self,
        task: &RunningTask,
        waiter: &Waiter,
        gateway: usize,
        found: Option<ReceiptMatch>,
    ) {
        let shown = found.map(|found| self.lanes[gateway].ids.note(found));
        for possible in shown.into_iter().flatten() {
            let receipt = CodeReceipt {
                message_id: possible.message_id,
                is_delivered: possible.is_delivered,
            };
            let name = &self.gateways.all[gateway].name;
            let received = self.authority.receipt_received(name, receipt, None);
            or_failed(task, RECEIPT, waiter.wait(received));
        }
    }
}
