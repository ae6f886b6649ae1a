//! The public catalogue: concerts and performances.

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    client_network::ClientNetwork,
    problem::{Code, HandlerResult},
    query::{CursorInstant, Id, PageParameters, Query, cursor, cursor_part},
    range::instant_or_date,
    state::App,
    values::{Amount, Timestamp, cached_response, to_json},
    words::QueueModes,
};
use crate::{
    application::concert::{ConcertDetailsInfo, ConcertInfo, PerformanceFilter, PerformanceInfo},
    domain::{
        clock::Instant,
        concert::{ConcertFilter, Venue},
        id::{ConcertId, PerformanceId},
        text::search_term,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_concerts))
        .routes(routes!(get_concert))
        .routes(routes!(list_performances))
        .routes(routes!(get_listed_performance))
}

/// A concert in a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConcertResponse {
    #[schema(example = 3)]
    concert_id: u64,
    #[schema(example = "Winter Journey")]
    title: String,
    #[schema(example = "Sumi Jo")]
    artist: String,
    #[schema(example = "Classical")]
    category: String,
    /// Null until a performance is added; so are the last performance and the prices.
    first_performance_at: Option<Timestamp>,
    last_performance_at: Option<Timestamp>,
    min_price: Option<Amount>,
    max_price: Option<Amount>,
    /// Whether no future performance has an available seat.
    sold_out: bool,
}

impl From<ConcertInfo> for ConcertResponse {
    fn from(ConcertInfo { concert, is_sold_out }: ConcertInfo) -> Self {
        Self {
            concert_id: concert.id.0,
            title: concert.fields.title.to_string(),
            artist: concert.fields.artist.to_string(),
            category: concert.fields.category.to_string(),
            first_performance_at: concert.first_and_last.map(|(first, _)| Timestamp(first)),
            last_performance_at: concert.first_and_last.map(|(_, last)| Timestamp(last)),
            min_price: concert.prices.map(|(low, _)| low.into()),
            max_price: concert.prices.map(|(_, high)| high.into()),
            sold_out: is_sold_out,
        }
    }
}

/// A page of concerts.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ConcertListResponse {
    items: Vec<ConcertResponse>,
    next_cursor: Option<String>,
}

/// Lists concerts by their next performance, soonest first; concerts without one come last.
///
/// With `from` or `to`, the list includes past concerts, ordered by their first performance. The answer is at most one
/// second old.
#[utoipa::path(get, path = "/concerts", tag = "concerts",
    params(
        ("query" = Option<String>, Query, max_length = 200, description = "A part of the title or the artist."),
        ("category" = Option<String>, Query, max_length = 200, description = "The complete category."),
        ("from" = Option<String>, Query, pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+)?$",
            description = "Only concerts with a performance at or after this instant, such as `2026-11-20T08:00:00Z`. A date \
            means its midnight in UTC; a fraction of a millisecond is dropped."),
        ("to" = Option<String>, Query, pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+)?$",
            description = "Only concerts with a performance before this instant or date, as in `from`."),
        PageParameters,
        ("If-None-Match" = Option<String>, Header, description = "The ETag of the client's copy."),
    ),
    responses(
        (status = 200, body = ConcertListResponse, headers(("ETag" = String, description = "Identifies the page."))),
        (status = 304, description = "The client's copy is current.",
            headers(("ETag" = String, description = "The ETag of the client's copy."))),
    ))]
async fn list_concerts(
    State(app): State<App>,
    ClientNetwork(client): ClientNetwork,
    headers: HeaderMap,
    mut query: Query,
) -> HandlerResult<Response> {
    let page = query.page_of_parts(|[at, id]| read_position(&at, &id, ConcertId))?;
    let text = query.parse("query", search_term).filter(|text| !text.is_empty());
    let category = query.parse("category", search_term).filter(|text| !text.is_empty());
    let from = query.parse("from", instant_or_date).map(whole_millisecond);
    let to = query.parse("to", instant_or_date).map(whole_millisecond);
    query.finish()?;
    let filter = ConcertFilter { query: text, category, from, to, page };
    let page = app.concerts.list_concerts(&filter, client).await?;
    cached_response(&headers, &page, |page| {
        let last = page.last_of_more().map(|info| &info.concert);
        let next_cursor = last.map(|concert| cursor(&[&CursorInstant(concert.listed_at), &concert.id]));
        let items = page.items.iter().cloned().map(Into::into).collect();
        to_json(&ConcertListResponse { items, next_cursor })
    })
}

/// A concert with its description and the state of its queue.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConcertDetailsResponse {
    #[serde(flatten)]
    listed: ConcertResponse,
    #[schema(example = "Schubert's songs.\nNo interval.")]
    description: String,
    /// The opening of the sale. Until then users can join the queue, and none is admitted. Null: open.
    sales_open_at: Option<Timestamp>,
    #[schema(value_type = QueueModes)]
    queue_mode: &'static str,
}

impl From<ConcertDetailsInfo> for ConcertDetailsResponse {
    fn from(info: ConcertDetailsInfo) -> Self {
        Self {
            description: info.listed.concert.fields.description.clone(),
            sales_open_at: info.queue.sales_open_at.map(Timestamp),
            queue_mode: info.queue.mode.name(),
            listed: info.listed.into(),
        }
    }
}

/// Returns a concert.
#[utoipa::path(get, path = "/concerts/{concertId}", tag = "concerts",
    extensions(("x-problems" = json!([Code::CONCERT_NOT_FOUND]))),
    params(
        ("concertId" = u64, Path),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of the client's copy."),
    ),
    responses(
        (status = 200, body = ConcertDetailsResponse, headers(("ETag" = String, description = "Identifies the state of the concert."))),
        (status = 304, description = "The client's copy is current.",
            headers(("ETag" = String, description = "The ETag of the client's copy."))),
    ))]
