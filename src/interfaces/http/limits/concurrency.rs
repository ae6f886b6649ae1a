//! How many requests may be under way: in all, and from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::{HeaderValue, header};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    application::error::AppError,
    interfaces::http::problem::{Code, HandlerResult, Problem},
};

/// How long an administrator's request waits for one of the few slots that there are for them.
const ADMIN_SLOT_TIMEOUT: Duration = Duration::from_secs(5);

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

    /// A slot that a request of the sale, or of the administration, has yet to take.
    pub(crate) fn slot(&self, is_administration: bool, body_timeout: Duration) -> Slot {
        let (slots, slot_timeout) =
            if is_administration { (&self.administration, ADMIN_SLOT_TIMEOUT) } else { (&self.sale, Duration::ZERO) };
        Slot { slots: Arc::clone(slots), slot_timeout, body_timeout, held: Arc::default() }
    }

    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request of this address, until what is returned is dropped; `None` if too many are under way.
    pub(crate) fn count_request(&self, address: IpAddr) -> Option<CountedRequest<'_>> {
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
pub(crate) struct CountedRequest<'a> {
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

    pub(crate) async fn take(&self) -> Result<(), AppError> {
        let slot = self.acquire().await?;
        *self.held() = Some(slot);
        Ok(())
    }

    pub(crate) fn release(&self) {
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
