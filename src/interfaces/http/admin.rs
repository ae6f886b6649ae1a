//! Administration: the promoter's side of the catalogue and of the queues, and the audit.

use std::time::Duration;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Administrator,
    body::{ADMIN_MAX_BYTES, AdminBody, EmptyBody, Field, FromBody, Object, read_optional},
    concert::{ConcertDetailsResponse, PerformanceResponse, VenueResponse},
    openapi::BODY_CODES,
    problem::{Code, HandlerResult},
    query::{Id, Query, cursor, cursor_part},
    router::BASE_PATH,
    state::App,
    values::{PriceRequest, Timestamp, private_response},
    words::{PerformanceStatuses, QueueModes},
};
use crate::{
    application::{
        audit::AuditReport,
        concert::{CancellationInfo, CreatePerformance, PerformanceProgressInfo, QueueInfo, UpdateConcert},
    },
    domain::{
        audit::Invariant,
        clock::Instant,
        concert::{ConcertFields, Seating, SeatingError, Section},
        id::{ConcertId, PerformanceId, VenueId},
        points::Points,
        queue::{QueueMode, QueueSettings},
        text::Name,
    },
};

/// How long an audit may take before a request for it is given up.
const AUDIT_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_venue, list_venues))
        .routes(routes!(create_concert))
        .routes(routes!(update_concert, delete_concert))
        .routes(routes!(create_performance))
        .routes(routes!(get_performance))
        .routes(routes!(cancel_performance))
        .routes(routes!(get_queue_settings, set_queue_settings))
        .routes(routes!(get_audit))
}

/// The most characters of a description.
const DESCRIPTION_LENGTH: usize = 10_000;

/// The most rows of a section, and seats of a row.
const ROW_LENGTH: u32 = 1_000;

/// A new venue.
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
        let name = read_name(object, "name");
        let address = read_name(object, "address");
        Some(Self { name: name?, address: address? })
    }
}

/// A page of venues, oldest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VenueListResponse {
    items: Vec<VenueResponse>,
    next_cursor: Option<String>,
}

/// A new concert.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct CreateConcertRequest {
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"\S", example = "Winter Journey")]
    title: Name,
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"\S", example = "Sumi Jo")]
    artist: Name,
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"\S", example = "Classical")]
    category: Name,
    #[schema(nullable = true, max_length = 10_000, example = "Schubert's songs.\nNo interval.")]
    description: Option<String>,
}

impl FromBody for CreateConcertRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let title = read_name(object, "title");
        let artist = read_name(object, "artist");
        let category = read_name(object, "category");
        let description = read_optional(object.optional("description"), |field| read_description(&field));
        Some(Self { title: title?, artist: artist?, category: category?, description: description? })
    }
}

/// What is to be changed of a concert: at least one field. What is absent stays.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase", min_properties = 1)]
struct UpdateConcertRequest {
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200, pattern = r"\S", example = "Winter Journey")]
    title: Option<Name>,
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200, pattern = r"\S", example = "Sumi Jo")]
    artist: Option<Name>,
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200, pattern = r"\S", example = "Classical")]
    category: Option<Name>,
    #[schema(value_type = String, required = false, max_length = 10_000, example = "Schubert's songs.")]
    description: Option<String>,
}

impl FromBody for UpdateConcertRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let name = |name| read_optional(object.if_present(name), |field| field.parse(Name::new));
        let (title, artist, category) = (name("title"), name("artist"), name("category"));
        let description = read_optional(object.if_present("description"), |field| read_description(&field));
        let request = Self { title: title?, artist: artist?, category: category?, description: description? };
        let Self { title, artist, category, description } = &request;
        if title.is_none() && artist.is_none() && category.is_none() && description.is_none() {
            return object.fail("must have at least one of title, artist, category and description");
        }
        Some(request)
    }
}

