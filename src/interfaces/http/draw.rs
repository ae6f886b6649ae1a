//! The draw: open to all, so that anybody can check it.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::IntoResponse,
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    openapi::Failures,
    problem::{Code, HandlerResult},
    query::Id,
    state::App,
    values::{Timestamp, public},
};
use crate::{application::queue::DrawInfo, domain::id::ConcertId};

pub(super) const FAILURES: Failures = &[
    ("get_draw", &[Code::CONCERT_NOT_FOUND, Code::DRAW_NOT_FOUND]),
    ("list_entrants", &[Code::CONCERT_NOT_FOUND, Code::DRAW_NOT_FOUND]),
];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_draw)).routes(routes!(list_entrants))
}

/// What everybody may know of a draw.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DrawResponse {
    /// SHA-256 of the seed's bytes, public from the moment the opening is set.
    #[schema(example = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd")]
    commitment: String,
    /// The order, exactly.
    #[schema(example = "ascending HMAC-SHA-256(key = the 32 bytes of the seed, message = the 64 hex digits of the \
        entrant)")]
    algorithm: &'static str,
    sales_open_at: Option<Timestamp>,
    /// 32 bytes in hex; null before the draw.
    #[schema(example = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")]
    seed: Option<String>,
    /// How many took part; null before the draw.
    #[schema(example = 10_482)]
    entrant_count: Option<u32>,
}

impl From<DrawInfo> for DrawResponse {
    fn from(info: DrawInfo) -> Self {
        let (seed, entrant_count) = info.made.unzip();
        Self {
            commitment: info.commitment,
            algorithm: info.algorithm,
            sales_open_at: info.sales_open_at.map(Timestamp),
            seed,
            entrant_count,
        }
    }
}

/// The draw of a concert: what was promised before the opening, and what it was.
#[utoipa::path(get, path = "/concerts/{concertId}/queue/draw", tag = "queue",
    params(("concertId" = u64, Path)),
    responses((status = 200, body = DrawResponse)))]
async fn get_draw(State(app): State<App>, Id(id): Id<ConcertId>) -> HandlerResult<impl IntoResponse> {
    Ok(public(DrawResponse::from(app.queue.draw(id).await?)))
}

/// All entrants in drawn order, one a line: the SHA-256 of a queue token's text, in hex.
///
/// There once the order is written, which may take some seconds for a large crowd.
#[utoipa::path(get, path = "/concerts/{concertId}/queue/draw/entrants", tag = "queue",
    params(("concertId" = u64, Path)),
    responses((status = 200, content_type = "text/plain", body = String,
        example = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n")))]
async fn list_entrants(State(app): State<App>, Id(id): Id<ConcertId>) -> HandlerResult<impl IntoResponse> {
    let entrants = app.queue.entrants(id).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=1")),
    ];
    Ok((headers, Body::from_stream(entrants)))
}
