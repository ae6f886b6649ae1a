//! SQL of user.
