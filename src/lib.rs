//! A server through which thousands of people at once buy seats for a concert.

pub mod domain;
pub mod infrastructure;
