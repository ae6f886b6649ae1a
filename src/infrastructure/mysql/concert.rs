//! SQL of concert.