/// A new performance with all its seats.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct CreatePerformanceRequest {
    #[schema(value_type = u64, minimum = 1, example = 1)]
    venue_id: VenueId,
    #[schema(value_type = Timestamp, example = "2030-05-01T19:30:00Z")]
    starts_at: Instant,
    seating: SeatingRequest,
}

impl FromBody for CreatePerformanceRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let venue_id = object.required("venueId").and_then(|field| field.catalogue_id()).map(VenueId);
        let starts_at = object.required("startsAt").and_then(|field| field.instant());
        let seating = object.required("seating").and_then(|field| field.object(SeatingRequest::read));
        Some(Self { venue_id: venue_id?, starts_at: starts_at?, seating: seating? })
    }
}

/// The seats of a performance: at most 100,000 in all, in sections of different names.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct SeatingRequest {
    #[schema(value_type = Vec<SectionRequest>, min_items = 1)]
    sections: Seating,
}

impl FromBody for SeatingRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let field = object.required("sections")?;
        let sections = field.list(1..=Seating::MAX_SEATS as usize, |item| item.object(SectionRequest::read))?;
        let sections = sections.into_iter().map(Into::into).collect();
        let sections = Seating::new(sections).map_or_else(
            |error| match error {
                SeatingError::DuplicateName(index) => field.fail_at(&format!("/{index}/name"), error.to_string()),
                SeatingError::Empty | SeatingError::TooLarge => field.fail(error.to_string()),
            },
            Some,
        );
        Some(Self { sections: sections? })
    }
}

/// A part of the house with one price.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct SectionRequest {
    /// Once per performance.
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"\S", example = "Stalls")]
    name: Name,
    /// The price category.
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"\S", example = "R")]
    grade: Name,
    /// Named A, B, … Z, AA and on, from the front.
    #[schema(minimum = 1, maximum = 1_000, example = 25)]
    rows: u16,
    /// Numbered from 1.
    #[schema(minimum = 1, maximum = 1_000, example = 40)]
    seats_per_row: u16,
    /// At most 9,999,999,999.99.
    #[schema(value_type = PriceRequest)]
    price: Points,
}

impl FromBody for SectionRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let name = read_name(object, "name");
        let grade = read_name(object, "grade");
        let rows = read_length(object, "rows");
        let seats_per_row = read_length(object, "seatsPerRow");
        let price = object.required("price").and_then(|field| {
            let price = field.points()?;
            if price <= Points::MAX_PRICE { Some(price) } else { field.fail("must be at most 9999999999.99") }
        });
        Some(Self { name: name?, grade: grade?, rows: rows?, seats_per_row: seats_per_row?, price: price? })
    }
}

impl From<SectionRequest> for Section {
    fn from(request: SectionRequest) -> Self {
        let SectionRequest { name, grade, rows, seats_per_row, price } = request;
        Self { name, grade, rows, seats_per_row, price }
    }
}

fn read_name(object: &Object<'_>, name: &str) -> Option<Name> {
    object.required(name)?.parse(Name::new)
}

fn read_description(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    // Paragraphs and indents are welcome; nothing else that doesn't show is.
    let plain = |c: char| !c.is_control() || "\n\r\t".contains(c);
    if text.chars().count() <= DESCRIPTION_LENGTH && text.chars().all(plain) {
        Some(text)
    } else {
        field.fail("must have at most 10000 characters, and no control characters but line breaks and tabs")
    }
}

fn read_length(object: &Object<'_>, name: &str) -> Option<u16> {
    object.required(name)?.integer32(1..=ROW_LENGTH)?.try_into().ok()
}

/// A performance as its promoter sees it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PerformanceProgressResponse {
    #[serde(flatten)]
    listed: PerformanceResponse,
    #[schema(value_type = PerformanceStatuses)]
    status: &'static str,
    /// Its bookings that are pending or confirmed; once it is cancelled, those still to be cancelled or refunded.
    #[schema(example = 0)]
    bookings_left: u32,
}

