//! The keys that this process is at work on. Other replicas learn of them from the database.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::authority::StoreError;
use crate::domain::issuance::{KeyedRequest, Replay};

/// How many requests with a key may be under way.
const MAX_IN_FLIGHT: usize = 10_000;

/// The keys, with the request of each.
#[derive(Debug, Default)]
pub(super) struct AtWork(Mutex<HashMap<String, String>>);

/// Is at work on a key until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    at_work: Arc<AtWork>,
    name: String,
}

impl AtWork {
    /// Begins to work on a request, unless another one with its key is under way.
    pub(super) fn enter(self: &Arc<Self>, keyed: &KeyedRequest) -> Result<Turn, StoreError> {
        let mut keys = self.0.lock();
        if keys.len() >= MAX_IN_FLIGHT {
            return Err(StoreError::Busy);
        }
        match keys.entry(keyed.name.clone()) {
            Entry::Vacant(place) => {
                place.insert(keyed.request.clone());
                Ok(Turn {
                    at_work: Arc::clone(self),
                    name: keyed.name.clone(),
                })
            }
            Entry::Occupied(first) if *first.get() == keyed.request => Err(Replay::InFlight.into()),
            Entry::Occupied(_) => Err(Replay::OtherRequest.into()),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.at_work.0.lock().remove(&self.name);
    }
}
