//! The port that makes and reads the signed texts a client carries.

use super::{
    clock::Instant,
    id::{QueueTokenId, SessionId, UserId},
    user::Role,
};

/// What an access token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    /// Who.
    pub user_id: UserId,
    /// By which login.
    pub session_id: SessionId,
    /// As what.
    pub role: Role,
    /// Until when.
    pub expires_at: Instant,
}

/// What a queue token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueClaims {
    /// Which token; it names its concert.
    pub id: QueueTokenId,
    /// Whose.
    pub user_id: UserId,
    /// The place in the line; `None` for a token from before the draw.
    pub place: Option<u32>,
    /// When it was given out, to the microsecond: with the place it is all that somebody who waits is told of a token,
    /// so that nobody's row must be read for it.
    pub issued_at: Instant,
}

/// What a refresh token says. Whether it may be exchanged is for the database to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshClaims {
    /// The session it belongs to, also once its record was removed.
    pub session_id: SessionId,
    /// Tells the tokens of a session apart.
    pub nonce: [u8; 32],
}

/// Signs what a client is to carry, so that reading it back needs no database and nobody can make one up.
pub trait TokenSigner: Send + Sync {
    /// The text of an access token.
    fn access_token(&self, claims: &AccessClaims) -> String;

    /// Reads an access token; `None` for anything this server didn't sign. The expiry is for the caller to check.
    fn read_access_token(&self, text: &str) -> Option<AccessClaims>;

    /// The text of a refresh token, by the named key; `None` if that has been withdrawn.
    fn refresh_token(&self, claims: &RefreshClaims, key: u32) -> Option<String>;

    /// Reads a refresh token; `None` for anything this server didn't sign.
    fn read_refresh_token(&self, text: &str) -> Option<RefreshClaims>;

    /// The key that new tokens are signed with.
    fn current_key(&self) -> u32;

    /// The text of a queue token, by the named key, or by the current one if that has been withdrawn.
    fn queue_token(&self, claims: &QueueClaims, key: u32) -> String;

    /// Reads a queue token; `None` for anything this server didn't sign.
    fn read_queue_token(&self, text: &str) -> Option<QueueClaims>;
}