impl From<PerformanceProgressInfo> for PerformanceProgressResponse {
    fn from(info: PerformanceProgressInfo) -> Self {
        Self {
            status: info.listed.performance.status.name(),
            bookings_left: info.bookings_left,
            listed: info.listed.into(),
        }
    }
}

/// How far a cancellation is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CancellationResponse {
    #[schema(example = 7)]
    performance_id: u64,
    #[schema(value_type = PerformanceStatuses)]
    status: &'static str,
    /// How many bookings are still to be cancelled or refunded.
    #[schema(example = 1_250)]
    bookings_left: u32,
}

impl From<CancellationInfo> for CancellationResponse {
    fn from(info: CancellationInfo) -> Self {
        Self { performance_id: info.performance_id.0, status: info.status.name(), bookings_left: info.bookings_left }
    }
}

/// How a queue is to be set.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct QueueSettingsRequest {
    /// `QUEUE`: at a bounded rate; `OPEN`: at once, while there is room; `PAUSED`: nobody.
    #[schema(value_type = QueueModes)]
    mode: QueueMode,
    /// At most so many are admitted …
    #[schema(minimum = 1, maximum = 100_000, example = 200)]
    admit_count: u32,
    /// … in any window of so many seconds.
    #[schema(minimum = 1, maximum = 3_600, example = 10)]
    admit_interval_seconds: u32,
    /// How many may be active at once.
    #[schema(minimum = 1, maximum = 1_000_000, example = 2_000)]
    max_active: u32,
    /// How long an active token lives.
    #[schema(minimum = 1, maximum = 86_400, example = 600)]
    active_seconds: u32,
    /// How long after its admission a token waits for its first use.
    #[schema(minimum = 1, maximum = 3_600, example = 60)]
    claim_seconds: u32,
    /// The sale's opening: no token is admitted before it. Null or absent: open now. Once the draw is made, no other
    /// opening is accepted, and null changes nothing.
    #[schema(value_type = Option<Timestamp>)]
    sales_open_at: Option<Instant>,
}

impl FromBody for QueueSettingsRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let number = |name, high| object.required(name).and_then(|field| field.integer32(1..=high));
        let mode = object.required("mode").and_then(|field| {
            field.parse(|text| QueueMode::from_name(text).ok_or("must be one of QUEUE, OPEN, PAUSED"))
        });
        let admit_count = number("admitCount", 100_000);
        let admit_interval_seconds = number("admitIntervalSeconds", 3_600);
        let max_active = number("maxActive", 1_000_000);
        let active_seconds = number("activeSeconds", 86_400);
        let claim_seconds = number("claimSeconds", 3_600);
        let sales_open_at = read_optional(object.optional("salesOpenAt"), |field| field.instant());
        Some(Self {
            mode: mode?,
            admit_count: admit_count?,
            admit_interval_seconds: admit_interval_seconds?,
            max_active: max_active?,
            active_seconds: active_seconds?,
            claim_seconds: claim_seconds?,
            sales_open_at: sales_open_at?,
        })
    }
}

impl From<QueueSettingsRequest> for QueueSettings {
    fn from(request: QueueSettingsRequest) -> Self {
        Self {
            mode: request.mode,
            admit_count: request.admit_count,
            admit_interval_seconds: request.admit_interval_seconds,
            max_active: request.max_active,
            active_seconds: request.active_seconds,
            claim_seconds: request.claim_seconds,
            sales_open_at: request.sales_open_at,
        }
    }
}

/// How a queue is set, and who is in it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct QueueSettingsResponse {
    #[schema(example = 3)]
    concert_id: u64,
    #[schema(value_type = QueueModes)]
    mode: &'static str,
    #[schema(example = 200)]
    admit_count: u32,
    #[schema(example = 10)]
    admit_interval_seconds: u32,
    #[schema(example = 2_000)]
    max_active: u32,
    #[schema(example = 600)]
    active_seconds: u32,
    #[schema(example = 60)]
    claim_seconds: u32,
    sales_open_at: Option<Timestamp>,
    live: LiveQueueResponse,
}

