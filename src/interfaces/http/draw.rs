//! The draw, public so that it can be verified.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::TryStreamExt;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    problem::{Code, HandlerResult},
    query::Id,
    state::App,
    values::{Timestamp, matches_if_none_match, public_response, shared_bytes, strong_etag},
};
use crate::{application::queue::DrawInfo, domain::id::ConcertId};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_draw)).routes(routes!(list_entrants))
}

/// The public data of a draw.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DrawResponse {
    /// The SHA-256 of the seed, published when the opening is set.
    #[schema(example = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd")]
    commitment: String,
    /// The definition of the order.
    #[schema(example = "ascending HMAC-SHA-256(key = the 32 bytes of the seed, message = the 64 hex digits of the \
        entrant)")]
    algorithm: &'static str,
    sales_open_at: Option<Timestamp>,
    /// The seed, 32 bytes in hex; null before the draw.
    #[schema(example = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")]
    seed: Option<String>,
    /// The number of entrants; null before the draw.
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
            seed: seed.map(|seed| seed.hex()),
            entrant_count,
        }
    }
}

/// Returns the draw of a concert: its commitment, and after the opening its seed.
#[utoipa::path(get, path = "/concerts/{concertId}/queue/draw", tag = "queue",
    extensions(("x-problems" = json!([Code::CONCERT_NOT_FOUND, Code::DRAW_NOT_FOUND]))),
    params(("concertId" = u64, Path)),
    responses((status = 200, body = DrawResponse)))]
async fn get_draw(State(app): State<App>, Id(id): Id<ConcertId>) -> HandlerResult<impl IntoResponse> {
    Ok(public_response(DrawResponse::from(app.queue.draws.draw(id).await?)))
}

/// A list never changes: caches may store it for a year.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Lists all entrants in drawn order, one per line: the SHA-256 of a queue token's text, in hex.
///
/// The list exists once the order is stored, which may take seconds for many entrants. It never changes afterwards. It
/// is sent uncompressed, because hashes don't compress.
#[utoipa::path(get, path = "/concerts/{concertId}/queue/draw/entrants", tag = "queue",
    extensions(("x-problems" = json!([Code::CONCERT_NOT_FOUND, Code::DRAW_NOT_FOUND]))),
    params(
        ("concertId" = u64, Path),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of the client's copy."),
    ),
    responses(
        (status = 200, content_type = "text/plain", body = String,
            headers(("ETag" = String, description = "Identifies the list.")),
            example = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n"),
        (status = 304, description = "The client's copy is current.",
            headers(("ETag" = String, description = "The ETag of the client's copy."))),
    ))]
async fn list_entrants(State(app): State<App>, Id(id): Id<ConcertId>, headers: HeaderMap) -> HandlerResult<Response> {
    let list = app.queue.draws.entrants(id).await?;
    let etag = strong_etag(&list.commitment.hex());
    let kept = [(header::ETAG, etag.clone()), (header::CACHE_CONTROL, IMMUTABLE)];
    if matches_if_none_match(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, kept).into_response());
    }
    let lines = app.queue.draws.entrant_lines(list).await?.map_ok(shared_bytes);
    let content = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CONTENT_LENGTH, list.bytes().into()),
    ];
    Ok((kept, content, Body::from_stream(lines)).into_response())
}
