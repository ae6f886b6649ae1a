//! Hostile clients: slow bodies, idle connections, answers that are never read.

use std::{net::SocketAddr, time::Duration};

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::support::{Connection, with_operations_server, with_server};

/// Longer than any step of these tests takes.
const TIMEOUT: Duration = Duration::from_secs(15);

const CONCERTS: &str = "GET /api/v1/concerts";

/// Begins a sign-up on behalf of `client`, and waits until the server waits for its body.
async fn begin_body(address: SocketAddr, source: &str, client: &str) -> Connection {
    let mut connection = Connection::open_from(source, address).await;
    connection
        .send(&format!(
            "POST /api/v1/users HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\nContent-Length: 100\r\n\
             Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n"
        ))
        .await;
    let (head, _) = connection.answer().await;
    assert!(head.starts_with("http/1.1 100"), "{head}");
    connection.send("{").await;
    connection
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_slow_body_holds_no_request_slot(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    with_server(options, &[("MAX_REQUESTS", "1")], |address, stages| async move {
        let mut slow = Vec::new();
        for _ in 0..3 {
            slow.push(begin_body(address, "127.0.0.1", "192.0.2.1").await);
        }
        Connection::open(address).await.expect(CONCERTS, 200).await;
        // The body is read to its end, and answered.
        let mut first = slow.remove(0);
        first.send(&format!("{}}}", " ".repeat(98))).await;
        let (head, body) = first.answer().await;
        assert!(head.starts_with("http/1.1 422"), "{head}{body}");
        drop(slow);
        stages.draining.cancel();
    })
    .await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_body_that_does_not_arrive_in_time_is_refused(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    with_server(options, &[("BODY_SECONDS", "1")], |address, stages| async move {
        let mut slow = begin_body(address, "127.0.0.1", "192.0.2.1").await;
        let (head, body) = timeout(Duration::from_secs(5), slow.answer()).await.expect("the server answers in time");
        assert!(head.starts_with("http/1.1 504") && body.contains("\"TIMEOUT\""), "{head}{body}");
        timeout(TIMEOUT, slow.closed()).await.expect("the connection is of no use any more");
        stages.draining.cancel();
    })
    .await;
}

/// The proxy is trusted, so limits apply to the clients that it names.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn concurrent_requests_are_limited_per_address(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let settings = [("MAX_REQUESTS_PER_ADDRESS", "2"), ("TRUSTED_PROXIES", "127.0.0.1")];
    with_server(options, &settings, |address, stages| async move {
        let mut slow = Vec::new();
        for _ in 0..2 {
            slow.push(begin_body(address, "127.0.0.1", "192.0.2.1").await);
        }
        let ask = |client: &str| format!("{CONCERTS} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n");
        let mut other = Connection::open(address).await;
        for (client, status) in [("192.0.2.2", "200"), ("192.0.2.1", "429"), ("192.0.2.3", "200")] {
            other.send(&ask(client)).await;
            let (head, body) = other.answer().await;
            assert!(head.starts_with(&format!("http/1.1 {status}")), "{client}: {head}");
            assert_eq!(body.contains("requests-per-address"), status == "429", "{body}");
        }
        drop(slow);
        // A slot is free again once its request has ended.
        loop {
            other.send(&ask("192.0.2.1")).await;
            if other.answer().await.0.starts_with("http/1.1 200") {
                break;
            }
        }
        drop(other);
        stages.draining.cancel();
    })
    .await;
}

/// The client requests large answers and reads none of them. Once the server has closed the connection,
/// sending fails; until then it waits.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_client_that_never_reads_is_disconnected(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    with_server(options, &[("WRITE_STALL_SECONDS", "1")], |address, stages| async move {
        let mut client = Connection::open_from("127.0.0.1", address).await;
        let request = "GET /swagger-ui/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
        let sending = async { while client.0.write_all(request.as_bytes()).await.is_ok() {} };
        timeout(TIMEOUT, sending).await.expect("the server gives the client up");
        Connection::open(address).await.expect("GET /livez", 200).await;
        stages.draining.cancel();
    })
    .await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn idle_connections_are_closed_for_new_ones(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    with_server(options, &[("MAX_CONNECTIONS", "3")], |address, stages| async move {
        let busy = begin_body(address, "127.0.0.1", "192.0.2.1").await;
        let mut silent = Connection::open(address).await;
        silent.send("GET /livez HTTP/1.1\r\n").await;
        let mut idle = Connection::open(address).await;
        idle.expect("GET /livez", 200).await;
        for _ in 0..20 {
            Connection::open(address).await.expect("GET /livez", 200).await;
        }
        silent.closed().await;
        idle.closed().await;
        let mut busy = busy;
        busy.send(&format!("{}}}", " ".repeat(98))).await;
        assert!(busy.answer().await.0.starts_with("http/1.1 422"), "a busy connection is never closed for another");
        drop(busy);
        stages.draining.cancel();
    })
    .await;
}

