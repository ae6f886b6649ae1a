//! The caches of the catalogue's public answers, and the limits of concurrent reads.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{
    catalogue_cache::CatalogueCache,
    info::{ConcertDetailsInfo, ConcertInfo, PerformanceInfo},
    seat_counts::SeatCounts,
};
use crate::{
    application::{
        Ports,
        changes::ChangeCounter,
        error::AppError,
        fair_queue::{FairQueue, Permit},
    },
    domain::{
        clock::Instant,
        concert::ConcertFilter,
        id::{ConcertId, PerformanceId},
        page::{Page, PageRequest},
    },
};

/// The most lists that are read at a time, so that anonymous requests leave connections to others.
const MAX_READERS: usize = 4;

/// The most requests that wait for their turn to read. Many of them may wait for one answer: they find it in the cache.
const MAX_WAITING_READERS: usize = 10_000;

/// A performance's position in the list of its concert.
pub type ListPosition = (Instant, PerformanceId);

/// The approximate bytes of a list's entry, with its rendered text and the overhead of the cache.
const ENTRY_BYTES: usize = 2_048;

/// The filter of a list of a concert's performances.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PerformanceFilter {
    /// The concert of the performances.
    pub concert_id: ConcertId,
    /// Only performances with an available seat.
    pub available_only: bool,
    /// The page, by start and id.
    pub page: PageRequest<ListPosition>,
}

/// The public answers of the catalogue, cached by request.
pub(super) struct Catalogue {
    pub(super) pages: CatalogueCache<ConcertFilter, Page<ConcertInfo>>,
    pub(super) concerts: CatalogueCache<ConcertId, ConcertDetailsInfo>,
    pub(super) performances: CatalogueCache<PerformanceFilter, Page<PerformanceInfo>>,
    pub(super) single_performances: CatalogueCache<PerformanceId, PerformanceInfo>,
    pub(super) counts: SeatCounts,
    readers: Arc<FairQueue>,
}

impl Catalogue {
    pub(super) fn new(ports: &Ports, max_age: Duration, changes: &ChangeCounter) -> Self {
        let (clock, changes) = (|| Arc::clone(&ports.clock), || changes.clone());
        Self {
            pages: CatalogueCache::new("concert_lists", clock(), max_age, changes(), |filter, page| {
                let texts = filter.query.as_ref().map_or(0, String::len);
                ENTRY_BYTES * (1 + page.map_or(0, |page| page.items.len())) + texts
            }),
            concerts: CatalogueCache::new("concerts", clock(), max_age, changes(), |_, info| {
                ENTRY_BYTES + info.map_or(0, |info| 3 * info.listed.concert.fields.description.len())
            }),
            performances: CatalogueCache::new("performance_lists", clock(), max_age, changes(), |_, page| {
                ENTRY_BYTES * (1 + page.map_or(0, |page| page.items.len()))
            }),
            single_performances: CatalogueCache::new("performances", clock(), max_age, changes(), |_, _| ENTRY_BYTES),
            counts: SeatCounts::new(ports, max_age),
            readers: FairQueue::new(MAX_READERS, MAX_WAITING_READERS),
        }
    }

    /// Waits for the client's turn to read. Clients take turns, so a flood from one delays the others by one read each.
    ///
    /// # Errors
    ///
    /// [`AppError::Overloaded`] when too many requests wait.
    pub(super) async fn turn(&self, client: IpAddr) -> Result<Permit, AppError> {
        self.readers.acquire(client).await
    }
}
