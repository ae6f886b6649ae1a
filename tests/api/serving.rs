//! Real connections to a server, from the first byte to the last.

use std::sync::Arc;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use tokio::net::TcpStream;

use crate::support::{Connection, with_server};

const GET: &str = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

/// At first the server only isn't ready; then it refuses connections, but finishes the requests in flight.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_server_announces_its_stop_and_loses_no_request(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    with_server(options, &[], |address, stages| async move {
        let mut kept = Connection::open(address).await;
        kept.send(GET).await;
        assert!(!kept.answer().await.0.contains("connection: close"));

        stages.leaving.cancel();
        let mut newcomer = Connection::open(address).await;
        newcomer.send("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (head, body) = newcomer.answer().await;
        assert!(
            head.starts_with("http/1.1 503") && head.contains("retry-after:") && body.contains("DRAINING"),
            "{head}"
        );
        assert!(head.contains("connection: close"), "{head}");
        newcomer.closed().await;
        kept.send(GET).await;
        let (head, _) = kept.answer().await;
        assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head}");
        kept.closed().await;

        let mut idle = Connection::open(address).await;
        let mut begun = Connection::open(address).await;
        begun.send("POST /api/v1/users HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n").await;
        begun.send("Content-Type: application/json\r\n\r\n").await;
        // The server has read all that was sent.
        assert!(begun.answer().await.0.starts_with("http/1.1 100"));
        idle.send("").await;
        stages.draining.cancel();
        idle.closed().await;
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        begun.send("{}").await;
        let (head, body) = begun.answer().await;
        assert!(head.starts_with("http/1.1 422") && head.contains("connection: close"), "{head}");
        assert!(body.contains("VALIDATION_FAILED"), "{body}");
    })
    .await;
}

/// The rest of the body never comes.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_request_that_outlasts_the_grace_time_is_dropped(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    with_server(options, &[("SHUTDOWN_GRACE_SECONDS", "1")], |address, stages| async move {
        let mut begun = Connection::open(address).await;
        begun.send("POST /api/v1/users HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n").await;
        begun.send("Content-Type: application/json\r\n\r\n").await;
        assert!(begun.answer().await.0.starts_with("http/1.1 100"));
        stages.draining.cancel();
        begun.closed().await;
    })
    .await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_connection_without_a_request_is_closed(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    with_server(options, &[("KEEP_ALIVE_SECONDS", "1")], |address, stages| async move {
        let silent = Connection::open(address).await;
        let mut slow = Connection::open(address).await;
        slow.send("GET /livez HTTP/1.1\r\nHost:").await;
        let mut idle = Connection::open(address).await;
        idle.send(GET).await;
        idle.answer().await;
        tokio::join!(silent.closed(), slow.closed(), idle.closed());
        stages.draining.cancel();
    })
    .await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_connection_beyond_the_limit_waits_for_another_to_end(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    with_server(options, &[("MAX_CONNECTIONS", "1")], |address, stages| async move {
        // Busy: the rest of the body hasn't been sent.
        let mut first = Connection::open(address).await;
        first.send("POST /api/v1/users HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n").await;
        first.send("Content-Type: application/json\r\n\r\n").await;
        assert!(first.answer().await.0.starts_with("http/1.1 100"));
        let mut second = Connection::open(address).await;
        second.send(GET).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let mut byte = [0];
        let early = second.0.try_read(&mut byte);
        assert!(
            early.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
            "the first still has the place"
        );
        drop(first);
        assert!(second.answer().await.0.starts_with("http/1.1 200"));
        drop(second);
        stages.draining.cancel();
    })
    .await;
}

/// Rate limits count by the connection's address.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn the_client_address_is_that_of_the_connections_peer(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let settings = [("RATE_LIMIT_SIGN_UPS_PER_ADDRESS", "1"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let ask = |client: &str| {
        Arc::new(format!(
            "POST /api/v1/users HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\nContent-Length: 2\r\n\
             Content-Type: application/json\r\n\r\n{{}}"
        ))
    };
    let (one, other) = (ask("192.0.2.1"), ask("192.0.2.2"));
    with_server(options, &settings, |address, stages| async move {
        let mut connection = Connection::open(address).await;
        for (request, status) in [(&one, "422"), (&one, "429"), (&other, "422")] {
            connection.send(request).await;
            let (head, _) = connection.answer().await;
            assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
        }
        stages.draining.cancel();
    })
    .await;
}

/// The answer doesn't depend on the body, and isn't lost if the body arrives late.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_unread_body_does_not_break_the_connection(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    with_server(options, &[], |address, stages| async move {
        let mut connection = Connection::open(address).await;
        for _ in 0..3 {
            connection.send("POST /api/v1/bookings HTTP/1.1\r\nHost: x\r\nContent-Length: 4096\r\n\r\n").await;
            for _ in 0..4 {
                tokio::task::yield_now().await;
                connection.send(&" ".repeat(1024)).await;
            }
            let (head, _) = connection.answer().await;
            assert!(head.starts_with("http/1.1 401") && !head.contains("connection: close"), "{head}");
        }
        drop(connection);
        stages.draining.cancel();
    })
    .await;
}
