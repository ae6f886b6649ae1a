//! Accounts as administrators see them: with balance and live bookings.

use rust_decimal::Decimal;
use sqlx::{MySql, MySqlConnection, QueryBuilder};

use super::{
    booking::push_is_live,
    error::corrupt,
    sql::containing,
    user_rows::{UserRow, user_columns},
};
use crate::domain::{
    clock::Instant,
    id::UserId,
    page::{Page, PageRequest},
    points::Points,
    repository_error::RepositoryError,
    user::{User, UserDetails, UserFilter},
};

#[derive(sqlx::FromRow)]
struct DetailsRow {
    #[sqlx(flatten)]
    user: UserRow,
    balance: Decimal,
    live_bookings: i64,
}

impl TryFrom<DetailsRow> for UserDetails {
    type Error = RepositoryError;

    fn try_from(row: DetailsRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            user: User::try_from(row.user)?,
            balance: Points::new(row.balance).map_err(|_| corrupt("a balance", row.balance))?,
            live_bookings: u32::try_from(row.live_bookings).map_err(|_| corrupt("a count", row.live_bookings))?,
        })
    }
}

/// Begins a query for accounts. Per account: its wallet by the primary key, its bookings by `ix_bookings_user`.
fn select(now: Instant) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new(concat!(
        "SELECT ",
        user_columns!(),
        ", COALESCE((SELECT w.balance FROM point_wallets w WHERE w.user_id = u.id), 0) AS balance, \
         (SELECT COUNT(*) FROM bookings b JOIN performances p ON p.id = b.performance_id WHERE b.user_id = u.id AND ",
    ));
    push_is_live(&mut query, now);
    query.push(") AS live_bookings FROM users u WHERE u.deleted_at IS NULL");
    query
}

/// The account. No lock.
pub(super) async fn find(
    connection: &mut MySqlConnection,
    id: UserId,
    now: Instant,
) -> Result<Option<UserDetails>, RepositoryError> {
    let mut query = select(now);
    query.push(" AND u.id = ").push_bind(id.0);
    let row: Option<DetailsRow> = query.build_query_as().fetch_optional(connection).await?;
    row.map(UserDetails::try_from).transpose()
}

/// Accounts in the order of the primary key, backwards, until a page is full. A search for a rare text reads every
/// account: only administrators search. No lock.
pub(super) async fn list(
    connection: &mut MySqlConnection,
    filter: &UserFilter,
    page: PageRequest<UserId>,
    now: Instant,
) -> Result<Page<UserDetails>, RepositoryError> {
    let mut query = select(now);
    if let Some(part) = &filter.query {
        query.push(" AND (u.email_key LIKE ").push_bind(containing(&part.to_lowercase())).push(" ESCAPE '!'");
        query.push(" OR LOWER(u.name) LIKE ").push_bind(containing(&part.to_lowercase())).push(" ESCAPE '!')");
    }
    if let Some(role) = filter.role {
        query.push(" AND u.role = ").push_bind(role.name());
    }
    match filter.blocked {
        Some(true) => _ = query.push(" AND u.blocked_at IS NOT NULL"),
        Some(false) => _ = query.push(" AND u.blocked_at IS NULL"),
        None => {}
    }
    if let Some(after) = page.after {
        query.push(" AND u.id < ").push_bind(after.0);
    }
    query.push(" ORDER BY u.id DESC LIMIT ").push_bind(page.rows_to_read());
    let rows: Vec<DetailsRow> = query.build_query_as().fetch_all(connection).await?;
    let users = rows.into_iter().map(UserDetails::try_from).collect::<Result<_, _>>()?;
    Ok(Page::of(users, page.limit))
}
