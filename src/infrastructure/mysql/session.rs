//! SQL of logins and their refresh tokens.

use async_trait::async_trait;
use uuid::Uuid;

use super::{error::require_rows, rows_by_id::BindAll, unit_of_work::Session};
use crate::domain::{
    clock::Instant,
    id::{SessionId, UserId},
    page::{Page, PageRequest},
    repository_error::RepositoryError,
    // Renamed, since this folder's `Session` is the connection.
    user::{RefreshToken, Session as Login, SessionRepository, SessionSummary},
};

const INSERT: &str = "INSERT INTO sessions \
                      (id, user_id, created_at, expires_at, revoked_at, last_used_at, user_agent) \
                      VALUES (?, ?, ?, ?, ?, ?, ?)";

const UPDATE_END: &str = "UPDATE sessions SET expires_at = ?, last_used_at = ? WHERE id = ?";

const INSERT_REFRESH_TOKEN: &str = "INSERT INTO refresh_tokens (digest, session_id, issued_at, expires_at, used_at) \
                                    VALUES (?, ?, ?, ?, ?)";

// The primary key. No lock: a token's session never changes.
const FIND_SESSION_OF: &str = "SELECT session_id FROM refresh_tokens WHERE digest = ?";

// Both primary keys. Locks the session and then its token: one exchange or revocation of a session at a time.
const LOCK_WITH_TOKEN: &str = "SELECT s.user_id, s.created_at, s.expires_at AS session_expires_at, s.revoked_at, \
                               t.issued_at, t.expires_at, t.used_at, t.successor_key \
                               FROM sessions s LEFT JOIN refresh_tokens t ON t.digest = ? AND t.session_id = s.id \
                               WHERE s.id = ? FOR UPDATE";

const MARK_USED: &str = "UPDATE refresh_tokens SET used_at = ?, successor_key = ? WHERE digest = ? AND used_at IS NULL";

// The foreign key's index: a session has few tokens. The caller has locked the session.
const DELETE_USED: &str = "DELETE FROM refresh_tokens WHERE session_id = ? AND used_at < ? \
                           AND successor_key IS NOT NULL LIMIT 100";

const REVOKE: &str = "UPDATE sessions SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL";

// The primary key.
const REVOKE_OWN: &str =
    "UPDATE sessions SET revoked_at = ? WHERE id = ? AND user_id = ? AND revoked_at IS NULL AND expires_at > ?";

// The foreign key's index, which ends with the id. No lock.
const LIST_LIVE: &str = "SELECT id, created_at, COALESCE(last_used_at, created_at) AS last_used_at, user_agent \
                         FROM sessions WHERE user_id = ? AND id < ? AND revoked_at IS NULL AND expires_at > ? \
                         ORDER BY id DESC LIMIT ?";

// The foreign key's index. Locks the sessions.
const LOCK_LIVE: &str = "SELECT id FROM sessions WHERE user_id = ? AND revoked_at IS NULL ORDER BY id FOR UPDATE";

// ix_sessions_revoked, which covers the query. No lock.
const LIST_REVOKED: &str = "SELECT id FROM sessions WHERE revoked_at >= ?";

// ix_sessions_expires. Locks the sessions, before their tokens.
const CLAIM_ENDED: &str =
    "SELECT id FROM sessions WHERE expires_at < ? ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED";

#[derive(sqlx::FromRow)]
struct RefreshTokenRow {
    user_id: Uuid,
    created_at: Instant,
    session_expires_at: Instant,
    revoked_at: Option<Instant>,
    issued_at: Option<Instant>,
    expires_at: Option<Instant>,
    used_at: Option<Instant>,
    successor_key: Option<u32>,
}

impl RefreshTokenRow {
    fn into_login_and_token(self, session_id: SessionId, digest: [u8; 32]) -> (Login, Option<RefreshToken>) {
        let lifetime = self.issued_at.zip(self.expires_at);
        let token = lifetime.map(|(issued_at, expires_at)| RefreshToken {
            digest,
            session_id,
            issued_at,
            expires_at,
            used_at: self.used_at,
            successor_key: self.successor_key,
        });
        let login = Login {
            id: session_id,
            user_id: UserId(self.user_id),
            created_at: self.created_at,
            expires_at: self.session_expires_at,
            revoked_at: self.revoked_at,
        };
        (login, token)
    }
}

#[derive(sqlx::FromRow)]
struct SummaryRow {
    id: Uuid,
    created_at: Instant,
    last_used_at: Instant,
    user_agent: Option<String>,
}

