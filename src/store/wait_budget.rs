//! How long one request may wait for the database in total, over all that it asks of it.

use std::cell::Cell;
use std::future::Future;
use std::time::{Duration, Instant};

tokio::task_local! {
    static LEFT: Cell<Duration>;
}

/// The time that a request may still wait for the database. It belongs to the task of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitBudget(pub Duration);

impl WaitBudget {
    /// Runs the task of a request with this budget.
    pub async fn scope<F: Future>(self, task: F) -> F::Output {
        LEFT.scope(Cell::new(self.0), task).await
    }

    /// What is left for the task that runs now, if it has a budget.
    #[must_use]
    pub fn left() -> Option<Self> {
        LEFT.try_with(|left| Self(left.get())).ok()
    }

    /// Waits, and spends the time that this takes.
    pub async fn spend<F: Future>(waiting: F) -> F::Output {
        let started = Instant::now();
        let done = waiting.await;
        let spent = started.elapsed();
        // A task without a budget spends nothing.
        let _ = LEFT.try_with(|left| left.set(left.get().saturating_sub(spent)));
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
            .scope(async {
                assert_eq!(WaitBudget::left(), Some(WaitBudget(second)));
                WaitBudget::spend(tokio::time::sleep(Duration::from_millis(5))).await;
                WaitBudget::left().expect("a budget").0
            })
            .await;
        assert!(left < second && left > Duration::ZERO, "{left:?}");
    }
}
