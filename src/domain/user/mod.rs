//! Accounts and logins.

mod model;
mod repository;

pub use model::{RefreshToken, Role, Session, User};
pub use repository::{SessionRepository, UserRepository};
