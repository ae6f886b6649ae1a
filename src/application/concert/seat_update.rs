//! The updates of a seat stream.

use std::sync::{Arc, OnceLock};

use super::seat_map::SeatMap;
use crate::domain::{concert::SeatStatus, id::SeatId};

/// The seats that changed from one version of a map to another.
#[derive(Debug)]
pub struct SeatChanges {
    pub(super) since: i64,
    version: i64,
    changed: Vec<(SeatId, SeatStatus)>,
    rendered: OnceLock<Arc<Vec<u8>>>,
}

impl SeatChanges {
    pub(super) fn new(since: i64, version: i64, changed: Vec<(SeatId, SeatStatus)>) -> Self {
        Self { since, version, changed, rendered: OnceLock::new() }
    }

    /// The version of the map after these changes.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The seats with their new statuses.
    pub fn changed(&self) -> &[(SeatId, SeatStatus)] {
        &self.changed
    }

    /// The rendered bytes, shared by all streams; `render` runs the first time only.
    pub fn rendered(&self, render: impl FnOnce(&Self) -> Vec<u8>) -> Arc<Vec<u8>> {
        Arc::clone(self.rendered.get_or_init(|| Arc::new(render(self))))
    }
}

/// An update of a seat stream.
#[derive(Clone)]
pub enum SeatUpdate {
    /// The whole map.
    Snapshot(Arc<SeatMap>),
    /// The seats that changed since the last update.
    Changes(Arc<SeatChanges>),
}

impl SeatUpdate {
    /// The client's version once it has applied the update.
    pub fn version(&self) -> i64 {
        match self {
            Self::Snapshot(map) => map.version(),
            Self::Changes(changes) => changes.version,
        }
    }
}
