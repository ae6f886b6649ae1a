//! The use cases of bookings: holding seats, extending, cancelling and expiring holds.

mod lane;
mod layout_cache;

use std::sync::Arc;

use self::{
    lane::{HoldCommand, HoldWork},
    layout_cache::SeatLayoutCache,
};
use super::{
    Ports,
    error::AppError,
    event,
    lane::{IdempotencyKey, LanePorts, LaneSettings, Lanes, Reply},
    queue::GateFacade,
    settlement::SettlementLanes,
};
use crate::domain::{
    booking::{Booking, BookingState, HoldPolicy, HoldRequest, SeatLayout, SeatSelection},
    concert::SeatStatus,
    event::Fact,
    id::{BookingId, PerformanceId, QueueTokenId, SeatId, UserId},
    language::Language,
    page::{Page, PageRequest},
    refusal::Refusal,
};

/// A request to hold seats.
#[derive(Clone, Debug)]
pub struct HoldSeats {
    /// The user of the booking.
    pub user_id: UserId,
    /// The gate's verdict on the queue token.
    pub gate: Result<QueueTokenId, Refusal>,
    /// The performance of the seats.
    pub performance_id: PerformanceId,
    /// The requested seats, at least one.
    pub selection: SeatSelection,
}

/// The use cases of bookings.
pub struct BookingFacade {
    ports: Ports,
    layouts: SeatLayoutCache,
    holds: Lanes<HoldWork>,
    settlements: Arc<SettlementLanes>,
    gate: Arc<GateFacade>,
}

impl BookingFacade {
    /// Starts the hold lanes.
    pub fn start(
        ports: Ports,
        policy: HoldPolicy,
        settings: LaneSettings,
        lane_ports: &LanePorts,
        settlements: Arc<SettlementLanes>,
        gate: Arc<GateFacade>,
    ) -> Self {
        let holds = Lanes::new(HoldWork::new(ports.clone(), policy), settings, lane_ports.clone());
        let layouts = SeatLayoutCache::new(Arc::clone(&ports.database));
        Self { ports, layouts, holds, settlements, gate }
    }

    /// Holds seats, all or none, until the hold's deadline. The user's queue token stays active at least as long.
    ///
    /// With a key, repeating the request has one effect.
    ///
    /// # Errors
    ///
    /// [`AppError::NotYourTurn`] if the queue token isn't active yet; [`Refusal::QueueTokenInvalid`],
    /// [`Refusal::QueueTokenExpired`], [`Refusal::QueueTokenWrongConcert`]; [`Refusal::PerformanceNotFound`],
    /// [`Refusal::SeatNotFound`], [`Refusal::SalesClosed`]; [`Refusal::SeatsUnavailable`] for named seats and
    /// [`Refusal::TooFewSeats`] for best available ones; [`Refusal::SeatLimitExceeded`]; the refusal that `gate`
    /// contains; those of a [command](super::lane::Lanes::submit). The reply contains the refusals of the decision.
    ///
    /// # Concurrency
    ///
    /// Locks the queue token, the performance (shared), its best-available selection if the request needs it, and the
    /// seats, in this order.
    pub async fn hold(
        &self,
        command: HoldSeats,
        key: Option<IdempotencyKey<Booking>>,
    ) -> Result<Reply<Booking>, AppError> {
        let HoldSeats { user_id, gate, performance_id, selection } = command;
        let (gate, layout) = match (&selection, gate) {
            (SeatSelection::Best(_), Ok(token)) => match self.layout(performance_id, user_id, token).await {
                Ok(layout) => (Ok(token), layout),
                Err(AppError::Refused(refusal)) => (Err(refusal), None),
                Err(error) => return Err(error),
            },
            (_, gate) => (gate, None),
        };
        let booking_id = self.ports.booking_id(self.ports.now());
        let conflict_key = choice_conflict_key(performance_id, &selection);
        let request = HoldRequest { booking_id, user_id, performance_id, selection };
        let command = |reply| HoldCommand { gate, request, layout, reply };
        let reply = self.holds.submit(conflict_key, key, command).await?;
        self.gate.with_position(reply, user_id).await
    }

    /// The layout of a performance, for a best-available request. A layout may have 100,000 seats, so one that isn't
    /// cached is read only for active tokens of its concert. The caller passes the refusal on as the gate's verdict, so
    /// that a recorded answer is still replayed first.
    async fn layout(
        &self,
        id: PerformanceId,
        user_id: UserId,
        token: QueueTokenId,
    ) -> Result<Option<Arc<SeatLayout>>, AppError> {
        if let Some(layout) = self.layouts.cached(id).await {
            return Ok(Some(layout));
        }
        self.gate.check_active(token, user_id).await?;
        let Some(concert_id) = self.layouts.concert_of(id).await? else { return Ok(None) };
        if concert_id != token.concert() {
            return Err(Refusal::QueueTokenWrongConcert.into());
        }
        self.layouts.get(id).await
    }

