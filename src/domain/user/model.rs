//! Accounts, logins and refresh tokens.

use strum::{EnumString, IntoStaticStr, VariantNames};

use crate::domain::{
    clock::Instant,
    id::{SessionId, UserId},
    points::Points,
    text::{Email, Name},
};

/// The permissions of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// May buy seats.
    User,
    /// May also administer concerts.
    Admin,
}

impl Role {
    /// The name that clients and the database use.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The current permissions of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The account's permissions.
    pub role: Role,
    /// Whether an administrator has blocked it.
    pub is_blocked: bool,
}

impl Standing {
    /// Whether the account has the permissions of an administrator.
    pub fn is_administrator(self) -> bool {
        self.role == Role::Admin && !self.is_blocked
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
    /// The instant of the address's verification; `None` until then.
    pub email_verified_at: Option<Instant>,
    /// The instant at which an administrator blocked it; `None` if it isn't blocked.
    pub blocked_at: Option<Instant>,
}

/// An account with the figures that administrators see.
#[derive(Clone, Debug)]
pub struct UserDetails {
    /// The account itself.
    pub user: User,
    /// The balance in points.
    pub balance: Points,
    /// The number of live bookings: held, or confirmed for a performance that hasn't ended.
    pub live_bookings: u32,
}

/// The filter of a list of accounts. An account is listed if it passes every part.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Part of the address or the name, ignoring case; `None` for all.
    pub query: Option<String>,
    /// Only accounts with this role; `None` for all.
    pub role: Option<Role>,
    /// Only blocked accounts, or only others; `None` for all.
    pub blocked: Option<bool>,
}

/// One login. Its access tokens work until it is revoked or they expire. Its refresh tokens form one family.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// Identifies the login; every access token contains it.
    pub id: SessionId,
    /// The account of the login.
    pub user_id: UserId,
    /// The instant of the login.
    pub created_at: Instant,
    /// The deadline of its newest refresh token.
    pub expires_at: Instant,
    /// The instant of revocation; `None` if it wasn't revoked.
    pub revoked_at: Option<Instant>,
}

/// A login as its user sees it.
#[derive(Clone, Debug)]
pub struct SessionSummary {
    /// Identifies the login.
    pub id: SessionId,
    /// The instant of the login.
    pub created_at: Instant,
    /// The instant of the login, or of the latest exchange of a refresh token.
    pub last_used_at: Instant,
    /// The header `User-Agent` of the login; `None` without one.
    pub user_agent: Option<String>,
}

/// The record of a refresh token, which works once.
#[derive(Clone, Copy, Debug)]
pub struct RefreshToken {
    /// SHA-256 of the token's text.
    pub digest: [u8; 32],
    /// The login that it belongs to.
    pub session_id: SessionId,
    /// The instant of issue.
    pub issued_at: Instant,
    /// The deadline for its exchange.
    pub expires_at: Instant,
    /// The instant of its exchange; `None` if it wasn't exchanged.
    pub used_at: Option<Instant>,
    /// The id of the key that signed its successor. `None` before the exchange, and for tokens that an older version
    /// exchanged.
    pub successor_key: Option<u32>,
}
