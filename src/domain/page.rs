//! Pages of lists.

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows of this page, in the list's order.
    pub items: Vec<T>,
    /// Whether further rows follow this page.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// Builds a page from rows read with the limit `limit + 1`: the extra row shows that more follow.
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
