//! Port of bookings and of the claims on seats.

use async_trait::async_trait;

use super::{Booking, Claim, OpenBooking, model::claimed_status};
use crate::domain::{
    clock::Instant,
    concert::{Seat, SeatStatus},
    id::{BookingId, ConcertId, PerformanceId, SeatId, UserId},
    page::Page,
    repository_error::RepositoryError,
};

/// A claim with its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatClaim {
    /// On which seat.
    pub seat_id: SeatId,
    /// The claim.
    pub claim: Claim,
}

/// A booking that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBooking {
    /// Whose.
    pub user_id: UserId,
    /// Of which concert.
    pub concert_id: ConcertId,
    /// Which.
    pub booking_id: BookingId,
    /// Until when.
    pub held_until: Instant,
}

/// What a seat map needs of a claim: not whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimDeadline {
    /// On which seat.
    pub seat_id: SeatId,
    /// Until when; `None`: sold.
    pub held_until: Option<Instant>,
    /// When that was last written.
    pub changed_at: Instant,
}

impl ClaimDeadline {
    /// What it makes of its seat at `now`.
    pub fn status_at(&self, now: Instant) -> SeatStatus {
        claimed_status(self.held_until, now)
    }
}

/// Which of a user's bookings to list.
#[derive(Clone, Copy, Debug)]
pub struct BookingFilter {
    /// Whose.
    pub user_id: UserId,
    /// In which state at `now`, by its name.
    pub status: Option<&'static str>,
    /// The instant the states are taken at.
    pub now: Instant,
    /// Only those older than this one.
    pub before: Option<BookingId>,
    /// How many at most.
    pub limit: u32,
}

/// Keeps bookings and claims.
///
/// Lock order: seats (by ascending id, see [`ConcertRepository`](crate::domain::concert::ConcertRepository)) before
/// bookings. A claim is read and written only under the lock of its seat, except by readers who decide nothing.
#[async_trait]
pub trait BookingRepository: Send {
    /// Stores new, pending bookings with their seats.
    async fn insert(&mut self, bookings: &[Booking]) -> Result<(), RepositoryError>;

    /// Bookings with their seats, in no order; absent ones are left out. No lock.
    async fn list(&mut self, ids: &[BookingId]) -> Result<Vec<Booking>, RepositoryError>;

    /// Locks bookings in ascending order of id and writes their present state, deadline and extension into
    /// `bookings`, which [`list`](Self::list) gave; the rest of a booking never changes.
    async fn lock(&mut self, bookings: &mut [Booking]) -> Result<(), RepositoryError>;

    /// A user's bookings with their seats, newest first. No lock.
    async fn list_page(&mut self, filter: &BookingFilter) -> Result<Page<Booking>, RepositoryError>;

    /// The bookings of these users of these performances that are written as pending or confirmed, in no order. No
    /// lock: the caller holds the users' queue tokens.
    async fn list_open_of_performances(
        &mut self,
        user_ids: &[UserId],
        performance_ids: &[PerformanceId],
    ) -> Result<Vec<OpenBooking>, RepositoryError>;

    /// The same, and the pending ones of these users of all other performances. No lock: the caller holds the users'
    /// queue tokens.
    async fn list_open_of_users(
        &mut self,
        user_ids: &[UserId],
        performance_ids: &[PerformanceId],
    ) -> Result<Vec<OpenBooking>, RepositoryError>;

    /// The bookings of these users that are held at `now`. No lock.
    async fn list_holds_of_users(
        &mut self,
        user_ids: &[UserId],
        now: Instant,
    ) -> Result<Vec<HeldBooking>, RepositoryError>;

    /// Whether a user has a booking that is live at `now`: pending and not expired, or confirmed for a performance that
    /// hasn't ended. No lock.
    async fn user_has_live(&mut self, user_id: UserId, now: Instant) -> Result<bool, RepositoryError>;

    /// Whether a concert has a booking that is live at `now`, in the same sense. No lock.
    async fn concert_has_live(&mut self, concert_id: ConcertId, now: Instant) -> Result<bool, RepositoryError>;

