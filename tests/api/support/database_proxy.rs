//! A proxy between servers and their database that a test can block or cut.

use std::str::FromStr;

use sqlx::{ConnectOptions, mysql::MySqlConnectOptions};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};
use tokio_util::task::TaskTracker;

/// How the proxy handles connections and bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ProxyMode {
    /// Bytes are forwarded.
    Open,
    /// Bytes are held back until the mode is `Open` again, as with a database that hangs.
    Blocked,
    /// Connections are closed, and new ones are closed at once, as with a database that is gone.
    Cut,
}

/// Forwards bytes between servers and their database.
pub(crate) struct DatabaseProxy {
    mode: watch::Sender<ProxyMode>,
    /// How often all existing connections were silenced.
    silenced: watch::Sender<u32>,
    /// The number of silenced connections that the server has closed.
    closed: watch::Sender<usize>,
    options: MySqlConnectOptions,
}

/// The state that each connection of the proxy observes.
#[derive(Clone)]
struct ProxyState {
    mode: watch::Receiver<ProxyMode>,
    silenced: watch::Receiver<u32>,
    closed: watch::Sender<usize>,
}

impl DatabaseProxy {
    pub(crate) async fn start(database: &MySqlConnectOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // The URL ends with the socket, which the proxy's port replaces.
        let url = database.to_url_lossy().to_string();
        let url = url.split("&socket=").next().unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = MySqlConnectOptions::from_str(url).unwrap().host("127.0.0.1").port(port);
        let (mode, silenced, closed) =
            (watch::Sender::new(ProxyMode::Open), watch::Sender::new(0), watch::Sender::new(0));
        let state = ProxyState { mode: mode.subscribe(), silenced: silenced.subscribe(), closed: closed.clone() };
        TaskTracker::new().spawn(serve(listener, database.clone(), state));
        Self { mode, silenced, closed, options }
    }

    /// The options of a connection through the proxy.
    pub(crate) fn options(&self) -> MySqlConnectOptions {
        self.options.clone()
    }

    pub(crate) fn set(&self, mode: ProxyMode) {
        self.mode.send_replace(mode);
    }

    /// Silences all existing connections: nothing is forwarded and nothing is closed. New connections work.
    pub(crate) fn silence_connections(&self) {
        self.silenced.send_modify(|silenced| *silenced += 1);
    }

    /// Waits until the server has closed this number of silenced connections.
    pub(crate) async fn until_closed(&self, connections: usize) {
        self.closed.subscribe().wait_for(|closed| *closed >= connections).await.unwrap();
    }
}

async fn serve(listener: TcpListener, database: MySqlConnectOptions, state: ProxyState) {
    let tasks = TaskTracker::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let (database, mut state) = (database.clone(), state.clone());
        state.silenced.mark_unchanged();
        tasks.spawn(async move {
            if let Some(path) = database.get_socket() {
                forward(client, UnixStream::connect(path).await.unwrap(), state).await;
            } else {
                let address = (database.get_host(), database.get_port());
                forward(client, TcpStream::connect(address).await.unwrap(), state).await;
            }
        });
    }
}

async fn forward(mut client: TcpStream, mut server: impl AsyncRead + AsyncWrite + Unpin, mut state: ProxyState) {
    loop {
        let now = *state.mode.borrow_and_update();
        let ended = async {
            match now {
                ProxyMode::Open => drop(copy_bidirectional(&mut client, &mut server).await),
                ProxyMode::Blocked => std::future::pending().await,
                ProxyMode::Cut => {}
            }
        };
        // The mode has changed, or the test is over.
        tokio::select! {
                    () = ended => return,
                    changed = state.mode.changed() => if changed.is_err() { return },
        // Ends with the test, or a waiter for a lock of this connection would wait for ever.
                    Ok(()) = state.silenced.changed() => {
        // The database's side stays open, too.
                        let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
                        state.closed.send_modify(|closed| *closed += 1);
                        return;
                    }
                }
    }
}
