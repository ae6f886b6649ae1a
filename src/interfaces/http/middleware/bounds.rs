//! What a request may take: a length, a slot among those under way, time.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::HttpBody,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use crate::{
    application::error::AppError,
    interfaces::http::{
        address::ClientNetwork,
        gate::QUEUE_TOKEN,
        idempotency::IDEMPOTENCY_KEY,
        problem::{Code, HandlerResult, Problem},
        router::BASE_PATH,
        state::App,
    },
};

/// The most bytes of all headers together.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// How long an administrator's request waits for one of the few slots that there are for them.
const ADMIN_SLOT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request may go on after the database was lost: most find out by themselves, once they have been read.
const DATABASE_LOSS_GRACE: Duration = Duration::from_millis(250);

/// The most API requests under way at once, each kind with slots of its own.
#[derive(Debug)]
pub struct ConcurrencyLimits {
    /// Of everybody.
    pub sale: Arc<Semaphore>,
    /// Long ones, that must not take the connections of each other, of the jobs, or of the sale.
    administration: Arc<Semaphore>,
    /// The most from one address; 0 for any number.
    per_address: usize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl ConcurrencyLimits {
    /// Nothing is under way.
    pub fn new(sale: usize, administration: usize, per_address: usize) -> Self {
        Self {
            sale: Arc::new(Semaphore::new(sale)),
            administration: Arc::new(Semaphore::new(administration)),
            per_address,
            by_address: Mutex::default(),
        }
    }

    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request of this address, until what is returned is dropped; `None` if too many are under way.
    fn count_request(&self, address: IpAddr) -> Option<CountedRequest<'_>> {
        if self.per_address > 0 {
            let mut by_address = self.by_address();
            let count = by_address.entry(address).or_default();
            if *count >= self.per_address {
                return None;
            }
            *count += 1;
        }
        Some(CountedRequest { limits: self, address })
    }
}

/// A request that is counted for its address.
struct CountedRequest<'a> {
    limits: &'a ConcurrencyLimits,
    address: IpAddr,
}

impl Drop for CountedRequest<'_> {
    fn drop(&mut self) {
        if self.limits.per_address > 0 {
            let mut by_address = self.limits.by_address();
            if let Some(count) = by_address.get_mut(&self.address) {
                *count -= 1;
                if *count == 0 {
                    by_address.remove(&self.address);
                }
            }
        }
    }
}

/// A request's slot among those under way: given back while the request waits for its body, and taken again after it.
///
/// Otherwise a few clients that send slowly would block all others.
#[derive(Clone)]
pub struct Slot {
    slots: Arc<Semaphore>,
    slot_timeout: Duration,
    body_timeout: Duration,
    held: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Slot {
    fn of(app: &App, is_administration: bool) -> Self {
        let limits = &app.concurrency;
        let (slots, slot_timeout) = if is_administration {
            (&limits.administration, ADMIN_SLOT_TIMEOUT)
        } else {
            (&limits.sale, Duration::ZERO)
        };
        Self { slots: Arc::clone(slots), slot_timeout, body_timeout: app.settings.body_timeout, held: Arc::default() }
    }

    async fn acquire(&self) -> Result<OwnedSemaphorePermit, AppError> {
        let slots = Arc::clone(&self.slots);
        if self.slot_timeout.is_zero() {
            return slots.try_acquire_owned().map_err(|_| AppError::Overloaded);
        }
        let slot = timeout(self.slot_timeout, slots.acquire_owned()).await;
        slot.ok().and_then(Result::ok).ok_or(AppError::Overloaded)
    }

    fn held(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self) -> Result<(), AppError> {
        let slot = self.acquire().await?;
        *self.held() = Some(slot);
        Ok(())
    }

    fn release(&self) {
        self.held().take();
    }

    /// Waits for a body without a slot, and takes one again. [`Code::TIMEOUT`] when the body takes too long,
    /// [`Code::OVERLOADED`] when there is no slot: nothing of the request has been done yet.
    pub(crate) async fn wait_for_body<T>(&self, reading: impl Future<Output = T>) -> HandlerResult<T> {
        self.release();
        let read = timeout(self.body_timeout, reading).await.map_err(|_| {
            Problem::new(Code::TIMEOUT, "The body took too long to arrive: nothing was done.")
                .with_header(header::CONNECTION, HeaderValue::from_static("close"))
        })?;
        self.take().await?;
        Ok(read)
    }
}

/// Answers within bounds, or says which of them was reached.
///
/// What operators ask is always let in. A request is given up, too, once the database has stopped answering: it would
/// wait for nothing.
pub(super) async fn enforce_limits(app: &App, mut request: Request, next: Next) -> Response {
    if let Err(problem) = check_headers(&request) {
        return problem.into_response();
    }
    let Some(path) = request.uri().path().strip_prefix(BASE_PATH) else {
        return with_timeout(app.settings.request_timeout, next.run(request)).await;
    };
    let slot = Slot::of(app, path.starts_with("/admin/"));
    let (parts, body) = request.into_parts();
    let ClientNetwork(address) = ClientNetwork::of(&parts, app);
    request = Request::from_parts(parts, body);
    let Some(_counted_request) = app.concurrency.count_request(address) else {
        metrics::counter!("http_rate_limited_total", "limit" => "requests-per-address").increment(1);
        return Problem::rate_limited(1).with_member("limit", "requests-per-address".into()).into_response();
    };
    if let Err(error) = slot.take().await {
        return Problem::from(error).into_response();
    }
    if !request.body().is_end_stream() {
        request.extensions_mut().insert(slot.clone());
    }
    let lost = async {
        app.database.wait_until_lost().await;
        sleep(DATABASE_LOSS_GRACE).await;
    };
    let response = tokio::select! {
        biased;
        response = with_timeout(app.settings.request_timeout, next.run(request)) => response,
        () = lost => Problem::from(AppError::database_lost()).into_response(),
    };
    slot.release();
    response
}

async fn with_timeout(limit: Duration, response: impl Future<Output = Response>) -> Response {
    timeout(limit, response).await.unwrap_or_else(|_| StatusCode::GATEWAY_TIMEOUT.into_response())
}

/// Fails for a request whose headers are too long, or say twice what has one value. The parser of requests has refused
/// what is longer still.
fn check_headers(request: &Request) -> HandlerResult<()> {
    let headers = request.headers();
    if header_bytes(headers) > MAX_HEADER_BYTES {
        return Err(Problem::new(Code::HEADERS_TOO_LARGE, "The headers are too large."));
    }
    for name in [header::AUTHORIZATION.as_str(), QUEUE_TOKEN, IDEMPOTENCY_KEY] {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(Problem::new(Code::MALFORMED_REQUEST, format!("The header {name} was sent twice.")));
        }
    }
    Ok(())
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}
