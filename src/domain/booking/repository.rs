//! The ports of bookings, seat claims and best-available selection.

use async_trait::async_trait;

use super::{Booking, Claim, OpenBooking, model::claimed_status};
use crate::domain::{
    clock::Instant,
    concert::{Seat, SeatStatus},
    id::{BookingId, ConcertId, PerformanceId, SeatId, UserId},
    page::{Page, PageRequest},
    repository_error::RepositoryError,
    text::Email,
};

/// A claim with its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatClaim {
    /// The claimed seat.
    pub seat_id: SeatId,
    /// The claim, live or expired.
    pub claim: Claim,
}

/// The part of a claim that a seat map needs. It doesn't contain the booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimDeadline {
    /// The claimed seat.
    pub seat_id: SeatId,
    /// The deadline of the claim; `None` if the seat is sold.
    pub held_until: Option<Instant>,
    /// The instant of the claim's last write.
    pub changed_at: Instant,
}

impl ClaimDeadline {
    /// The status of the claimed seat at `now`.
    pub fn status_at(&self, now: Instant) -> SeatStatus {
        claimed_status(self.held_until, now)
    }
}

/// A search for bookings of all users.
#[derive(Clone, Copy, Debug)]
pub struct BookingSearch {
    /// Only bookings of this concert.
    pub concert_id: Option<ConcertId>,
    /// Only bookings of this performance.
    pub performance_id: Option<PerformanceId>,
    /// Only bookings of this user.
    pub user_id: Option<UserId>,
    /// The name of the state at the instant of the search; `None` for all states.
    pub status: Option<&'static str>,
}

/// A booking as administrators see it.
#[derive(Clone, Debug)]
pub struct BookingDetails {
    /// The booking itself.
    pub booking: Booking,
    /// The user's address; `None` once the account is deleted.
    pub email: Option<Email>,
}

/// Stores and locks bookings.
///
/// Lock order: bookings after the seats that they claim, see [`SeatClaimRepository`].
#[async_trait]
pub trait BookingRepository: Send {
    /// Inserts pending bookings with their seats. The caller has locked the seats.
    async fn insert(&mut self, bookings: &[Booking]) -> Result<(), RepositoryError>;

    /// The bookings with these ids, with their seats, in no order; absent ones are left out. Takes no lock.
    async fn list(&mut self, ids: &[BookingId]) -> Result<Vec<Booking>, RepositoryError>;

    /// Locks bookings by ascending id, until the transaction ends, and updates state, deadline, extension and language
    /// in `bookings`, which [`list`](Self::list) returned. Their other fields are immutable.
    async fn lock(&mut self, bookings: &mut [Booking]) -> Result<(), RepositoryError>;

    /// A page of a user's bookings with their seats, newest first: those whose state at `now` has the name `status`,
    /// or all. Takes no lock.
    async fn list_page(
        &mut self,
        user_id: UserId,
        status: Option<&'static str>,
        page: PageRequest<BookingId>,
        now: Instant,
    ) -> Result<Page<Booking>, RepositoryError>;

    /// A page of all users' bookings with their seats, newest first, with states evaluated at `now`. Takes no lock.
    async fn search(
        &mut self,
        search: &BookingSearch,
        page: PageRequest<BookingId>,
        now: Instant,
    ) -> Result<Page<BookingDetails>, RepositoryError>;

    /// The booking with this id, with its seats. Takes no lock.
    async fn find_details(&mut self, id: BookingId) -> Result<Option<BookingDetails>, RepositoryError>;

    /// The pending and confirmed bookings of these users for these performances, by stored state, in no order. Takes no
    /// lock: the caller has locked the users' queue tokens.
    async fn list_open_of_performances(
        &mut self,
        user_ids: &[UserId],
        performance_ids: &[PerformanceId],
    ) -> Result<Vec<OpenBooking>, RepositoryError>;

    /// The same as [`list_open_of_performances`](Self::list_open_of_performances), and the users' pending bookings for
    /// all other performances. Takes no lock: the caller has locked the users' queue tokens.
    async fn list_open_of_users(
        &mut self,
        user_ids: &[UserId],
        performance_ids: &[PerformanceId],
    ) -> Result<Vec<OpenBooking>, RepositoryError>;

    /// The bookings of these users that are held at `now`. Takes no lock.
    async fn list_holds_of_users(
        &mut self,
        user_ids: &[UserId],
        now: Instant,
    ) -> Result<Vec<OpenBooking>, RepositoryError>;

    /// Whether a user has a live booking at `now`: held, or confirmed for a performance that hasn't ended. Takes no
    /// lock.
    async fn user_has_live(&mut self, user_id: UserId, now: Instant) -> Result<bool, RepositoryError>;

    /// Whether a concert has a live booking at `now`: held, or confirmed for a performance that hasn't ended. Takes no
    /// lock.
    async fn concert_has_live(&mut self, concert_id: ConcertId, now: Instant) -> Result<bool, RepositoryError>;

    /// The number of a performance's bookings whose stored state is pending or confirmed. Takes no lock.
    async fn count_open_of_performance(&mut self, performance_id: PerformanceId) -> Result<u32, RepositoryError>;

