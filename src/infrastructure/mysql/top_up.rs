//! SQL of top-ups.

use async_trait::async_trait;
use chrono::TimeDelta;
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, MySql, QueryBuilder};
use uuid::Uuid;

use super::{
    error::{corrupt, require_rows},
    rows_by_id::BindAll,
    sql,
    unit_of_work::Session,
};
use crate::domain::{
    clock::Instant,
    id::{TopUpId, TransactionId, UserId},
    idempotency::KeyDigest,
    page::{Page, PageRequest},
    points::Points,
    repository_error::RepositoryError,
    text::Email,
    top_up::{
        Checkout, FailureReason, Refund, TopUp, TopUpDetails, TopUpRepository, TopUpSearch, TopUpStatus,
        UnansweredRequest,
    },
};

/// The columns, in the order of an insert.
macro_rules! columns {
    () => {
        "id, user_id, provider, amount, created_at, expires_at, status, failure, checkout_id, checkout_url, ended_at, \
         transaction_id, refund_requested_at, refunded_at, refund_transaction_id, next_attempt_at, attempts, \
         request_digest, request_fingerprint"
    };
}

const COLUMNS: usize = 19;

// The primary key. No lock.
const FIND: &str = concat!("SELECT ", columns!(), " FROM top_ups WHERE id = ?");

// The primary key. Locks the top-up.
const LOCK: &str = concat!("SELECT ", columns!(), " FROM top_ups FORCE INDEX (PRIMARY) WHERE id = ? FOR UPDATE");

// uq_top_ups_request. No lock: a lock by this key before the row's would deadlock with its removal from the key.
const FIND_OF_REQUEST: &str = concat!("SELECT ", columns!(), " FROM top_ups WHERE request_digest = ?");

// ix_top_ups_next. Locks the top-ups, and skips locked ones.
const CLAIM_DUE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM top_ups FORCE INDEX (ix_top_ups_next) WHERE next_attempt_at <= ? ORDER BY next_attempt_at LIMIT ? \
     FOR UPDATE SKIP LOCKED"
);

// ix_top_ups_user, backwards. No lock.
const LIST_OF: &str =
    concat!("SELECT ", columns!(), " FROM top_ups WHERE user_id = ? AND id < ? ORDER BY id DESC LIMIT ?");

// ix_top_ups_created. No lock.
const LIST_CREATED: &str = concat!("SELECT ", columns!(), " FROM top_ups WHERE created_at >= ? AND provider = ?");

// ix_top_ups_next. No lock.
const COUNT_OVERDUE: &str = "SELECT COUNT(*) FROM top_ups WHERE next_attempt_at IS NOT NULL \
                             AND COALESCE(refund_requested_at, expires_at) < ?";

// uq_top_ups_request, which has only the unanswered requests. No lock: see above.
const LIST_UNANSWERED: &str = "SELECT id FROM top_ups FORCE INDEX (uq_top_ups_request) \
                               WHERE request_digest IS NOT NULL AND created_at < ? LIMIT ?";

// ix_top_ups_status: ids grow with time. Locks the top-ups, and skips locked ones.
const CLAIM_UNPAID: &str = "SELECT id FROM top_ups FORCE INDEX (ix_top_ups_status) \
                            WHERE status IN ('FAILED', 'EXPIRED') AND id < ? AND next_attempt_at IS NULL \
                            AND refund_requested_at IS NULL LIMIT ? FOR UPDATE SKIP LOCKED";

// The primary key. Locks the provider's row, or stores one whose reconciliation is due.
const ENTER_RECONCILIATION: &str = "INSERT INTO reconciliations (provider, started_at, differences) VALUES (?, ?, 0) \
                                    ON DUPLICATE KEY UPDATE provider = VALUES(provider)";

// The primary key, of a row that is locked.
const CLAIM_RECONCILIATION: &str = "UPDATE reconciliations SET started_at = ?, finished_at = NULL WHERE provider = ? \
                                    AND (started_at <= ? OR (finished_at IS NULL AND started_at <= ?))";

// The primary key.
const FINISH_RECONCILIATION: &str = "UPDATE reconciliations SET finished_at = ?, differences = ? WHERE provider = ?";

// The primary key. No lock.
const FIND_DIFFERENCES: &str = "SELECT differences FROM reconciliations WHERE provider = ?";

/// The time between the starts of two reconciliations.
const RECONCILIATION_INTERVAL: TimeDelta = TimeDelta::days(1);

/// The time after which a reconciliation that didn't finish is repeated.
const RECONCILIATION_RETRY: TimeDelta = TimeDelta::minutes(10);

