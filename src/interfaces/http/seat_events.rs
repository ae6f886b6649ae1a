//! The seat map as a stream of server-sent events.

use std::{convert::Infallible, sync::LazyLock, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::IntoResponse,
};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::time::{Instant as Stopwatch, sleep_until, timeout};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::bearer,
    event_stream::{KEEP_ALIVE, OpenStream, RETRY, last_event_id, require_serving, stream_headers, until_draining},
    gate::{ActiveToken, read_queue_token},
    problem::{Code, HandlerResult},
    query::Id,
    seat::{counted_bytes, render},
    state::App,
    values::{shared_bytes, to_json},
};
use crate::{
    application::{
        concert::{SeatChanges, SeatStream, SeatUpdate},
        error::AppError,
    },
    domain::{
        concert::SeatStatus,
        id::{PerformanceId, SeatId},
    },
};

pub(super) fn gated_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(follow_seat_map))
}

/// How often the access to each stream is checked.
///
/// Known revocations are at most half a second old. With the time of a shared read, a stream ends within a second after
/// its access does.
const ACCESS_CHECK_INTERVAL: Duration = Duration::from_millis(300);

/// The groups of streams. All streams of a group are checked at the same time, so that they share one read.
const CHECK_GROUPS: u32 = 2;

const EVENT_END: &[u8] = b"\n\n";

/// The example of the first events in the OpenAPI document.
const EXAMPLE: &str = "retry: 2000\n\nevent: snapshot\nid: 1795161600000417\ndata: {\"performanceId\":7,\
    \"version\":1795161600000417,\"seats\":[{\"seatId\":41,\"section\":\"Stalls\",\"row\":\"C\",\"number\":12,\
    \"grade\":\"R\",\"price\":\"150000\",\"status\":\"AVAILABLE\"}]}\n\n\
    event: seats\nid: 1795161603217002\ndata: {\"version\":1795161603217002,\
    \"changed\":[{\"seatId\":41,\"status\":\"HELD\"}]}\n\n: keep-alive\n\n";

#[derive(Serialize)]
struct Changed<'a> {
    version: i64,
    changed: &'a [ChangedSeat],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangedSeat {
    seat_id: u64,
    status: &'static str,
}

/// Streams the changes of a performance's seats.
///
/// The first event, `snapshot`, has the body of `GET /performances/{performanceId}/seats`. Then `seats` events have the
/// changes of all users and instances within a second, including expired holds. Each event's id is the version of the
/// map. A client that reconnects with the last id as `Last-Event-ID` gets the missed changes, or a snapshot if the
/// version is unknown or old. A status may be repeated; the last one is valid. The heartbeat is a comment every
/// 15 seconds. The stream ends soon after the queue token, the access token or the login, and when the server stops.
/// Open another with fresh tokens.
#[utoipa::path(get, path = "/performances/{performanceId}/seats/events", tag = "seats",
    extensions(("x-problems" = json!([Code::PERFORMANCE_NOT_FOUND, Code::RATE_LIMITED]))),
    security(("accessToken" = [], "queueToken" = [])),
    params(
        ("performanceId" = u64, Path, description = "A performance of the queue token's concert."),
        ("Last-Event-ID" = Option<String>, Header, pattern = "^[0-9]+$",
            description = "The id of the last event that was received, such as `1795161600000417`."),
    ),
    responses((status = 200, body = String, content_type = "text/event-stream",
        description = "The stream.", example = json!(EXAMPLE))))]
async fn follow_seat_map(
    State(app): State<App>,
    token: ActiveToken,
    Id(id): Id<PerformanceId>,
    headers: HeaderMap,
) -> HandlerResult<impl IntoResponse> {
    require_serving(&app)?;
    let open = OpenStream::begin(&app, &read_queue_token(&app, &headers)?)?;
    let last_version = last_event_id(&headers).and_then(|id| id.parse().ok());
    let seat_stream = app.concerts.follow_seats(id, token.concert(), last_version).await?;
    let access_token = bearer(&headers).unwrap_or_default().to_owned();
    let frames = until_draining(&app, event_bytes(App::clone(&app), token, seat_stream));
    let frames = frames.take_until(access_revoked(app, access_token, token, open));
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))];
    Ok((content_type, stream_headers(), Body::from_stream(frames.map(Ok::<_, Infallible>))))
}

/// The bytes of the stream. All viewers share the bytes of an event. The stream ends before a snapshot if its user has
/// too many maps unread.
fn event_bytes(app: App, token: ActiveToken, seat_stream: SeatStream) -> impl Stream<Item = Bytes> {
    let news = stream::unfold((app, seat_stream), move |(app, mut seat_stream)| async move {
        let news = timeout(KEEP_ALIVE, seat_stream.next()).await;
        let pieces = match news {
            Err(_) => vec![Bytes::from_static(b": keep-alive\n\n")],
            Ok(SeatUpdate::Changes(changes)) => vec![shared_bytes(changes.rendered(seat_changes_event))],
            Ok(SeatUpdate::Snapshot(map)) => {
                let head = format!("event: snapshot\nid: {}\ndata: ", map.version());
                let data = map.rendered(None, |map| render(map, None)).await;
                vec![head.into(), counted_bytes(&app, token.user_id(), data)?, Bytes::from_static(EVENT_END)]
            }
        };
        Some((stream::iter(pieces), (app, seat_stream)))
    });
    let retry = format!("retry: {}\n\n", RETRY.as_millis());
    stream::once(async { retry.into() }).chain(news.flatten())
}

fn seat_changes_event(news: &SeatChanges) -> Vec<u8> {
    let seat = |(id, status): &(SeatId, SeatStatus)| ChangedSeat { seat_id: id.0, status: status.name() };
    let changed: Vec<_> = news.changed().iter().map(seat).collect();
    let version = news.version();
    let mut frame = format!("event: seats\nid: {version}\ndata: ").into_bytes();
    frame.extend(to_json(&Changed { version, changed: &changed }));
    frame.extend(EVENT_END);
    frame
}

/// Completes when the viewer's access ends; until then the stream counts as open. While the database is unavailable,
/// viewers keep their access.
async fn access_revoked(app: App, access_token: String, token: ActiveToken, _open: OpenStream) {
    loop {
        sleep_until(next_check_at(token)).await;
        let session = app.users.authenticate(&access_token).await.map(|_| ());
        for answer in [session, app.queue.gate.check_active(token.id(), token.user_id()).await] {
            if matches!(answer, Err(AppError::Refused(_))) {
                return;
            }
        }
    }
}

/// The time of the next check of a token's group.
fn next_check_at(token: ActiveToken) -> Stopwatch {
    static START: LazyLock<Stopwatch> = LazyLock::new(Stopwatch::now);
    let group = u32::try_from(token.id().0 % u64::from(CHECK_GROUPS)).unwrap_or(0);
    let first = *START + ACCESS_CHECK_INTERVAL * group / CHECK_GROUPS;
    let rounds = Stopwatch::now().saturating_duration_since(first).as_millis() / ACCESS_CHECK_INTERVAL.as_millis() + 1;
    first + ACCESS_CHECK_INTERVAL * u32::try_from(rounds).unwrap_or(u32::MAX)
}
