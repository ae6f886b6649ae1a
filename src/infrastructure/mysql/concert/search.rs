//! The search for concerts: by words, category and dates, in the order of their next or first performance.

use chrono::NaiveDateTime;
use sqlx::{MySql, QueryBuilder};

use super::{
    super::sql::{containing, datetime},
    rows::CONCERT,
};
use crate::domain::{clock::Instant, concert::ConcertFilter};

/// The search: with dates, all concerts in the order of their first performance; without, the upcoming ones.
pub(super) fn concerts_query(filter: &ConcertFilter, now: Instant) -> QueryBuilder<MySql> {
    if filter.from.is_none() && filter.to.is_none() {
        return upcoming_query(filter, datetime(now));
    }
    let mut query = QueryBuilder::new(CONCERT);
    query.push(" WHERE c.deleted_at IS NULL");
    push_words(&mut query, filter);
    push_dates(&mut query, filter.from.map(datetime), filter.to.map(datetime));
    push_page(&mut query, filter, "c.listed_at", "c.id");
    query
}

/// Adds the condition of a performance in `from..to`.
///
/// One bound compares the first or last performance in the concert's row, by `ix_concerts_last` or
/// `ix_concerts_listed`, whichever reads less. With both bounds the performance may be neither: a subquery looks it up
/// in `ix_performances_concert`, only for the concerts of the page. An `EXISTS` would become a list of all performances
/// between the bounds.
fn push_dates(query: &mut QueryBuilder<MySql>, from: Option<NaiveDateTime>, to: Option<NaiveDateTime>) {
    if let Some(from) = from {
        query.push(" AND c.last_performance_at >= ").push_bind(from);
    }
    if let Some(to) = to {
        // A concert without a performance has the last instant there is in `listed_at`, which a `to` may exceed.
        query.push(" AND c.listed_at < ").push_bind(to).push(" AND c.first_performance_at IS NOT NULL");
    }
    if let (Some(from), Some(to)) = (from, to) {
        query.push(
            " AND (SELECT p.id FROM performances p FORCE INDEX (ix_performances_concert) \
             WHERE p.concert_id = c.id AND p.cancelled_at IS NULL",
        );
        query.push(" AND p.starts_at >= ").push_bind(from).push(" AND p.starts_at < ").push_bind(to);
        query.push(" LIMIT 1) IS NOT NULL");
    }
}

/// Concerts in the order of their next performance, then those without a performance.
///
/// `ix_concerts_listed` gives those whose first performance is in the future, in order, up to the page. Concerts
/// between their first and last performance are few: `ix_concerts_last` finds them, and `ix_performances_concert` the
/// next performance of each.
fn upcoming_query(filter: &ConcertFilter, now: NaiveDateTime) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new("(");
    query.push(CONCERT).push(" WHERE c.deleted_at IS NULL AND c.listed_at > ").push_bind(now);
    push_words(&mut query, filter);
    push_page(&mut query, filter, "c.listed_at", "c.id");
    query.push(
        ") UNION ALL (SELECT id, title, artist, category, description, first_performance_at, last_performance_at, \
         min_price, max_price, next_at AS listed_at FROM (SELECT c.id, c.title, c.artist, c.category, c.description, \
         c.first_performance_at, c.last_performance_at, c.min_price, c.max_price, \
         (SELECT p.starts_at FROM performances p FORCE INDEX (ix_performances_concert) \
         WHERE p.concert_id = c.id AND p.cancelled_at IS NULL AND p.starts_at > ",
    );
    query.push_bind(now).push(" ORDER BY p.starts_at LIMIT 1) AS next_at FROM concerts c WHERE c.deleted_at IS NULL");
    query.push(" AND c.listed_at <= ").push_bind(now).push(" AND c.last_performance_at > ").push_bind(now);
    push_words(&mut query, filter);
    query.push(") running WHERE next_at IS NOT NULL");
    push_page(&mut query, filter, "next_at", "id");
    query.push(") ORDER BY listed_at, id LIMIT ").push_bind(filter.page.rows_to_read());
    query
}

fn push_words(query: &mut QueryBuilder<MySql>, filter: &ConcertFilter) {
    if let Some(category) = &filter.category {
        query.push(" AND c.category = ").push_bind(category.clone());
    }
    if let Some(part) = &filter.query {
        let pattern = containing(part);
        query.push(" AND (c.title LIKE ").push_bind(pattern.clone()).push(" ESCAPE '!'");
        query.push(" OR c.artist LIKE ").push_bind(pattern).push(" ESCAPE '!')");
    }
}

/// Adds the page after `filter.page.after`, in the order of these two columns.
fn push_page(query: &mut QueryBuilder<MySql>, filter: &ConcertFilter, at: &'static str, id: &'static str) {
    if let Some((listed_at, concert_id)) = filter.page.after {
        query.push(" AND (").push(at).push(" > ").push_bind(datetime(listed_at));
        query.push(" OR (").push(at).push(" = ").push_bind(datetime(listed_at));
        query.push(" AND ").push(id).push(" > ").push_bind(concert_id.0).push("))");
    }
    query.push(" ORDER BY ").push(at).push(", ").push(id).push(" LIMIT ").push_bind(filter.page.rows_to_read());
}