// The primary key.
const UPDATE: &str = "UPDATE top_ups FORCE INDEX (PRIMARY) SET status = ?, failure = ?, checkout_id = ?, \
                      checkout_url = ?, ended_at = ?, transaction_id = ?, refund_requested_at = ?, refunded_at = ?, \
                      refund_transaction_id = ?, next_attempt_at = ?, attempts = ?, request_digest = ?, \
                      request_fingerprint = ? WHERE id = ?";

#[derive(sqlx::FromRow)]
struct TopUpRow {
    id: Uuid,
    user_id: Uuid,
    provider: String,
    amount: Decimal,
    status: String,
    failure: Option<String>,
    checkout_id: Option<String>,
    checkout_url: Option<String>,
    created_at: Instant,
    expires_at: Instant,
    ended_at: Option<Instant>,
    refund_requested_at: Option<Instant>,
    refunded_at: Option<Instant>,
    refund_transaction_id: Option<Uuid>,
    next_attempt_at: Option<Instant>,
    attempts: u32,
    request_digest: Option<Vec<u8>>,
    request_fingerprint: Option<Vec<u8>>,
}

impl TryFrom<TopUpRow> for TopUp {
    type Error = RepositoryError;

    fn try_from(row: TopUpRow) -> Result<Self, RepositoryError> {
        let hash = |bytes: Vec<u8>| bytes.try_into().map_err(|bytes| corrupt("the hash of a request", bytes));
        let request = row.request_digest.zip(row.request_fingerprint);
        let request = request.map(|(digest, fingerprint)| {
            Ok::<_, RepositoryError>(UnansweredRequest { digest: hash(digest)?, fingerprint: hash(fingerprint)? })
        });
        let failure = row.failure.map(|name| name.parse().map_err(|_| corrupt("the failure of a top-up", &name)));
        Ok(Self {
            id: TopUpId(row.id),
            user_id: UserId(row.user_id),
            provider: row.provider,
            amount: Points::new(row.amount).map_err(|_| corrupt("the amount of a top-up", row.amount))?,
            status: row.status.parse().map_err(|_| corrupt("the status of a top-up", &row.status))?,
            failure: failure.transpose()?,
            checkout: row.checkout_id.map(|id| Checkout { id, url: row.checkout_url }),
            created_at: row.created_at,
            expires_at: row.expires_at,
            ended_at: row.ended_at,
            refund: row.refund_requested_at.map(|requested_at| Refund {
                requested_at,
                transaction_id: row.refund_transaction_id.map(TransactionId),
                refunded_at: row.refunded_at,
            }),
            next_attempt_at: row.next_attempt_at,
            attempts: row.attempts,
            request: request.transpose()?,
        })
    }
}

#[derive(sqlx::FromRow)]
struct DetailsRow {
    #[sqlx(flatten)]
    top_up: TopUpRow,
    email: Option<String>,
}