/// The only connection of the sale's listener is busy. Operations are served until the last request has ended.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn operations_have_a_separate_listener(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    with_operations_server(options, &[("MAX_CONNECTIONS", "1")], |[sale, operations], stages| async move {
        let mut kept = Connection::open(sale).await;
        for path in ["GET /livez", "GET /readyz", "GET /metrics"] {
            kept.expect(path, 404).await;
        }
        kept.expect(CONCERTS, 200).await;
        drop(kept);
        let mut busy = begin_body(sale, "127.0.0.1", "192.0.2.1").await;
        for path in ["GET /livez", "GET /readyz", "GET /metrics"] {
            Connection::open(operations).await.expect(path, 200).await;
        }
        Connection::open(operations).await.expect(CONCERTS, 404).await;
        stages.leaving.cancel();
        stages.draining.cancel();
        Connection::open(operations).await.expect("GET /livez", 200).await;
        Connection::open(operations).await.expect("GET /readyz", 503).await;
        busy.send(&format!("{}}}", " ".repeat(98))).await;
        assert!(busy.answer().await.0.starts_with("http/1.1 422"));
    })
    .await;
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn connections_are_limited_per_address(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    with_server(options, &[("MAX_CONNECTIONS_PER_ADDRESS", "2")], |address, stages| async move {
        let mut busy = Vec::new();
        for _ in 0..2 {
            busy.push(begin_body(address, "127.0.0.2", "192.0.2.1").await);
        }
        timeout(TIMEOUT, Connection::open_from("127.0.0.2", address).await.closed()).await.expect("it is closed");
        Connection::open_from("127.0.0.3", address).await.expect("GET /livez", 200).await;
        // The idle connections of the same address are closed first.
        busy.pop();
        let mut idle = loop {
            let mut next = Connection::open_from("127.0.0.2", address).await;
            if next.0.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.is_ok()
                && next.0.readable().await.is_ok()
            {
                let mut byte = [0];
                if next.0.peek(&mut byte).await.is_ok_and(|count| count == 1) {
                    break next;
                }
            }
        };
        idle.answer().await;
        Connection::open_from("127.0.0.2", address).await.expect("GET /livez", 200).await;
        idle.closed().await;
        drop(busy);
        stages.draining.cancel();
    })
    .await;
}

/// A thousand connections from one address, each with a request to the sale: the defaults refuse none.
#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn a_thousand_simultaneous_requests_from_one_address_are_answered(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    with_server(options, &[], |address, stages| async move {
        let mut crowd = Vec::new();
        for _ in 0..1_000 {
            crowd.push(Connection::open(address).await);
        }
        for connection in &mut crowd {
            connection.send("GET /api/v1/points HTTP/1.1\r\nHost: x\r\n\r\n").await;
        }
        for connection in &mut crowd {
            let (head, _) = connection.answer().await;
            assert!(head.starts_with("http/1.1 401"), "{head}");
        }
        drop(crowd);
        stages.draining.cancel();
    })
    .await;
}