    /// Extends a hold and the lifetime of its queue token, once.
    ///
    /// With a key, repeating the request has one effect.
    ///
    /// # Errors
    ///
    /// [`AppError::NotYourTurn`] if the queue token isn't active yet; [`Refusal::QueueTokenInvalid`],
    /// [`Refusal::QueueTokenExpired`], [`Refusal::QueueTokenWrongConcert`]; [`Refusal::BookingNotFound`],
    /// [`Refusal::BookingNotPayable`], [`Refusal::HoldExpired`], [`Refusal::SeatLimitExceeded`],
    /// [`Refusal::HoldAlreadyExtended`]; the refusal that `gate` contains; those of a
    /// [command](super::lane::Lanes::submit). The reply contains the refusals of the decision.
    ///
    /// # Concurrency
    ///
    /// A settlement: locks the queue token, the performance (shared), the seats and the booking, in this order.
    pub async fn extend(
        &self,
        user_id: UserId,
        gate: Result<QueueTokenId, Refusal>,
        booking_id: BookingId,
        key: Option<IdempotencyKey<Booking>>,
    ) -> Result<Reply<Booking>, AppError> {
        let reply = self.settlements.extend(user_id, gate, booking_id, key).await?;
        self.gate.with_position(reply, user_id).await
    }

    /// Cancels a booking: a hold ends, and a confirmed booking is refunded until the cut-off. The cancellation is
    /// mailed in `language`. Repeating it has no effect.
    ///
    /// With a key, repeating the request returns the first answer.
    ///
    /// # Errors
    ///
    /// [`Refusal::BookingNotFound`], [`Refusal::BookingNotCancellable`], [`Refusal::RefundWindowClosed`],
    /// [`Refusal::BookingUsed`]; [`Refusal::BalanceLimitExceeded`] if the refund exceeds the largest amount; those of a
    /// [command](super::lane::Lanes::submit). The reply contains the refusals of the decision.
    ///
    /// # Concurrency
    ///
    /// A settlement: locks the live queue token of a hold's user, the performance (shared), the seats and the booking,
    /// in this order. The write of the wallet checks its version.
    pub async fn cancel(
        &self,
        user_id: UserId,
        booking_id: BookingId,
        language: Language,
        key: Option<IdempotencyKey<Booking>>,
    ) -> Result<Reply<Booking>, AppError> {
        self.settlements.cancel(user_id, booking_id, language, key).await
    }

    /// The user's booking with this id.
    ///
    /// # Errors
    ///
    /// [`Refusal::BookingNotFound`] if the user has no such booking.
    pub async fn booking(&self, user_id: UserId, id: BookingId) -> Result<Booking, AppError> {
        let mut repositories = self.ports.database.read().await?;
        let booking = repositories.bookings().list(&[id]).await?.pop();
        Ok(booking.filter(|booking| booking.user_id == user_id).ok_or(Refusal::BookingNotFound)?)
    }

    /// A page of the user's bookings, newest first: those whose current state has the name `status`, or all.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn bookings(
        &self,
        user_id: UserId,
        status: Option<&'static str>,
        page: PageRequest<BookingId>,
    ) -> Result<Page<Booking>, AppError> {
        let now = self.ports.now();
        Ok(self.ports.database.read().await?.bookings().list_page(user_id, status, page, now).await?)
    }

    /// Records that holds have expired, at most `limit` of them, with their events. Returns the number of holds.
    ///
    /// A hold ends at its deadline, even before this runs.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    ///
    /// # Concurrency
    ///
    /// Locks the expired bookings, except those that another transaction has locked: these are left for the next run.
    pub async fn expire_holds(&self, limit: u32) -> Result<u32, AppError> {
        // Instances on different nodes of a cluster may select the same holds.
        self.ports.retry_on_contention(|| self.try_expire_holds(limit)).await
    }

    async fn try_expire_holds(&self, limit: u32) -> Result<u32, AppError> {
        let now = self.ports.now();
        let mut uow = self.ports.back_office.begin().await?;
        let mut expired = uow.bookings().claim_expired(now, limit).await?;
        if expired.is_empty() {
            return Ok(0);
        }
        for booking in &mut expired {
            booking.state = BookingState::Expired;
        }
        uow.bookings().update(&expired).await?;
        let seats: Vec<_> = expired.iter().flat_map(Booking::seat_ids).collect();
        let claims = uow.seat_claims().list_claims(&seats).await?;
        // A seat that another booking has claimed since isn't available.
        let free = expired.iter().flat_map(|booking| {
            let belongs_to_booking = |seat: &SeatId| {
                claims.iter().any(|claim| claim.seat_id == *seat && claim.claim.booking_id == Some(booking.id))
            };
            let seats: Vec<_> = booking.seat_ids().filter(belongs_to_booking).collect();
            seats.into_iter().map(|seat| (booking.performance_id, seat, SeatStatus::Available))
        });
        let free: Vec<_> = free.collect();
        let count = u32::try_from(expired.len()).unwrap_or(u32::MAX);
        let facts = expired.into_iter().map(Fact::BookingExpired).collect();
        event::record(&self.ports, &mut *uow, now, facts, free).await?;
        uow.commit().await?;
        Ok(count)
    }
}

/// The conflict key of best-available requests for one performance, which a lock serializes anyway. Requests for named
/// seats have none: they wait for the seats' locks.
fn choice_conflict_key(performance_id: PerformanceId, selection: &SeatSelection) -> Option<u64> {
    match selection {
        SeatSelection::Seats(_) => None,
        SeatSelection::Best(_) => Some(performance_id.0),
    }
}
