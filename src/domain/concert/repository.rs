//! Port of the catalogue.

use async_trait::async_trait;

use super::{Concert, ConcertFields, Performance, Seat, Seating, Venue};
use crate::domain::{
    clock::Instant,
    id::{ConcertId, PerformanceId, VenueId},
    page::Page,
    repository_error::RepositoryError,
    text::Name,
};

/// Which concerts to list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConcertFilter {
    /// Part of the title or the artist, without case.
    pub query: Option<String>,
    /// The whole category, without case.
    pub category: Option<String>,
    /// Only with a performance at or after this. Without both dates: only those with a performance that hasn't begun, or
    /// without any.
    pub from: Option<Instant>,
    /// Only with a performance before this.
    pub to: Option<Instant>,
    /// Only behind this place of the list.
    pub after: Option<(Instant, ConcertId)>,
    /// How many at most.
    pub limit: u32,
}

/// How many seats of a performance are claimed at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Which performance.
    pub performance_id: PerformanceId,
    /// Held or sold seats.
    pub claimed: u32,
}

/// Keeps the catalogue. Deleted concerts, and performances of theirs, are found by nobody.
#[async_trait]
pub trait ConcertRepository: Send {
    /// Stores a venue and gives it its id.
    async fn insert_venue(&mut self, name: &Name, address: &Name, now: Instant) -> Result<Venue, RepositoryError>;

    /// Venues by ascending id, behind `after`. No lock.
    async fn list_venues(&mut self, after: Option<VenueId>, limit: u32) -> Result<Page<Venue>, RepositoryError>;

    /// A venue. No lock.
    async fn find_venue(&mut self, id: VenueId) -> Result<Option<Venue>, RepositoryError>;

    /// Stores a concert and gives it its id. Its queue is stored apart.
    async fn insert_concert(&mut self, fields: &ConcertFields, now: Instant) -> Result<ConcertId, RepositoryError>;

    /// A concert. No lock.
    async fn find_concert(&mut self, id: ConcertId) -> Result<Option<Concert>, RepositoryError>;

    /// A concert, locked until the transaction ends.
    async fn lock_concert(&mut self, id: ConcertId) -> Result<Option<Concert>, RepositoryError>;

    /// Concerts in the list's order, then by id: with dates by their first performance; without, only upcoming ones, by the
    /// next performance that hasn't begun at `now`. A concert's `listed_at` is what it is ordered by. No lock.
    async fn list_concerts(&mut self, filter: &ConcertFilter, now: Instant) -> Result<Page<Concert>, RepositoryError>;

    /// Writes what is said of a concert.
    async fn update_concert(&mut self, id: ConcertId, fields: &ConcertFields) -> Result<(), RepositoryError>;

    /// Hides a concert for good.
    async fn delete_concert(&mut self, id: ConcertId, now: Instant) -> Result<(), RepositoryError>;

    /// Stores a performance with all of its seats and brings its concert's dates and prices up to date. The concert
    /// must be locked.
    async fn insert_performance(
        &mut self,
        concert_id: ConcertId,
        venue_id: VenueId,
        starts_at: Instant,
        seating: &Seating,
        now: Instant,
    ) -> Result<PerformanceId, RepositoryError>;

    /// A performance. No lock.
    async fn find_performance(&mut self, id: PerformanceId) -> Result<Option<Performance>, RepositoryError>;

    /// Performances, each locked against being changed (shared with other readers) until the transaction ends, in
    /// ascending order of id; absent ones are left out, and so are those of a deleted concert. The concert's own row
    /// isn't locked, so that adding a performance to it doesn't hold up the sale of the others: it is deleted only
    /// after its performances were cancelled, which waits for who shares them.
    async fn share_performances(&mut self, ids: &[PerformanceId]) -> Result<Vec<Performance>, RepositoryError>;

    /// The performances of a concert that begin after `now` and aren't cancelled, soonest first, behind `after`. No
    /// lock.
    async fn list_performances(
        &mut self,
        concert_id: ConcertId,
        now: Instant,
        after: Option<(Instant, PerformanceId)>,
        limit: u32,
    ) -> Result<Page<Performance>, RepositoryError>;

    /// The performances of these concerts that begin after `now` and aren't cancelled, as (concert, performance, total
    /// seats). No lock.
    async fn list_future_performances(
        &mut self,
        concert_ids: &[ConcertId],
        now: Instant,
    ) -> Result<Vec<(ConcertId, PerformanceId, u32)>, RepositoryError>;

    /// Cancels a performance, unless it is, and brings its concert's dates and prices up to date. Waits for the
    /// transactions that share it; the concert must be locked.
    async fn cancel_performance(&mut self, id: PerformanceId, now: Instant) -> Result<(), RepositoryError>;

    /// Cancels all performances of a concert that haven't ended, unless they are cancelled. Waits for the transactions
    /// that share them; the concert must be locked.
    async fn cancel_performances_of(&mut self, concert_id: ConcertId, now: Instant) -> Result<(), RepositoryError>;

    /// At most `limit` cancelled performances that still have pending or confirmed bookings, written so, by id, behind
    /// `after`. No lock.
    async fn list_unfinished_cancellations(
        &mut self,
        after: Option<PerformanceId>,
        limit: u32,
    ) -> Result<Vec<PerformanceId>, RepositoryError>;

    /// How many seats of these performances are claimed at `now`; those with none are left out. No lock.
    async fn list_occupancy(&mut self, ids: &[PerformanceId], now: Instant) -> Result<Vec<Occupancy>, RepositoryError>;

    /// All seats of a performance, by section, row and number. No lock: they never change.
    async fn list_seats(&mut self, id: PerformanceId) -> Result<Vec<Seat>, RepositoryError>;
}