/// Adds a query for the ids of a page, of one stored status. It reads the entries of one index, backwards: of the user,
/// of the status, else the primary key. The range of ids keeps it from reading those of other times.
fn push_ids(
    query: &mut QueryBuilder<MySql>,
    search: &TopUpSearch,
    page: PageRequest<TopUpId>,
    now: Instant,
    stored: Option<TopUpStatus>,
) {
    let index = match (search.user_id, stored) {
        (Some(_), _) => "ix_top_ups_user",
        (None, Some(_)) => "ix_top_ups_status",
        (None, None) => "PRIMARY",
    };
    query.push(format!("(SELECT id FROM top_ups FORCE INDEX ({index}) WHERE id < "));
    // The range may end within a millisecond.
    let end = search.to.map_or(Uuid::max(), |to| first_id_at(to + TimeDelta::milliseconds(1)));
    query.push_bind(page.after.map_or(end, |id| id.0.min(end)));
    if let Some(from) = search.from {
        query.push(" AND id >= ").push_bind(first_id_at(from));
        query.push(" AND created_at >= ").push_bind(sql::datetime(from));
    }
    if let Some(to) = search.to {
        query.push(" AND created_at < ").push_bind(sql::datetime(to));
    }
    if let Some(user_id) = search.user_id {
        query.push(" AND user_id = ").push_bind(user_id.0);
    }
    if let Some(stored) = stored {
        query.push(" AND status = ").push_bind(stored.name());
        if stored == TopUpStatus::Pending {
            let comparison = if search.status == Some(TopUpStatus::Pending) { ">" } else { "<=" };
            query.push(format!(" AND expires_at {comparison} ")).push_bind(now);
        }
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(page.rows_to_read()).push(")");
}

/// The lowest id of an instant: ids are UUIDv7, which begin with the milliseconds since 1970.
fn first_id_at(instant: Instant) -> Uuid {
    let milliseconds = u128::try_from(instant.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128(milliseconds << 80)
}

/// The entry in the ledger, which has the top-up's id.
fn transaction_id(top_up: &TopUp) -> Option<Uuid> {
    (top_up.status == TopUpStatus::Completed).then_some(top_up.id.0)
}

/// Binds the columns that can change, in the order of an insert and of [`UPDATE`].
fn bind_changes<'q>(query: Changes<'q>, top_up: &'q TopUp) -> Changes<'q> {
    query
        .bind(top_up.status.name())
        .bind(top_up.failure.map(FailureReason::name))
        .bind(top_up.checkout.as_ref().map(|checkout| &checkout.id))
        .bind(top_up.checkout.as_ref().and_then(|checkout| checkout.url.as_ref()))
        .bind(top_up.ended_at)
        .bind(transaction_id(top_up))
        .bind(top_up.refund.map(|refund| refund.requested_at))
        .bind(top_up.refund.and_then(|refund| refund.refunded_at))
        .bind(top_up.refund.and_then(|refund| refund.transaction_id).map(|id| id.0))
        .bind(top_up.next_attempt_at)
        .bind(top_up.attempts)
        .bind(top_up.request.map(|request| request.digest.to_vec()))
        .bind(top_up.request.map(|request| request.fingerprint.to_vec()))
}

impl Session {
    async fn fetch_top_ups<'a>(
        &mut self,
        statement: &'static str,
        bind: impl FnOnce(QueryOf<'a>) -> QueryOf<'a>,
    ) -> Result<Vec<TopUp>, RepositoryError> {
        let rows = bind(sqlx::query_as(statement)).fetch_all(self.connection()).await?;
        rows.into_iter().map(TopUp::try_from).collect()
    }
}

type Changes<'a> = sqlx::query::Query<'a, MySql, sqlx::mysql::MySqlArguments>;

type QueryOf<'a> = sqlx::query::QueryAs<'a, MySql, TopUpRow, sqlx::mysql::MySqlArguments>;

#[async_trait]
impl TopUpRepository for Session {
    async fn insert(&mut self, top_up: &TopUp) -> Result<(), RepositoryError> {
        let text =
            format!(concat!("INSERT INTO top_ups (", columns!(), ") VALUES {}"), sql::placeholder_rows(COLUMNS, 1));
        let query = sqlx::query(AssertSqlSafe(text))
            .bind(top_up.id.0)
            .bind(top_up.user_id.0)
            .bind(&top_up.provider)
            .bind(top_up.amount.as_decimal())
            .bind(top_up.created_at)
            .bind(top_up.expires_at);
        let result = bind_changes(query, top_up).execute(self.connection()).await;
        match result.map_err(RepositoryError::from) {
            Ok(_) => Ok(()),
            // The caller repeats the transaction, and finds the top-up or the recorded answer.
            Err(RepositoryError::NotUnique { constraint }) if constraint == "uq_top_ups_request" => {
                Err(RepositoryError::stale("an idempotency key"))
            }
            Err(error) => Err(error),
        }
    }

    async fn find(&mut self, id: TopUpId) -> Result<Option<TopUp>, RepositoryError> {
        Ok(self.fetch_top_ups(FIND, |query| query.bind(id.0)).await?.pop())
    }

    async fn lock(&mut self, id: TopUpId) -> Result<Option<TopUp>, RepositoryError> {
        Ok(self.fetch_top_ups(LOCK, |query| query.bind(id.0)).await?.pop())
    }

    async fn find_of_request(&mut self, digest: &KeyDigest) -> Result<Option<TopUp>, RepositoryError> {
        let digest = digest.to_vec();
        Ok(self.fetch_top_ups(FIND_OF_REQUEST, |query| query.bind(digest)).await?.pop())
    }

    async fn update(&mut self, top_up: &TopUp) -> Result<(), RepositoryError> {
        bind_changes(sqlx::query(UPDATE), top_up).bind(top_up.id.0).execute(self.connection()).await?;
        Ok(())
    }

    async fn claim_due(
        &mut self,
        now: Instant,
        leased_until: Instant,
        limit: u32,
    ) -> Result<Vec<TopUp>, RepositoryError> {
        let mut due = self.fetch_top_ups(CLAIM_DUE, |query| query.bind(now).bind(limit)).await?;
        // By the primary key also while the table is small: a scan would lock other users' top-ups.
        let text = |ids: &str| {
            format!(
                "UPDATE top_ups FORCE INDEX (PRIMARY) SET next_attempt_at = ?, attempts = attempts + 1 WHERE id IN {ids}"
            )
        };
        let ids: Vec<_> = due.iter().map(|top_up| top_up.id.0).collect();
        let found = self.write_by_id(ids, text, |query, ids| query.bind(leased_until).bind_all(ids)).await?;
        require_rows(found, due.len(), "a top-up")?;
        for top_up in &mut due {
            (top_up.next_attempt_at, top_up.attempts) = (Some(leased_until), top_up.attempts.saturating_add(1));
        }
        Ok(due)
    }

    async fn list_page(&mut self, user_id: UserId, page: PageRequest<TopUpId>) -> Result<Page<TopUp>, RepositoryError> {
        let before = page.after.map_or(Uuid::max(), |id| id.0);
        let top_ups =
            self.fetch_top_ups(LIST_OF, |query| query.bind(user_id.0).bind(before).bind(page.rows_to_read())).await?;
        Ok(Page::of(top_ups, page.limit))
    }

    async fn search(
        &mut self,
        search: &TopUpSearch,
        page: PageRequest<TopUpId>,
        now: Instant,
    ) -> Result<Page<TopUpDetails>, RepositoryError> {
        let select =
            concat!("SELECT ", columns!(), ", (SELECT email FROM users u WHERE u.id = user_id) AS email FROM (");
        let mut query = QueryBuilder::new(select);
        push_ids(&mut query, search, page, now, search.status);
        if search.status == Some(TopUpStatus::Expired) {
            // Those whose end no job has recorded yet.
            query.push(" UNION ALL ");
            push_ids(&mut query, search, page, now, Some(TopUpStatus::Pending));
        }
        query.push(") found STRAIGHT_JOIN top_ups FORCE INDEX (PRIMARY) USING (id) ORDER BY id DESC LIMIT ");
        query.push_bind(page.rows_to_read());
        let rows: Vec<DetailsRow> = query.build_query_as().fetch_all(self.connection()).await?;
        let details = |DetailsRow { top_up, email }| {
            Ok(TopUpDetails { top_up: TopUp::try_from(top_up)?, email: email.map(Email::stored) })
        };
        Ok(Page::of(rows.into_iter().map(details).collect::<Result<_, RepositoryError>>()?, page.limit))
    }

    async fn list_created(&mut self, provider: &str, since: Instant) -> Result<Vec<TopUp>, RepositoryError> {
        let provider = provider.to_owned();
        self.fetch_top_ups(LIST_CREATED, |query| query.bind(since).bind(provider)).await
    }

    async fn count_overdue(&mut self, before: Instant) -> Result<u32, RepositoryError> {
        let count: i64 = sqlx::query_scalar(COUNT_OVERDUE).bind(before).fetch_one(self.connection()).await?;
        sql::to_row_count(count)
    }

    async fn forget_requests(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError> {
        let ids: Vec<Uuid> =
            sqlx::query_scalar(LIST_UNANSWERED).bind(horizon).bind(limit).fetch_all(self.connection()).await?;
        let text = |ids: &str| {
            format!(
                "UPDATE top_ups FORCE INDEX (PRIMARY) SET request_digest = NULL, request_fingerprint = NULL WHERE id IN {ids}"
            )
        };
        self.write_by_id(ids, text, BindAll::bind_all).await
    }

    async fn delete_unpaid(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError> {
        let ids: Vec<Uuid> = sqlx::query_scalar(CLAIM_UNPAID)
            .bind(first_id_at(horizon))
            .bind(limit)
            .fetch_all(self.connection())
            .await?;
        // uq_sandbox_checkouts_top_up.
        let checkouts = |ids: &str| format!("DELETE FROM sandbox_checkouts WHERE top_up_id IN {ids}");
        self.write_by_id(ids.clone(), checkouts, BindAll::bind_all).await?;
        let top_ups = |ids: &str| format!("DELETE FROM top_ups WHERE id IN {ids}");
        self.write_by_id(ids, top_ups, BindAll::bind_all).await
    }

    async fn claim_reconciliation(&mut self, provider: &str, now: Instant) -> Result<bool, RepositoryError> {
        let due = now - RECONCILIATION_INTERVAL;
        sqlx::query(ENTER_RECONCILIATION).bind(provider).bind(due).execute(self.connection()).await?;
        let done = sqlx::query(CLAIM_RECONCILIATION)
            .bind(now)
            .bind(provider)
            .bind(due)
            .bind(now - RECONCILIATION_RETRY)
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn finish_reconciliation(
        &mut self,
        provider: &str,
        now: Instant,
        differences: u32,
    ) -> Result<(), RepositoryError> {
        sqlx::query(FINISH_RECONCILIATION)
            .bind(now)
            .bind(differences)
            .bind(provider)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn find_differences(&mut self, provider: &str) -> Result<u32, RepositoryError> {
        let found = sqlx::query_scalar(FIND_DIFFERENCES).bind(provider).fetch_optional(self.connection()).await?;
        Ok(found.unwrap_or_default())
    }
}
