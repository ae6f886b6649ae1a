//! SQL of waiting queues: the queues, their tokens, the record of admissions, and draws.
//!
//! `rows.rs` makes domain values of rows. Statements over all queues, for the jobs, are in `occupied.rs`.

mod admissions;
mod draws;
mod occupied;
mod queues;
mod rows;
#[cfg(test)]
mod test_tokens;
mod token_writes;
mod tokens;