/// Who is in a queue.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LiveQueueResponse {
    #[schema(example = 10_482)]
    waiting: u32,
    #[schema(example = 1_904)]
    active: u32,
    #[schema(example = 1_198)]
    admitted_last_minute: u32,
}

impl From<QueueInfo> for QueueSettingsResponse {
    fn from(QueueInfo { concert_id, settings, live }: QueueInfo) -> Self {
        Self {
            concert_id: concert_id.0,
            mode: settings.mode.name(),
            admit_count: settings.admit_count,
            admit_interval_seconds: settings.admit_interval_seconds,
            max_active: settings.max_active,
            active_seconds: settings.active_seconds,
            claim_seconds: settings.claim_seconds,
            sales_open_at: settings.sales_open_at.map(Timestamp),
            live: LiveQueueResponse {
                waiting: live.waiting,
                active: live.active,
                admitted_last_minute: live.admitted_last_minute,
            },
        }
    }
}

/// What an audit found.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditResponse {
    /// Whether no invariant is broken.
    #[schema(example = true)]
    ok: bool,
    checked_at: Timestamp,
    invariants: Vec<InvariantResponse>,
}

/// Something that must hold at every moment.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct InvariantResponse {
    #[schema(example = 1)]
    number: u8,
    #[schema(example = "A seat belongs to at most one live booking.")]
    name: &'static str,
    /// How many rows break it.
    #[schema(example = 0)]
    violations: u64,
}

impl From<Invariant> for InvariantResponse {
    fn from(invariant: Invariant) -> Self {
        Self { number: invariant.number, name: invariant.name, violations: invariant.violations }
    }
}

impl From<AuditReport> for AuditResponse {
    fn from(report: AuditReport) -> Self {
        Self {
            ok: report.is_ok(),
            checked_at: Timestamp(report.checked_at),
            invariants: report.invariants.into_iter().map(Into::into).collect(),
        }
    }
}

/// Adds a venue.
#[utoipa::path(post, path = "/admin/venues", tag = "administration", security(("accessToken" = [])),
    request_body = CreateVenueRequest,
    responses((status = 201, body = VenueResponse)))]
async fn create_venue(
    State(app): State<App>,
    _: Administrator,
    body: AdminBody<CreateVenueRequest>,
) -> HandlerResult<impl IntoResponse> {
    let venue = app.concerts.create_venue(&body.value.name, &body.value.address).await?;
    Ok((StatusCode::CREATED, private_response(VenueResponse::from(venue))))
}

/// All venues, oldest first.
#[utoipa::path(get, path = "/admin/venues", tag = "administration", security(("accessToken" = [])),
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "At most so many; 20 if absent."),
        ("cursor" = Option<String>, Query, max_length = 200, pattern = "^[A-Za-z0-9_-]+$",
            description = "The nextCursor of the page before."),
    ),
    responses((status = 200, body = VenueListResponse)))]
async fn list_venues(State(app): State<App>, _: Administrator, mut query: Query) -> HandlerResult<impl IntoResponse> {
    let limit = query.limit();
    let after = query.cursor::<1>()?.map(|[id]| cursor_part(&id).map(VenueId)).transpose()?;
    query.finish()?;
    let page = app.concerts.list_venues(after, limit).await?;
    let next_cursor = page.last_of_more().map(|venue| cursor(&[&venue.id]));
    let items = page.items.into_iter().map(Into::into).collect();
    Ok(private_response(VenueListResponse { items, next_cursor }))
}

/// Adds a concert and opens its queue.
#[utoipa::path(post, path = "/admin/concerts", tag = "administration", security(("accessToken" = [])),
    request_body = CreateConcertRequest,
    responses((status = 201, body = ConcertDetailsResponse,
        headers(("Location" = String, description = "Where everybody reads it.")))))]
