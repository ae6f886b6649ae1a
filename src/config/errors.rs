//! The mistakes of a configuration, all at once.

use std::{collections::BTreeMap, fmt};

/// The mistakes of a configuration, by the name of the variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub BTreeMap<&'static str, String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mistakes = if self.0.len() == 1 { "a mistake" } else { "mistakes" };
        writeln!(f, "The configuration has {mistakes}:")?;
        for (name, error) in &self.0 {
            writeln!(f, "  {name}: {error}")?;
        }
        write!(f, "See .env.example for every variable with its default.")
    }
}

impl std::error::Error for ConfigErrors {}
