//! Accepts connections, and closes them when the server stops.
//!
//! Beyond [`axum::serve()`] this server limits connections in all and per address. It closes those that send no request
//! or read no response in time. During a shutdown, responses carry `Connection: close`.

mod client_io;
mod registry;
mod unread_body;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::{HeaderValue, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

pub use self::client_io::RefusalWriter;
use self::{
    client_io::ClientIo,
    registry::{Busy, BusyBody, ConnectionRegistry, ConnectionState, Registration},
};

/// The most bytes of a request's line and headers that the HTTP parser accepts; beyond it the connection ends. The
/// middleware has a lower limit, which keeps the connection.
const MAX_HEADER_BYTES: usize = 256 * 1024;

/// The pause after a failed `accept`, such as for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The interval at which a new connection without a permit evicts idle connections.
const EVICTION_INTERVAL: Duration = Duration::from_millis(50);

/// One in this many connections is evicted at once, so that not every new connection searches for an idle one.
const EVICTION_FRACTION: usize = 256;

/// The settings of connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    /// The most connections at once. Beyond it idle connections are closed; while none is idle, new ones wait in the
    /// system's backlog.
    pub max_connections: usize,
    /// The most connections from one address; 0 for no limit.
    pub max_connections_per_address: usize,
    /// The longest wait for a request's headers, including the idle time before them.
    pub keep_alive: Duration,
    /// The longest time in which a client may read nothing of a pending response.
    pub write_stall: Duration,
}

/// The server of one listener.
pub struct Server {
    /// The routes.
    pub router: Router,
    /// The settings of connections.
    pub settings: ConnectionSettings,
    /// The trusted proxies, which have no limit per address: each serves many clients.
    pub trusted: Vec<IpNet>,
    /// The signals of a shutdown.
    pub stages: ShutdownStages,
    /// Writes the response to a request that the HTTP parser refuses.
    pub refusal_writer: RefusalWriter,
}

/// The stages of a shutdown. Each stage implies those before it.
#[derive(Clone, Debug)]
pub struct ShutdownStages {
    /// The server isn't ready any more, so that proxies send requests elsewhere; it still serves requests.
    pub leaving: CancellationToken,
    /// The server accepts no connections, and closes each after its current request.
    pub draining: CancellationToken,
    /// The server drops all connections.
    pub aborting: CancellationToken,
}

impl Default for ShutdownStages {
    fn default() -> Self {
        let aborting = CancellationToken::new();
        let draining = aborting.child_token();
        Self { leaving: draining.child_token(), draining, aborting }
    }
}

/// Serves until the server drains. Returns when all requests in flight are answered, or dropped.
pub async fn serve(listener: TcpListener, server: Server) {
    let Server { router, settings, trusted, stages, refusal_writer } = server;
    // Without this a copy of the router would be a copy of all routes, about 100 KiB for each connection.
    let router = router.with_state(());
    let connection_permits = Arc::new(Semaphore::new(settings.max_connections));
    let registry = Arc::new(ConnectionRegistry::new(settings.max_connections_per_address));
    let connections = TaskTracker::new();
    while let Some((stream, peer)) = stages.draining.run_until_cancelled(accept(&listener)).await {
        let address = peer.ip().to_canonical();
        let is_proxy = trusted.iter().any(|network| network.contains(&address));
        let Some(registration) = registry.admit(address, is_proxy) else { continue };
        // It counts as busy, so that it can't evict itself.
        let busy_while_waiting = Busy::begin(&registration.connection_state);
        let permit = stages
            .draining
            .run_until_cancelled(acquire_permit(&connection_permits, &registry, settings.max_connections))
            .await;
        let Some(permit) = permit else { break };
        drop(busy_while_waiting);
        let connection = Connection {
            router: router.clone(),
            settings,
            stages: stages.clone(),
            peer,
            state: Arc::clone(&registration.connection_state),
            refusal_writer: Arc::clone(&refusal_writer),
        };
        connections.spawn(async move {
            connection.run(stream).await;
            drop::<(Registration, OwnedSemaphorePermit)>((registration, permit));
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client disconnected before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits for a permit, and evicts idle connections meanwhile.
async fn acquire_permit(
    connection_permits: &Arc<Semaphore>,
    registry: &ConnectionRegistry,
    max_connections: usize,
) -> OwnedSemaphorePermit {
    if let Ok(permit) = Arc::clone(connection_permits).try_acquire_owned() {
        return permit;
    }
    metrics::counter!("http_connections_full_total").increment(1);
    loop {
        registry.evict_idle(max_connections / EVICTION_FRACTION + 1);
        let permit = tokio::time::timeout(EVICTION_INTERVAL, Arc::clone(connection_permits).acquire_owned());
        // The semaphore is never closed. A busy connection may have become idle meanwhile.
        if let Ok(Ok(permit)) = permit.await {
            return permit;
        }
    }
}

struct Connection {
    router: Router,
    settings: ConnectionSettings,
    stages: ShutdownStages,
    peer: SocketAddr,
    state: Arc<ConnectionState>,
    refusal_writer: RefusalWriter,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        let Self { router, settings, stages, peer, state, refusal_writer } = self;
        metrics::gauge!("http_connections").increment(1.0);
        // An event must not wait for the previous one's acknowledgement. A failure only delays events.
        let _ = stream.set_nodelay(true);
        let leaving = stages.leaving.clone();
        let io = ClientIo::new(stream, Arc::clone(&state), settings.write_stall, refusal_writer);
        let served_connection = Arc::clone(&state);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let busy = Busy::begin(&served_connection);
            request.extensions_mut().insert(ConnectInfo(peer));
            let (request, unread) = unread_body::track(request);
            let answer = router.clone().call(request);
            let leaving = leaving.clone();
            async move {
                let mut response = answer.await?;
                if let Some(unread) = unread {
                    unread.drain().await;
                }
                if leaving.is_cancelled() {
                    // A proxy then opens its next connection to another instance.
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| BusyBody::new(body, busy)))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(settings.keep_alive)
            .max_header_size(MAX_HEADER_BYTES)
            .half_close(true)
            .serve_connection(TokioIo::new(io), service);
        let mut connection = std::pin::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = state.evicted() => {
                if state.is_idle() {
                    Ok(())
                } else {
                    // A request arrived in the meantime.
                    connection.as_mut().graceful_shutdown();
                    stages.aborting.run_until_cancelled(connection).await.unwrap_or(Ok(()))
                }
            }
            () = stages.draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                stages.aborting.run_until_cancelled(connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%peer, %error, "a connection failed");
        }
        metrics::gauge!("http_connections").decrement(1.0);
    }
}