async fn create_concert(
    State(app): State<App>,
    _: Administrator,
    body: AdminBody<CreateConcertRequest>,
) -> HandlerResult<impl IntoResponse> {
    let CreateConcertRequest { title, artist, category, description } = body.value;
    let fields = ConcertFields { title, artist, category, description: description.unwrap_or_default() };
    let concert = app.concerts.create_concert(&fields).await?;
    let location = format!("{BASE_PATH}/concerts/{}", concert.listed.concert.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], private_response(ConcertDetailsResponse::from(concert))))
}

/// Changes what is said of a concert.
#[utoipa::path(patch, path = "/admin/concerts/{concertId}", tag = "administration",
    extensions(("x-problems" = json!([Code::CONCERT_NOT_FOUND]))),
    security(("accessToken" = [])), params(("concertId" = u64, Path)),
    request_body = UpdateConcertRequest,
    responses((status = 200, body = ConcertDetailsResponse)))]
async fn update_concert(
    State(app): State<App>,
    _: Administrator,
    Id(concert_id): Id<ConcertId>,
    body: AdminBody<UpdateConcertRequest>,
) -> HandlerResult<impl IntoResponse> {
    let UpdateConcertRequest { title, artist, category, description } = body.value;
    let command = UpdateConcert { concert_id, title, artist, category, description };
    Ok(private_response(ConcertDetailsResponse::from(app.concerts.update_concert(&command).await?)))
}

/// Hides a concert for good, unless any of its bookings is live: held, or confirmed for a performance that hasn't ended.
#[utoipa::path(delete, path = "/admin/concerts/{concertId}", tag = "administration",
    extensions(("x-problems" = json!([Code::CONCERT_NOT_FOUND, Code::CONCERT_HAS_BOOKINGS]))),
    security(("accessToken" = [])), params(("concertId" = u64, Path)),
    responses((status = 204, description = "It is gone.")))]
async fn delete_concert(State(app): State<App>, _: Administrator, Id(id): Id<ConcertId>) -> HandlerResult<StatusCode> {
    app.concerts.delete_concert(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Adds a performance with all its seats, in one transaction.
#[utoipa::path(post, path = "/admin/concerts/{concertId}/performances", tag = "administration",
    extensions(("x-problems" = json!([Code::CONCERT_NOT_FOUND, Code::VENUE_NOT_FOUND]))),
    security(("accessToken" = [])), params(("concertId" = u64, Path)),
    request_body = CreatePerformanceRequest,
    responses((status = 201, body = PerformanceProgressResponse,
        headers(("Location" = String, description = "Where its promoter sees it.")))))]
async fn create_performance(
    State(app): State<App>,
    _: Administrator,
    Id(concert_id): Id<ConcertId>,
    body: AdminBody<CreatePerformanceRequest>,
) -> HandlerResult<impl IntoResponse> {
    let CreatePerformanceRequest { venue_id, starts_at, seating } = body.value;
    let command = CreatePerformance { concert_id, venue_id, starts_at, seating: seating.sections };
    let performance = app.concerts.create_performance(&command).await?;
    let location = format!("{BASE_PATH}/admin/performances/{}", performance.listed.performance.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        private_response(PerformanceProgressResponse::from(performance)),
    ))
}

/// A performance, also one that has begun or is cancelled, with the bookings it has.
#[utoipa::path(get, path = "/admin/performances/{performanceId}", tag = "administration",
    extensions(("x-problems" = json!([Code::PERFORMANCE_NOT_FOUND]))),
    security(("accessToken" = [])), params(("performanceId" = u64, Path)),
    responses((status = 200, body = PerformanceProgressResponse)))]
async fn get_performance(
    State(app): State<App>,
    _: Administrator,
    Id(id): Id<PerformanceId>,
) -> HandlerResult<impl IntoResponse> {
    Ok(private_response(PerformanceProgressResponse::from(app.concerts.performance(id).await?)))
}

