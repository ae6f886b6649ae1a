//! Exports of bookings and of points as tables for spreadsheets.

use axum::{extract::State, response::Response};
use futures::{StreamExt, TryStreamExt};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{
        booking::{BookedSeat, BookingState},
        clock::Instant,
        export::{ExportRange, ExportedBooking, ExportedTransaction, ExportedUser},
        point::Direction,
    },
    interfaces::http::{
        auth::Administrator,
        problem::HandlerResult,
        query::Query,
        range::{RangeParameters, read_range},
        spreadsheet::{csv_response, text_cell, time_cell},
        state::App,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(export_bookings)).routes(routes!(export_transactions))
}

/// The columns of a booking. The first one isn't an id, because a reader that doesn't recognise the byte order mark
/// makes it part of the first column's name.
const BOOKING_COLUMNS: [&str; 16] = [
    "createdAt",
    "bookingId",
    "userId",
    "email",
    "name",
    "concertId",
    "title",
    "performanceId",
    "startsAt",
    "status",
    "seats",
    "totalPrice",
    "heldUntil",
    "confirmedAt",
    "cancelledAt",
    "paymentId",
];

const TRANSACTION_COLUMNS: [&str; 11] = [
    "createdAt",
    "transactionId",
    "userId",
    "email",
    "name",
    "type",
    "amount",
    "balanceAfter",
    "version",
    "bookingId",
    "paymentId",
];

fn range_of(mut query: Query) -> HandlerResult<ExportRange> {
    let (from, to) = read_range(&mut query);
    query.finish()?;
    Ok(ExportRange { from, to })
}

fn user_cells(user: Option<ExportedUser>) -> [String; 2] {
    user.map(|user| [user.email.as_str(), user.name.as_str()].map(text_cell)).unwrap_or_default()
}

fn optional_time(instant: Option<Instant>) -> String {
    instant.map(time_cell).unwrap_or_default()
}

fn optional_id(id: Option<Uuid>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

/// Section, row and number of each seat.
fn seats_cell(seats: &[BookedSeat]) -> String {
    let places: Vec<_> = seats.iter().map(|seat| format!("{} {} {}", seat.section, seat.row, seat.number)).collect();
    text_cell(&places.join("; "))
}

fn booking_cells(exported: ExportedBooking, now: Instant) -> Vec<String> {
    let ExportedBooking { booking, user, title, starts_at } = exported;
    let [email, name] = user_cells(user);
    let (confirmed_at, cancelled_at, payment_id) = match booking.state {
        BookingState::Pending | BookingState::Expired => (None, None, None),
        BookingState::Confirmed { at, payment_id } => (Some(at), None, Some(payment_id.0)),
        BookingState::Cancelled { at } => (None, Some(at), None),
        BookingState::Refunded { confirmed_at, payment_id, at } => (Some(confirmed_at), Some(at), Some(payment_id.0)),
    };
    vec![
        time_cell(booking.created_at),
        booking.id.to_string(),
        booking.user_id.to_string(),
        email,
        name,
        booking.concert_id.to_string(),
        text_cell(title.as_str()),
        booking.performance_id.to_string(),
        time_cell(starts_at),
        booking.state_at(now).name().to_owned(),
        seats_cell(&booking.seats),
        booking.total.to_string(),
        time_cell(booking.held_until),
        optional_time(confirmed_at),
        optional_time(cancelled_at),
        optional_id(payment_id),
    ]
}

fn transaction_cells(exported: ExportedTransaction) -> Vec<String> {
    let ExportedTransaction { entry, user } = exported;
    let [email, name] = user_cells(user);
    let (payment_id, booking_id) = entry.kind.payment().unzip();
    let sign = if entry.kind.direction() == Direction::Debit { "-" } else { "" };
    vec![
        time_cell(entry.created_at),
        entry.id.to_string(),
        entry.user_id.to_string(),
        email,
        name,
        entry.kind.name().to_owned(),
        format!("{sign}{}", entry.amount),
        entry.balance_after.to_string(),
        entry.version.to_string(),
        optional_id(booking_id.map(|id| id.0)),
        optional_id(payment_id.map(|id| id.0)),
    ]
}

/// Exports the bookings created in a range of time as a table for spreadsheets, oldest first.
///
/// UTF-8 with a byte order mark. `email` and `name` are empty once the account is deleted. A text that a spreadsheet
/// would read as a formula begins with an apostrophe. If a part of the table can't be read, the transfer is aborted.
#[utoipa::path(get, path = "/admin/exports/bookings", tag = "administration", security(("accessToken" = [])),
    params(RangeParameters),
    responses((status = 200, body = String, content_type = "text/csv", description = "The table.",
        example = "createdAt,bookingId\r\n")))]
async fn export_bookings(State(app): State<App>, _: Administrator, query: Query) -> HandlerResult<Response> {
    let pages = app.administration.export_bookings(range_of(query)?).await?;
    let clock = std::sync::Arc::clone(&app.clock);
    let pages = pages.map_ok(move |page| {
        let now = clock.now();
        page.into_iter().map(|exported| booking_cells(exported, now)).collect()
    });
    Ok(csv_response("attachment; filename=\"bookings.csv\"", &BOOKING_COLUMNS, pages.boxed()))
}

/// Exports the changes of all balances in a range of time as a table for spreadsheets, oldest first.
///
/// It has the same form as the export of bookings. Payments, and adjustments that took points, are negative.
#[utoipa::path(get, path = "/admin/exports/transactions", tag = "administration", security(("accessToken" = [])),
    params(RangeParameters),
    responses((status = 200, body = String, content_type = "text/csv", description = "The table.",
        example = "createdAt,transactionId\r\n")))]
async fn export_transactions(State(app): State<App>, _: Administrator, query: Query) -> HandlerResult<Response> {
    let pages = app.administration.export_transactions(range_of(query)?).await?;
    let pages = pages.map_ok(|page| page.into_iter().map(transaction_cells).collect());
    Ok(csv_response("attachment; filename=\"transactions.csv\"", &TRANSACTION_COLUMNS, pages.boxed()))
}
