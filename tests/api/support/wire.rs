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
    options: MySqlConnectOptions,
}

impl Wire {
    pub(crate) async fn to(database: &MySqlConnectOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // The socket comes last, and the wire in its stead.
        let url = database.to_url_lossy().to_string();
        let url = url.split("&socket=").next().unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = MySqlConnectOptions::from_str(url).unwrap().host("127.0.0.1").port(port);
        let way = watch::Sender::new(Way::Open);
        TaskTracker::new().spawn(serve(listener, database.clone(), way.subscribe()));
        Self { way, options }
    }

    /// Where the database is, by this wire.
    pub(crate) fn options(&self) -> MySqlConnectOptions {
        self.options.clone()
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn serve(listener: TcpListener, database: MySqlConnectOptions, way: watch::Receiver<Way>) {
    let tasks = TaskTracker::new();
    loop {
        let (near, _) = listener.accept().await.unwrap();
        let (database, way) = (database.clone(), way.clone());
        tasks.spawn(async move {
            if let Some(path) = database.get_socket() {
                pass(near, UnixStream::connect(path).await.unwrap(), way).await;
            } else {
                let address = (database.get_host(), database.get_port());
                pass(near, TcpStream::connect(address).await.unwrap(), way).await;
            }
        });
    }
}

async fn pass(mut near: TcpStream, mut far: impl AsyncRead + AsyncWrite + Unpin, mut way: watch::Receiver<Way>) {
    loop {
        let now = *way.borrow_and_update();
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
            changed = way.changed() => if changed.is_err() { return },
        }
    }
}
