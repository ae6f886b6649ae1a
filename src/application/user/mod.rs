//! Accounts and logins.
//!
//! An access token is signed, and verified without the database. Logins that ended early are in a [cache of revoked
//! logins](sessions), which is refreshed from the database. A [refresh token](refresh) is signed too, and its hash is
//! stored. The [facade] has all use cases except refreshing, a user's [own sessions](own_sessions), mailed [codes] and
//! the [deletion] of an account.

mod codes;
mod deletion;
mod facade;
mod failed_logins;
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
