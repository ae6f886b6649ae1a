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

/// The id of the event with the final status; no other event has an id.
const FINAL: &str = "final";

/// The example of an event in the OpenAPI document.
const EXAMPLE: &str = "retry: 2000\n\nevent: queue\ndata: {\"queueToken\":\"AgB…\",\"concertId\":1,\"status\":\"WAITING\",\
    \"position\":1234,\"estimatedWait\":{\"p50Seconds\":60,\"p90Seconds\":85},\"pollAfterSeconds\":6,\
    \"issuedAt\":\"2026-11-20T08:02:11.123Z\",\"expiresAt\":null,\"secondsLeft\":null,\
    \"serverTime\":\"2026-11-20T08:03:00.000Z\"}\n\n: keep-alive\n\n";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(follow_queue_token))
}

/// Streams the status of a queue token.
///
/// The data of each event, named `queue`, is the body of `GET /queue/tokens/current`. The first event has the current
/// state, so a client resumes by opening another stream. A change of status is sent at once; a change of the position
/// alone at most once per `pollAfterSeconds` of the last event. The heartbeat is a comment every 15 seconds. The stream
/// ends after the final status, whose event is the only one with an id. A client that reconnects with it as
/// `Last-Event-ID` gets 204, which stops an `EventSource`. An open stream counts as polling.
#[utoipa::path(get, path = "/queue/tokens/current/events", tag = "queue",
    extensions(("x-problems" = json!([Code::RATE_LIMITED]))),
    security(("queueToken" = [])),
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event, if it had one.")),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "The stream.",
            example = json!(EXAMPLE)),
        (status = 204, description = "The client has received the final status."),
    ))]
async fn follow_queue_token(State(app): State<App>, headers: HeaderMap) -> HandlerResult<Response> {
    let text = queue_token_header(&headers)?;
    require_serving(&app)?;
    let open = OpenStream::begin(&app, &read_queue_token(&app, &headers)?)?;
    let token_stream = app.queue.streams.follow(text).await?;
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
    async fn an_idle_stream_sends_heartbeats() {
        let body = events(stream::pending(), Duration::from_millis(10)).into_response().into_body();
        let signs: Vec<_> = body.into_data_stream().skip(1).take(2).collect().await;
        assert!(signs.into_iter().all(|sign| sign.unwrap() == ": keep-alive\n\n"));
        assert_eq!(KEEP_ALIVE, Duration::from_secs(15), "what the contract promises");
    }
}
