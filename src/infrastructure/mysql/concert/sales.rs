//! The sales of performances.

use std::collections::HashMap;

use rust_decimal::Decimal;
use sqlx::AssertSqlSafe;

use super::super::{
    error::corrupt,
    rows_by_id::BindAll,
    sql::{padded, placeholder_list},
    unit_of_work::Session,
};
use crate::domain::{
    clock::Instant, concert::PerformanceSales, id::PerformanceId, points::Points, repository_error::RepositoryError,
};

/// Counts claims; through `ix_seat_claims_changed`. Takes no lock.
const CLAIMS: &str = "SELECT performance_id, \
    COUNT(CASE WHEN held_until > ? AND held_until < '9999-12-31 00:00:00' THEN 1 END), \
    COUNT(CASE WHEN held_until IS NULL THEN 1 END), \
    COUNT(CASE WHEN held_until = '9999-12-31 00:00:00' THEN 1 END) FROM seat_claims WHERE performance_id IN ";

/// Sums payments of confirmed bookings. Takes no lock.
const REVENUE: &str = "SELECT b.performance_id, SUM(p.amount) FROM bookings b JOIN payments p ON p.booking_id = b.id \
    WHERE b.status = 'CONFIRMED' AND b.performance_id IN ";

impl Session {
    pub(super) async fn read_sales(
        &mut self,
        ids: &[PerformanceId],
        now: Instant,
    ) -> Result<Vec<PerformanceSales>, RepositoryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let padded_ids = padded(ids.iter().map(|id| id.0));
        let list = placeholder_list(padded_ids.len());
        let claims = format!("{CLAIMS}{list} GROUP BY performance_id");
        let claims = sqlx::query_as(AssertSqlSafe(claims)).bind(now).bind_all(padded_ids.clone());
        let claims: Vec<(u64, i64, i64, i64)> = claims.fetch_all(self.connection()).await?;
        let revenue = format!("{REVENUE}{list} GROUP BY b.performance_id");
        let revenue = sqlx::query_as(AssertSqlSafe(revenue)).bind_all(padded_ids);
        let revenue: Vec<(u64, Decimal)> = revenue.fetch_all(self.connection()).await?;
        let claims: HashMap<_, _> =
            claims.into_iter().map(|(id, held, sold, blocked)| (id, (held, sold, blocked))).collect();
        let revenue: HashMap<_, _> = revenue.into_iter().collect();
        let sales = |id: &PerformanceId| {
            let (held, sold, blocked) = claims.get(&id.0).copied().unwrap_or_default();
            let count = |count: i64| u32::try_from(count).map_err(|_| corrupt("a count of claims", count));
            let revenue = revenue.get(&id.0).copied().unwrap_or_default();
            Ok(PerformanceSales {
                performance_id: *id,
                held: count(held)?,
                sold: count(sold)?,
                blocked: count(blocked)?,
                revenue: Points::new(revenue).map_err(|_| corrupt("a sum of payments", revenue))?,
            })
        };
        ids.iter().map(sales).collect()
    }
}
