//! How many numbers the gateways can ask now.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::super::ControlSettings;
use super::super::limits::{HOUR, ProofStarter};
use crate::authority::StoreError;
use crate::domain::clock::Time;
use crate::domain::control::proof::{ControlProof, Method};
use crate::store::{StartedBy, Tx};

/// In place of a gateway, for a method that no gateway is configured for any more.
pub(super) const NO_GATEWAY: &str = ControlProof::NO_GATEWAY;

/// The gateways that can be used now. One of them may serve several methods.
#[derive(Default)]
pub(super) struct Rooms {
    gateways: BTreeMap<Method, String>,
    /// How many numbers each can ask.
    left: BTreeMap<String, u64>,
}

impl Rooms {
    pub(super) fn read(
        tx: &mut Tx<'_>,
        settings: &ControlSettings,
        now: Time,
    ) -> Result<Self, StoreError> {
        let since = now - HOUR + TimeDelta::seconds(1);
        let most = u64::from(settings.limits.of_gateway(ProofStarter::Right));
        let mut rooms = Self::default();
        for method in Method::ALL {
            let Some(gateway) = settings.gateway(method) else {
                // Its rights are due all the same, so that they fail visibly.
                rooms.left.insert(NO_GATEWAY.to_owned(), u64::MAX);
                rooms.gateways.insert(method, NO_GATEWAY.to_owned());
                continue;
            };
            if !rooms.left.contains_key(gateway) {
                let started = tx.count_control_starts(StartedBy::Gateway(gateway), since)?;
                let left = most.saturating_sub(started);
                rooms.left.insert(gateway.to_owned(), left);
            }
            rooms.gateways.insert(method, gateway.to_owned());
        }
        Ok(rooms)
    }

    /// The methods whose rights can be taken.
    pub(super) fn methods(&self) -> Vec<Method> {
        let gateways = self.gateways.iter();
        let with_room = gateways.filter(|(_, name)| self.left.get(*name).is_some_and(|n| *n > 0));
        with_room.map(|(method, _)| *method).collect()
    }

    /// The methods whose gateway has no room.
    pub(super) fn full(&self) -> Vec<Method> {
        let with_room = self.methods();
        let known = self.gateways.keys().copied();
        known.filter(|method| !with_room.contains(method)).collect()
    }

    /// The gateway of a method, and how many numbers it can still ask.
    pub(super) fn of(&mut self, method: Method) -> Option<(&str, &mut u64)> {
        let gateway = self.gateways.get(&method)?;
        Some((gateway, self.left.get_mut(gateway)?))
    }
}
