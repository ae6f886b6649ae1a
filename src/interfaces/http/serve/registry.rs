//! The open connections: their number per address, and which of them are idle.
//!
//! A request costs two atomic operations here. Connections are searched only to evict one.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::{sync::Notify, time::Instant};

/// The state of an open connection.
pub(super) struct ConnectionState {
    number: u64,
    address: IpAddr,
    opened: Instant,
    /// The number of requests without a complete response, and of writes that wait for the client.
    busy: AtomicUsize,
    /// The time at which it became idle, in milliseconds after its opening.
    idle_since: AtomicU64,
    evicted: Notify,
}

impl ConnectionState {
    /// Whether no request or write is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.busy.load(Ordering::SeqCst) == 0
    }

    /// Waits until the connection is evicted.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    fn idle_at(&self) -> Option<Instant> {
        let since = std::time::Duration::from_millis(self.idle_since.load(Ordering::SeqCst));
        self.is_idle().then(|| self.opened + since)
    }
}

/// Keeps a connection busy until it is dropped.
pub(super) struct Busy(Arc<ConnectionState>);

impl Busy {
    pub(super) fn begin(connection_state: &Arc<ConnectionState>) -> Self {
        connection_state.busy.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(connection_state))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let idle_since = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.idle_since.store(idle_since, Ordering::SeqCst);
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The body of a response. Its connection is busy until the last byte is handed to hyper.
pub(super) struct BusyBody {
    body: Body,
    _busy: Busy,
}

impl BusyBody {
    pub(super) fn new(body: Body, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl HttpBody for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// All open connections.
#[derive(Default)]
pub(super) struct ConnectionRegistry {
    /// The most connections from one address; 0 for no limit.
    per_address: usize,
    open: Mutex<OpenConnections>,
}

#[derive(Default)]
struct OpenConnections {
    number: u64,
    by_address: HashMap<IpAddr, HashMap<u64, Arc<ConnectionState>>>,
}

impl OpenConnections {
    /// Evicts up to `count` idle connections of one address, the longest idle first. Returns their number.
    fn evict(&mut self, address: IpAddr, count: usize) -> usize {
        let Some(connections) = self.by_address.get_mut(&address) else { return 0 };
        let idle =
            |connection_state: &Arc<ConnectionState>| Some((connection_state.idle_at()?, connection_state.number));
        let mut idle: Vec<_> = connections.values().filter_map(idle).collect();
        idle.sort_unstable();
        idle.truncate(count);
        for (_, number) in &idle {
            if let Some(connection_state) = connections.remove(number) {
                connection_state.evicted.notify_one();
                metrics::counter!("http_connections_evicted_total").increment(1);
            }
        }
        idle.len()
    }
}

impl ConnectionRegistry {
    pub(super) fn new(per_address: usize) -> Self {
        Self { per_address, open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a connection. `None` if its address has too many and none of them is idle; proxies have no limit.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, is_proxy: bool) -> Option<Registration> {
        let mut open = self.lock();
        let is_full =
            |open: &OpenConnections| open.by_address.get(&address).is_some_and(|known| known.len() >= self.per_address);
        if self.per_address > 0 && !is_proxy && is_full(&open) && open.evict(address, 1) == 0 {
            metrics::counter!("http_connections_refused_total").increment(1);
            return None;
        }
        open.number += 1;
        let connection_state = Arc::new(ConnectionState {
            number: open.number,
            address,
            opened: Instant::now(),
            busy: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            evicted: Notify::new(),
        });
        open.by_address.entry(address).or_default().insert(connection_state.number, Arc::clone(&connection_state));
        Some(Registration { connection_state, registry: Arc::clone(self) })
    }

    /// Evicts up to `count` idle connections of one address: of those with idle ones, the one with the most
    /// connections.
    pub(super) fn evict_idle(&self, count: usize) {
        let mut open = self.lock();
        let has_idle = |known: &HashMap<u64, Arc<ConnectionState>>| {
            known.values().any(|connection_state| connection_state.is_idle())
        };
        let crowded = open.by_address.iter().filter(|(_, known)| has_idle(known)).max_by_key(|(_, known)| known.len());
        if let Some(address) = crowded.map(|(address, _)| *address) {
            open.evict(address, count);
        }
    }
}

/// An open connection's entry in the registry, removed when it is dropped.
pub(super) struct Registration {
    pub(super) connection_state: Arc<ConnectionState>,
    registry: Arc<ConnectionRegistry>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut open = self.registry.lock();
        let address = self.connection_state.address;
        if let Some(connections) = open.by_address.get_mut(&address) {
            connections.remove(&self.connection_state.number);
            if connections.is_empty() {
                open.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(127, 0, 0, last).into()
    }

    fn has_been_evicted(registration: &Registration) -> bool {
        futures::FutureExt::now_or_never(registration.connection_state.evicted()).is_some()
    }

    #[tokio::test]
    async fn the_longest_idle_connection_is_evicted_first() {
        let registry = Arc::new(ConnectionRegistry::new(0));
        let open = [(); 3].map(|()| registry.admit(address(1), false).unwrap());
        let set_idle = |index: usize, since| open[index].connection_state.idle_since.store(since, Ordering::SeqCst);
        set_idle(1, 10);
        set_idle(2, 20);
        let other = registry.admit(address(2), false).unwrap();
        let busy = Busy::begin(&open[0].connection_state);
        registry.evict_idle(1);
        assert_eq!(open.iter().map(has_been_evicted).collect::<Vec<_>>(), [false, true, false]);
        drop(busy);
        set_idle(0, 30);
        registry.evict_idle(1);
        assert_eq!(open.iter().map(has_been_evicted).collect::<Vec<_>>(), [false, false, true]);
        assert!(!has_been_evicted(&other), "its address has the fewest");
        registry.evict_idle(5);
        registry.evict_idle(5);
        assert!(has_been_evicted(&open[0]) && has_been_evicted(&other));
        drop((open, other));
        assert!(registry.lock().by_address.is_empty());
    }

    #[tokio::test]
    async fn an_address_has_a_limited_number_of_busy_connections() {
        let registry = Arc::new(ConnectionRegistry::new(2));
        let open = [(); 2].map(|()| registry.admit(address(1), false).unwrap());
        let _busy = open.each_ref().map(|registration| Busy::begin(&registration.connection_state));
        assert!(registry.admit(address(1), false).is_none());
        assert!(registry.admit(address(2), false).is_some());
        assert!(registry.admit(address(1), true).is_some(), "a proxy may");
    }
}
