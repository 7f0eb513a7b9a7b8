//! The keys whose requests this process is handling. Other replicas see them in the database.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::authority::StoreError;
use crate::domain::issuance::{KeyedRequest, Replay};

/// The limit of concurrent requests with a key.
const MAX_IN_FLIGHT: usize = 10_000;

/// The digest of each request, by its key.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<HashMap<String, String>>);

/// Holds a key until it is dropped.
#[derive(Debug)]
pub(super) struct InFlightGuard {
    in_flight: Arc<InFlight>,
    name: String,
}

impl InFlight {
    /// Registers a request, unless another one with its key is in progress.
    pub(super) fn enter(
        self: &Arc<Self>,
        keyed: &KeyedRequest,
    ) -> Result<InFlightGuard, StoreError> {
        let mut keys = self.0.lock();
        if keys.len() >= MAX_IN_FLIGHT {
            return Err(StoreError::Busy);
        }
        match keys.entry(keyed.name.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(keyed.request.clone());
                Ok(InFlightGuard {
                    in_flight: Arc::clone(self),
                    name: keyed.name.clone(),
                })
            }
            Entry::Occupied(first) if *first.get() == keyed.request => Err(Replay::InFlight.into()),
            Entry::Occupied(_) => Err(Replay::OtherRequest.into()),
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.in_flight.0.lock().remove(&self.name);
    }
}
