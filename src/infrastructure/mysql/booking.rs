//! SQL of booking.
