//! An in-memory index of items by the ranges that they overlap.

use crate::domain::NumberRange;

/// Items with a range each, sorted by range.
#[derive(Debug)]
pub struct Index<T> {
    items: Vec<(NumberRange, T)>,
    /// The largest last number up to each item, at which a search can stop.
    reach: Vec<crate::domain::Tn>,
}

impl<T> Index<T> {
    pub fn new(items: impl Iterator<Item = (NumberRange, T)>) -> Self {
        let mut items: Vec<_> = items.collect();
        items.sort_by_key(|(numbers, _)| *numbers);
        let mut reach = Vec::with_capacity(items.len());
        let mut farthest = None;
        for (numbers, _) in &items {
            let last = farthest.map_or(numbers.last(), |known| numbers.last().max(known));
            farthest = Some(last);
            reach.push(last);
        }
        Self { items, reach }
    }

    /// The items that overlap these numbers, last ones first.
    pub fn touching(&self, numbers: NumberRange) -> impl Iterator<Item = &(NumberRange, T)> {
        let end = self
            .items
            .partition_point(|(known, _)| known.first() <= numbers.last());
        let near = (0..end)
            .rev()
            .take_while(move |n| self.reach[*n] >= numbers.first());
        near.map(|n| &self.items[n])
            .filter(move |(known, _)| known.intersection(numbers).is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Tn;

    fn range() -> impl Strategy<Value = NumberRange> {
        (100_u64..900, 1_u64..90).prop_map(|(start, count)| {
            let start = Tn::from_digits(&start.to_string()).expect("three digits");
            NumberRange::new(start, count).expect("a range")
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_a_scan_finds(known in prop::collection::vec(range(), 0..40), wanted in range()) {
            let index = Index::new(known.iter().copied().zip(0..));
            let mut found: Vec<i32> = index.touching(wanted).map(|(_, n)| *n).collect();
            found.sort_unstable();
            let all = known.iter().zip(0..);
            let scanned: Vec<i32> =
                all.filter(|(k, _)| k.intersection(wanted).is_some()).map(|(_, n)| n).collect();
            prop_assert_eq!(found, scanned);
        }
    }
}
