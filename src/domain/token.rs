//! The port that signs and verifies the tokens a client carries.

use super::{
    clock::Instant,
    id::{CodeId, QueueTokenId, SessionId, UserId},
    user::{CodeText, Role},
};

/// The content of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    /// The user that the token authenticates.
    pub user_id: UserId,
    /// The login that issued the token: its revocation ends the token.
    pub session_id: SessionId,
    /// The user's role at the time of issue.
    pub role: Role,
    /// The deadline of the token.
    pub expires_at: Instant,
}

/// The content of a queue token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueClaims {
    /// The token's id, which contains its concert.
    pub id: QueueTokenId,
    /// The user that the token was issued to.
    pub user_id: UserId,
    /// The place in the queue; `None` for a token from before the draw.
    pub place: Option<u32>,
    /// The instant of issue, in microseconds. Place and instant suffice to answer a waiting user's poll, so that no row
    /// has to be read for it.
    pub issued_at: Instant,
}

/// The content of a refresh token. The database decides whether it may be exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshClaims {
    /// The session of the token, even if the token's record was removed.
    pub session_id: SessionId,
    /// Distinguishes the tokens of one session.
    pub nonce: [u8; 32],
}

/// Signs tokens, so that verifying one needs no database and a client can't forge one.
pub trait TokenSigner: Send + Sync {
    /// The text of an access token.
    fn access_token(&self, claims: &AccessClaims) -> String;

    /// Verifies an access token; `None` unless this server signed it. The caller checks the deadline.
    fn read_access_token(&self, text: &str) -> Option<AccessClaims>;

    /// The text of a refresh token, signed by key `key`; `None` if that key was withdrawn.
    fn refresh_token(&self, claims: &RefreshClaims, key: u32) -> Option<String>;

    /// Verifies a refresh token; `None` unless this server signed it.
    fn read_refresh_token(&self, text: &str) -> Option<RefreshClaims>;

    /// The id of the key that signs new tokens.
    fn current_key(&self) -> u32;

    /// The text of a queue token, signed by key `key`, or by the current key if that one was withdrawn.
    fn queue_token(&self, claims: &QueueClaims, key: u32) -> String;

    /// The text of a mailed code, derived by key `key` from the code's id; `None` if that key was withdrawn.
    fn mailed_code(&self, id: CodeId, key: u32) -> Option<CodeText>;

    /// Verifies a queue token; `None` unless this server signed it.
    fn read_queue_token(&self, text: &str) -> Option<QueueClaims>;
}
