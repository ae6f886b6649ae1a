//! Accounts and logins.
//!
//! An access token is signed and verified without the database. A set of revoked logins in [memory](sessions), which
//! follows the database, has the logins that ended early. A [refresh token](refresh) is signed too, and its hash is
//! stored. The [facade] has the use cases but for refreshing, mailed [codes] and the [deletion] of an account.

mod codes;
mod deletion;
mod facade;
mod failed_logins;
mod fair_queue;
mod hashing;
mod own_sessions;
mod refresh;
mod sessions;
mod settings;
mod tokens;

pub(super) use self::deletion::require_other_admin;
pub use self::{
    facade::{ProfileInfo, UserFacade},
    settings::{CodeDelivery, MAX_ACCESS_TOKEN_SECONDS, SessionSettings},
    tokens::TokensInfo,
};
