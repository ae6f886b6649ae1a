//! A proxy between servers and their database that a test can block or cut.

use std::{
    io,
    str::FromStr,
    sync::{Arc, Mutex},
};

use sqlx::{ConnectOptions, mysql::MySqlConnectOptions};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink, split},
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
    /// A part of the statement that the next connection falls silent on.
    unanswered: Arc<Mutex<Option<&'static str>>>,
    /// The number of silenced connections that the server has closed.
    closed: watch::Sender<usize>,
    options: MySqlConnectOptions,
}

/// The state that each connection of the proxy observes.
#[derive(Clone)]
struct ProxyState {
    mode: watch::Receiver<ProxyMode>,
    silenced: watch::Receiver<u32>,
    unanswered: Arc<Mutex<Option<&'static str>>>,
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
        let unanswered = Arc::default();
        let state = ProxyState {
            mode: mode.subscribe(),
            silenced: silenced.subscribe(),
            unanswered: Arc::clone(&unanswered),
            closed: closed.clone(),
        };
        TaskTracker::new().spawn(serve(listener, database.clone(), state));
        Self { mode, silenced, unanswered, closed, options }
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

    /// Silences the next connection that sends `part` of a statement's text. A connection sends a text once, to prepare
    /// it. The database doesn't get the statement.
    pub(crate) fn silence_statement(&self, part: &'static str) {
        *self.unanswered.lock().unwrap() = Some(part);
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
        let unanswered = Arc::clone(&state.unanswered);
        let is_silenced = tokio::select! {
            silenced = pass(&mut client, &mut server, now, &unanswered) => match silenced {
                Ok(true) => true,
                // One side has closed.
                _ => return,
            },
            // The mode has changed, or the test is over.
            changed = state.mode.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
            // It ends with the test, or a waiter for a lock of this connection would wait for ever.
            Ok(()) = state.silenced.changed() => true,
        };
        if is_silenced {
            // The database's side stays open, too.
            let _ = copy(&mut client, &mut sink()).await;
            state.closed.send_modify(|closed| *closed += 1);
            return;
        }
    }
}

/// Passes bytes on as the mode says, until one side closes. Returns early, with `true`, at the statement that isn't to
/// be answered.
async fn pass(
    client: &mut TcpStream,
    server: &mut (impl AsyncRead + AsyncWrite + Unpin),
    mode: ProxyMode,
    unanswered: &Mutex<Option<&'static str>>,
) -> io::Result<bool> {
    match mode {
        ProxyMode::Open => {}
        ProxyMode::Blocked => std::future::pending().await,
        ProxyMode::Cut => return Ok(false),
    }
    let (mut requests, mut replies) = client.split();
    let (mut answers, mut statements) = split(server);
    let sending = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = requests.read(&mut buffer).await?;
            let sent = &buffer[..length];
            let contains = |part: &mut &str| sent.windows(part.len()).any(|window| window == part.as_bytes());
            if unanswered.lock().unwrap().take_if(|part| contains(part)).is_some() {
                return Ok(true);
            }
            if length == 0 {
                return Ok(false);
            }
            statements.write_all(sent).await?;
        }
    };
    tokio::select! {
        silenced = sending => silenced,
        answered = copy(&mut answers, &mut replies) => answered.map(|_| false),
    }
}
