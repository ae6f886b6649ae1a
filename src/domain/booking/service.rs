//! Decisions about holds: the requests of a batch, decided in order over one locked state.

use std::collections::{BTreeSet, HashMap};

use super::{
    BestAvailable, BookedSeat, Booking, BookingState, Claim, FreeSeats, HoldPolicy, OpenBooking, Shortage,
    instant_after, live_seats,
};
use crate::domain::{
    clock::Instant,
    concert::{Performance, Seat, SeatStatus},
    id::{BookingId, PerformanceId, QueueTokenId, SeatId, UserId},
    points::Points,
    queue::{Admission, QueueToken, TokenState, require_booking},
    refusal::{ConflictReason, Refusal, SeatConflict},
};

/// The seats that a hold requests.
#[derive(Clone, Debug)]
pub enum SeatSelection {
    /// These seats, each named once.
    Seats(Vec<SeatId>),
    /// The best available ones.
    Best(BestAvailable),
}

impl SeatSelection {
    /// The number of requested seats.
    fn quantity(&self) -> u32 {
        match self {
            Self::Seats(ids) => u32::try_from(ids.len()).unwrap_or(u32::MAX),
            Self::Best(best) => best.quantity,
        }
    }
}

/// One user's request for a hold.
#[derive(Clone, Debug)]
pub struct HoldRequest {
    /// The id of the booking to be made.
    pub booking_id: BookingId,
    /// The user that holds the seats.
    pub user_id: UserId,
    /// The performance of all seats.
    pub performance_id: PerformanceId,
    /// The requested seats.
    pub selection: SeatSelection,
}

impl HoldRequest {
    /// The seats without which this refusal isn't the answer: those that the request names, if a rule refuses it. A
    /// seat that doesn't exist comes before the rules.
    pub fn seats_before(&self, refusal: &Refusal) -> &[SeatId] {
        match (&self.selection, refusal) {
            (SeatSelection::Seats(ids), Refusal::SalesClosed | Refusal::SeatLimitExceeded { .. }) => ids,
            _ => &[],
        }
    }
}

/// The rows that the decisions of a batch need, locked until the results are written.
///
/// The lock on a queue token also serializes its user's holds for the concert, because a user has one live token there.
/// So the seat limit holds.
#[derive(Clone, Debug, Default)]
pub struct LockedHoldState {
    /// The locked queue tokens.
    pub tokens: HashMap<QueueTokenId, QueueToken>,
    /// The requested performances, locked against changes.
    pub performances: HashMap<PerformanceId, Performance>,
    /// The seats that requests name.
    pub seats: HashMap<SeatId, Seat>,
    /// The claims on `seats`, live or expired.
    pub claims: HashMap<SeatId, Claim>,
    /// The free seats of each performance with a best-available request.
    pub free: HashMap<PerformanceId, FreeSeats>,
    /// The users' pending and confirmed bookings of these performances.
    pub open: Vec<OpenBooking>,
}

impl LockedHoldState {
    /// The instant of the decisions. The caller has read `now` after taking the locks.
    pub fn instant(&self, now: Instant) -> Instant {
        instant_after(&self.open, now)
    }

    /// Checks what needs no locked seat: the token is active, the performance is on sale, and the seat limit allows the
    /// quantity. [`HoldRequest::seats_before`] lists the seats that have to exist for a refusal.
    ///
    /// # Errors
    ///
    /// [`Refusal::QueueTokenInvalid`], [`Refusal::QueueTokenNotActive`], [`Refusal::QueueTokenExpired`],
    /// [`Refusal::QueueTokenWrongConcert`], [`Refusal::PerformanceNotFound`], [`Refusal::SalesClosed`],
    /// [`Refusal::SeatLimitExceeded`].
    pub fn require_allowed(
        &self,
        now: Instant,
        policy: &HoldPolicy,
        request: &HoldRequest,
        queue_token: QueueTokenId,
    ) -> Result<(), Refusal> {
        let (_, _, performance) = self.require_turn(now, request, queue_token)?;
        self.require_sale(now, policy, request, performance)
    }