/// Cancels a performance; its bookings are cancelled or refunded.
///
/// From this moment none of its seats can be held. What `bookingsLeft` counts is settled in the background;
/// `GET /admin/performances/{performanceId}` shows the progress. Safe to repeat.
#[utoipa::path(post, path = "/admin/performances/{performanceId}/cancel", tag = "administration",
    extensions(("x-problems" = json!([BODY_CODES, Code::PERFORMANCE_NOT_FOUND]))),
    security(("accessToken" = [])), params(("performanceId" = u64, Path)),
    responses((status = 202, body = CancellationResponse)))]
async fn cancel_performance(
    State(app): State<App>,
    _: Administrator,
    Id(id): Id<PerformanceId>,
    _: EmptyBody<ADMIN_MAX_BYTES>,
) -> HandlerResult<impl IntoResponse> {
    let cancellation = app.concerts.cancel_performance(id).await?;
    Ok((StatusCode::ACCEPTED, private_response(CancellationResponse::from(cancellation))))
}

/// How a concert's queue is set, and who is in it.
#[utoipa::path(get, path = "/admin/concerts/{concertId}/queue", tag = "administration",
    extensions(("x-problems" = json!([Code::CONCERT_NOT_FOUND]))),
    security(("accessToken" = [])), params(("concertId" = u64, Path)),
    responses((status = 200, body = QueueSettingsResponse)))]
async fn get_queue_settings(
    State(app): State<App>,
    _: Administrator,
    Id(id): Id<ConcertId>,
) -> HandlerResult<impl IntoResponse> {
    Ok(private_response(QueueSettingsResponse::from(app.concerts.queue_settings(id).await?)))
}

/// Changes all settings of a concert's queue.
///
/// The first `salesOpenAt` fixes the draw's seed. Once the draw is made, `salesOpenAt` stays: the mode `PAUSED` stops
/// admission.
#[utoipa::path(put, path = "/admin/concerts/{concertId}/queue", tag = "administration",
    extensions(("x-problems" = json!([Code::CONCERT_NOT_FOUND, Code::SALES_ALREADY_OPEN]))),
    security(("accessToken" = [])), params(("concertId" = u64, Path)),
    request_body(content = QueueSettingsRequest, examples(("open now" = (summary = "Open now", value = json!({
        "mode": "QUEUE", "admitCount": 200, "admitIntervalSeconds": 10, "maxActive": 2_000, "activeSeconds": 600,
        "claimSeconds": 60, "salesOpenAt": null
    }))))),
    responses((status = 200, body = QueueSettingsResponse)))]
async fn set_queue_settings(
    State(app): State<App>,
    _: Administrator,
    Id(id): Id<ConcertId>,
    body: AdminBody<QueueSettingsRequest>,
) -> HandlerResult<impl IntoResponse> {
    let info = app.concerts.set_queue(id, body.value.into()).await?;
    Ok(private_response(QueueSettingsResponse::from(info)))
}

/// Checks every invariant in one consistent snapshot.
///
/// A server makes one audit at a time. One that takes longer than 20 seconds is given up (`OVERLOADED`): the command
/// `concert-reservation audit` has no limit.
#[utoipa::path(get, path = "/admin/audit", tag = "administration", security(("accessToken" = [])),
    responses((status = 200, body = AuditResponse)))]
