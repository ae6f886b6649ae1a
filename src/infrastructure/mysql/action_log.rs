//! The action log.

use async_trait::async_trait;
use uuid::Uuid;

use super::{error::corrupt, unit_of_work::Session};
use crate::domain::{
    administration::{Action, ActionEntry, ActionLog},
    clock::Instant,
    id::{ActionId, UserId},
    page::{Page, PageRequest},
    repository_error::RepositoryError,
    text::Reason,
};

/// The most characters of an entry's details.
const DETAILS_LENGTH: usize = 500;

// The foreign key locks the administrator's row in share mode.
const APPEND: &str = "INSERT INTO admin_actions (id, actor_id, action, target_id, details, reason, created_at) \
                      VALUES (?, ?, ?, ?, ?, ?, ?)";

// The primary key, backwards. No lock.
const LIST: &str = "SELECT id, actor_id, action, target_id, details, reason, created_at FROM admin_actions \
                    WHERE id < ? ORDER BY id DESC LIMIT ?";

#[derive(sqlx::FromRow)]
struct ActionRow {
    id: Uuid,
    actor_id: Uuid,
    action: String,
    target_id: String,
    details: String,
    reason: Option<String>,
    created_at: Instant,
}

impl TryFrom<ActionRow> for ActionEntry {
    type Error = RepositoryError;

    fn try_from(row: ActionRow) -> Result<Self, RepositoryError> {
        let action = Action {
            actor: UserId(row.actor_id),
            kind: row.action.parse().map_err(|_| corrupt("an action", &row.action))?,
            target: row.target_id,
            details: row.details,
            reason: row.reason.map(Reason::stored),
        };
        Ok(Self { id: ActionId(row.id), action, created_at: row.created_at })
    }
}

#[async_trait]
impl ActionLog for Session {
    async fn append(&mut self, entry: &ActionEntry) -> Result<(), RepositoryError> {
        let action = &entry.action;
        let details: String = action.details.chars().take(DETAILS_LENGTH).collect();
        sqlx::query(APPEND)
            .bind(entry.id.0)
            .bind(action.actor.0)
            .bind(action.kind.name())
            .bind(&action.target)
            .bind(details)
            .bind(action.reason.as_ref().map(Reason::as_str))
            .bind(entry.created_at)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn list(&mut self, page: PageRequest<ActionId>) -> Result<Page<ActionEntry>, RepositoryError> {
        let rows: Vec<ActionRow> = sqlx::query_as(LIST)
            .bind(page.after.map_or(Uuid::max(), |id| id.0))
            .bind(page.rows_to_read())
            .fetch_all(self.connection())
            .await?;
        let entries = rows.into_iter().map(ActionEntry::try_from).collect::<Result<_, _>>()?;
        Ok(Page::of(entries, page.limit))
    }
}
