//! Administrators' view of bookings, and their cancellations.

use uuid::Uuid;

use super::AdministrationFacade;
use crate::{
    application::{
        error::AppError,
        lane::{IdempotencyKey, Reply},
    },
    domain::{
        administration::Order,
        booking::{Booking, BookingDetails, BookingSearch},
        id::{BookingId, UserId},
        page::{Page, PageRequest},
        refusal::Refusal,
    },
};

impl AdministrationFacade {
    /// A page of all users' bookings, newest first. States are evaluated at the current instant.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn search_bookings(
        &self,
        search: &BookingSearch,
        page: PageRequest<BookingId>,
    ) -> Result<Page<BookingDetails>, AppError> {
        let now = self.ports.now();
        Ok(self.ports.database.read().await?.bookings().search(search, page, now).await?)
    }

    /// The booking with this id, of any user.
    ///
    /// # Errors
    ///
    /// [`Refusal::BookingNotFound`].
    pub async fn booking(&self, id: BookingId) -> Result<BookingDetails, AppError> {
        let found = self.ports.database.read().await?.bookings().find_details(id).await?;
        Ok(found.ok_or(Refusal::BookingNotFound)?)
    }

    /// Cancels any user's booking: a hold ends, and a confirmed booking is refunded at any time, also after the
    /// performance. Repeating it has no effect and isn't recorded in the action log.
    ///
    /// With a key, repeating the request returns the first answer.
    ///
    /// # Errors
    ///
    /// [`Refusal::BookingNotFound`]; [`Refusal::BookingNotCancellable`] if it has expired;
    /// [`Refusal::BalanceLimitExceeded`] if the refund exceeds the largest amount; [`Refusal::Forbidden`] if the actor
    /// is no longer an administrator; those of a [command](crate::application::lane::Lanes::submit). The reply contains
    /// the refusals of the decision.
    ///
    /// # Concurrency
    ///
    /// A settlement. It locks, in this order: the live queue token of a hold's user; the actor's account (shared); the
    /// performance (shared); the seats; the booking. The write of the wallet checks its version.
    pub async fn cancel_booking(
        &self,
        order: Order,
        id: BookingId,
        key: Option<IdempotencyKey<Booking>>,
    ) -> Result<Reply<Booking>, AppError> {
        // A booking's user never changes. The decision refuses an absent booking, so that a key records the refusal.
        let found = self.ports.database.read().await?.bookings().list(&[id]).await?.pop();
        let user_id = found.map_or(UserId(Uuid::nil()), |booking| booking.user_id);
        self.settlements.cancel_by_administrator(order, user_id, id, key).await
    }
}
