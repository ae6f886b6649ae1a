//! The rows of accounts.

use uuid::Uuid;

use super::error::corrupt;
use crate::domain::{
    clock::Instant,
    id::UserId,
    repository_error::RepositoryError,
    text::{Email, Name},
    user::{Role, User},
};

/// The columns of a [`UserRow`].
macro_rules! user_columns {
    () => {
        "id, email, name, role, password_hash, created_at, email_verified_at, blocked_at"
    };
}

pub(super) use user_columns;

#[derive(sqlx::FromRow)]
pub(super) struct UserRow {
    id: Uuid,
    email: String,
    name: String,
    role: String,
    password_hash: String,
    created_at: Instant,
    email_verified_at: Option<Instant>,
    blocked_at: Option<Instant>,
}

/// Reads a role by its name.
pub(super) fn role_of(name: &str) -> Result<Role, RepositoryError> {
    name.parse().map_err(|_| corrupt("a role", name))
}

impl TryFrom<UserRow> for User {
    type Error = RepositoryError;

    fn try_from(row: UserRow) -> Result<Self, RepositoryError> {
        // Errors are logged, so they name the account and not the person.
        Ok(Self {
            id: UserId(row.id),
            email: Email::stored(row.email),
            name: Name::stored(row.name),
            role: role_of(&row.role)?,
            password_hash: row.password_hash,
            created_at: row.created_at,
            email_verified_at: row.email_verified_at,
            blocked_at: row.blocked_at,
        })
    }
}
