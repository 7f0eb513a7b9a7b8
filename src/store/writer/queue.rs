//! The queue in front of the writer: one lane for each tenant, taken in turn, all of them together bounded.
//!
//! Whoever floods the queue waits behind itself alone: the next one taken is of another lane, if there is one. When the
//! queue is full and somebody comes who has fewer waiting than the longest lane, the newest of that lane has to go. So one
//! tenant may use the whole queue while nobody else needs it, and cannot keep others out of it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A bounded queue with lanes. What was pushed and has to go again is handed back.
#[derive(Debug)]
pub(in crate::store) struct FairQueue<T> {
    state: Mutex<QueueState<T>>,
    filled: Condvar,
    /// How many may wait, in all lanes together.
    most: usize,
}

#[derive(Debug)]
struct QueueState<T> {
    /// None of them is empty.
    lanes: HashMap<String, VecDeque<T>>,
    /// The lanes, in the order of their turns.
    turns: VecDeque<String>,
    waiting: usize,
    closed: bool,
}

/// What became of something that was pushed.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) enum Pushed<T> {
    Taken,
    /// It was taken, and this one of the longest lane had to go.
    Evicted(T),
    /// There is no place for it.
    Full(T),
    /// Nothing is taken any more.
    Closed(T),
}

impl<T> FairQueue<T> {
    pub(in crate::store) fn new(most: usize) -> Self {
        Self {
            state: Mutex::new(QueueState {
                lanes: HashMap::new(),
                turns: VecDeque::new(),
                waiting: 0,
                closed: false,
            }),
            filled: Condvar::new(),
            most,
        }
    }

    pub(in crate::store) fn push(&self, lane: &str, item: T) -> Pushed<T> {
        let mut state = self.state();
        if state.closed {
            return Pushed::Closed(item);
        }
        let mut displaced = None;
        if state.waiting >= self.most {
            displaced = state.make_place_for(lane);
            if displaced.is_none() {
                return Pushed::Full(item);
            }
        }
        state.add(lane, item);
        self.filled.notify_one();
        displaced.map_or(Pushed::Taken, Pushed::Evicted)
    }

    /// Takes up to `most`, one of each lane in turn; waits until there is one. `None` when it is closed and empty.
    pub(in crate::store) fn take(&self, most: usize) -> Option<Vec<(String, T)>> {
        let mut state = self.state();
        while state.waiting == 0 {
            if state.closed {
                return None;
            }
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Some((0..most).map_while(|_| state.take_one()).collect())
    }

    /// Puts back what was taken and not done, in its order; it is the first to be taken again.
    pub(in crate::store) fn put_back(&self, items: Vec<(String, T)>) {
        let mut state = self.state();
        for (lane, item) in items.into_iter().rev() {
            state.waiting += 1;
            state
                .lanes
                .entry(lane.clone())
                .or_default()
                .push_front(item);
            state.turns.retain(|other| *other != lane);
            state.turns.push_front(lane);
        }
    }

    /// Takes nothing more; what waits can still be taken.
    pub(in crate::store) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
    }

    /// How many wait.
    #[cfg(test)]
    pub(in crate::store) fn waiting(&self) -> usize {
        self.state().waiting
    }

    fn state(&self) -> MutexGuard<'_, QueueState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> QueueState<T> {
    fn add(&mut self, lane: &str, item: T) {
        self.waiting += 1;
        if let Some(items) = self.lanes.get_mut(lane) {
            return items.push_back(item);
        }
        self.lanes.insert(lane.to_owned(), VecDeque::from([item]));
        self.turns.push_back(lane.to_owned());
    }

    fn take_one(&mut self) -> Option<(String, T)> {
        let lane = self.turns.pop_front()?;
        let items = self.lanes.get_mut(&lane)?;
        let item = items.pop_front()?;
        self.waiting -= 1;
        if items.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.turns.push_back(lane.clone());
        }
        Some((lane, item))
    }

    /// Takes the newest of the longest lane, if that one stays at least as long as this one becomes.
    fn make_place_for(&mut self, lane: &str) -> Option<T> {
        let own = self.lanes.get(lane).map_or(0, VecDeque::len);
        let longest = self.lanes.iter_mut().max_by_key(|(_, items)| items.len());
        let (_, items) = longest.filter(|(_, items)| items.len() > own + 1)?;
        self.waiting -= 1;
        items.pop_back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lanes: &FairQueue<u32>, most: usize) -> Vec<u32> {
        let taken = lanes.take(most).expect("something waits");
        taken.into_iter().map(|(_, item)| item).collect()
    }

    #[test]
    fn each_lane_has_its_turn() {
        let lanes = FairQueue::new(100);
        for n in 0..50 {
            assert_eq!(lanes.push("flood", n), Pushed::Taken);
        }
        assert_eq!(lanes.push("one", 100), Pushed::Taken);
        assert_eq!(lanes.push("two", 200), Pushed::Taken);
        assert_eq!(taken(&lanes, 4), [0, 100, 200, 1]);
        assert_eq!(lanes.push("one", 101), Pushed::Taken);
        assert_eq!(taken(&lanes, 3), [2, 101, 3]);
        assert_eq!(lanes.waiting(), 46);
    }

    #[test]
    fn who_floods_a_full_queue_makes_place_for_others() {
        let lanes = FairQueue::new(4);
        for n in 0..4 {
            assert_eq!(lanes.push("flood", n), Pushed::Taken);
        }
        assert_eq!(lanes.push("flood", 4), Pushed::Full(4));
        assert_eq!(lanes.push("one", 100), Pushed::Evicted(3));
        // Equal shares are left as they are.
        assert_eq!(lanes.push("one", 101), Pushed::Evicted(2));
        assert_eq!(lanes.push("one", 102), Pushed::Full(102));
        assert_eq!(lanes.push("flood", 5), Pushed::Full(5));
        assert!(matches!(lanes.push("two", 200), Pushed::Evicted(1 | 101)));
        assert_eq!(lanes.waiting(), 4);
    }

    #[test]
    fn what_is_put_back_comes_first() {
        let lanes = FairQueue::new(10);
        for n in 0..3 {
            assert_eq!(lanes.push("a", n), Pushed::Taken);
            assert_eq!(lanes.push("b", 10 + n), Pushed::Taken);
        }
        let mut batch = lanes.take(4).expect("a batch");
        assert_eq!(lanes.push("c", 20), Pushed::Taken);
        lanes.put_back(batch.split_off(1));
        assert_eq!(taken(&lanes, 10), [10, 1, 20, 11, 2, 12]);
        lanes.close();
        assert_eq!(lanes.push("a", 9), Pushed::Closed(9));
        assert!(lanes.take(1).is_none());
    }
}
