//! Tickets of the caller's bookings, and the keys that verify their codes.

mod keys;
mod list;
mod qr;

use utoipa_axum::router::OpenApiRouter;

use super::state::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    list::routes().merge(qr::routes()).merge(keys::routes())
}