    /// Checks that the token is active, and that it is for the concert of the performance.
    fn require_turn(
        &self,
        now: Instant,
        request: &HoldRequest,
        queue_token: QueueTokenId,
    ) -> Result<(QueueToken, Admission, &Performance), Refusal> {
        let token = self.tokens.get(&queue_token).filter(|token| token.user_id == request.user_id);
        let token = token.ok_or(Refusal::QueueTokenInvalid)?;
        let admission = require_booking(token, now)?;
        let performance = self.performances.get(&request.performance_id).ok_or(Refusal::PerformanceNotFound)?;
        if token.id.concert() != performance.concert_id {
            return Err(Refusal::QueueTokenWrongConcert);
        }
        Ok((*token, admission, performance))
    }

    /// Checks that the performance is on sale, and that the seat limit allows the quantity.
    fn require_sale(
        &self,
        now: Instant,
        policy: &HoldPolicy,
        request: &HoldRequest,
        performance: &Performance,
    ) -> Result<(), Refusal> {
        if !performance.is_on_sale(now) {
            return Err(Refusal::SalesClosed);
        }
        let limit = policy.max_seats_per_user;
        let live = live_seats(&self.open, request.user_id, request.performance_id, now);
        if live.saturating_add(request.selection.quantity()) > limit {
            return Err(Refusal::SeatLimitExceeded { limit, live });
        }
        Ok(())
    }
}

/// Decides the holds of a batch in order of arrival, and collects the changes to write.
#[derive(Debug)]
pub struct HoldBatch {
    now: Instant,
    policy: HoldPolicy,
    state: LockedHoldState,
    bookings: Vec<Booking>,
    used_tokens: BTreeSet<QueueTokenId>,
    replaced_claims: Vec<SeatId>,
}

impl HoldBatch {
    /// Starts a batch that decides at `now`.
    pub fn new(now: Instant, policy: HoldPolicy, state: LockedHoldState) -> Self {
        Self { now, policy, state, bookings: Vec::new(), used_tokens: BTreeSet::new(), replaced_claims: Vec::new() }
    }

    /// Holds the requested seats, all or none. For later requests of the batch they are taken.
    ///
    /// # Errors
    ///
    /// Those of [`require_allowed`](LockedHoldState::require_allowed); [`Refusal::SeatNotFound`];
    /// [`Refusal::SeatsUnavailable`] for named seats; [`Refusal::TooFewSeats`] for best available ones.
    pub fn hold(&mut self, request: &HoldRequest, queue_token: QueueTokenId) -> Result<Booking, Refusal> {
        let (token, admission, performance) = self.state.require_turn(self.now, request, queue_token)?;
        let concert_id = performance.concert_id;
        let named = match &request.selection {
            SeatSelection::Seats(ids) => self.find_seats(request.performance_id, ids)?,
            SeatSelection::Best(_) => Vec::new(),
        };
        self.state.require_sale(self.now, &self.policy, request, performance)?;
        let seats = match &request.selection {
            SeatSelection::Seats(ids) => {
                self.require_available(request.performance_id, ids)?;
                named
            }
            SeatSelection::Best(best) => self.choose_best(request.performance_id, best)?,
        };

        let held_until = self.now + self.policy.hold;
        let total = seats.iter().try_fold(Points::ZERO, |sum, seat| sum.plus(seat.price));
        let booking = Booking {
            id: request.booking_id,
            user_id: request.user_id,
            concert_id,
            performance_id: request.performance_id,
            state: BookingState::Pending,
            seats,
            // Prices are bounded, so the total of one user's seats never exceeds the limit of amounts.
            total: total.unwrap_or(Points::MAX_BALANCE),
            held_until,
            is_extended: false,
            is_complimentary: false,
            created_at: self.now,
            language: None,
        };
        let token = QueueToken { state: TokenState::Active(admission.extended(self.now, held_until)), ..token };
        self.apply_hold(booking.clone(), token);
        Ok(booking)
    }

