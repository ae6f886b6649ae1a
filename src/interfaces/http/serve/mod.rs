//! Connections: taking them on, and letting go of them when the server stops.
//!
//! What [`axum::serve()`] leaves open is set here: how many there may be, how long one may sit there without a request,
//! and that a server which is about to leave says so on each.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::{HeaderValue, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

/// The most a request's line and headers may be, in bytes, before the connection is given up without a word. Those
/// that are shorter, but too long as well, get a problem.
const MAX_HEADER_BYTES: usize = 256 * 1024;

/// How long to wait when the system gives out no more connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

mod unread;

/// What is set about connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    /// The most at once; those beyond wait in the system's backlog.
    pub max_connections: usize,
    /// How long a connection may take to bring a request's headers, the idle time before them included.
    pub keep_alive: Duration,
}

/// How far the server has got with stopping. Each stage implies those before it.
#[derive(Clone, Debug)]
pub struct Stages {
    /// It tells proxies not to send any more, but still serves whatever comes.
    pub leaving: CancellationToken,
    /// It takes no new connections, and ends those it has after the request at hand.
    pub draining: CancellationToken,
    /// It drops everything.
    pub aborting: CancellationToken,
}

impl Default for Stages {
    fn default() -> Self {
        let aborting = CancellationToken::new();
        let draining = aborting.child_token();
        Self { leaving: draining.child_token(), draining, aborting }
    }
}

/// Serves until the server drains; returns once every request under way is answered, or all are dropped.
pub async fn serve(listener: TcpListener, router: Router, settings: ConnectionSettings, stages: Stages) {
    // Without this a copy of the router would be a copy of all routes, about 100 KiB for each connection.
    let router = router.with_state(());
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let connections = TaskTracker::new();
    while let Some(Ok((stream, peer, place))) = stages.draining.run_until_cancelled(accept(&listener, &places)).await {
        let connection = Connection { router: router.clone(), settings, stages: stages.clone(), peer };
        connections.spawn(async move {
            connection.run(stream).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Result<(TcpStream, SocketAddr, OwnedSemaphorePermit), Infallible> {
    loop {
        if places.available_permits() == 0 {
            metrics::counter!("http_connections_full_total").increment(1);
        }
        // Never closed.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, peer)) => return Ok((stream, peer, place)),
            // Somebody hung up before it was their turn.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(%error, "can't take on a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connection {
    router: Router,
    settings: ConnectionSettings,
    stages: Stages,
    peer: SocketAddr,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        let Self { router, settings, stages, peer } = self;
        metrics::gauge!("http_connections").increment(1.0);
        // An event must not wait for the one before it to be acknowledged. It works without, too.
        let _ = stream.set_nodelay(true);
        let leaving = stages.leaving.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let (request, unread) = unread::watch(request);
            let answer = router.clone().call(request);
            let leaving = leaving.clone();
            async move {
                let mut response = answer.await?;
                if let Some(unread) = unread {
                    unread.drain().await;
                }
                if leaving.is_cancelled() {
                    // The proxy opens its next connection elsewhere, instead of using this one as it is closed.
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(settings.keep_alive)
            .max_header_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = stages.draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                stages.aborting.run_until_cancelled(connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%peer, %error, "a connection broke");
        }
        metrics::gauge!("http_connections").decrement(1.0);
    }
}
