//! What every handler can reach.

use std::{sync::Arc, time::Duration};

use axum::http::HeaderMap;
use tokio_util::sync::CancellationToken;

use super::{
    address::ProxySettings,
    limits::{concurrency::ConcurrencyLimits, rate::RateLimits, streams::StreamLimits},
    openapi::DemoAccounts,
};
use crate::{
    application::{
        administration::AdministrationFacade, audit::AuditFacade, booking::BookingFacade, concert::ConcertFacade,
        event::EventFacade, payment::PaymentFacade, point::PointFacade, queue::Queues, user::UserFacade,
    },
    domain::{
        clock::{Clock, ClockCheck},
        randomness::Randomness,
        unit_of_work::Database,
    },
};

/// The facades, and what the HTTP side needs besides.
pub struct Facades {
    /// Accounts and logins.
    pub users: Arc<UserFacade>,
    /// Accounts as administrators see them, and the action log.
    pub administration: AdministrationFacade,
    /// The catalogue, the promoter's side of it, and seat maps.
    pub concerts: ConcertFacade,
    /// Waiting queues: one facade a use case.
    pub queue: Queues,
    /// Holds and bookings.
    pub bookings: BookingFacade,
    /// Wallets.
    pub points: PointFacade,
    /// Payments.
    pub payments: PaymentFacade,
    /// Deliveries of events, and webhooks.
    pub events: EventFacade,
    /// The invariants.
    pub audit: AuditFacade,
    /// For readiness.
    pub database: Arc<dyn Database>,
    /// For answers that depend on the time.
    pub clock: Arc<dyn Clock>,
    /// Whether anything may be decided by it.
    pub clock_check: Arc<ClockCheck>,
    /// For request ids.
    pub randomness: Arc<dyn Randomness>,
    /// Renders what was measured, in Prometheus' text format.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Cancelled before the server stops: it isn't ready for more, but still serves what comes.
    pub leaving: CancellationToken,
    /// Makes a request's span part of the trace that its headers tell of.
    pub join_trace: fn(&tracing::Span, &HeaderMap),
    /// Cancelled once the server is stopping: it takes no new work.
    pub draining: CancellationToken,
    /// How often who may do what.
    pub rate_limits: RateLimits,
    /// How many requests may be under way.
    pub concurrency: ConcurrencyLimits,
    /// How many event streams may be open.
    pub streams: StreamLimits,
    /// What is set about HTTP.
    pub settings: HttpSettings,
}

/// What is set about HTTP.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// After how long a request is given up.
    pub request_timeout: Duration,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// Whether operations have a listener of their own.
    pub separate_operations: bool,
    /// Which origins' pages may call the server; `*` for any.
    pub cors_allowed_origins: Vec<String>,
    /// The accounts of a server for demonstration; `None` on any other.
    pub demo: Option<DemoAccounts>,
    /// Whose word about clients' addresses is taken.
    pub proxies: ProxySettings,
}

/// How handlers share the facades.
pub type App = Arc<Facades>;
