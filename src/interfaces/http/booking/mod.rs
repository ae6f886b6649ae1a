//! Bookings, one file per operation: its request, the problems it can fail with, its documentation and its handler.

mod cancel;
mod extend;
mod get;
mod hold;
mod list;
mod response;

use utoipa_axum::router::OpenApiRouter;

pub(super) use self::response::{BookedSeatResponse, BookingResponse, render};
use super::state::App;

pub(super) fn gated_routes() -> OpenApiRouter<App> {
    hold::routes().merge(extend::routes())
}

pub(super) fn routes() -> OpenApiRouter<App> {
    list::routes().merge(get::routes()).merge(cancel::routes())
}
