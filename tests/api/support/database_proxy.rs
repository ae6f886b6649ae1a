//! The mode to the database, which a test can block or cut.

use std::str::FromStr;

use sqlx::{ConnectOptions, mysql::MySqlConnectOptions};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};
use tokio_util::task::TaskTracker;

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ProxyMode {
    /// It arrives.
    Open,
    /// It stays on its mode, until the mode is open again: as with a server that hangs.
    Blocked,
    /// Connections end, and new ones end at once: as with a server that is gone.
    Cut,
}

/// Passes bytes on between a server and its database.
pub(crate) struct DatabaseProxy {
    mode: watch::Sender<ProxyMode>,
    /// How often every connection there was has been silenced.
    silenced: watch::Sender<u32>,
    /// How many silenced connections the server has closed.
    closed: watch::Sender<usize>,
    options: MySqlConnectOptions,
}

/// What a connection of the wire follows.
#[derive(Clone)]
struct ProxyState {
    mode: watch::Receiver<ProxyMode>,
    silenced: watch::Receiver<u32>,
    closed: watch::Sender<usize>,
}

impl DatabaseProxy {
    pub(crate) async fn start(database: &MySqlConnectOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // The socket comes last, and the wire in its stead.
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

    /// Where the database is, by this wire.
    pub(crate) fn options(&self) -> MySqlConnectOptions {
        self.options.clone()
    }

    pub(crate) fn set(&self, mode: ProxyMode) {
        self.mode.send_replace(mode);
    }

    /// Nothing arrives any more by the connections that there are, and nobody is told. New ones are as ever.
    pub(crate) fn silence_connections(&self) {
        self.silenced.send_modify(|silenced| *silenced += 1);
    }

    /// Comes back when the server has closed so many of the connections that were silenced.
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
        // Whether it has changed, or the test is over.
        tokio::select! {
            () = ended => return,
            changed = state.mode.changed() => if changed.is_err() { return },
            // Not so when the test is over: whoever waits for a lock of this connection would wait for ever.
            Ok(()) = state.silenced.changed() => {
                // The database keeps its side, too.
                let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
                state.closed.send_modify(|closed| *closed += 1);
                return;
            }
        }
    }
}
