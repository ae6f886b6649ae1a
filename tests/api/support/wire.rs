//! The way to the database, which a test can block or cut.

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
pub(crate) enum Way {
    /// It arrives.
    Open,
    /// It stays on its way, until the way is open again: as with a server that hangs.
    Blocked,
    /// Connections end, and new ones end at once: as with a server that is gone.
    Cut,
}

/// Passes bytes on between a server and its database.
pub(crate) struct Wire {
    way: watch::Sender<Way>,
    /// How often every connection there was has been silenced.
    silences: watch::Sender<u32>,
    /// How many silenced connections the server has closed.
    closed: watch::Sender<usize>,
    options: MySqlConnectOptions,
}

/// What a connection of the wire follows.
#[derive(Clone)]
struct Orders {
    way: watch::Receiver<Way>,
    silences: watch::Receiver<u32>,
    closed: watch::Sender<usize>,
}

impl Wire {
    pub(crate) async fn to(database: &MySqlConnectOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // The socket comes last, and the wire in its stead.
        let url = database.to_url_lossy().to_string();
        let url = url.split("&socket=").next().unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = MySqlConnectOptions::from_str(url).unwrap().host("127.0.0.1").port(port);
        let (way, silences, closed) = (watch::Sender::new(Way::Open), watch::Sender::new(0), watch::Sender::new(0));
        let orders = Orders { way: way.subscribe(), silences: silences.subscribe(), closed: closed.clone() };
        TaskTracker::new().spawn(serve(listener, database.clone(), orders));
        Self { way, silences, closed, options }
    }

    /// Where the database is, by this wire.
    pub(crate) fn options(&self) -> MySqlConnectOptions {
        self.options.clone()
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Nothing arrives any more by the connections that there are, and nobody is told. New ones are as ever.
    pub(crate) fn silence(&self) {
        self.silences.send_modify(|silences| *silences += 1);
    }

    /// Comes back when the server has closed so many of the connections that were silenced.
    pub(crate) async fn until_closed(&self, connections: usize) {
        self.closed.subscribe().wait_for(|closed| *closed >= connections).await.unwrap();
    }
}

async fn serve(listener: TcpListener, database: MySqlConnectOptions, orders: Orders) {
    let tasks = TaskTracker::new();
    loop {
        let (near, _) = listener.accept().await.unwrap();
        let (database, mut orders) = (database.clone(), orders.clone());
        orders.silences.mark_unchanged();
        tasks.spawn(async move {
            if let Some(path) = database.get_socket() {
                pass(near, UnixStream::connect(path).await.unwrap(), orders).await;
            } else {
                let address = (database.get_host(), database.get_port());
                pass(near, TcpStream::connect(address).await.unwrap(), orders).await;
            }
        });
    }
}

async fn pass(mut near: TcpStream, mut far: impl AsyncRead + AsyncWrite + Unpin, mut orders: Orders) {
    loop {
        let now = *orders.way.borrow_and_update();
        let ended = async {
            match now {
                Way::Open => drop(copy_bidirectional(&mut near, &mut far).await),
                Way::Blocked => std::future::pending().await,
                Way::Cut => {}
            }
        };
        // Whether it has changed, or the test is over.
        tokio::select! {
            () = ended => return,
            changed = orders.way.changed() => if changed.is_err() { return },
            // Not so when the test is over: whoever waits for a lock of this connection would wait for ever.
            Ok(()) = orders.silences.changed() => {
                // The database keeps its side, too.
                let _ = tokio::io::copy(&mut near, &mut tokio::io::sink()).await;
                orders.closed.send_modify(|closed| *closed += 1);
                return;
            }
        }
    }
}
