//! Complimentary bookings.

use super::AdministrationFacade;
use crate::{
    application::{error::AppError, event},
    domain::{
        administration::Order,
        booking::{Booking, BookingDetails, BookingState},
        clock::Instant,
        concert::SeatStatus,
        event::Fact,
        id::{PerformanceId, SeatId, UserId},
        refusal::Refusal,
        repository_error::RepositoryError,
        settlement::{Complimentary, ComplimentaryRequest, LockedComplimentaryState},
        unit_of_work::UnitOfWork,
    },
};

/// A request for a complimentary booking: all seats or none.
#[derive(Clone, Debug)]
pub struct GiveSeats {
    /// The user of the booking.
    pub user_id: UserId,
    /// The performance of all seats.
    pub performance_id: PerformanceId,
    /// At least one seat, each named once.
    pub seat_ids: Vec<SeatId>,
    /// The administrator, with the reason.
    pub order: Order,
}

impl AdministrationFacade {
    /// Makes a complimentary booking of seats, including blocked ones. It is confirmed, with a payment of 0 points, and
    /// doesn't count for the seat limit.
    ///
    /// # Errors
    ///
    /// [`Refusal::UserNotFound`], also if the account is deleted; [`Refusal::PerformanceNotFound`],
    /// [`Refusal::SeatNotFound`]; [`Refusal::SalesClosed`] if the performance has begun or was cancelled;
    /// [`Refusal::SeatsUnavailable`] if a seat is held or sold; [`Refusal::Forbidden`] if the actor is no longer an
    /// administrator.
    ///
    /// # Concurrency
    ///
    /// Locks both accounts (shared), the performance (shared) and the seats, in this order. The write of the wallet
    /// checks its version.
    pub async fn give_seats(&self, command: &GiveSeats) -> Result<BookingDetails, AppError> {
        self.ports.retry_on_contention(|| self.try_give_seats(command)).await
    }

    async fn try_give_seats(&self, command: &GiveSeats) -> Result<BookingDetails, AppError> {
        let GiveSeats { user_id, performance_id, seat_ids, order } = command;
        let (user_id, performance_id) = (*user_id, *performance_id);
        let mut uow = self.ports.database.begin().await?;
        let accounts = uow.users().share_standings(&[order.actor, user_id]).await?.into_iter().collect();
        let performance = uow.concerts().share_performances(&[performance_id]).await?.pop();
        let seats: Vec<_> = seat_ids.iter().map(|seat| (*seat, performance_id)).collect();
        let seats = uow.seat_claims().lock_seats(&seats).await?;
        let wallet = uow.wallets().list(&[user_id]).await?.pop();
        let now = self.ports.now();
        let request = ComplimentaryRequest {
            booking_id: self.ports.booking_id(now),
            payment_id: self.ports.payment_id(now),
            transaction_id: self.ports.transaction_id(now),
            user_id,
            performance_id,
            seat_ids: seat_ids.clone(),
            order: order.clone(),
        };
        let state = LockedComplimentaryState { accounts, performance, seats, wallet };
        let given = request.decide(&state, now)?;
        self.store(&mut *uow, now, &given).await?;
        let details = uow.bookings().find_details(given.booking.id).await?.ok_or(Refusal::BookingNotFound)?;
        uow.commit().await?;
        Ok(details)
    }

    async fn store(
        &self,
        uow: &mut dyn UnitOfWork,
        now: Instant,
        given: &Complimentary,
    ) -> Result<(), RepositoryError> {
        let booking = &given.booking;
        // Booking and payment refer to each other, so the booking is pending until its payment is stored.
        let pending = [Booking { state: BookingState::Pending, ..booking.clone() }];
        let confirmed = std::slice::from_ref(booking);
        uow.bookings().insert(&pending).await?;
        uow.seat_claims().release_blocks(&given.blocked, now).await?;
        uow.seat_claims().delete_expired_claims(&given.replaced_claims, now).await?;
        uow.seat_claims().insert_claims(&pending, now).await?;
        uow.payments().insert(&[given.payment]).await?;
        uow.bookings().update(confirmed).await?;
        uow.seat_claims().update_claims(confirmed, now).await?;
        uow.wallets().apply(&[given.entry]).await?;
        uow.actions().append(&self.ports.action_entry(now, given.action.clone())).await?;
        let facts = vec![Fact::BookingConfirmed(booking.clone()), Fact::PaymentCompleted(given.payment)];
        let seats = booking.seat_ids().map(|seat| (booking.performance_id, seat, SeatStatus::Sold)).collect();
        event::record(&self.ports, uow, now, facts, seats).await
    }
}
