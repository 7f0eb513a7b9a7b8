//! Reads of the database, on a thread that may block, within what the request may wait for it.

use actix_web::web;

use crate::api::problem::Problem;
use crate::authority::{StoreError, WaitBudget};

/// Runs `work` on a blocking thread. If the time that the request may wait for the database is over,
/// the answer is 503, while the thread waits until the server or the system gives up.
pub(in crate::api) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = web::block(work);
    let Some(WaitBudget(left)) = WaitBudget::left() else {
        return Ok(done.await?);
    };
    match WaitBudget::spend(tokio::time::timeout(left, done)).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(StoreError::Busy.into()),
    }
}
