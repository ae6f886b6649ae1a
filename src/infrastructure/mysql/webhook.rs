//! SQL of webhooks.

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use sqlx::FromRow;
use uuid::Uuid;

use super::{cluster, error::corrupt, unit_of_work::Session};
use crate::domain::{
    clock::Instant,
    event::{EventTypes, SigningSecret, Webhook, WebhookRepository, WebhookUrl},
    id::WebhookId,
    page::{Page, PageRequest},
    repository_error::RepositoryError,
};

/// Reads the whole table, which has few rows. No lock.
const LIST_ACTIVE: &str = "SELECT id, url, types, secret, created_at, disabled_at FROM webhooks \
     WHERE deleted_at IS NULL AND disabled_at IS NULL ORDER BY id";

/// Locks the gate's one row in share mode, then the few webhooks in their newest committed state. A registration locks
/// the gate exclusively, so it comes before the whole transaction or after it.
const ANY_ACTIVE: &str = "SELECT w.id FROM event_gate g LEFT JOIN webhooks w \
     ON w.deleted_at IS NULL AND w.disabled_at IS NULL WHERE g.id = 1 LIMIT 1 LOCK IN SHARE MODE";

/// Locks the gate's one row exclusively: waits for the transactions that have checked for active webhooks.
const CLOSE_GATE: &str = "SELECT id FROM event_gate WHERE id = 1 FOR UPDATE";

/// Primary key. No lock.
const LIST: &str = "SELECT id, url, types, secret, created_at, disabled_at FROM webhooks \
     WHERE id > ? AND deleted_at IS NULL ORDER BY id LIMIT ?";

/// Reads the whole table, which has few rows. No lock.
const LIST_ENDED: &str = "SELECT id, COALESCE(disabled_at, deleted_at) FROM webhooks \
     WHERE deleted_at IS NOT NULL OR disabled_at IS NOT NULL";

const INSERT: &str = "INSERT INTO webhooks (id, url, types, secret, created_at) VALUES (?, ?, ?, ?, ?)";

/// Primary key.
const DELETE: &str = "UPDATE webhooks SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL";

/// Primary key.
const DISABLE: &str = "UPDATE webhooks SET disabled_at = ? WHERE id = ? AND disabled_at IS NULL";

/// Primary key.
const FORGET: &str = "DELETE FROM webhooks WHERE id = ? AND deleted_at < ?";

#[derive(FromRow)]
struct WebhookRow {
    id: Uuid,
    url: String,
    types: String,
    secret: String,
    created_at: Instant,
    disabled_at: Option<Instant>,
}

impl TryFrom<WebhookRow> for Webhook {
    type Error = RepositoryError;

    fn try_from(row: WebhookRow) -> Result<Self, RepositoryError> {
        let types = row.types.split_ascii_whitespace().map(str::to_owned);
        let bytes = STANDARD.decode(&row.secret).ok().and_then(|bytes| bytes.try_into().ok());
        Ok(Self {
            id: WebhookId(row.id),
            url: WebhookUrl::stored(&row.url).map_err(|_| corrupt("the URL of a webhook", row.id))?,
            types: EventTypes::stored(types),
            secret: bytes.map(SigningSecret).ok_or_else(|| corrupt("the secret of a webhook", row.id))?,
            created_at: row.created_at,
            disabled_at: row.disabled_at,
        })
    }
}

/// The webhooks with valid rows. An invalid one is logged and skipped, so that the others get their events.
fn readable(rows: Vec<WebhookRow>) -> Vec<Webhook> {
    let read = |row: WebhookRow| {
        row.try_into()
            .inspect_err(|error: &RepositoryError| tracing::error!(%error, "a webhook with an invalid row is skipped"))
            .ok()
    };
    rows.into_iter().filter_map(read).collect()
}

#[async_trait]
impl WebhookRepository for Session {
    async fn insert(&mut self, webhook: &Webhook) -> Result<(), RepositoryError> {
        sqlx::query(CLOSE_GATE).fetch_one(self.connection()).await?;
        sqlx::query(INSERT)
            .bind(webhook.id.0)
            .bind(webhook.url.as_str())
            .bind(webhook.types.as_slice().join(" "))
            .bind(STANDARD.encode(webhook.secret.0))
            .bind(webhook.created_at)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn any_active(&mut self) -> Result<bool, RepositoryError> {
        // A registration at another node doesn't wait for the gate's lock. The relay reads the webhooks later.
        if cluster::has_local_locks() {
            return Ok(true);
        }
        let found: Option<Uuid> = sqlx::query_scalar(ANY_ACTIVE).fetch_one(self.connection()).await?;
        Ok(found.is_some())
    }

    async fn list_active(&mut self) -> Result<Vec<Webhook>, RepositoryError> {
        Ok(readable(sqlx::query_as(LIST_ACTIVE).fetch_all(self.connection()).await?))
    }

    async fn list(&mut self, page: PageRequest<WebhookId>) -> Result<Page<Webhook>, RepositoryError> {
        let after = page.after.map_or(Uuid::nil(), |id| id.0);
        let rows = sqlx::query_as(LIST).bind(after).bind(page.rows_to_read()).fetch_all(self.connection()).await?;
        Ok(Page::of(readable(rows), page.limit))
    }

    async fn list_ended(&mut self) -> Result<Vec<(WebhookId, Instant)>, RepositoryError> {
        let ended: Vec<(Uuid, Instant)> = sqlx::query_as(LIST_ENDED).fetch_all(self.connection()).await?;
        Ok(ended.into_iter().map(|(id, at)| (WebhookId(id), at)).collect())
    }

    async fn delete(&mut self, id: WebhookId, now: Instant) -> Result<bool, RepositoryError> {
        let done = sqlx::query(DELETE).bind(now).bind(id.0).execute(self.connection()).await?;
        Ok(done.rows_affected() > 0)
    }

    async fn disable(&mut self, id: WebhookId, now: Instant) -> Result<(), RepositoryError> {
        sqlx::query(DISABLE).bind(now).bind(id.0).execute(self.connection()).await?;
        Ok(())
    }

    async fn delete_ended(&mut self, id: WebhookId, horizon: Instant) -> Result<(), RepositoryError> {
        sqlx::query(FORGET).bind(id.0).bind(horizon).execute(self.connection()).await?;
        Ok(())
    }
}
