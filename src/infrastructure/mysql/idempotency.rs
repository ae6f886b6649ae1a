//! SQL of idempotency.
