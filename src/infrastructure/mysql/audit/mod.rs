//! SQL of the audit: each statement counts the rows that violate an invariant.

mod checks;
mod invariants;
#[cfg(test)]
mod tests;
