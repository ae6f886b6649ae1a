//! The sender of events over HTTP: CloudEvents 1.0, structured mode, one event per request.

mod resolver;
mod signature;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Client, ClientBuilder, Response, StatusCode, header, redirect};

use self::{
    resolver::{PRIVATE_ADDRESS_ERROR, PublicResolver},
    signature::sign,
};
use crate::{
    domain::{
        clock::Instant,
        event::{AttemptOutcome, Destination, EventSender, Receiver, RecordedEvent, WebhookUrl},
    },
    infrastructure::{cloud_event, http_client},
};

/// The time limit of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The time limit of a whole attempt, from connecting to the response.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of a response's body that are read. A body that is read to its end leaves its connection reusable.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// The time limit of reading a response's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends events over HTTP.
#[derive(Debug)]
pub struct HttpEventSender {
    /// Connects to any address.
    unrestricted: Client,
    /// Connects to public addresses only. `None` if webhooks may have private addresses.
    public_only: Option<Client>,
}

impl HttpEventSender {
    /// Creates a sender. With `allow_private`, webhooks may have addresses in private networks.
    ///
    /// # Errors
    ///
    /// When TLS can't be set up.
    pub fn new(allow_private: bool) -> Result<Self, reqwest::Error> {
        let build = |builder: &dyn Fn() -> ClientBuilder| {
            http_client::build("events can't be sent to receivers with https", builder)
        };
        let public_only = || build(&|| Self::builder().dns_resolver(PublicResolver));
        Ok(Self { unrestricted: build(&Self::builder)?, public_only: (!allow_private).then(public_only).transpose()? })
    }

    fn builder() -> ClientBuilder {
        Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ATTEMPT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(30))
            // Events go to registered URLs only: a receiver that moves must be registered again.
            .redirect(redirect::Policy::none())
            // A proxy would resolve names itself.
            .no_proxy()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
    }

    /// The client for a receiver; `None` for a webhook whose URL is a private address. Such a URL needs no name
    /// resolution, so the resolver doesn't check it.
    fn client(&self, receiver: &Receiver) -> Option<&Client> {
        match (receiver.destination.webhook(), &self.public_only) {
            (Some(_), Some(public_only)) => {
                let public = WebhookUrl::new(&receiver.url).is_ok_and(|url| !url.is_private());
                public.then_some(public_only)
            }
            (None, _) | (_, None) => Some(&self.unrestricted),
        }
    }
}

#[async_trait]
impl EventSender for HttpEventSender {
    async fn send(&self, receiver: &Receiver, event: &RecordedEvent, now: Instant) -> AttemptOutcome {
        let Ok(body) = cloud_event::body(event) else {
            return AttemptOutcome::failed("the event's data is not JSON");
        };
        let Some(client) = self.client(receiver) else { return AttemptOutcome::failed(PRIVATE_ADDRESS_ERROR) };
        let mut request =
            client.post(&receiver.url).header(header::CONTENT_TYPE, "application/cloudevents+json; charset=utf-8");
        if let Some(secret) = &receiver.secret {
            let (id, timestamp) = (event.id.to_string(), now.timestamp());
            request = request
                .header("webhook-signature", sign(&secret.0, &id, timestamp, &body))
                .header("webhook-timestamp", timestamp)
                .header("webhook-id", id);
        }
        match request.body(body).send().await {
            Ok(response) => outcome_of_status(response, receiver.destination, now).await,
            Err(error) => AttemptOutcome::failed(http_client::describe(&error)),
        }
    }
}

async fn outcome_of_status(response: Response, destination: Destination, now: Instant) -> AttemptOutcome {
    let status = response.status();
    let retry_after = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
        .then(|| response.headers().get(header::RETRY_AFTER)?.to_str().ok())
        .flatten()
        .and_then(|value| retry_after(value, now));
    drain(response).await;
    if status.is_success() {
        AttemptOutcome::Accepted
    } else if status == StatusCode::GONE && destination.webhook().is_some() {
        AttemptOutcome::Gone
    } else if status.is_redirection() {
        AttemptOutcome::failed(format!("status {}: redirects are not followed", status.as_u16()))
    } else {
        AttemptOutcome::Failed { error: format!("status {}", status.as_u16()), retry_after }
    }
}

/// Reads the rest of a response, so that the connection can be reused. The body's content is ignored.
async fn drain(mut response: Response) {
    let read = async {
        let mut left = MAX_BODY_BYTES;
        while let Ok(Some(chunk)) = response.chunk().await {
            let Some(rest) = left.checked_sub(chunk.len()) else { return };
            left = rest;
        }
    };
    // The connection of a longer or slower body is closed.
    let _ = tokio::time::timeout(BODY_TIMEOUT, read).await;
}

/// Parses the value of `Retry-After`, seconds or a date, into the time until the next attempt.
fn retry_after(value: &str, now: Instant) -> Option<TimeDelta> {
    let text = value.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(TimeDelta::seconds(seconds.into()));
    }
    let date = DateTime::<Utc>::from(httpdate::parse_http_date(text).ok()?);
    Some((date - now).max(TimeDelta::zero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three forms of a date are those of RFC 9110, section 5.6.7.
    #[test]
    fn retry_after_is_read_in_seconds_or_as_any_http_date() {
        let now: Instant = "2026-11-20T08:00:00Z".parse().unwrap();
        let seconds = |value| retry_after(value, now).map(|delay| delay.num_seconds());
        for value in
            ["90", "Fri, 20 Nov 2026 08:01:30 GMT", "Friday, 20-Nov-26 08:01:30 GMT", "Fri Nov 20 08:01:30 2026"]
        {
            assert_eq!(seconds(value), Some(90), "{value}");
        }
        assert_eq!(seconds("Fri, 20 Nov 2026 07:00:00 GMT"), Some(0), "a date in the past");
        for value in ["", "-1", "soon", "2026-11-20T08:01:30Z"] {
            assert_eq!(seconds(value), None, "{value}");
        }
    }
}
