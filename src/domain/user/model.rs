//! Accounts, logins and refresh tokens.

use crate::domain::{
    clock::Instant,
    id::{SessionId, UserId},
    points::Points,
    text::{Email, Name},
};

/// The permissions of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// May buy seats.
    User,
    /// May also administer concerts.
    Admin,
}

impl Role {
    /// The name that clients and the database use.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Admin => "ADMIN",
        }
    }
}

/// A user's account.
#[derive(Clone, Debug)]
pub struct User {
    /// Identifies the account.
    pub id: UserId,
    /// The e-mail address, unique among accounts.
    pub email: Email,
    /// The person's name.
    pub name: Name,
    /// The account's permissions.
    pub role: Role,
    /// The Argon2id hash in PHC format.
    pub password_hash: String,
    /// The instant of registration.
    pub created_at: Instant,
    /// When its address was verified.
    pub email_verified_at: Option<Instant>,
    /// Since when an administrator blocks it.
    pub blocked_at: Option<Instant>,
}

/// An account as administrators see it.
#[derive(Clone, Debug)]
pub struct UserDetails {
    /// The account.
    pub user: User,
    /// Its points.
    pub balance: Points,
    /// Its live bookings: held ones, and confirmed ones whose performance has not ended.
    pub live_bookings: u32,
}

/// Which accounts a list has.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// A part of the address or of the name, in any case.
    pub query: Option<String>,
    /// Only this role.
    pub role: Option<Role>,
    /// Only blocked accounts, or only others.
    pub blocked: Option<bool>,
    /// Only accounts with lesser ids: older ones.
    pub before: Option<UserId>,
}

/// One login. Its access tokens work until it is revoked or expires; its refresh tokens form one family.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// Identifies the login; every access token contains it.
    pub id: SessionId,
    /// The account.
    pub user_id: UserId,
    /// The instant of the login.
    pub created_at: Instant,
    /// The deadline of its newest refresh token.
    pub expires_at: Instant,
    /// The instant of revocation; `None` if it wasn't revoked.
    pub revoked_at: Option<Instant>,
}

/// A session as its owner sees it in the list of sessions.
#[derive(Clone, Debug)]
pub struct SessionSummary {
    /// Its id.
    pub id: SessionId,
    /// The login.
    pub created_at: Instant,
    /// The login, or the newest exchange of a refresh token.
    pub last_used_at: Instant,
    /// The `User-Agent` of the login.
    pub user_agent: Option<String>,
}

/// The record of a refresh token, which works once.
#[derive(Clone, Copy, Debug)]
pub struct RefreshToken {
    /// SHA-256 of the token's text.
    pub digest: [u8; 32],
    /// The login it belongs to.
    pub session_id: SessionId,
    /// The instant of issue.
    pub issued_at: Instant,
    /// The deadline for its exchange.
    pub expires_at: Instant,
    /// The instant of its exchange; `None` if it wasn't exchanged.
    pub used_at: Option<Instant>,
    /// The key that signed its successor. `None` before the exchange, and for tokens that an older version exchanged.
    pub successor_key: Option<u32>,
}
