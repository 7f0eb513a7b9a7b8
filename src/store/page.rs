//! Lists by pages: `?limit=&cursor=`. A cursor is the key of the last item of the page before.

use super::error::StoreError;

/// Which page of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    limit: u16,
    after: String,
}

impl Page {
    /// The most items of one page.
    pub const MAX_LIMIT: u16 = 1_000;

    /// The page of at most `limit` items behind the item whose key is `after`; from the start when there is none.
    #[must_use]
    pub fn new(limit: u16, after: Option<String>) -> Self {
        Self {
            limit: limit.clamp(1, Self::MAX_LIMIT),
            after: after.unwrap_or_default(),
        }
    }

    /// Makes the page of a list that is in memory, in the order of its keys.
    #[must_use]
    pub fn of_all<T>(&self, items: Vec<T>, key: impl Fn(&T) -> String) -> PageOf<T> {
        let behind = items.into_iter().filter(|item| key(item) > self.after);
        self.of_fetched(behind.collect(), key)
    }

    pub(super) fn after(&self) -> &str {
        &self.after
    }

    /// One more than wanted, to know whether there is a next page.
    pub(super) fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Makes the page of what was fetched and is read already.
    pub(super) fn of_fetched<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> String) -> PageOf<T> {
        let more = items.len() > usize::from(self.limit);
        items.truncate(usize::from(self.limit));
        let next = items.last().filter(|_| more).map(key);
        PageOf { items, next }
    }

    /// Makes the page of the rows that were fetched.
    pub(super) fn of<R, T: TryFrom<R, Error = StoreError>>(
        &self,
        mut rows: Vec<R>,
        key: impl Fn(&R) -> String,
    ) -> Result<PageOf<T>, StoreError> {
        let more = rows.len() > usize::from(self.limit);
        rows.truncate(usize::from(self.limit));
        let next = rows.last().filter(|_| more).map(key);
        let items = rows
            .into_iter()
            .map(T::try_from)
            .collect::<Result<_, _>>()?;
        Ok(PageOf { items, next })
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOf<T> {
    pub items: Vec<T>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}