impl From<SummaryRow> for SessionSummary {
    fn from(row: SummaryRow) -> Self {
        let SummaryRow { id, created_at, last_used_at, user_agent } = row;
        Self { id: SessionId(id), created_at, last_used_at, user_agent }
    }
}

// fk_sessions_user. Locks the user's sessions.
const ERASE_USER_AGENTS: &str = "UPDATE sessions SET user_agent = NULL WHERE user_id = ? AND user_agent IS NOT NULL";

#[async_trait]
impl SessionRepository for Session {
    async fn insert(&mut self, session: &Login, user_agent: Option<&str>) -> Result<(), RepositoryError> {
        self.touch_users([session.user_id.0]).await?;
        sqlx::query(INSERT)
            .bind(session.id.0)
            .bind(session.user_id.0)
            .bind(session.created_at)
            .bind(session.expires_at)
            .bind(session.revoked_at)
            .bind(session.created_at)
            .bind(user_agent)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn insert_refresh_token(&mut self, token: &RefreshToken) -> Result<(), RepositoryError> {
        // The session first: the token's foreign key would take a shared lock on it. Two transactions with such a lock
        // would deadlock when they write the session.
        let moved = sqlx::query(UPDATE_END)
            .bind(token.expires_at)
            .bind(token.issued_at)
            .bind(token.session_id.0)
            .execute(self.connection())
            .await?;
        require_rows(moved.rows_affected(), 1, "a login")?;
        sqlx::query(INSERT_REFRESH_TOKEN)
            .bind(token.digest.as_slice())
            .bind(token.session_id.0)
            .bind(token.issued_at)
            .bind(token.expires_at)
            .bind(token.used_at)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn find_session_of(&mut self, digest: &[u8; 32]) -> Result<Option<SessionId>, RepositoryError> {
        let id: Option<Uuid> =
            sqlx::query_scalar(FIND_SESSION_OF).bind(digest.as_slice()).fetch_optional(self.connection()).await?;
        Ok(id.map(SessionId))
    }

    async fn lock_with_token(
        &mut self,
        id: SessionId,
        digest: &[u8; 32],
    ) -> Result<Option<(Login, Option<RefreshToken>)>, RepositoryError> {
        let row: Option<RefreshTokenRow> = sqlx::query_as(LOCK_WITH_TOKEN)
            .bind(digest.as_slice())
            .bind(id.0)
            .fetch_optional(self.connection())
            .await?;
        Ok(row.map(|row| row.into_login_and_token(id, *digest)))
    }

    async fn delete_used(&mut self, id: SessionId, horizon: Instant) -> Result<(), RepositoryError> {
        sqlx::query(DELETE_USED).bind(id.0).bind(horizon).execute(self.connection()).await?;
        Ok(())
    }

    async fn mark_used(&mut self, digest: &[u8; 32], now: Instant, successor_key: u32) -> Result<(), RepositoryError> {
        let done = sqlx::query(MARK_USED)
            .bind(now)
            .bind(successor_key)
            .bind(digest.as_slice())
            .execute(self.connection())
            .await?;
        require_rows(done.rows_affected(), 1, "a refresh token")
    }

    async fn revoke(&mut self, id: SessionId, now: Instant) -> Result<(), RepositoryError> {
        sqlx::query(REVOKE).bind(now).bind(id.0).execute(self.connection()).await?;
        Ok(())
    }

    async fn revoke_own(&mut self, user_id: UserId, id: SessionId, now: Instant) -> Result<bool, RepositoryError> {
        let query = sqlx::query(REVOKE_OWN).bind(now).bind(id.0).bind(user_id.0).bind(now);
        Ok(query.execute(self.connection()).await?.rows_affected() == 1)
    }

    async fn list_live(
        &mut self,
        user_id: UserId,
        page: PageRequest<SessionId>,
        now: Instant,
    ) -> Result<Page<SessionSummary>, RepositoryError> {
        let rows: Vec<SummaryRow> = sqlx::query_as(LIST_LIVE)
            .bind(user_id.0)
            .bind(page.after.map_or(Uuid::max(), |id| id.0))
            .bind(now)
            .bind(page.rows_to_read())
            .fetch_all(self.connection())
            .await?;
        Ok(Page::of(rows.into_iter().map(Into::into).collect(), page.limit))
    }

    async fn revoke_all(
        &mut self,
        user_id: UserId,
        kept: Option<SessionId>,
        now: Instant,
    ) -> Result<Vec<SessionId>, RepositoryError> {
        let mut ids: Vec<Uuid> = sqlx::query_scalar(LOCK_LIVE).bind(user_id.0).fetch_all(self.connection()).await?;
        ids.retain(|id| kept != Some(SessionId(*id)));
        // By id, so that a concurrent login isn't revoked without being returned.
        self.write_by_id(
            ids.iter().copied(),
            |ids| format!("UPDATE sessions FORCE INDEX (PRIMARY) SET revoked_at = ? WHERE id IN {ids}"),
            |query, ids| query.bind(now).bind_all(ids),
        )
        .await?;
        Ok(ids.into_iter().map(SessionId).collect())
    }

    async fn erase_user_agents(&mut self, user_id: UserId) -> Result<(), RepositoryError> {
        sqlx::query(ERASE_USER_AGENTS).bind(user_id.0).execute(self.connection()).await?;
        Ok(())
    }

    async fn list_revoked(&mut self, since: Instant) -> Result<Vec<SessionId>, RepositoryError> {
        let ids: Vec<Uuid> = sqlx::query_scalar(LIST_REVOKED).bind(since).fetch_all(self.connection()).await?;
        Ok(ids.into_iter().map(SessionId).collect())
    }

    async fn delete_ended(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError> {
        let ids: Vec<Uuid> =
            sqlx::query_scalar(CLAIM_ENDED).bind(horizon).bind(limit).fetch_all(self.connection()).await?;
        let most_tokens = 2 * u64::from(limit);
        // The foreign key's index. A former version kept all tokens, so a session may have very many.
        let tokens = self
            .write_by_id(
                ids.iter().copied(),
                |ids| format!("DELETE FROM refresh_tokens WHERE session_id IN {ids} LIMIT ?"),
                |query, ids| query.bind_all(ids).bind(most_tokens),
            )
            .await?;
        if tokens == most_tokens {
            return Ok(tokens);
        }
        let sessions =
            self.write_by_id(ids, |ids| format!("DELETE FROM sessions WHERE id IN {ids}"), BindAll::bind_all).await?;
        Ok(tokens + sessions)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::MySqlPool;

    use super::*;
    use crate::{
        domain::unit_of_work::Database,
        infrastructure::mysql::{MySqlDatabase, fixtures},
    };

    fn login(id: u128, user_id: UserId, expires_at: Instant) -> Login {
        Login { id: SessionId(Uuid::from_u128(id)), user_id, created_at: fixtures::at(0), expires_at, revoked_at: None }
    }

    fn token(digest: u8, session_id: SessionId, expires_at: Instant) -> RefreshToken {
        RefreshToken {
            digest: [digest; 32],
            session_id,
            issued_at: fixtures::at(1),
            expires_at,
            used_at: None,
            successor_key: None,
        }
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_refresh_token_is_kept_with_its_session_and_used_once(pool: MySqlPool) {
        let user_id = fixtures::insert_user(&pool, 1).await;
        let mut uow = MySqlDatabase::new(pool).begin().await.unwrap();
        let sessions = uow.sessions();
        let login = login(1, user_id, fixtures::at(10));
        sessions.insert(&login, None).await.unwrap();
        sessions.insert_refresh_token(&token(7, login.id, fixtures::at(20))).await.unwrap();

        assert_eq!(sessions.find_session_of(&[7; 32]).await.unwrap(), Some(login.id));
        assert_eq!(sessions.find_session_of(&[8; 32]).await.unwrap(), None);
        assert!(sessions.lock_with_token(SessionId(Uuid::nil()), &[7; 32]).await.unwrap().is_none());
        let (session, found) = sessions.lock_with_token(login.id, &[8; 32]).await.unwrap().unwrap();
        assert!(found.is_none());
        assert_eq!((session.id, session.user_id, session.revoked_at), (login.id, user_id, None));
        assert_eq!((session.created_at, session.expires_at), (fixtures::at(0), fixtures::at(20)));
        let (_, found) = sessions.lock_with_token(login.id, &[7; 32]).await.unwrap().unwrap();
        let found = found.unwrap();
        assert_eq!((found.digest, found.session_id, found.used_at), ([7; 32], login.id, None));
        assert_eq!((found.issued_at, found.expires_at), (fixtures::at(1), fixtures::at(20)));

        sessions.mark_used(&[7; 32], fixtures::at(2), u32::MAX).await.unwrap();
        let (_, found) = sessions.lock_with_token(login.id, &[7; 32]).await.unwrap().unwrap();
        let found = found.unwrap();
        assert_eq!((found.used_at, found.successor_key), (Some(fixtures::at(2)), Some(u32::MAX)));
        let again = sessions.mark_used(&[7; 32], fixtures::at(3), 1).await;
        assert!(matches!(again, Err(RepositoryError::Contention { .. })), "{again:?}");

        sessions.insert_refresh_token(&token(8, login.id, fixtures::at(20))).await.unwrap();
        sessions.delete_used(login.id, fixtures::at(2)).await.unwrap();
        assert!(sessions.find_session_of(&[7; 32]).await.unwrap().is_some());
        sessions.delete_used(login.id, fixtures::at(3)).await.unwrap();
        assert_eq!(sessions.find_session_of(&[7; 32]).await.unwrap(), None);
        assert!(sessions.find_session_of(&[8; 32]).await.unwrap().is_some());
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn a_refresh_token_needs_its_session(pool: MySqlPool) {
        let mut uow = MySqlDatabase::new(pool).begin().await.unwrap();
        let orphan = token(7, SessionId(Uuid::nil()), fixtures::at(20));
        let refused = uow.sessions().insert_refresh_token(&orphan).await;
        assert!(matches!(refused, Err(RepositoryError::Contention { .. })), "{refused:?}");
    }

    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn revoked_sessions_are_listed_from_the_requested_instant(pool: MySqlPool) {
        let user_id = fixtures::insert_user(&pool, 1).await;
        let other_user = fixtures::insert_user(&pool, 2).await;
        let mut uow = MySqlDatabase::new(pool).begin().await.unwrap();
        let sessions = uow.sessions();
        let logins: Vec<_> =
            (1..=4).map(|id| login(id, if id == 4 { other_user } else { user_id }, fixtures::at(100))).collect();
        for login in &logins {
            sessions.insert(login, None).await.unwrap();
        }
        assert_eq!(sessions.list_revoked(fixtures::at(0)).await.unwrap(), []);

        sessions.revoke(logins[0].id, fixtures::at(5)).await.unwrap();
        sessions.revoke(logins[0].id, fixtures::at(9)).await.unwrap();
        assert_eq!(sessions.list_revoked(fixtures::at(5)).await.unwrap(), [logins[0].id]);
        assert_eq!(sessions.list_revoked(fixtures::at(6)).await.unwrap(), []);

        let revoked = sessions.revoke_all(user_id, None, fixtures::at(7)).await.unwrap();
        assert_eq!(revoked, [logins[1].id, logins[2].id]);
        assert_eq!(sessions.revoke_all(user_id, None, fixtures::at(8)).await.unwrap(), []);
        let mut all = sessions.list_revoked(fixtures::at(0)).await.unwrap();
        all.sort_unstable();
        assert_eq!(all, [logins[0].id, logins[1].id, logins[2].id]);
    }

    /// Four sessions, of which the third has more tokens than one batch deletes.
    #[sqlx::test(migrator = "crate::infrastructure::mysql::MIGRATOR")]
    async fn ended_sessions_are_deleted_after_their_refresh_tokens_in_bounded_batches(pool: MySqlPool) {
        let user_id = fixtures::insert_user(&pool, 1).await;
        let mut uow = MySqlDatabase::new(pool).begin().await.unwrap();
        let sessions = uow.sessions();
        for (id, digests) in [(1, 1..=1), (2, 2..=2), (3, 10..=16), (4, 4..=4)] {
            let login = login(id, user_id, fixtures::at(0));
            sessions.insert(&login, None).await.unwrap();
            for digest in digests {
                let ends = fixtures::at(i64::try_from(id).unwrap());
                sessions.insert_refresh_token(&token(digest, login.id, ends)).await.unwrap();
            }
        }
        let exists = async |sessions: &mut dyn SessionRepository, id: u128| {
            sessions.lock_with_token(SessionId(Uuid::from_u128(id)), &[0; 32]).await.unwrap().is_some()
        };
        assert_eq!(sessions.delete_ended(fixtures::at(4), 2).await.unwrap(), 4, "two sessions with their tokens");
        assert!(!exists(sessions, 1).await && !exists(sessions, 2).await && exists(sessions, 3).await);
        assert_eq!(sessions.delete_ended(fixtures::at(4), 2).await.unwrap(), 4, "tokens of the third session");
        assert!(exists(sessions, 3).await);
        assert_eq!(sessions.delete_ended(fixtures::at(4), 2).await.unwrap(), 4, "its last three, and the session");
        assert!(!exists(sessions, 3).await && exists(sessions, 4).await);
        assert_eq!(sessions.delete_ended(fixtures::at(4), 2).await.unwrap(), 0);
    }
}
