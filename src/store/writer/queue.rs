//! The writer's queue: one queue for each tenant, served in turn, all of them together bounded.
//!
//! A tenant that floods it delays only itself: the next job is taken from another tenant, if one
//! waits. When it is full, a job of a tenant that has fewer jobs waiting than the longest queue
//! evicts the newest job of that queue. So one tenant can use all slots while no other needs them,
//! and cannot keep others out.

use std::collections::{HashMap, VecDeque};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// A bounded queue that is fair among tenants. An item that is evicted is handed back.
#[derive(Debug)]
pub(in crate::store) struct FairQueue<T> {
    state: Mutex<QueueState<T>>,
    filled: Condvar,
    /// How many items can wait, of all tenants together.
    capacity: usize,
}

#[derive(Debug)]
struct QueueState<T> {
    /// One for each tenant with items that wait; none is empty.
    queues: HashMap<String, VecDeque<T>>,
    /// The tenants, in the order of their turns.
    turns: VecDeque<String>,
    waiting: usize,
    closed: bool,
}

/// The outcome of a push.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) enum Pushed<T> {
    Taken,
    /// The item was taken, and this one, the newest of the longest queue, was evicted.
    Evicted(T),
    /// There is no slot for the item.
    Full(T),
    /// The queue is closed.
    Closed(T),
}

impl<T> FairQueue<T> {
    pub(in crate::store) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(QueueState {
                queues: HashMap::new(),
                turns: VecDeque::new(),
                waiting: 0,
                closed: false,
            }),
            filled: Condvar::new(),
            capacity,
        }
    }

    pub(in crate::store) fn push(&self, tenant: &str, item: T) -> Pushed<T> {
        let mut state = self.state();
        if state.closed {
            return Pushed::Closed(item);
        }
        let mut evicted = None;
        if state.waiting >= self.capacity {
            evicted = state.evict_for(tenant);
            if evicted.is_none() {
                return Pushed::Full(item);
            }
        }
        state.add(tenant, item);
        self.filled.notify_one();
        evicted.map_or(Pushed::Taken, Pushed::Evicted)
    }

    /// Takes up to `limit` items, one of each tenant in turn; waits until there is one. `None` if
    /// the queue is closed and empty.
    pub(in crate::store) fn take(&self, limit: usize) -> Option<Vec<(String, T)>> {
        let mut state = self.state();
        while state.waiting == 0 {
            if state.closed {
                return None;
            }
            self.filled.wait(&mut state);
        }
        Some((0..limit).map_while(|_| state.take_one()).collect())
    }

    /// Puts back items that were taken and not completed, in their order; they are the first to be
    /// taken again.
    pub(in crate::store) fn put_back(&self, items: Vec<(String, T)>) {
        let mut state = self.state();
        for (tenant, item) in items.into_iter().rev() {
            state.waiting += 1;
            state
                .queues
                .entry(tenant.clone())
                .or_default()
                .push_front(item);
            // A tenant has one turn, however many of its items are put back.
            state.turns.retain(|other| *other != tenant);
            state.turns.push_front(tenant);
        }
    }

    /// Accepts no more items; those that wait can still be taken.
    pub(in crate::store) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
    }

    #[cfg(test)]
    pub(in crate::store) fn waiting(&self) -> usize {
        self.state().waiting
    }

    fn state(&self) -> MutexGuard<'_, QueueState<T>> {
        self.state.lock()
    }
}

impl<T> QueueState<T> {
    fn add(&mut self, tenant: &str, item: T) {
        self.waiting += 1;
        if let Some(items) = self.queues.get_mut(tenant) {
            return items.push_back(item);
        }
        self.queues
            .insert(tenant.to_owned(), VecDeque::from([item]));
        self.turns.push_back(tenant.to_owned());
    }

    fn take_one(&mut self) -> Option<(String, T)> {
        let tenant = self.turns.pop_front()?;
        let items = self.queues.get_mut(&tenant)?;
        let item = items.pop_front()?;
        self.waiting -= 1;
        if items.is_empty() {
            self.queues.remove(&tenant);
        } else {
            self.turns.push_back(tenant.clone());
        }
        Some((tenant, item))
    }

    /// Evicts the newest item of the longest queue, if that queue stays at least as long as the one
    /// of `tenant` becomes.
    fn evict_for(&mut self, tenant: &str) -> Option<T> {
        let own = self.queues.get(tenant).map_or(0, VecDeque::len);
        // Linear in the number of tenants, but only when the queue is full.
        let longest = self.queues.iter_mut().max_by_key(|(_, items)| items.len());
        let (_, items) = longest.filter(|(_, items)| items.len() > own + 1)?;
        self.waiting -= 1;
        items.pop_back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &FairQueue<u32>, limit: usize) -> Vec<u32> {
        let taken = queue.take(limit).expect("something waits");
        taken.into_iter().map(|(_, item)| item).collect()
    }

    #[test]
    fn tenants_take_turns() {
        let queue = FairQueue::new(100);
        for n in 0..50 {
            assert_eq!(queue.push("flood", n), Pushed::Taken);
        }
        assert_eq!(queue.push("one", 100), Pushed::Taken);
        assert_eq!(queue.push("two", 200), Pushed::Taken);
        assert_eq!(taken(&queue, 4), [0, 100, 200, 1]);
        assert_eq!(queue.push("one", 101), Pushed::Taken);
        assert_eq!(taken(&queue, 3), [2, 101, 3]);
        assert_eq!(queue.waiting(), 46);
    }

    #[test]
    fn a_tenant_that_floods_a_full_queue_is_evicted_for_others() {
        let queue = FairQueue::new(4);
        for n in 0..4 {
            assert_eq!(queue.push("flood", n), Pushed::Taken);
        }
        assert_eq!(queue.push("flood", 4), Pushed::Full(4));
        assert_eq!(queue.push("one", 100), Pushed::Evicted(3));
        // Equal shares remain as they are.
        assert_eq!(queue.push("one", 101), Pushed::Evicted(2));
        assert_eq!(queue.push("one", 102), Pushed::Full(102));
        assert_eq!(queue.push("flood", 5), Pushed::Full(5));
        assert!(matches!(queue.push("two", 200), Pushed::Evicted(1 | 101)));
        assert_eq!(queue.waiting(), 4);
    }

    #[test]
    fn items_put_back_are_taken_first() {
        let queue = FairQueue::new(10);
        for n in 0..3 {
            assert_eq!(queue.push("a", n), Pushed::Taken);
            assert_eq!(queue.push("b", 10 + n), Pushed::Taken);
        }
        let mut batch = queue.take(4).expect("a batch");
        assert_eq!(queue.push("c", 20), Pushed::Taken);
        queue.put_back(batch.split_off(1));
        assert_eq!(taken(&queue, 10), [10, 1, 20, 11, 2, 12]);
        queue.close();
        assert_eq!(queue.push("a", 9), Pushed::Closed(9));
        assert!(queue.take(1).is_none());
    }
}