    /// At most `limit` bookings of a performance whose stored state is pending or confirmed, by id after `after`. Takes
    /// no lock.
    async fn list_open_of_performance(
        &mut self,
        performance_id: PerformanceId,
        after: Option<BookingId>,
        limit: u32,
    ) -> Result<Vec<BookingId>, RepositoryError>;

    /// Locks at most `limit` pending bookings past their deadline, earliest deadline first, and returns them with their
    /// seats. Skips bookings that another transaction has locked.
    async fn claim_expired(&mut self, now: Instant, limit: u32) -> Result<Vec<Booking>, RepositoryError>;

    /// Writes state, deadline, extension and language of locked bookings. [`RepositoryError::Contention`] if one no
    /// longer exists.
    async fn update(&mut self, bookings: &[Booking]) -> Result<(), RepositoryError>;
}

/// Stores the claims on seats, which are those of bookings and blocks, and locks seats.
///
/// Lock order: seats by ascending id, after [performances](crate::domain::concert::ConcertRepository) and before
/// bookings. Claims are decided and written under the lock of their seat; reads for display take no lock.
#[async_trait]
pub trait SeatClaimRepository: Send {
    /// Locks seats by ascending id, and returns the existing ones with their claims, live or expired. A seat of another
    /// performance than the one in its pair is neither locked nor returned.
    async fn lock_seats(
        &mut self,
        seats: &[(SeatId, PerformanceId)],
    ) -> Result<Vec<(Seat, Option<Claim>)>, RepositoryError>;

    /// The performances of these seats, in no order; seats that don't exist are left out. Takes no lock: a seat's
    /// performance never changes.
    async fn list_performances(&mut self, seat_ids: &[SeatId])
    -> Result<Vec<(SeatId, PerformanceId)>, RepositoryError>;

    /// Locks seats by ascending id, and returns the claims on them, live or expired.
    async fn lock_claims(&mut self, seat_ids: &[SeatId]) -> Result<Vec<SeatClaim>, RepositoryError>;

    /// The claims on these seats, live or expired; unclaimed seats are left out. Takes no lock: the caller has locked
    /// the seats.
    async fn list_claims(&mut self, seat_ids: &[SeatId]) -> Result<Vec<SeatClaim>, RepositoryError>;

    /// The deadlines of a performance's claims, live or expired, written at or after `since`; all of them without
    /// `since`. Takes no lock. A seat that was ever claimed keeps a claim.
    async fn list_claim_deadlines(
        &mut self,
        performance_id: PerformanceId,
        since: Option<Instant>,
    ) -> Result<Vec<ClaimDeadline>, RepositoryError>;

    /// Deletes the claims on locked seats that have expired by `now`.
    async fn delete_expired_claims(&mut self, seat_ids: &[SeatId], now: Instant) -> Result<(), RepositoryError>;

    /// Inserts claims on the locked seats of new bookings. [`RepositoryError::Contention`] if one is already claimed.
    async fn insert_claims(&mut self, bookings: &[Booking], now: Instant) -> Result<(), RepositoryError>;

    /// Inserts blocks on locked seats of a performance. [`RepositoryError::Contention`] if one is already claimed.
    async fn insert_blocks(
        &mut self,
        performance_id: PerformanceId,
        seat_ids: &[SeatId],
        now: Instant,
    ) -> Result<(), RepositoryError>;

    /// Ends the blocks of locked seats at `now`. [`RepositoryError::Contention`] if a seat isn't blocked.
    async fn release_blocks(&mut self, seat_ids: &[SeatId], now: Instant) -> Result<(), RepositoryError>;

    /// Updates the claims of changed bookings to sold, extended, or released at `now`. [`RepositoryError::Contention`]
    /// if a confirmed or held booking has lost a claim.
    async fn update_claims(&mut self, bookings: &[Booking], now: Instant) -> Result<(), RepositoryError>;
}

/// Reads and locks the rows of best-available selection.
///
/// Lock order: a performance's selection lock comes after the performance and before its seats.
#[async_trait]
pub trait ChoiceRepository: Send {
    /// Locks best-available selection of these performances by ascending id, until the transaction ends. The caller has
    /// locked the performances (shared). Holds that name their seats don't take this lock.
    async fn lock_choices(&mut self, performance_ids: &[PerformanceId]) -> Result<(), RepositoryError>;

    /// Deletes at most `limit` selection locks of performances that began before `horizon`, and returns the number of
    /// deleted rows. Skips locked ones.
    async fn delete_choices(&mut self, horizon: Instant, limit: u32) -> Result<u64, RepositoryError>;

    /// The seats of a performance that are held, sold or blocked at `now`, in no order, as of one instant. Takes no
    /// lock.
    async fn list_taken_seats(
        &mut self,
        performance_id: PerformanceId,
        now: Instant,
    ) -> Result<Vec<SeatId>, RepositoryError>;

    /// Locks these seats except those that another transaction has locked, and returns the ones that it locked. It
    /// never waits, so the order of ids doesn't matter.
    async fn claim_seats(&mut self, ids: &[SeatId]) -> Result<Vec<SeatId>, RepositoryError>;
}