async fn get_audit(State(app): State<App>, _: Administrator) -> HandlerResult<impl IntoResponse> {
    Ok(private_response(AuditResponse::from(app.audit.check_within(AUDIT_LIMIT).await?)))
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Body,
        extract::{FromRequest, Request},
    };
    use serde_json::Value;

    use super::*;
    use crate::interfaces::http::context::RequestContext;

    async fn read<T: FromBody>(body: &str) -> HandlerResult<T> {
        let request = Request::builder().header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(body.to_owned())).unwrap();
        AdminBody::<T>::from_request(request, &()).await.map(|body| body.value)
    }

    /// The pointers of all that is wrong with a body.
    async fn pointers<T: FromBody>(body: &str) -> Vec<String> {
        let Err(problem) = read::<T>(body).await else { return vec![] };
        let body: Value = serde_json::from_slice(&problem.body(&RequestContext::default())).unwrap();
        let pointer = |error: &Value| error["pointer"].as_str().unwrap().to_owned();
        body["errors"].as_array().unwrap().iter().map(pointer).collect()
    }

    fn performance(sections: &str) -> String {
        format!(r#"{{"venueId":1,"startsAt":"2026-11-20T08:00:00Z","seating":{{"sections":[{sections}]}}}}"#)
    }

    fn section(name: &str, rows: u32, seats_per_row: u32) -> String {
        format!(r#"{{"name":"{name}","grade":"R","rows":{rows},"seatsPerRow":{seats_per_row},"price":"150000"}}"#)
    }

    #[tokio::test]
    async fn each_mistake_of_a_seating_is_named_where_it_stands() {
        let errors =
            async |sections: &[String]| pointers::<CreatePerformanceRequest>(&performance(&sections.join(","))).await;
        assert!(errors(&[section("A", 1_000, 50), section("B", 50, 1_000)]).await.is_empty());
        assert_eq!(errors(&[section("A", 1, 1), section(" A ", 1, 1)]).await, ["/seating/sections/1/name"]);
        assert_eq!(errors(&[section("A", 1_000, 100), section("B", 1, 1)]).await, ["/seating/sections"]);
        assert_eq!(errors(&[]).await, ["/seating/sections"]);
        let sections = [section("A", 0, 1_001), section("", 1, 1)];
        let expected = ["/seating/sections/0/rows", "/seating/sections/0/seatsPerRow", "/seating/sections/1/name"];
        assert_eq!(errors(&sections).await, expected);
        let dear = section("A", 1, 1).replace("150000", "10000000000");
        assert_eq!(errors(&[dear]).await, ["/seating/sections/0/price"]);
        assert_eq!(pointers::<CreatePerformanceRequest>("{}").await, ["/venueId", "/startsAt", "/seating"]);
    }

    #[tokio::test]
    async fn a_change_names_at_least_one_field_and_no_null() {
        let request: UpdateConcertRequest = read(r#"{"description":""}"#).await.unwrap();
        assert_eq!((request.title, request.description), (None, Some(String::new())));
        assert_eq!(pointers::<UpdateConcertRequest>("{}").await, [""]);
        let nulls = r#"{"title":null,"description":null}"#;
        assert_eq!(pointers::<UpdateConcertRequest>(nulls).await, ["/title", "/description"]);
        assert_eq!(pointers::<UpdateConcertRequest>(r#"{"title":"A","seats":1}"#).await, ["/seats"]);
    }

    #[tokio::test]
    async fn a_description_may_have_paragraphs_and_ends_at_its_limit() {
        let description = async |text: &str| {
            pointers::<UpdateConcertRequest>(&serde_json::json!({ "description": text }).to_string()).await
        };
        assert!(description("One.\r\n\n\tTwo.").await.is_empty());
        assert!(description(&"가".repeat(10_000)).await.is_empty());
        assert_eq!(description(&"가".repeat(10_001)).await, ["/description"]);
        assert_eq!(description("\u{0}").await, ["/description"]);
    }

    #[tokio::test]
    async fn only_the_opening_of_a_queue_may_be_left_out() {
        let settings = r#"{"mode":"OPEN","admitCount":100000,"admitIntervalSeconds":3600,"maxActive":1000000,"activeSeconds":86400,"claimSeconds":3600}"#;
        let request: QueueSettingsRequest = read(settings).await.unwrap();
        assert_eq!(QueueSettings::from(request).sales_open_at, None);
        let wrong = settings.replace("OPEN", "open").replace("3600", "3601").replace("100000,", "0,");
        assert_eq!(
            pointers::<QueueSettingsRequest>(&wrong).await,
            ["/mode", "/admitCount", "/admitIntervalSeconds", "/claimSeconds"]
        );
        assert_eq!(pointers::<QueueSettingsRequest>("{}").await.len(), 6);
    }
}
