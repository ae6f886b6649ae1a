//! SQL of payment.
