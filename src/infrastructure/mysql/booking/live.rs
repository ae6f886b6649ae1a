//! Live bookings: unexpired holds, and confirmed bookings until their performance has ended.

use sqlx::{MySql, QueryBuilder};

use super::super::{sql::datetime, unit_of_work::Session};
use crate::domain::{clock::Instant, concert::PERFORMANCE_LENGTH, repository_error::RepositoryError};

/// Adds the condition that the booking `b` of the performance `p` is live at `now`.
pub(in crate::infrastructure::mysql) fn push_is_live(query: &mut QueryBuilder<MySql>, now: Instant) {
    query.push("((b.status = 'CONFIRMED' AND p.starts_at > ").push_bind(datetime(now - PERFORMANCE_LENGTH));
    query.push(") OR (b.status = 'PENDING' AND b.held_until > ").push_bind(now).push("))");
}

impl Session {
    /// Whether any of the bookings that `query` selects, by its last condition, is live. No lock.
    pub(super) async fn any_is_live(
        &mut self,
        mut query: QueryBuilder<MySql>,
        now: Instant,
    ) -> Result<bool, RepositoryError> {
        query.push(" AND ");
        push_is_live(&mut query, now);
        query.push(" LIMIT 1");
        let found: Option<i64> = query.build_query_scalar().fetch_optional(self.connection()).await?;
        Ok(found.is_some())
    }
}