    /// The new bookings, in order of arrival.
    pub fn bookings(&self) -> &[Booking] {
        &self.bookings
    }

    /// The newly held seats whose expired claims have to be deleted.
    pub fn replaced_claims(&self) -> &[SeatId] {
        &self.replaced_claims
    }

    /// The tokens of the new bookings. All of them must be written, even unchanged ones.
    ///
    /// On a cluster of databases, two nodes that hold seats for one user must write a common row. Otherwise they don't
    /// conflict, and neither counts the other's seats.
    pub fn used_tokens(&self) -> Vec<QueueToken> {
        self.used_tokens.iter().filter_map(|id| self.state.tokens.get(id)).copied().collect()
    }

    /// The named seats, by ascending id.
    fn find_seats(&self, performance_id: PerformanceId, ids: &[SeatId]) -> Result<Vec<BookedSeat>, Refusal> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.into_iter().map(|id| self.seat(performance_id, id).ok_or(Refusal::SeatNotFound)).collect()
    }

    /// The best available seats, by ascending id.
    fn choose_best(&self, performance_id: PerformanceId, request: &BestAvailable) -> Result<Vec<BookedSeat>, Refusal> {
        let free = self.state.free.get(&performance_id).ok_or(Refusal::PerformanceNotFound)?;
        let ids = free.choose(request).map_err(|Shortage { seats, free }| Refusal::TooFewSeats {
            requested: request.quantity,
            matching: request.to_string(),
            seats,
            free,
        })?;
        self.find_seats(performance_id, &ids)
    }

    fn seat(&self, performance_id: PerformanceId, id: SeatId) -> Option<BookedSeat> {
        match self.state.free.get(&performance_id) {
            Some(free) => free.seat(id),
            None => self.state.seats.get(&id).filter(|seat| seat.performance_id == performance_id).map(Into::into),
        }
    }

    fn require_available(&self, performance_id: PerformanceId, ids: &[SeatId]) -> Result<(), Refusal> {
        let free = self.state.free.get(&performance_id);
        let conflict = |&seat_id: &SeatId| {
            let claimed = self.state.claims.get(&seat_id).map(|claim| claim.status_at(self.now));
            let reason = match claimed {
                Some(SeatStatus::Held) => ConflictReason::Held,
                Some(SeatStatus::Sold) => ConflictReason::Sold,
                Some(SeatStatus::Blocked) => ConflictReason::Blocked,
                // During best-available selection the claims on named seats haven't been read yet.
                _ if free.is_some_and(|free| !free.contains(seat_id)) => ConflictReason::Held,
                _ => return None,
            };
            Some(SeatConflict { seat_id, reason })
        };
        let conflicts: Vec<_> = ids.iter().filter_map(conflict).collect();
        if conflicts.is_empty() { Ok(()) } else { Err(Refusal::SeatsUnavailable { requested: ids.len(), conflicts }) }
    }

    fn apply_hold(&mut self, booking: Booking, token: QueueToken) {
        let claim = Claim::of(booking.id, Some(booking.held_until));
        for seat in booking.seat_ids() {
            if self.state.claims.insert(seat, claim).is_some() {
                self.replaced_claims.push(seat);
            }
            if let Some(free) = self.state.free.get_mut(&booking.performance_id) {
                free.remove(seat);
            }
        }
        self.state.open.push(OpenBooking::from(&booking));
        self.state.tokens.insert(token.id, token);
        self.used_tokens.insert(token.id);
        self.bookings.push(booking);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::{super::SeatLayout, *};
    use crate::domain::{
        concert::{PerformanceStatus, Venue},
        id::{ConcertId, VenueId},
        queue::Queue,
        text::Name,
    };

    const PERFORMANCE: PerformanceId = PerformanceId(1);

    fn now() -> Instant {
        Instant::default()
    }

    fn user(number: u128) -> UserId {
        UserId(Uuid::from_u128(number))
    }

    fn token_id(number: u32) -> QueueTokenId {
        QueueTokenId::new(ConcertId(1), number).unwrap()
    }

    /// A sale of ten seats, with the active tokens 1 to 3 of the users 1 to 3.
    fn batch() -> HoldBatch {
        let mut queue = Queue::new(ConcertId(1), now());
        let tokens = (1..=3).map(|number| {
            let mut token = queue.issue(user(number), 1, now()).unwrap();
            queue.admit(&mut token, now());
            (token.id, token)
        });
        let name = Name::new("x").unwrap();
        let performance = Performance {
            id: PERFORMANCE,
            concert_id: ConcertId(1),
            venue: Venue { id: VenueId(1), name: name.clone(), address: name },
            starts_at: now() + TimeDelta::days(1),
            sales_end_at: None,
            total_seats: 10,
            prices: (Points::ZERO, Points::ZERO),
            status: PerformanceStatus::Scheduled,
        };
        let seat = |number: u16| Seat {
            id: SeatId(u64::from(number)),
            performance_id: PERFORMANCE,
            section: "A".to_owned(),
            row: "A".to_owned(),
            row_rank: 1,
            number,
            grade: "R".to_owned(),
            price: "10.50".parse().unwrap(),
        };
        let state = LockedHoldState {
            tokens: tokens.collect(),
            performances: [(PERFORMANCE, performance)].into(),
            seats: (1..=10).map(|number| (SeatId(u64::from(number)), seat(number))).collect(),
            ..LockedHoldState::default()
        };
        let policy = HoldPolicy {
            hold: TimeDelta::seconds(300),
            extension: TimeDelta::seconds(120),
            max_seats_per_user: 4,
            refund_cutoff_hours: 24,
        };
        HoldBatch::new(now(), policy, state)
    }

    fn request(number: u32, seats: &[u64]) -> HoldRequest {
        HoldRequest {
            booking_id: BookingId(Uuid::from_u128(u128::from(number) * 100 + u128::from(seats[0]))),
            user_id: user(u128::from(number)),
            performance_id: PERFORMANCE,
            selection: SeatSelection::Seats(seats.iter().copied().map(SeatId).collect()),
        }
    }

    fn hold(batch: &mut HoldBatch, number: u32, seats: &[u64]) -> Result<Booking, Refusal> {
        batch.hold(&request(number, seats), token_id(number))
    }

    #[test]
    fn a_later_hold_of_a_batch_is_refused_seats_of_an_earlier_one() {
        let mut batch = batch();
        let booking = hold(&mut batch, 1, &[2, 1]).unwrap();
        assert_eq!(booking.total.to_string(), "21");
        assert_eq!(booking.seat_ids().collect::<Vec<_>>(), [SeatId(1), SeatId(2)]);
        let conflicts = vec![SeatConflict { seat_id: SeatId(2), reason: ConflictReason::Held }];
        assert_eq!(hold(&mut batch, 2, &[2, 3]), Err(Refusal::SeatsUnavailable { requested: 2, conflicts }));
        assert!(hold(&mut batch, 3, &[3]).is_ok());
        assert_eq!(batch.bookings().len(), 2);
        assert_eq!(batch.used_tokens().len(), 2);
    }

    #[test]
    fn the_seat_limit_counts_earlier_holds_of_the_batch() {
        let mut batch = batch();
        assert!(hold(&mut batch, 1, &[1, 2, 3]).is_ok());
        assert_eq!(hold(&mut batch, 1, &[4, 5]), Err(Refusal::SeatLimitExceeded { limit: 4, live: 3 }));
        assert!(hold(&mut batch, 1, &[4]).is_ok());
    }

    #[test]
    fn seats_that_do_not_exist_are_refused_before_the_rules() {
        let mut batch = batch();
        assert!(hold(&mut batch, 1, &[1, 2, 3]).is_ok());
        assert_eq!(hold(&mut batch, 1, &[4, 11]), Err(Refusal::SeatNotFound));
        batch.state.performances.get_mut(&PERFORMANCE).unwrap().starts_at = now();
        assert_eq!(hold(&mut batch, 1, &[11]), Err(Refusal::SeatNotFound));
    }

    #[test]
    fn expired_claims_are_replaced_and_sold_seats_are_refused() {
        let mut batch = batch();
        let booking_id = BookingId(Uuid::max());
        batch.state.claims.insert(SeatId(1), Claim::of(booking_id, Some(now())));
        batch.state.claims.insert(SeatId(2), Claim::of(booking_id, None));
        assert!(hold(&mut batch, 1, &[1]).is_ok());
        let conflicts = vec![SeatConflict { seat_id: SeatId(2), reason: ConflictReason::Sold }];
        assert_eq!(hold(&mut batch, 1, &[2]), Err(Refusal::SeatsUnavailable { requested: 1, conflicts }));
    }

    #[test]
    fn seats_of_another_performance_and_started_performances_are_refused() {
        let mut batch = batch();
        assert_eq!(hold(&mut batch, 1, &[11]), Err(Refusal::SeatNotFound));
        batch.now += TimeDelta::days(1);
        assert_eq!(hold(&mut batch, 1, &[1]), Err(Refusal::QueueTokenExpired));
        batch.now = now();
        batch.state.performances.get_mut(&PERFORMANCE).unwrap().starts_at = now();
        assert_eq!(hold(&mut batch, 1, &[1]), Err(Refusal::SalesClosed));
    }

    /// The same sale with a known layout, for best-available requests.
    fn batch_with_layout(taken: &[u64]) -> HoldBatch {
        let mut batch = batch();
        let layout = SeatLayout::new(std::mem::take(&mut batch.state.seats).into_values().collect());
        let taken: Vec<_> = taken.iter().copied().map(SeatId).collect();
        batch.state.free.insert(PERFORMANCE, FreeSeats::excluding(Arc::new(layout), &taken));
        batch
    }

    fn hold_best(batch: &mut HoldBatch, number: u32, quantity: u32) -> Result<Vec<u64>, Refusal> {
        let best = BestAvailable { quantity, grade: None, section: None, max_price: None };
        let request = HoldRequest { selection: SeatSelection::Best(best), ..request(number, &[u64::from(quantity)]) };
        Ok(batch.hold(&request, token_id(number))?.seat_ids().map(|id| id.0).collect())
    }

    #[test]
    fn best_available_seats_exclude_earlier_holds_of_the_batch() {
        let mut batch = batch_with_layout(&[1, 2]);
        assert_eq!(hold_best(&mut batch, 1, 2), Ok(vec![5, 6]));
        assert!(hold(&mut batch, 2, &[7, 8]).is_ok());
        let conflicts = vec![SeatConflict { seat_id: SeatId(5), reason: ConflictReason::Held }];
        assert_eq!(hold(&mut batch, 2, &[5]), Err(Refusal::SeatsUnavailable { requested: 1, conflicts }));
        assert_eq!(hold_best(&mut batch, 3, 3), Ok(vec![3, 4, 9]));
        assert_eq!(batch.bookings().iter().map(|booking| booking.seats.len()).collect::<Vec<_>>(), [2, 2, 3]);
    }

    #[test]
    fn the_seat_limit_precedes_selection_and_a_shortage_is_explained() {
        let mut batch = batch_with_layout(&[1, 2, 3, 5, 6, 7, 8, 9]);
        assert_eq!(hold_best(&mut batch, 1, 5), Err(Refusal::SeatLimitExceeded { limit: 4, live: 0 }));
        let refusal = hold_best(&mut batch, 1, 3).unwrap_err();
        assert_eq!(refusal.to_string(), "Of 10 seats 2 are free: 3 were asked for.");
        assert_eq!(hold_best(&mut batch, 1, 2), Ok(vec![4, 10]));
        assert_eq!(hold(&mut batch, 2, &[11]), Err(Refusal::SeatNotFound));
    }
}
