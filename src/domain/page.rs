//! Pages of lists.

/// A request for one page of a list, positioned by the list's sort key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageRequest<K> {
    /// The key of the last row of the page before; `None` for the first page.
    pub after: Option<K>,
    /// The most rows of the page.
    pub limit: u32,
}

impl<K> PageRequest<K> {
    /// The first page.
    pub const fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }

    /// The number of rows to read: one beyond the page shows that more follow.
    pub fn rows_to_read(&self) -> u64 {
        u64::from(self.limit) + 1
    }
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows of this page, in the list's order.
    pub items: Vec<T>,
    /// Whether further rows follow this page.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// Builds a page from the rows that were read: at most [`rows_to_read`](PageRequest::rows_to_read) for this
    /// `limit`.
    pub fn of(mut items: Vec<T>, limit: u32) -> Self {
        let limit = limit as usize;
        let has_more = items.len() > limit;
        items.truncate(limit);
        Self { items, has_more }
    }

    /// The row after which the next page starts; `None` on the last page.
    pub fn last_of_more(&self) -> Option<&T> {
        self.items.last().filter(|_| self.has_more)
    }
}
