//! Administration: operations for the role `ADMIN`, one file per resource.
//!
//! A file holds each operation as a whole: its request, its response, the problems it can fail with, its documentation
//! and its handler.

mod actions;
mod admissions;
mod audit;
mod blocks;
mod bookings;
mod concerts;
mod events;
mod exports;
mod performances;
mod points;
mod queues;
mod sales;
mod seating;
#[cfg(test)]
mod test_bodies;
mod top_ups;
mod users;
mod venues;
mod webhooks;

use utoipa_axum::router::OpenApiRouter;

use super::state::App;

/// Routes whose responses may be large.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(venues::routes())
        .merge(concerts::routes())
        .merge(performances::routes())
        .merge(blocks::routes())
        .merge(queues::routes())
        .merge(sales::routes())
        .merge(audit::routes())
}

/// Routes of the relay's events and their receivers.
pub(super) fn event_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(events::routes()).merge(webhooks::routes())
}

/// Routes of accounts with their points and bookings, of the door, of exports, and of the action log.
pub(super) fn user_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(users::routes())
        .merge(points::routes())
        .merge(bookings::routes())
        .merge(admissions::routes())
        .merge(exports::routes())
        .merge(top_ups::routes())
        .merge(actions::routes())
}