    /// How many bookings of a performance are pending or confirmed, written so. No lock.
    async fn count_open_of_performance(&mut self, performance_id: PerformanceId) -> Result<u32, RepositoryError>;

    /// At most `limit` bookings of a performance that are pending or confirmed, written so, by id, behind `after`. No
    /// lock.
    async fn list_open_of_performance(
        &mut self,
        performance_id: PerformanceId,
        after: Option<BookingId>,
        limit: u32,
    ) -> Result<Vec<BookingId>, RepositoryError>;

    /// At most `limit` pending bookings past their deadline, oldest deadline first, with their seats; locked, those
    /// that another transaction holds left out.
    async fn claim_expired(&mut self, now: Instant, limit: u32) -> Result<Vec<Booking>, RepositoryError>;

    /// Writes the state, deadline and extension of locked bookings. [`RepositoryError::Contention`] when one is gone.
    async fn update(&mut self, bookings: &[Booking]) -> Result<(), RepositoryError>;

    /// Locks seats, in ascending order, and gives those that there are with the claims on them, live or past. A seat
    /// that isn't of the performance that is named with it is left out, and isn't locked.
    async fn lock_seats(
        &mut self,
        seats: &[(SeatId, PerformanceId)],
    ) -> Result<Vec<(Seat, Option<Claim>)>, RepositoryError>;

    /// Locks seats, in ascending order, and gives the claims on those that have one.
    async fn lock_claims(&mut self, seat_ids: &[SeatId]) -> Result<Vec<SeatClaim>, RepositoryError>;

    /// The claims on these seats, live or past; unclaimed ones are left out. No lock of their own.
    async fn list_claims(&mut self, seat_ids: &[SeatId]) -> Result<Vec<SeatClaim>, RepositoryError>;

    /// The terms of a performance's claims, live or past, that were written at `since` or later; all, if there is none.
    /// No lock. A seat that was claimed once has a claim ever after.
    async fn list_claim_deadlines(
        &mut self,
        performance_id: PerformanceId,
        since: Option<Instant>,
    ) -> Result<Vec<ClaimDeadline>, RepositoryError>;

    /// Removes those claims on locked seats that are over at `now`.
    async fn delete_expired_claims(&mut self, seat_ids: &[SeatId], now: Instant) -> Result<(), RepositoryError>;

    /// Claims the locked seats of new bookings, which have no claim any more. [`RepositoryError::Contention`] when one
    /// has after all.
    async fn insert_claims(&mut self, bookings: &[Booking], now: Instant) -> Result<(), RepositoryError>;

    /// Brings the claims of changed bookings up to date: sold, held longer, or released at `now`.
    /// [`RepositoryError::Contention`] when a booking that is confirmed or held has lost a claim.
    async fn update_claims(&mut self, bookings: &[Booking], now: Instant) -> Result<(), RepositoryError>;
}

/// Reads and locks what choosing seats for somebody needs.
///
/// Lock order: a performance's choice comes after the performance and before its seats.
#[async_trait]
pub trait ChoiceRepository: Send {
    /// Makes these performances' choices nobody else's until the transaction ends, in ascending order of id. The
    /// caller shares the performances. Who names seats doesn't wait.
    async fn lock_choices(&mut self, performance_ids: &[PerformanceId]) -> Result<(), RepositoryError>;

    /// Deletes at most `limit` locks on choices of performances that began before `horizon`, and tells how many.
    async fn delete_choices(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError>;

    /// The seats of a performance that are held or sold at `now`, in no order, as of one instant. No lock.
    async fn list_taken(&mut self, performance_id: PerformanceId, now: Instant)
    -> Result<Vec<SeatId>, RepositoryError>;

    /// Locks these seats but those that another transaction has locked, and tells which it locked. It waits for
    /// nobody, and so may come after other seats whatever their ids.
    async fn claim_seats(&mut self, ids: &[SeatId]) -> Result<Vec<SeatId>, RepositoryError>;
}
