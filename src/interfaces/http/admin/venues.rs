//! Venues.

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{id::VenueId, text::Name},
    interfaces::http::{
        auth::Administrator,
        body::{AdminBody, FromBody, Object},
        concert::VenueResponse,
        problem::HandlerResult,
        query::{PageParameters, Query, cursor},
        state::App,
        values::private_response,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create_venue, list_venues))
}

/// A venue to add.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct CreateVenueRequest {
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"\S", example = "Seoul Arts Center")]
    name: Name,
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"\S", example = "2406 Nambusunhwan-ro, Seoul")]
    address: Name,
}

impl FromBody for CreateVenueRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let name = object.required_name("name");
        let address = object.required_name("address");
        Some(Self { name: name?, address: address? })
    }
}

/// Adds a venue.
#[utoipa::path(post, path = "/admin/venues", tag = "administration", security(("accessToken" = [])),
    request_body = CreateVenueRequest,
    responses((status = 201, body = VenueResponse)))]
async fn create_venue(
    State(app): State<App>,
    Administrator(caller): Administrator,
    body: AdminBody<CreateVenueRequest>,
) -> HandlerResult<impl IntoResponse> {
    let venue = app.concerts.create_venue(Some(caller.user_id), &body.value.name, &body.value.address).await?;
    Ok((StatusCode::CREATED, private_response(VenueResponse::from(venue))))
}

/// A page of venues, oldest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VenueListResponse {
    items: Vec<VenueResponse>,
    next_cursor: Option<String>,
}

/// Lists all venues, oldest first.
#[utoipa::path(get, path = "/admin/venues", tag = "administration", security(("accessToken" = [])),
    params(
        PageParameters,
    ),
    responses((status = 200, body = VenueListResponse)))]
async fn list_venues(State(app): State<App>, _: Administrator, mut query: Query) -> HandlerResult<impl IntoResponse> {
    let request = query.page(VenueId)?;
    query.finish()?;
    let page = app.concerts.list_venues(request).await?;
    let next_cursor = page.last_of_more().map(|venue| cursor(&[&venue.id]));
    let items = page.items.into_iter().map(Into::into).collect();
    Ok(private_response(VenueListResponse { items, next_cursor }))
}
