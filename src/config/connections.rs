//! How the connections to the database are divided into pools, so that none can starve another (bulkheads).

use crate::infrastructure::mysql::KeptStatements;

/// The connection of the health probe.
const HEALTH_PROBE_CONNECTIONS: u32 = 1;

/// The number of connections of each pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseConnections {
    /// One for each lane, and more for batches that start while the one before commits.
    pub lanes: u32,
    /// For reading ended sessions, on which every request depends.
    pub authentication: u32,
    /// For administrators, recurring jobs and the delivery of events.
    pub back_office: u32,
    /// For all other requests.
    pub requests: u32,
}

impl DatabaseConnections {
    /// Divides `max_connections` among the pools; `lanes` is the number of lanes of each kind.
    pub(super) fn divide(max_connections: u32, lanes: usize) -> Self {
        let minimum = Self::minimum(lanes);
        let spare = max_connections.saturating_sub(minimum.total());
        // One of each kind is for the next batch, which would otherwise wait for the commit of the one before.
        let lanes = minimum.lanes + spare.min(4);
        let rest = max_connections.saturating_sub(lanes + minimum.authentication + HEALTH_PROBE_CONNECTIONS);
        let back_office = (rest / 3).clamp(minimum.back_office, 8);
        let requests = rest.saturating_sub(back_office).max(minimum.requests);
        Self { lanes, back_office, requests, ..minimum }
    }

    /// Says why `max_connections` are too few for so many lanes of each kind, if they are.
    pub(super) fn check(max_connections: u32, lanes: usize) -> Result<(), String> {
        let minimum = Self::minimum(lanes);
        let needed = minimum.total();
        if max_connections >= needed {
            return Ok(());
        }
        let Self { lanes: lane_connections, authentication, back_office, requests } = minimum;
        Err(format!(
            "{max_connections} is less than {needed}, the least with LANES={lanes}: {lane_connections} for lanes, \
             {requests} for requests, {back_office} for administrators and jobs, {authentication} for authentication, \
             {HEALTH_PROBE_CONNECTIONS} for the health check"
        ))
    }

    /// The fewest with which every pool works: beside an audit the jobs have a connection, and beside a slow request
    /// others have theirs.
    fn minimum(lanes: usize) -> Self {
        // Three kinds of commands have this number of lanes, presence has one.
        let lanes = u32::try_from(3 * lanes + 1).unwrap_or(u32::MAX);
        Self { lanes, authentication: 1, back_office: 2, requests: 3 }
    }

    pub(super) fn total(self) -> u32 {
        self.lanes + self.authentication + self.back_office + self.requests + HEALTH_PROBE_CONNECTIONS
    }

    /// The most statements that all connections together keep prepared.
    pub fn kept_statements(self) -> u32 {
        self.lanes * KeptStatements::Lane.number()
            + (self.authentication + self.back_office + self.requests) * KeptStatements::Other.number()
    }

    /// The most administrators' requests that run at once: more than half of the back office is for jobs.
    pub fn concurrent_admin_requests(self) -> usize {
        usize::try_from((self.back_office / 2).saturating_sub(1).max(1)).unwrap_or(1)
    }
}
