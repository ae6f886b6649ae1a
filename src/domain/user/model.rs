//! What an account and a login are.

use crate::domain::{
    clock::Instant,
    id::{SessionId, UserId},
    text::{Email, Name},
};

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Buys seats.
    User,
    /// Administers concerts, too.
    Admin,
}

/// An account.
#[derive(Clone, Debug)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Its address: no two accounts share one.
    pub email: Email,
    /// How the person is called.
    pub name: Name,
    /// What it may do.
    pub role: Role,
    /// Argon2id in PHC format.
    pub password_hash: String,
    /// When it was made.
    pub created_at: Instant,
}

/// One login: its access tokens work until it is revoked or ends, its refresh tokens form one family.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// Its id, carried by every access token.
    pub id: SessionId,
    /// Whose.
    pub user_id: UserId,
    /// When it began.
    pub created_at: Instant,
    /// When its newest refresh token ends.
    pub expires_at: Instant,
    /// When it was ended early.
    pub revoked_at: Option<Instant>,
}

/// A refresh token as it is kept: it works once.
#[derive(Clone, Copy, Debug)]
pub struct RefreshToken {
    /// SHA-256 of its text.
    pub digest: [u8; 32],
    /// Its family.
    pub session_id: SessionId,
    /// When it was given out.
    pub issued_at: Instant,
    /// Until when it works.
    pub expires_at: Instant,
    /// When it was exchanged.
    pub used_at: Option<Instant>,
    /// The key that signed the token it was exchanged for; `None` also for one that a former version exchanged.
    pub successor_key: Option<u32>,
}
