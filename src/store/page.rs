//! Paginated lists: `?limit=&cursor=`. A cursor is the key of the last item of the previous page.

use super::error::StoreError;

/// A request for one page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    limit: u16,
    after: String,
}

impl Page {
    /// The most items on a page.
    pub const MAX_LIMIT: u16 = 1_000;

    /// The page of at most `limit` items after the item whose key is `after`, or from the start of
    /// the list.
    #[must_use]
    pub fn new(limit: u16, after: Option<String>) -> Self {
        Self {
            limit: limit.clamp(1, Self::MAX_LIMIT),
            after: after.unwrap_or_default(),
        }
    }

    /// Builds the page of a list that is in memory and sorted by its keys.
    #[must_use]
    pub fn of_all<T>(&self, items: Vec<T>, key: impl Fn(&T) -> String) -> PageOf<T> {
        let following = items.into_iter().filter(|item| key(item) > self.after);
        self.of_fetched(following.collect(), key)
    }

    pub(super) fn after(&self) -> &str {
        &self.after
    }

    /// One row more than the page has, to learn whether there is a next page.
    pub(super) fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Builds the page of items that were fetched and converted already.
    pub(super) fn of_fetched<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> String) -> PageOf<T> {
        let more = items.len() > usize::from(self.limit);
        items.truncate(usize::from(self.limit));
        let next = items.last().filter(|_| more).map(key);
        PageOf { items, next }
    }

    /// Builds the page of the rows that were fetched.
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
