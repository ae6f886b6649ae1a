//! Writes of tokens: whole rows, the times of active tokens, and endings.

use sqlx::AssertSqlSafe;

use super::super::{
    rows_by_id::BindAll,
    sql::{ROWS_PER_STATEMENT, padded, parts, placeholder_list, placeholder_rows},
    unit_of_work::Session,
};
use crate::domain::{
    clock::Instant,
    queue::{Admission, QueueToken, TokenState},
    repository_error::RepositoryError,
};

/// Maximum of tokens with different values in one statement, whose cost grows with the square of their number.
pub(super) const TOKENS_PER_CASE: usize = 128;

impl Session {
    /// Inserts rows of tokens, or updates existing ones as `on_duplicate` says. The caller has locked the queue, whose
    /// row the database locks in share mode for the foreign key.
    pub(super) async fn write_tokens(
        &mut self,
        tokens: &[QueueToken],
        ended_at: Instant,
        on_duplicate: &str,
    ) -> Result<(), RepositoryError> {
        for part in parts(tokens, ROWS_PER_STATEMENT) {
            self.write_some_tokens(part, ended_at, on_duplicate).await?;
        }
        Ok(())
    }

    async fn write_some_tokens(
        &mut self,
        tokens: &[QueueToken],
        ended_at: Instant,
        on_duplicate: &str,
    ) -> Result<(), RepositoryError> {
        let text = format!(
            "INSERT INTO queue_tokens (id, concert_id, user_id, key_id, status, place, entrant, issued_at, \
             admitted_at, claimed_at, books_until, expires_at, lapses_at, ended_at, present_until, \
             estimated_p50_seconds, estimated_p90_seconds) VALUES {}{on_duplicate}",
            placeholder_rows(17, tokens.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for token in tokens {
            let admission = match token.state {
                TokenState::Active(admission) => Some(admission),
                TokenState::Scheduled | TokenState::Waiting | TokenState::Ended(_) => None,
            };
            let ended_at = matches!(token.state, TokenState::Ended(_)).then_some(ended_at);
            query = query.bind(token.id.0).bind(token.id.concert().0).bind(token.user_id.0).bind(token.key_id);
            query = query.bind(token.state.name()).bind(token.place);
            query = query.bind(token.entrant.map(|entrant| entrant.bytes().to_vec())).bind(token.issued_at);
            query = query.bind(admission.map(|it| it.admitted_at)).bind(admission.and_then(|it| it.claimed_at));
            query = query.bind(admission.map(|it| it.books_until)).bind(admission.map(|it| it.expires_at));
            query = query.bind(admission.map(|it| it.lapses_at));
            query = query.bind(ended_at).bind(token.present_until);
            query = query.bind(token.estimate.map(|it| it.p50_seconds)).bind(token.estimate.map(|it| it.p90_seconds));
        }
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// Writes the times of active tokens. They are equal for an admission of up to thousands of tokens, and differ when
    /// users claim and use their tokens. The latter keep what the admission wrote.
    ///
    /// Every write changes the row. A cluster of databases replicates changes, not locks: the second of two writes on
    /// different nodes is refused at its commit.
    pub(super) async fn write_active(&mut self, tokens: &[(u64, Admission)]) -> Result<(), RepositoryError> {
        let Some((_, first)) = tokens.first() else { return Ok(()) };
        if tokens.iter().all(|(_, admission)| admission == first) {
            return self.write_equal_admissions(tokens.iter().map(|(id, _)| *id).collect(), *first).await;
        }
        for tokens in tokens.chunks(TOKENS_PER_CASE) {
            let rows = padded(tokens.iter().copied());
            let case = format!("CASE id{} END", " WHEN ? THEN ?".repeat(rows.len()));
            // Assignments take effect from left to right.
            let text = format!(
                "UPDATE queue_tokens FORCE INDEX (PRIMARY) SET books_until = COALESCE(books_until, expires_at), \
                 claimed_at = COALESCE({case}, claimed_at), expires_at = {case}, lapses_at = {case}, \
                 write_count = write_count + 1 \
                 WHERE id IN {} AND status = 'ACTIVE'",
                placeholder_list(rows.len())
            );
            let query = sqlx::query(AssertSqlSafe(text));
            let query = rows.iter().fold(query, |query, (id, it)| query.bind(*id).bind(it.claimed_at));
            let query = rows.iter().fold(query, |query, (id, it)| query.bind(*id).bind(it.expires_at));
            let query = rows.iter().fold(query, |query, (id, it)| query.bind(*id).bind(it.lapses_at));
            let query = query.bind_all(rows.into_iter().map(|(id, _)| id));
            let written = query.execute(self.connection()).await?.rows_affected();
            if written != tokens.len() as u64 {
                return Err(RepositoryError::stale("an active token"));
            }
        }
        Ok(())
    }

    async fn write_equal_admissions(&mut self, ids: Vec<u64>, admission: Admission) -> Result<(), RepositoryError> {
        self.write_by_id(
            ids,
            |ids| {
                format!(
                    "UPDATE queue_tokens FORCE INDEX (PRIMARY) SET status = 'ACTIVE', admitted_at = ?, \
                     claimed_at = COALESCE(?, claimed_at), books_until = ?, expires_at = ?, lapses_at = ?, \
                     write_count = write_count + 1 WHERE id IN {ids}"
                )
            },
            |query, ids| {
                let query = query.bind(admission.admitted_at).bind(admission.claimed_at).bind(admission.books_until);
                query.bind(admission.expires_at).bind(admission.lapses_at).bind_all(ids)
            },
        )
        .await?;
        Ok(())
    }

    /// Ends tokens. The times of their admissions stay, for the audit.
    pub(super) async fn write_ended(
        &mut self,
        (status, entrant): (&str, &str),
        ids: Vec<u64>,
        ended_at: Instant,
    ) -> Result<(), RepositoryError> {
        // For a token that was left, lapses_at is that instant, by which it is found.
        self.write_by_id(
            ids,
            |ids| {
                format!(
                    "UPDATE queue_tokens FORCE INDEX (PRIMARY) SET status = ?, ended_at = COALESCE(ended_at, ?), \
                     lapses_at = IF(status = 'LEFT', ended_at, lapses_at), entrant = {entrant} WHERE id IN {ids}"
                )
            },
            |query, ids| query.bind(status).bind(ended_at).bind_all(ids),
        )
        .await?;
        Ok(())
    }
}
