//! The connections that are open, and the share of each address.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::api::UnsentAnswers;
use crate::domain::network::source::source_network;
use crate::domain::network::trusted_proxy::ProxyAddress;
use crate::telemetry::{Cut, Listener, Metrics};

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Slots {
    listener: Listener,
    max: usize,
    /// The most from one address; no limit if absent.
    share: Option<usize>,
    /// Their connections are those of many clients, so they have no share.
    proxies: Vec<ProxyAddress>,
    open: AtomicUsize,
    by_source: Mutex<HashMap<IpAddr, usize>>,
    unsent: Arc<UnsentAnswers>,
    metrics: Arc<Metrics>,
}

/// One open connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    /// The address whose share it takes, if it counts.
    source: Option<IpAddr>,
}

impl Slots {
    pub(super) fn new(
        listener: Listener,
        max: usize,
        share: Option<usize>,
        proxies: Vec<ProxyAddress>,
        unsent: Arc<UnsentAnswers>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            listener,
            max,
            share,
            proxies,
            open: AtomicUsize::new(0),
            by_source: Mutex::default(),
            unsent,
            metrics,
        })
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// `None` if the address has its share already.
    pub(super) fn take(self: &Arc<Self>, peer: SocketAddr) -> Option<Slot> {
        let peer = peer.ip();
        let is_proxy = self.proxies.iter().any(|proxy| proxy.contains(peer));
        let share = self.share.filter(|_| !is_proxy);
        let source = share.map(|share| (source_network(peer), share));
        if let Some((source, share)) = source {
            let mut by_source = self.by_source.lock();
            let open = by_source.entry(source).or_default();
            if *open >= share {
                self.metrics.connections.cut(self.listener, Cut::Share);
                return None;
            }
            *open += 1;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        self.metrics.connections.opened(self.listener);
        Some(Slot {
            slots: Arc::clone(self),
            source: source.map(|(source, _)| source),
        })
    }

    /// Whether connections without progress must end sooner: nine of ten are in use, or much memory
    /// is taken by answers that are not read.
    fn is_pressed(&self) -> bool {
        let open = self.open.load(Ordering::Relaxed);
        open.saturating_mul(10) >= self.max.saturating_mul(9) || self.unsent.are_many()
    }
}

impl Slot {
    pub(super) fn is_pressed(&self) -> bool {
        self.slots.is_pressed()
    }

    /// Counts that the service ends this connection.
    pub(super) fn cut(&self, cut: Cut) {
        self.slots.metrics.connections.cut(self.slots.listener, cut);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let slots = &self.slots;
        slots.open.fetch_sub(1, Ordering::Relaxed);
        slots.metrics.connections.closed(slots.listener);
        if let Some(source) = self.source {
            let mut by_source = slots.by_source.lock();
            if let Some(open) = by_source.get_mut(&source) {
                *open -= 1;
                if *open == 0 {
                    by_source.remove(&source);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(max: usize, share: Option<usize>) -> Arc<Slots> {
        let proxies = vec!["192.0.2.80".parse().expect("an address")];
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        Slots::new(Listener::Api, max, share, proxies, Arc::default(), metrics)
    }

    fn peer(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().expect("an address"), 50_000)
    }

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let slots = slots(100, Some(2));
        let first = slots.take(peer("192.0.2.1"));
        let second = slots.take(peer("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(slots.take(peer("192.0.2.1")).is_none());
        let other = slots.take(peer("192.0.2.2"));
        assert!(other.is_some(), "another address has a share of its own");
        drop(first);
        assert!(slots.take(peer("192.0.2.1")).is_some());
        drop((second, other));
        assert!(slots.by_source.lock().is_empty());
        assert_eq!(slots.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_share() {
        let slots = slots(100, Some(1));
        let _one = slots.take(peer("2001:db8:1:2::1")).expect("a slot");
        assert!(slots.take(peer("2001:db8:1:2:ffff::9")).is_none());
        assert!(slots.take(peer("2001:db8:1:3::1")).is_some());
    }

    #[test]
    fn a_trusted_proxy_has_no_share() {
        let slots = slots(100, Some(1));
        let taken: Vec<_> = (0..10).map(|_| slots.take(peer("192.0.2.80"))).collect();
        assert!(taken.iter().all(Option::is_some));
    }

    #[test]
    fn there_is_pressure_when_nine_of_ten_are_open() {
        let slots = slots(10, None);
        let mut open: Vec<_> = (0..8).map(|_| slots.take(peer("192.0.2.1"))).collect();
        assert!(!slots.is_pressed());
        open.push(slots.take(peer("192.0.2.1")));
        assert!(slots.is_pressed());
    }
}
