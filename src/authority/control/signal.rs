//! Wakes what sends codes, once a transaction has put some into the outbox.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

type Hook = Box<dyn Fn() + Send>;

/// Says that there are codes to send. If it is missed, polling finds them.
#[derive(Clone, Default)]
pub struct OutboxSignal(Arc<Mutex<Option<Hook>>>);

impl OutboxSignal {
    /// Calls `hook` after each transaction that has put codes into the outbox. It must not block.
    pub fn on_codes(&self, hook: impl Fn() + Send + 'static) {
        *self.0.lock() = Some(Box::new(hook));
    }

    /// Says that there are codes, after COMMIT.
    pub(in crate::authority) fn notify(&self) {
        if let Some(hook) = &*self.0.lock() {
            hook();
        }
    }
}

impl fmt::Debug for OutboxSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutboxSignal(..)")
    }
}
