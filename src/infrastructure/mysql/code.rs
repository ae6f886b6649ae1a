//! SQL of mailed codes.

use async_trait::async_trait;
use sqlx::FromRow;
use uuid::Uuid;

use super::{error::corrupt, rows_by_id::BindAll, sql::to_row_count, unit_of_work::Session};
use crate::domain::{
    clock::Instant,
    id::{CodeId, UserId},
    language::Language,
    repository_error::RepositoryError,
    user::{CodePurpose, CodeRepository, MailedCode},
};

const INSERT: &str = "INSERT INTO mailed_codes \
                      (id, user_id, purpose, digest, key_id, language, created_at, expires_at, used_at) \
                      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

// ix_mailed_codes_user, which covers the query. No lock.
const COUNT_SINCE: &str = "SELECT COUNT(*) FROM mailed_codes WHERE user_id = ? AND purpose = ? AND created_at >= ?";

// uq_mailed_codes_digest. No lock.
const FIND: &str = "SELECT id, user_id, purpose, digest, key_id, language, created_at, expires_at, used_at \
                    FROM mailed_codes WHERE digest = ?";

// ix_mailed_codes_user. The caller has locked the account.
const VOID: &str = "UPDATE mailed_codes SET used_at = ? WHERE user_id = ? AND purpose = ? AND used_at IS NULL";

// ix_mailed_codes_user. The caller has locked the account.
const DELETE_OF: &str = "DELETE FROM mailed_codes WHERE user_id = ?";

// ix_mailed_codes_expires. Locks the codes found, and skips locked ones, which another instance deletes.
const CLAIM_EXPIRED: &str = "SELECT id FROM mailed_codes FORCE INDEX (ix_mailed_codes_expires) \
                             WHERE expires_at < ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED";

#[derive(FromRow)]
pub(super) struct CodeRow {
    id: Uuid,
    user_id: Option<Uuid>,
    purpose: String,
    digest: Vec<u8>,
    key_id: u32,
    language: String,
    created_at: Instant,
    expires_at: Instant,
    used_at: Option<Instant>,
}

impl TryFrom<CodeRow> for MailedCode {
    type Error = RepositoryError;

    fn try_from(row: CodeRow) -> Result<Self, RepositoryError> {
        Ok(Self {
            id: CodeId(row.id),
            user_id: row.user_id.map(UserId),
            purpose: row.purpose.parse().map_err(|_| corrupt("a code's purpose", &row.purpose))?,
            digest: row.digest.try_into().map_err(|_| corrupt("a code's digest", row.id))?,
            key: row.key_id,
            language: Language::from_tag(&row.language).ok_or_else(|| corrupt("a language", &row.language))?,
            created_at: row.created_at,
            expires_at: row.expires_at,
            used_at: row.used_at,
        })
    }
}

#[async_trait]
impl CodeRepository for Session {
    async fn insert(&mut self, code: &MailedCode) -> Result<(), RepositoryError> {
        // Also without an account, so that the same statements run.
        self.touch_users([code.user_id.map_or(Uuid::nil(), |id| id.0)]).await?;
        sqlx::query(INSERT)
            .bind(code.id.0)
            .bind(code.user_id.map(|id| id.0))
            .bind(code.purpose.name())
            .bind(code.digest.as_slice())
            .bind(code.key)
            .bind(code.language.tag())
            .bind(code.created_at)
            .bind(code.expires_at)
            .bind(code.used_at)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn count_since(
        &mut self,
        user_id: UserId,
        purpose: CodePurpose,
        since: Instant,
    ) -> Result<u32, RepositoryError> {
        let query = sqlx::query_scalar(COUNT_SINCE).bind(user_id.0).bind(purpose.name()).bind(since);
        to_row_count(query.fetch_one(self.connection()).await?)
    }

    async fn find(&mut self, digest: &[u8; 32]) -> Result<Option<MailedCode>, RepositoryError> {
        let row: Option<CodeRow> =
            sqlx::query_as(FIND).bind(digest.as_slice()).fetch_optional(self.connection()).await?;
        row.map(MailedCode::try_from).transpose()
    }

    async fn void(&mut self, user_id: UserId, purpose: CodePurpose, now: Instant) -> Result<(), RepositoryError> {
        sqlx::query(VOID).bind(now).bind(user_id.0).bind(purpose.name()).execute(self.connection()).await?;
        Ok(())
    }

    async fn delete_of(&mut self, user_id: UserId) -> Result<(), RepositoryError> {
        sqlx::query(DELETE_OF).bind(user_id.0).execute(self.connection()).await?;
        Ok(())
    }

    async fn delete_expired(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError> {
        let ids: Vec<Uuid> =
            sqlx::query_scalar(CLAIM_EXPIRED).bind(horizon).bind(limit).fetch_all(self.connection()).await?;
        self.write_by_id(ids, |ids| format!("DELETE FROM mailed_codes WHERE id IN {ids}"), BindAll::bind_all).await
    }
}
