//! The waiting queue as a stream of server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{Stream, StreamExt, stream};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    event_stream::{KEEP_ALIVE, OpenStream, RETRY, last_event_id, require_serving, stream_headers, until_draining},
    gate::{queue_token_header, read_queue_token},
    problem::{Code, HandlerResult},
    queue::QueueTokenResponse,
    state::App,
};
use crate::application::queue::{QueueTokenInfo, QueueTokenStatus, TokenStream};

/// The id of the event that tells the final status; no other event has one.
const FINAL: &str = "final";

/// One event, as the OpenAPI document shows it.
const EXAMPLE: &str = "retry: 2000\n\nevent: queue\ndata: {\"queueToken\":\"AgB…\",\"concertId\":1,\"status\":\"WAITING\",\
    \"position\":1234,\"estimatedWait\":{\"p50Seconds\":60,\"p90Seconds\":85},\"pollAfterSeconds\":6,\
    \"issuedAt\":\"2026-11-20T08:02:11.123Z\",\"expiresAt\":null,\"secondsLeft\":null,\
    \"serverTime\":\"2026-11-20T08:03:00.000Z\"}\n\n: keep-alive\n\n";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(follow_queue_token))
}

/// What becomes of a queue token, as it happens.
///
/// Server-sent events named `queue`; the data of each is the body of `GET /queue/tokens/current`. The first tells the
/// current state, so a stream that broke off is resumed by opening another. A change of status is sent at once, one of
/// the position alone at most once in the last event's `pollAfterSeconds`. A comment comes every 15 seconds; after the
/// final status the stream ends. That event alone has an id: a client that comes back with it as `Last-Event-ID` gets
/// 204, which stops an `EventSource`. Being admitted with an open stream counts as having asked.
#[utoipa::path(get, path = "/queue/tokens/current/events", tag = "queue",
    extensions(("x-problems" = json!([Code::RATE_LIMITED]))),
    security(("queueToken" = [])),
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event, if it had one.")),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "The stream.",
            example = json!(EXAMPLE)),
        (status = 204, description = "The client has received the final status: there is nothing to follow."),
    ))]
async fn follow_queue_token(State(app): State<App>, headers: HeaderMap) -> HandlerResult<Response> {
    let text = queue_token_header(&headers)?;
    require_serving(&app)?;
    let open = OpenStream::begin(&app, &read_queue_token(&app, &headers)?)?;
    let token_stream = app.queue.follow(text).await?;
    if token_stream.has_ended() && last_event_id(&headers) == Some(FINAL) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let events = events(until_draining(&app, infos(token_stream, open)), KEEP_ALIVE);
    Ok((stream_headers(), events).into_response())
}

fn infos(token_stream: TokenStream, open: OpenStream) -> impl Stream<Item = QueueTokenInfo> {
    stream::unfold((token_stream, open), |(mut token_stream, open)| async {
        token_stream.next().await.map(|info| (info, (token_stream, open)))
    })
}

fn events(
    infos: impl Stream<Item = QueueTokenInfo> + Send + 'static,
    keep_alive: Duration,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = infos.map(|info| {
        let event = Event::default().event("queue");
        let event = if matches!(info.status, QueueTokenStatus::Ended(_)) { event.id(FINAL) } else { event };
        // Plain values always serialise.
        Ok(event.json_data(QueueTokenResponse::from(info)).unwrap_or_default())
    });
    let events = stream::once(async { Ok(Event::default().retry(RETRY)) }).chain(events);
    Sse::new(events).keep_alive(KeepAlive::new().interval(keep_alive).text("keep-alive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_on_which_nothing_happens_shows_that_it_is_alive() {
        let body = events(stream::pending(), Duration::from_millis(10)).into_response().into_body();
        let signs: Vec<_> = body.into_data_stream().skip(1).take(2).collect().await;
        assert!(signs.into_iter().all(|sign| sign.unwrap() == ": keep-alive\n\n"));
        assert_eq!(KEEP_ALIVE, Duration::from_secs(15), "what the contract promises");
    }
}
