//! What a configuration is made of, and what may be wrong with it.

use std::{collections::BTreeMap, fmt};

use super::HEALTH_PROBE_CONNECTIONS;
use crate::infrastructure::mysql::KeptStatements;

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// A secret: never shown.
#[derive(Clone)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }
}

/// Secrets: never shown.
#[derive(Clone)]
pub struct Secrets(pub Vec<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

/// Everything that is wrong with a configuration, by name.
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

/// How the connections to the database are shared out: what one side takes, no other can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseConnections {
    /// For the writes that many do at once: one each.
    pub lanes: u32,
    /// For reading which logins have ended: each request depends on it.
    pub authentication: u32,
    /// For administrators and recurring jobs.
    pub back_office: u32,
    /// For all other requests.
    pub requests: u32,
}

impl DatabaseConnections {
    /// The fewest with which each side works: an audit leaves the jobs a connection, and a slow request leaves others
    /// theirs.
    pub(super) fn minimum(lanes: u32) -> Self {
        Self { lanes, authentication: 1, back_office: 2, requests: 3 }
    }

    pub(super) fn total(self) -> u32 {
        self.lanes + self.authentication + self.back_office + self.requests + HEALTH_PROBE_CONNECTIONS
    }

    /// How many statements all of them together keep prepared at most.
    pub fn kept_statements(self) -> u32 {
        self.lanes * KeptStatements::Lane.number()
            + (self.authentication + self.back_office + self.requests) * KeptStatements::Other.number()
    }

    /// How many administrators' requests run at once: more than half of the back office is for jobs.
    pub fn concurrent_admin_requests(self) -> usize {
        usize::try_from((self.back_office / 2).saturating_sub(1).max(1)).unwrap_or(1)
    }
}
