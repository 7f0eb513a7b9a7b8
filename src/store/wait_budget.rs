//! How long one request may wait for the database in total, over all that it asks of it, and
//! whether its client waits for the answer.

use std::cell::Cell;
use std::future::Future;
use std::time::{Duration, Instant};

use super::client_presence::ClientPresence;

tokio::task_local! {
    static WAIT: RequestWait;
}

struct RequestWait {
    left: Cell<Duration>,
    client: Option<ClientPresence>,
}

/// The time that a request may still wait for the database. It belongs to the task of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitBudget(pub Duration);

impl WaitBudget {
    /// Runs the task of a request with this budget, on behalf of this client.
    pub async fn scope<F: Future>(self, client: Option<ClientPresence>, task: F) -> F::Output {
        let left = Cell::new(self.0);
        WAIT.scope(RequestWait { left, client }, task).await
    }

    /// The client of the task that runs now, if it is known.
    pub(super) fn client() -> Option<ClientPresence> {
        WAIT.try_with(|wait| wait.client.clone()).ok().flatten()
    }

    /// What is left for the task that runs now, if it has a budget.
    #[must_use]
    pub fn left() -> Option<Self> {
        WAIT.try_with(|wait| Self(wait.left.get())).ok()
    }

    /// Waits, and spends the time that this takes.
    pub async fn spend<F: Future>(waiting: F) -> F::Output {
        let started = Instant::now();
        let done = waiting.await;
        let spent = started.elapsed();
        // A task without a budget spends nothing.
        let _ = WAIT.try_with(|wait| wait.left.set(wait.left.get().saturating_sub(spent)));
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_are_spent_from_the_budget_of_the_task() {
        assert_eq!(WaitBudget::left(), None);
        let second = Duration::from_secs(1);
        let left = WaitBudget(second)
            .scope(None, async {
                assert_eq!(WaitBudget::left(), Some(WaitBudget(second)));
                WaitBudget::spend(tokio::time::sleep(Duration::from_millis(5))).await;
                WaitBudget::left().expect("a budget").0
            })
            .await;
        assert!(left < second && left > Duration::ZERO, "{left:?}");
    }
}
