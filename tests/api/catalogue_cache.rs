//! The cache of the catalogue: a second at most, and never older than a change of the same server.

use axum::http::Method;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

use crate::support::{Client, Reply, Sale, TestApp};

fn start(options: MySqlConnectOptions) -> TestApp {
    TestApp::start_with(options, 2, &[("CATALOGUE_CACHE_MILLISECONDS", "1000")])
}

/// The three answers about a sale.
fn paths(sale: &Sale) -> [String; 3] {
    let concert = format!("/api/v1/concerts/{}", sale.concert_id);
    ["/api/v1/concerts".to_owned(), concert.clone(), format!("{concert}/performances")]
}

/// The availability by each server: `soldOut` of the list, the concert and its performances, and the
/// number of free seats.
async fn availability(app: &TestApp, sale: &Sale) -> Vec<Value> {
    let anonymous = app.anonymous();
    let mut availability = Vec::new();
    for client in app.on_every_server(&anonymous) {
        let [list, concert, performances] = paths(sale);
        let list = client.get(&list).await.expect(200).json();
        let concert = client.get(&concert).await.expect(200).json();
        let performances = client.get(&performances).await.expect(200).json();
        let performance = &performances["items"][0];
        availability.push(json!([
            list["items"][0]["soldOut"],
            concert["soldOut"],
            performance["soldOut"],
            performance["availableSeats"],
        ]));
    }
    availability
}

async fn retitle(promoter: &Client, sale: &Sale, title: &str) {
    let path = format!("/api/v1/admin/concerts/{}", sale.concert_id);
    promoter.send(Method::PATCH, &path, &[], Some(json!({"title": title}))).await.expect(200);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn catalogue_answers_are_at_most_a_second_old(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = start(options);
    let sale = app.sale(1, 2).await;
    let buyer = app.buyer(&sale).await;
    let free = json!([false, false, false, 2]);
    let sold_out = json!([true, true, true, 0]);
    assert_eq!(availability(&app, &sale).await, [free.clone(), free.clone()]);
    buyer.hold(sale.performance_id, &sale.seats).await.expect(201);
    app.clock.advance(TimeDelta::milliseconds(999));
    assert_eq!(availability(&app, &sale).await, [free.clone(), free.clone()], "read once a second");
    app.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(availability(&app, &sale).await, [sold_out.clone(), sold_out.clone()]);
    // By the clock alone.
    app.clock.advance(TimeDelta::seconds(299));
    assert_eq!(availability(&app, &sale).await, [free.clone(), free]);
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn catalogue_changes_show_at_once_here_and_within_a_second_elsewhere(
    _: MySqlPoolOptions,
    options: MySqlConnectOptions,
) {
    let app = start(options);
    let sale = app.sale(1, 2).await;
    let promoter = app.at_instance(&app.admin().await, 0);
    let anonymous = app.anonymous();
    let [here, there] = [app.at_instance(&anonymous, 0), app.at_instance(&anonymous, 1)];
    let [list, concert, performances] = paths(&sale);
    let title = async |client: &Client| {
        let listed = client.get(&list).await.expect(200).json()["items"][0]["title"].clone();
        assert_eq!(client.get(&concert).await.expect(200).json()["title"], listed);
        listed
    };
    assert_eq!((title(&here).await, title(&there).await), (json!("Spring"), json!("Spring")));
    retitle(&promoter, &sale, "Summer").await;
    assert_eq!((title(&here).await, title(&there).await), (json!("Summer"), json!("Spring")));
    app.advance(1);
    assert_eq!(title(&there).await, "Summer");

    let count = async |client: &Client| {
        let list = client.get(&performances).await.expect(200).json();
        list["items"].as_array().unwrap().len()
    };
    assert_eq!((count(&here).await, count(&there).await), (1, 1));
    let admin = app.at_instance(&promoter, 0);
    let path = format!("/api/v1/admin/performances/{}/cancel", sale.performance_id);
    admin.send(Method::POST, &path, &[], None).await.expect(202);
    assert_eq!((count(&here).await, count(&there).await), (0, 1));
    admin.delete(&format!("/api/v1/admin/concerts/{}", sale.concert_id)).await.expect(204);
    here.get(&concert).await.expect_problem(404, "CONCERT_NOT_FOUND");
    there.get(&performances).await.expect(200);
    app.advance(1);
    for path in [&concert, &performances] {
        there.get(path).await.expect_problem(404, "CONCERT_NOT_FOUND");
    }
}

#[sqlx::test(migrator = "concert_reservation::infrastructure::mysql::MIGRATOR")]
async fn an_unchanged_answer_is_not_sent_again(_: MySqlPoolOptions, options: MySqlConnectOptions) {
    let app = start(options);
    let sale = app.sale(1, 2).await;
    let promoter = app.at_instance(&app.admin().await, 0);
    let ask = async |instance: usize, path: &str, known: &str| -> Reply {
        let client = app.at_instance(&app.anonymous(), instance);
        client.send(Method::GET, path, &[("If-None-Match", known)], None).await
    };
    for path in paths(&sale) {
        retitle(&promoter, &sale, "Spring").await;
        let first = ask(0, &path, "\"x\"").await.expect(200);
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        assert!(first.headers.get("age").is_none(), "it was read for us");
        for instance in [0, 1, 0, 1] {
            for known in [&tag, tag.trim_start_matches("W/"), &format!("\"x\", {tag}"), "*"] {
                let reply = ask(instance, &path, known).await.expect(304);
                assert!(reply.bytes.is_empty() && reply.header("etag") == tag, "{reply:?}");
                assert_eq!(reply.header("cache-control"), "public, max-age=1");
            }
        }
        let again = ask(1, &path, "\"x\"").await.expect(200);
        assert_eq!((again.header("age"), again.header("content-type")), ("1", "application/json"));
        assert_eq!(again.bytes, first.bytes);
        retitle(&promoter, &sale, "Summer").await;
        let head = app.at_instance(&app.anonymous(), 0).send(Method::HEAD, &path, &[], None).await.expect(200);
        assert!(head.bytes.is_empty());
        let is_about_seats = path.ends_with("/performances");
        assert_eq!(head.header("etag") == tag, is_about_seats, "{path}");
    }
}
