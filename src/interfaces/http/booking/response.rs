//! The booking in responses.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    domain::{
        booking::{BookedSeat, Booking, BookingState},
        clock::{Instant, seconds_left},
    },
    interfaces::http::{
        state::App,
        values::{Amount, Timestamp, to_json},
        words::BookingStatuses,
    },
};

/// A booking: seats of one performance for one user.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::interfaces::http) struct BookingResponse {
    booking_id: Uuid,
    user_id: Uuid,
    concert_id: u64,
    performance_id: u64,
    #[schema(value_type = BookingStatuses)]
    status: &'static str,
    seats: Vec<BookedSeatResponse>,
    total_price: Amount,
    /// The deadline for the payment of a pending booking.
    held_until: Timestamp,
    /// The seconds until `heldUntil`; null unless the booking is pending.
    seconds_left: Option<i64>,
    extended: bool,
    /// Whether an administrator gave the seats away. The total is 0, and they don't count towards the limit of seats.
    complimentary: bool,
    created_at: Timestamp,
    confirmed_at: Option<Timestamp>,
    cancelled_at: Option<Timestamp>,
    payment_id: Option<Uuid>,
}

/// A seat of a booking.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::interfaces::http) struct BookedSeatResponse {
    seat_id: u64,
    section: String,
    row: String,
    number: u16,
    grade: String,
    price: Amount,
}

impl From<&BookedSeat> for BookedSeatResponse {
    fn from(seat: &BookedSeat) -> Self {
        Self {
            seat_id: seat.id.0,
            section: seat.section.clone(),
            row: seat.row.clone(),
            number: seat.number,
            grade: seat.grade.clone(),
            price: seat.price.into(),
        }
    }
}

impl BookingResponse {
    /// The booking with its status at `now`.
    pub(in crate::interfaces::http) fn at(booking: &Booking, now: Instant) -> Self {
        let state = booking.state_at(now);
        let (confirmed_at, cancelled_at, payment_id) = match state {
            BookingState::Pending | BookingState::Expired => (None, None, None),
            BookingState::Confirmed { at, payment_id } => (Some(at), None, Some(payment_id)),
            BookingState::Cancelled { at } => (None, Some(at), None),
            BookingState::Refunded { confirmed_at, payment_id, at } => (Some(confirmed_at), Some(at), Some(payment_id)),
        };
        Self {
            booking_id: booking.id.0,
            user_id: booking.user_id.0,
            concert_id: booking.concert_id.0,
            performance_id: booking.performance_id.0,
            status: state.name(),
            seats: booking.seats.iter().map(Into::into).collect(),
            total_price: booking.total.into(),
            held_until: Timestamp(booking.held_until),
            seconds_left: (state == BookingState::Pending).then(|| seconds_left(now, booking.held_until)),
            extended: booking.is_extended,
            complimentary: booking.is_complimentary,
            created_at: Timestamp(booking.created_at),
            confirmed_at: confirmed_at.map(Timestamp),
            cancelled_at: cancelled_at.map(Timestamp),
            payment_id: payment_id.map(|id| id.0),
        }
    }
}

/// Renders a booking with its status at the time of rendering.
pub(in crate::interfaces::http) fn render(app: &App) -> impl Fn(&Booking) -> Vec<u8> + Send + Sync + use<> {
    let clock = Arc::clone(&app.clock);
    move |booking| to_json(&BookingResponse::at(booking, clock.now()))
}
