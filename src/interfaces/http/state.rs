//! The state that all handlers share.

use std::{sync::Arc, time::Duration};

use axum::http::HeaderMap;
use tokio_util::sync::CancellationToken;

use super::{
    address::ProxySettings,
    limits::{concurrency::ConcurrencyLimits, rate::RateLimits, streams::StreamLimits, unread_maps::UnreadMapLimit},
    openapi::DemoAccounts,
};
use crate::{
    application::{
        administration::AdministrationFacade,
        audit::AuditFacade,
        booking::BookingFacade,
        concert::ConcertFacade,
        event::EventFacade,
        payment::PaymentFacade,
        point::PointFacade,
        queue::Queues,
        ticket::TicketFacade,
        top_up::{SandboxFacade, TopUpFacade},
        user::UserFacade,
    },
    domain::{
        clock::{Clock, ClockCheck},
        randomness::Randomness,
        unit_of_work::Database,
    },
};

/// The facades, and the settings and limits of the HTTP interface.
pub struct Facades {
    /// Accounts and logins.
    pub users: Arc<UserFacade>,
    /// Administration of accounts, and the action log.
    pub administration: AdministrationFacade,
    /// The catalogue, its administration, and seat maps.
    pub concerts: ConcertFacade,
    /// Waiting queues, one facade per use case.
    pub queue: Queues,
    /// Holds and bookings.
    pub bookings: BookingFacade,
    /// Balances, their ledgers, and charges of points.
    pub points: PointFacade,
    /// Top-ups, notifications of the payment provider, and the reconciliation.
    pub top_ups: Arc<TopUpFacade>,
    /// The sandbox's page; `None` with any other payment provider.
    pub sandbox: Option<SandboxFacade>,
    /// Payments of bookings with points.
    pub payments: PaymentFacade,
    /// Tickets, and their use at the door.
    pub tickets: TicketFacade,
    /// Deliveries of events, and webhooks.
    pub events: EventFacade,
    /// Checks the invariants of the stored data.
    pub audit: AuditFacade,
    /// Readiness and the health of connections; no queries.
    pub database: Arc<dyn Database>,
    /// The current time, for responses that depend on it.
    pub clock: Arc<dyn Clock>,
    /// Whether the clock agrees with the database's.
    pub clock_check: Arc<ClockCheck>,
    /// The randomness of request ids.
    pub randomness: Arc<dyn Randomness>,
    /// Renders the metrics in the Prometheus text format.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Cancelled when a shutdown begins: the server isn't ready any more, and still serves requests.
    pub leaving: CancellationToken,
    /// Joins a request's span to the trace in its headers.
    pub join_trace: fn(&tracing::Span, &HeaderMap),
    /// Cancelled when the server drains: it accepts no new work.
    pub draining: CancellationToken,
    /// The limits of actions per minute.
    pub rate_limits: RateLimits,
    /// The limits of requests in flight.
    pub concurrency: ConcurrencyLimits,
    /// The limits of open event streams.
    pub streams: StreamLimits,
    /// The limit of unread seat maps.
    pub unread_maps: Arc<UnreadMapLimit>,
    /// The settings of the HTTP interface.
    pub settings: HttpSettings,
}

/// The settings of the HTTP interface.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// A request that takes longer gets 504.
    pub request_timeout: Duration,
    /// The longest wait for a request's body.
    pub body_timeout: Duration,
    /// Whether probes and metrics have their own listener.
    pub separate_operations: bool,
    /// The origins whose pages may call the server; `*` permits all.
    pub cors_allowed_origins: Vec<String>,
    /// The accounts of a demonstration server; `None` on any other.
    pub demo: Option<DemoAccounts>,
    /// The proxies whose address header is trusted.
    pub proxies: ProxySettings,
}

/// The shared state, as handlers extract it.
pub type App = Arc<Facades>;
