//! The port of the catalogue.

use async_trait::async_trait;

use super::{Concert, ConcertFields, Performance, Seat, Seating, Venue};
use crate::domain::{
    clock::Instant,
    id::{ConcertId, PerformanceId, VenueId},
    page::{Page, PageRequest},
    points::Points,
    repository_error::RepositoryError,
    text::Name,
};

/// The filter of a list of concerts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConcertFilter {
    /// Part of the title or the artist, ignoring case.
    pub query: Option<String>,
    /// The complete category, ignoring case.
    pub category: Option<String>,
    /// Only concerts with a performance at or after this instant. Without `from` and `to`: only concerts with an
    /// upcoming performance, or with none at all.
    pub from: Option<Instant>,
    /// Only concerts with a performance before this instant.
    pub to: Option<Instant>,
    /// The page, by sort key and id.
    pub page: PageRequest<(Instant, ConcertId)>,
}

/// The number of a performance's unavailable seats at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// The counted performance.
    pub performance_id: PerformanceId,
    /// The number of held, sold and blocked seats.
    pub claimed: u32,
}

/// The sales of a performance as of an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerformanceSales {
    /// The counted performance.
    pub performance_id: PerformanceId,
    /// The number of held seats.
    pub held: u32,
    /// The number of sold seats.
    pub sold: u32,
    /// The number of seats that are held back from sale.
    pub blocked: u32,
    /// The sum of the payments of its confirmed bookings, in points.
    pub revenue: Points,
}

/// Stores the catalogue. Deleted concerts and their performances count as absent.
#[async_trait]
pub trait ConcertRepository: Send {
    /// Inserts a venue under a new id.
    async fn insert_venue(&mut self, name: &Name, address: &Name, now: Instant) -> Result<Venue, RepositoryError>;

    /// A page of venues by ascending id. Takes no lock.
    async fn list_venues(&mut self, page: PageRequest<VenueId>) -> Result<Page<Venue>, RepositoryError>;

    /// The venue with this id. Takes no lock.
    async fn find_venue(&mut self, id: VenueId) -> Result<Option<Venue>, RepositoryError>;

    /// Inserts a concert under a new id. The caller inserts its queue.
    async fn insert_concert(&mut self, fields: &ConcertFields, now: Instant) -> Result<ConcertId, RepositoryError>;

    /// The concert with this id. Takes no lock.
    async fn find_concert(&mut self, id: ConcertId) -> Result<Option<Concert>, RepositoryError>;

    /// Locks the concert with this id until the transaction ends.
    async fn lock_concert(&mut self, id: ConcertId) -> Result<Option<Concert>, RepositoryError>;

    /// A page of concerts by `listed_at`, then by id. `listed_at` is the first performance if the filter has dates,
    /// else the next performance that starts after `now`. Takes no lock.
    async fn list_concerts(&mut self, filter: &ConcertFilter, now: Instant) -> Result<Page<Concert>, RepositoryError>;

    /// Writes the edited fields of a locked concert.
    async fn update_concert(&mut self, id: ConcertId, fields: &ConcertFields) -> Result<(), RepositoryError>;

    /// Marks a locked concert as deleted at `now`. This is final.
    async fn delete_concert(&mut self, id: ConcertId, now: Instant) -> Result<(), RepositoryError>;

    /// Inserts a performance with all of its seats, and updates its concert's dates and prices. The caller has locked
    /// the concert.
    async fn insert_performance(
        &mut self,
        concert_id: ConcertId,
        venue_id: VenueId,
        starts_at: Instant,
        seating: &Seating,
        now: Instant,
    ) -> Result<PerformanceId, RepositoryError>;

    /// The performance with this id. Takes no lock.
    async fn find_performance(&mut self, id: PerformanceId) -> Result<Option<Performance>, RepositoryError>;

    /// Locks performances against changes (shared) by ascending id, until the transaction ends. Absent ones and those
    /// of deleted concerts are left out.
    ///
    /// It doesn't lock the concert's row, so that a new performance doesn't delay the sale of the others. A concert is
    /// deleted only after its performances are cancelled, which waits for these locks.
    async fn share_performances(&mut self, ids: &[PerformanceId]) -> Result<Vec<Performance>, RepositoryError>;

    /// A page of a concert's scheduled performances that start after `now`, soonest first. Takes no lock.
    async fn list_performances(
        &mut self,
        concert_id: ConcertId,
        now: Instant,
        page: PageRequest<(Instant, PerformanceId)>,
    ) -> Result<Page<Performance>, RepositoryError>;

    /// The scheduled performances of these concerts that start after `now`, as (concert, performance, number of seats
    /// on sale). The number is 0 once sales have ended. Takes no lock.
    async fn list_future_performances(
        &mut self,
        concert_ids: &[ConcertId],
        now: Instant,
    ) -> Result<Vec<(ConcertId, PerformanceId, u32)>, RepositoryError>;

    /// Locks the performance with this id until the transaction ends. Waits for transactions that share it.
    async fn lock_performance(&mut self, id: PerformanceId) -> Result<Option<Performance>, RepositoryError>;

    /// Writes the times of a locked performance, and updates its concert's dates. The caller has locked the concert.
    async fn update_schedule(&mut self, performance: &Performance) -> Result<(), RepositoryError>;

    /// Cancels a performance unless it is cancelled, and updates its concert's dates and prices. Waits for transactions
    /// that share it. The caller has locked the concert.
    async fn cancel_performance(&mut self, id: PerformanceId, now: Instant) -> Result<(), RepositoryError>;

    /// Cancels all scheduled performances of a concert that haven't ended, and returns them with their starts. Waits
    /// for transactions that share them. The caller has locked the concert.
    async fn cancel_performances_of(
        &mut self,
        concert_id: ConcertId,
        now: Instant,
    ) -> Result<Vec<(PerformanceId, Instant)>, RepositoryError>;

    /// At most `limit` cancelled performances with bookings whose stored state is pending or confirmed, by id after
    /// `after`. Takes no lock.
    async fn list_unfinished_cancellations(
        &mut self,
        after: Option<PerformanceId>,
        limit: u32,
    ) -> Result<Vec<PerformanceId>, RepositoryError>;

    /// The number of held, sold and blocked seats of these performances at `now`; performances without one are left
    /// out. Takes no lock.
    async fn list_occupancy(&mut self, ids: &[PerformanceId], now: Instant) -> Result<Vec<Occupancy>, RepositoryError>;

    /// The sales of each of these performances at `now`, in the order of `ids`. Takes no lock.
    async fn list_sales(
        &mut self,
        ids: &[PerformanceId],
        now: Instant,
    ) -> Result<Vec<PerformanceSales>, RepositoryError>;

    /// All seats of a performance, by section, row and number. Takes no lock, since seats are immutable.
    async fn list_seats(&mut self, id: PerformanceId) -> Result<Vec<Seat>, RepositoryError>;
}
