//! Accounts and logins.

mod model;
mod password;
mod repository;

pub use model::{RefreshToken, Role, Session, SessionSummary, Standing, User, UserDetails, UserFilter};
pub use password::{HashingFailed, NotAPassword, Password, PasswordHasher};
pub use repository::{SessionRepository, UserRepository};
