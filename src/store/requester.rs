//! The caller of a verb, with the idempotency key of its request, if it has one.

use super::error::StoreError;
use crate::domain::Caller;
use crate::domain::issuance::KeyedRequest;

/// Renders and encrypts the answer to be stored for an outcome; `None` for an outcome that decides
/// nothing.
pub type Sealing<T, E> =
    Box<dyn FnMut(Result<&T, &E>) -> Result<Option<Vec<u8>>, StoreError> + Send>;

/// A caller that requests something, which is answered with a `T` or refused with an `E`. Built
/// from a caller alone, the request has no idempotency key.
#[expect(missing_debug_implementations, reason = "holds a closure")]
pub struct Requester<'a, T, E> {
    caller: &'a Caller,
    keyed: Option<(KeyedRequest, Sealing<T, E>)>,
}

impl<'a, T, E> From<&'a Caller> for Requester<'a, T, E> {
    fn from(caller: &'a Caller) -> Self {
        Self {
            caller,
            keyed: None,
        }
    }
}

impl<'a, T, E> Requester<'a, T, E> {
    /// A caller whose request has an idempotency key, so that it can be repeated.
    #[must_use]
    pub fn with_key(caller: &'a Caller, keyed: KeyedRequest, seal: Sealing<T, E>) -> Self {
        Self {
            caller,
            keyed: Some((keyed, seal)),
        }
    }

    #[must_use]
    pub const fn caller(&self) -> &'a Caller {
        self.caller
    }

    /// Whether the request has an idempotency key.
    #[must_use]
    pub const fn is_keyed(&self) -> bool {
        self.keyed.is_some()
    }

    /// The keyed request, and the closure that seals its answer.
    #[must_use]
    pub fn into_keyed(self) -> Option<(KeyedRequest, Sealing<T, E>)> {
        self.keyed
    }
}
