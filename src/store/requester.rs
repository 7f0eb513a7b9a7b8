//! By whom something is asked, and whether it may be asked again.

use super::error::StoreError;
use crate::domain::Caller;
use crate::domain::issuance::KeyedRequest;

/// Makes what is kept of an outcome; of one that decides nothing, nothing.
pub type Sealing<T, E> =
    Box<dyn FnMut(Result<&T, &E>) -> Result<Option<Vec<u8>>, StoreError> + Send>;

/// By whom something is asked that is answered with a `T` or refused with an `E`, and whether it may be asked again. A caller
/// alone asks once.
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
    /// Somebody who may come again with the same request.
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

    /// The request that may come again, and what is kept of its outcome.
    #[must_use]
    pub fn into_keyed(self) -> Option<(KeyedRequest, Sealing<T, E>)> {
        self.keyed
    }
}