async fn get_concert(
    State(app): State<App>,
    ClientNetwork(client): ClientNetwork,
    Id(id): Id<ConcertId>,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let concert = app.concerts.concert(id, client).await?;
    cached_response(&headers, &concert, |concert| to_json(&ConcertDetailsResponse::from(concert.clone())))
}

/// The place of a performance.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VenueResponse {
    #[schema(example = 1)]
    venue_id: u64,
    #[schema(example = "Seoul Arts Center")]
    name: String,
    #[schema(example = "2406 Nambusunhwan-ro, Seoul")]
    address: String,
}

impl From<Venue> for VenueResponse {
    fn from(venue: Venue) -> Self {
        Self { venue_id: venue.id.0, name: venue.name.to_string(), address: venue.address.to_string() }
    }
}

/// One date of a concert.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PerformanceResponse {
    #[schema(example = 7)]
    performance_id: u64,
    #[schema(example = 3)]
    concert_id: u64,
    starts_at: Timestamp,
    /// No seat can be held from then on; a hold can still be paid.
    sales_end_at: Timestamp,
    venue: VenueResponse,
    #[schema(example = 2_500)]
    total_seats: u32,
    /// The seats that can be held now.
    #[schema(example = 731)]
    available_seats: u32,
    sold_out: bool,
    min_price: Amount,
    max_price: Amount,
}

impl From<PerformanceInfo> for PerformanceResponse {
    fn from(PerformanceInfo { performance, available_seats }: PerformanceInfo) -> Self {
        let (low, high) = performance.prices;
        Self {
            performance_id: performance.id.0,
            concert_id: performance.concert_id.0,
            starts_at: Timestamp(performance.starts_at),
            sales_end_at: Timestamp(performance.sales_end()),
            venue: performance.venue.into(),
            total_seats: performance.total_seats,
            available_seats,
            sold_out: available_seats == 0,
            min_price: low.into(),
            max_price: high.into(),
        }
    }
}

/// A page of performances, soonest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PerformanceListResponse {
    items: Vec<PerformanceResponse>,
    next_cursor: Option<String>,
}

/// Lists the future performances of a concert, soonest first.
///
/// The answer is at most one second old. The seat map has the current state.
#[utoipa::path(get, path = "/concerts/{concertId}/performances", tag = "concerts",
    extensions(("x-problems" = json!([Code::CONCERT_NOT_FOUND]))),
    params(
        ("concertId" = u64, Path),
        ("available" = Option<bool>, Query, description = "With `true`, only performances with an available seat."),
        PageParameters,
        ("If-None-Match" = Option<String>, Header, description = "The ETag of the client's copy."),
    ),
    responses(
        (status = 200, body = PerformanceListResponse, headers(("ETag" = String, description = "Identifies the page."))),
        (status = 304, description = "The client's copy is current.",
            headers(("ETag" = String, description = "The ETag of the client's copy."))),
    ))]
async fn list_performances(
    State(app): State<App>,
    ClientNetwork(client): ClientNetwork,
    Id(concert_id): Id<ConcertId>,
    headers: HeaderMap,
    mut query: Query,
) -> HandlerResult<Response> {
    let page = query.page_of_parts(|[at, id]| read_position(&at, &id, PerformanceId))?;
    let available_only = query.flag("available").unwrap_or(false);
    query.finish()?;
    let filter = PerformanceFilter { concert_id, available_only, page };
    let page = app.concerts.list_performances(&filter, client).await?;
    cached_response(&headers, &page, |page| {
        let last = page.last_of_more().map(|info| &info.performance);
        let next_cursor = last.map(|performance| cursor(&[&CursorInstant(performance.starts_at), &performance.id]));
        let items = page.items.iter().cloned().map(Into::into).collect();
        to_json(&PerformanceListResponse { items, next_cursor })
    })
}

/// Returns a performance, also one that has begun or is cancelled.
///
/// The answer is at most one second old.
#[utoipa::path(get, path = "/performances/{performanceId}", tag = "concerts",
    extensions(("x-problems" = json!([Code::PERFORMANCE_NOT_FOUND]))),
    params(
        ("performanceId" = u64, Path),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of the client's copy."),
    ),
    responses(
        (status = 200, body = PerformanceResponse, headers(("ETag" = String, description = "Identifies the state of the performance."))),
        (status = 304, description = "The client's copy is current.",
            headers(("ETag" = String, description = "The ETag of the client's copy."))),
    ))]
async fn get_listed_performance(
    State(app): State<App>,
    ClientNetwork(client): ClientNetwork,
    Id(id): Id<PerformanceId>,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let performance = app.concerts.listed_performance(id, client).await?;
    cached_response(&headers, &performance, |performance| to_json(&PerformanceResponse::from(performance.clone())))
}

/// Parses a position in a list that is ordered by time and id.
fn read_position<T>(at: &str, id: &str, of_number: impl FnOnce(u64) -> T) -> HandlerResult<(Instant, T)> {
    let CursorInstant(at) = cursor_part(at)?;
    Ok((at, of_number(cursor_part(id)?)))
}

/// Drops the fraction of a millisecond, so that all instants of a millisecond share one cached answer. A bound that
/// equals a start, as it was sent or as it is shown, then compares as equal.
fn whole_millisecond(instant: Instant) -> Instant {
    Instant::from_timestamp_millis(instant.timestamp_millis()).unwrap_or(instant)
}
