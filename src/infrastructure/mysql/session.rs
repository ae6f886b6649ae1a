//! SQL of session.
