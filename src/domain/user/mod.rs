//! Accounts and logins.

mod code;
mod model;
mod password;
mod repository;

pub use code::{CodePurpose, CodeText, MailedCode};
pub use model::{RefreshToken, Role, Session, SessionSummary, Standing, User, UserDetails, UserFilter};
pub use password::{HashingFailed, NotAPassword, Password, PasswordHasher};
pub use repository::{CodeRepository, SessionRepository, UserRepository};
