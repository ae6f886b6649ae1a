//! The use cases of tickets: their owners read them, and doors use them.

use std::sync::Arc;

use super::{Ports, administration, error::AppError, event};
use crate::domain::{
    administration::{Action, ActionKind},
    booking::{BookedSeat, Booking},
    clock::Instant,
    event::Fact,
    id::{BookingId, PerformanceId, SeatId, TicketId, UserId},
    refusal::Refusal,
    repository_error::RepositoryError,
    ticket::{Ticket, TicketClaims, TicketKey, TicketSigner, UsedTicket, tickets_of, use_ticket},
    unit_of_work::UnitOfWork,
};

/// A ticket as its owner sees it.
#[derive(Clone, Debug)]
pub struct TicketInfo {
    /// The ticket.
    pub ticket: Ticket,
    /// The code: the signed text that a door scans.
    pub code: String,
    /// The instant of its use; `None` until then.
    pub admitted_at: Option<Instant>,
}

/// A ticket that a door has just used.
#[derive(Clone, Debug)]
pub struct AdmittedInfo {
    /// The used ticket.
    pub ticket_id: TicketId,
    /// The booking of the ticket.
    pub booking_id: BookingId,
    /// The performance of the booking.
    pub performance_id: PerformanceId,
    /// The seat of the ticket.
    pub seat: BookedSeat,
    /// The instant of the use.
    pub admitted_at: Instant,
}

/// The use cases of tickets.
pub struct TicketFacade {
    ports: Ports,
    signer: Arc<dyn TicketSigner>,
}

impl TicketFacade {
    /// A facade whose codes are signed by `signer`.
    pub fn new(ports: Ports, signer: Arc<dyn TicketSigner>) -> Self {
        Self { ports, signer }
    }

    /// The keys that verify codes, the one that signs first.
    pub fn keys(&self) -> Vec<TicketKey> {
        self.signer.keys()
    }

    /// The tickets of the user's booking, in the order of its seats.
    ///
    /// # Errors
    ///
    /// [`Refusal::BookingNotFound`] if the user has no such booking; [`Refusal::BookingNotConfirmed`].
    pub async fn tickets(&self, user_id: UserId, booking_id: BookingId) -> Result<Vec<TicketInfo>, AppError> {
        let mut repositories = self.ports.database.read().await?;
        let booking = repositories.bookings().list(&[booking_id]).await?.pop();
        let booking = booking.filter(|booking| booking.user_id == user_id).ok_or(Refusal::BookingNotFound)?;
        let tickets = tickets_of(&booking, self.ports.now())?;
        let used = repositories.tickets().list_used(booking_id).await?;
        let info = |ticket: Ticket| TicketInfo {
            code: self.signer.code(&ticket),
            admitted_at: used.iter().find(|(seat, _)| *seat == ticket.seat.id).map(|(_, at)| *at),
            ticket,
        };
        Ok(tickets.into_iter().map(info).collect())
    }

    /// One ticket of the user's booking.
    ///
    /// # Errors
    ///
    /// Those of [`tickets`](Self::tickets), and [`Refusal::TicketNotFound`].
    pub async fn ticket(&self, user_id: UserId, booking_id: BookingId, id: TicketId) -> Result<TicketInfo, AppError> {
        let tickets = self.tickets(user_id, booking_id).await?;
        Ok(tickets.into_iter().find(|info| info.ticket.id == id).ok_or(Refusal::TicketNotFound)?)
    }

    /// Uses a ticket, once. `door` is the only performance that the door admits to; `None` for any.
    ///
    /// # Errors
    ///
    /// [`Refusal::TicketNotFound`] for a code that this server didn't sign, or whose booking doesn't exist;
    /// [`Refusal::TicketNotValid`] if the booking isn't confirmed, or the performance is cancelled or another than the
    /// door's; [`Refusal::TicketAlreadyUsed`]; [`Refusal::Forbidden`] if the actor is no longer an administrator.
    ///
    /// # Concurrency
    ///
    /// Locks the performance (shared), the booking and the actor's account (shared), in this order. Of two concurrent
    /// scans one succeeds. A refund is committed before the use, which is then refused, or after it.
    pub async fn scan(&self, actor: UserId, code: &str, door: Option<PerformanceId>) -> Result<AdmittedInfo, AppError> {
        let result = match self.signer.read(code) {
            Some(claims) => self.ports.retry_on_contention(|| self.try_use(actor, claims, door)).await,
            None => Err(Refusal::TicketNotFound.into()),
        };
        if let Some(outcome) = outcome(&result) {
            metrics::counter!("ticket_scans_total", "outcome" => outcome).increment(1);
        }
        result
    }

    async fn try_use(
        &self,
        actor: UserId,
        claims: TicketClaims,
        door: Option<PerformanceId>,
    ) -> Result<AdmittedInfo, AppError> {
        let TicketClaims { performance_id, booking_id, seat_id } = claims;
        let mut uow = self.ports.back_office.begin().await?;
        let mut bookings = uow.bookings().list(&[booking_id]).await?;
        // A genuine code may name an unknown booking, if the database was restored to a time before the booking.
        bookings.retain(|booking| booking.performance_id == performance_id);
        let performance = uow.concerts().share_performances(&[performance_id]).await?.pop();
        uow.bookings().lock(&mut bookings).await?;
        let (booking, performance) = bookings.pop().zip(performance).ok_or(Refusal::TicketNotFound)?;
        let earlier = uow.tickets().list_used(booking_id).await?;
        let now = self.ports.now();
        let used = use_ticket(&booking, &performance, seat_id, &earlier, door, actor, now)?;
        uow.tickets().insert_use(&used).await?;
        self.record(&mut *uow, &booking, &used).await?;
        let ticket_id = TicketId::of(booking_id, seat_id);
        let action = Action::new(actor, ActionKind::TicketUsed, ticket_id);
        let action = action.with_details(format!("booking {booking_id}, seat {seat_id}"));
        administration::record(&self.ports, &mut *uow, used.admitted_at, action).await?;
        uow.commit().await?;
        let seat = booking.seats.into_iter().find(|seat| seat.id == seat_id).ok_or(Refusal::TicketNotFound)?;
        Ok(AdmittedInfo { ticket_id, booking_id, performance_id, seat, admitted_at: used.admitted_at })
    }

    /// Records the event of a use.
    async fn record(
        &self,
        uow: &mut dyn UnitOfWork,
        booking: &Booking,
        used: &UsedTicket,
    ) -> Result<(), RepositoryError> {
        let position = booking.seat_ids().take_while(|seat: &SeatId| *seat != used.seat_id).count();
        let fact = Fact::TicketUsed {
            booking_id: booking.id,
            performance_id: booking.performance_id,
            seat_id: used.seat_id,
            position: u8::try_from(position).unwrap_or(u8::MAX),
        };
        event::record(&self.ports, uow, used.admitted_at, vec![fact], Vec::new()).await
    }
}

/// The outcome of a scan as a metric label; `None` for failures that aren't about the ticket.
fn outcome(result: &Result<AdmittedInfo, AppError>) -> Option<&'static str> {
    match result {
        Ok(_) => Some("admitted"),
        Err(AppError::Refused(Refusal::TicketAlreadyUsed { .. })) => Some("already_used"),
        Err(AppError::Refused(Refusal::TicketNotValid { .. })) => Some("not_valid"),
        Err(AppError::Refused(Refusal::TicketNotFound)) => Some("not_found"),
        Err(_) => None,
    }
}
