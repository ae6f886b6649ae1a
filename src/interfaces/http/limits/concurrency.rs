//! The limits of requests in flight: in all, and from one address.

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

/// The longest wait of an administrator's request for a slot. There are few slots, and such requests are rare.
const ADMIN_SLOT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most API requests in flight at once. The sale and the administration have separate slots.
#[derive(Debug)]
pub struct ConcurrencyLimits {
    /// Slots of requests outside the administration.
    pub sale: Arc<Semaphore>,
    /// Slots of the administration. Its requests may be long, and must not take all connections of the database.
    administration: Arc<Semaphore>,
    /// The most requests in flight from one address; 0 for no limit.
    per_address: usize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl ConcurrencyLimits {
    /// Starts with no request in flight. The arguments are numbers of requests; `per_address` is 0 for no limit.
    pub fn new(sale: usize, administration: usize, per_address: usize) -> Self {
        Self {
            sale: Arc::new(Semaphore::new(sale)),
            administration: Arc::new(Semaphore::new(administration)),
            per_address,
            by_address: Mutex::default(),
        }
    }

    /// An empty slot: the request must [`take`](Slot::take) it. `body_timeout` limits the wait for the body.
    pub(crate) fn slot(&self, is_administration: bool, body_timeout: Duration) -> Slot {
        let (slots, wait_limit) =
            if is_administration { (&self.administration, ADMIN_SLOT_TIMEOUT) } else { (&self.sale, Duration::ZERO) };
        Slot { slots: Arc::clone(slots), wait_limit, body_timeout, held: Arc::default() }
    }

    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request of this address until the result is dropped; `None` if too many are in flight.
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

/// A request that counts for its address until it is dropped.
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

/// A request's slot. It is released while the request waits for its body, and taken again afterwards.
///
/// Otherwise a few slow senders would occupy all slots.
#[derive(Clone)]
pub struct Slot {
    slots: Arc<Semaphore>,
    wait_limit: Duration,
    body_timeout: Duration,
    held: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Slot {
    async fn acquire(&self) -> Result<OwnedSemaphorePermit, AppError> {
        let slots = Arc::clone(&self.slots);
        if self.wait_limit.is_zero() {
            return slots.try_acquire_owned().map_err(|_| AppError::Overloaded);
        }
        let slot = timeout(self.wait_limit, slots.acquire_owned()).await;
        slot.ok().and_then(Result::ok).ok_or(AppError::Overloaded)
    }

    fn held(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot. Fails with [`AppError::Overloaded`] if none becomes free within the wait limit.
    pub(crate) async fn take(&self) -> Result<(), AppError> {
        let slot = self.acquire().await?;
        *self.held() = Some(slot);
        Ok(())
    }

    /// Releases the slot, if the request has one.
    pub(crate) fn release(&self) {
        self.held().take();
    }

    /// Releases the slot, waits for a body, and takes a slot again.
    ///
    /// Fails with [`Code::TIMEOUT`] when the body takes too long, and with [`Code::OVERLOADED`] when no slot is free.
    /// The request has had no effect by then.
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
