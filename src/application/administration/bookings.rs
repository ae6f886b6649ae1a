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
        id::{BookingId, ConcertId, PerformanceId, UserId},
        page::Page,
        refusal::Refusal,
    },
};

/// A search for bookings of all users. What is `None` doesn't matter.
#[derive(Clone, Copy, Debug)]
pub struct SearchBookings {
    /// The concert.
    pub concert_id: Option<ConcertId>,
    /// The performance.
    pub performance_id: Option<PerformanceId>,
    /// The user.
    pub user_id: Option<UserId>,
    /// The name of the state, by the clock.
    pub status: Option<&'static str>,
    /// Only older bookings than this one.
    pub before: Option<BookingId>,
    /// The most bookings of the page.
    pub limit: u32,
}

impl AdministrationFacade {
    /// Bookings of all users, newest first. States are evaluated at the current instant.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn search_bookings(&self, query: &SearchBookings) -> Result<Page<BookingDetails>, AppError> {
        let SearchBookings { concert_id, performance_id, user_id, status, before, limit } = *query;
        let now = self.ports.now();
        let search = BookingSearch { concert_id, performance_id, user_id, status, now, before, limit };
        Ok(self.ports.database.read().await?.bookings().search(&search).await?)
    }

    /// A booking of any user.
    ///
    /// # Errors
    ///
    /// [`Refusal::BookingNotFound`].
    pub async fn booking(&self, id: BookingId) -> Result<BookingDetails, AppError> {
        let found = self.ports.database.read().await?.bookings().find_details(id).await?;
        Ok(found.ok_or(Refusal::BookingNotFound)?)
    }

    /// Cancels any user's booking: a hold ends, and a confirmed booking is refunded at any time, also after the
    /// performance. Repeating it changes nothing and isn't recorded.
    ///
    /// # Errors
    ///
    /// [`Refusal::BookingNotFound`]; [`Refusal::BookingNotCancellable`] when it has expired; [`Refusal::Forbidden`]
    /// when the actor is no administrator any more; those of a [command](crate::application::lane::Lanes::submit). The
    /// reply holds the refusals of the decision.
    ///
    /// # Concurrency
    ///
    /// A settlement, as its user's cancellation. It shares the actor's account as well.
    pub async fn cancel_booking(
        &self,
        order: Order,
        id: BookingId,
        key: Option<IdempotencyKey<Booking>>,
    ) -> Result<Reply<Booking>, AppError> {
        // A booking's user never changes. The decision refuses an absent booking, so that a key records it.
        let found = self.ports.database.read().await?.bookings().list(&[id]).await?.pop();
        let user_id = found.map_or(UserId(Uuid::nil()), |booking| booking.user_id);
        self.settlements.cancel_by_administrator(order, user_id, id, key).await
    }
}
