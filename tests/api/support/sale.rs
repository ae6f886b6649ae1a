//! A concert on sale.

use axum::http::Method;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Client, TestApp};

/// A concert with one performance.
#[derive(Clone, Debug)]
pub(crate) struct Sale {
    pub(crate) venue_id: u64,
    pub(crate) concert_id: u64,
    pub(crate) performance_id: u64,
    /// By section, row and number.
    pub(crate) seats: Vec<u64>,
}

impl Sale {
    pub(crate) async fn create(app: &TestApp, sections: &[Value]) -> Self {
        let admin = app.admin().await;
        let venue = admin.post("/api/v1/admin/venues", json!({"name": "Hall", "address": "Seoul"})).await.expect(201);
        let venue_id = venue.json()["venueId"].as_u64().unwrap();
        let concert = json!({"title": "Spring", "artist": "Jin", "category": "POP"});
        let concert = admin.post("/api/v1/admin/concerts", concert).await.expect(201);
        let concert_id = concert.json()["concertId"].as_u64().unwrap();
        let mut sale = Self { venue_id, concert_id, performance_id: 0, seats: Vec::new() };
        sale.set_queue(app, json!({"mode": "OPEN"})).await;
        let starts_at = app.now() + TimeDelta::days(30);
        (sale.performance_id, sale.seats) = sale.add_sections(app, &starts_at.to_rfc3339(), sections).await;
        sale
    }

    /// One section of seats at 50,000 points.
    pub(crate) fn floor(rows: u64, seats_per_row: u64) -> Value {
        json!({"name": "Floor", "grade": "R", "rows": rows, "seatsPerRow": seats_per_row, "price": "50000"})
    }

    /// Adds a performance with one section and gives its id and its seats.
    pub(crate) async fn add_performance(
        &self,
        app: &TestApp,
        starts_at: &str,
        rows: u64,
        seats_per_row: u64,
    ) -> (u64, Vec<u64>) {
        self.add_sections(app, starts_at, &[Self::floor(rows, seats_per_row)]).await
    }

    async fn add_sections(&self, app: &TestApp, starts_at: &str, sections: &[Value]) -> (u64, Vec<u64>) {
        let admin = app.admin().await;
        let performance = json!({"venueId": self.venue_id, "startsAt": starts_at, "seating": {"sections": sections}});
        let path = format!("/api/v1/admin/concerts/{}/performances", self.concert_id);
        let performance_id = admin.post(&path, performance).await.expect(201).json()["performanceId"].as_u64().unwrap();
        let id = concert_reservation::domain::id::PerformanceId(performance_id);
        let mut repositories = app.ports().database.read().await.unwrap();
        let seats = repositories.concerts().list_seats(id).await.unwrap();
        (performance_id, seats.into_iter().map(|seat| seat.id.0).collect())
    }

    /// Replaces the queue's settings: the defaults with these members.
    pub(crate) async fn set_queue(&self, app: &TestApp, settings: Value) {
        let mut body = json!({
            "mode": "QUEUE", "admitCount": 200, "admitIntervalSeconds": 10, "maxActive": 2000,
            "activeSeconds": 600, "claimSeconds": 60, "salesOpenAt": null,
        });
        for (name, value) in settings.as_object().unwrap() {
            body[name] = value.clone();
        }
        let path = format!("/api/v1/admin/concerts/{}/queue", self.concert_id);
        app.admin().await.send(Method::PUT, &path, &[], Some(body)).await.expect(200);
    }

    /// The user joins the queue: the client's requests carry the token from then on.
    pub(crate) async fn join(&self, user: Client) -> Client {
        let reply = user.post("/api/v1/queue/tokens", json!({"concertId": self.concert_id})).await;
        assert!(reply.status.is_success(), "{reply:?}");
        user.with_queue_token(&reply.text("queueToken"))
    }

    /// The user joins the queue of a sale that admits at once.
    pub(crate) async fn admit(&self, user: Client) -> Client {
        let client = self.join(user).await;
        let token = client.get("/api/v1/queue/tokens/current").await.expect(200);
        assert_eq!(token.json()["status"], "ACTIVE", "{}", token.json());
        client
    }

    /// The number of available seats by the public list.
    pub(crate) async fn available(&self, client: &Client) -> u64 {
        let path = format!("/api/v1/concerts/{}/performances", self.concert_id);
        let list = client.get(&path).await.expect(200).json();
        let performance =
            list["items"].as_array().unwrap().iter().find(|item| item["performanceId"] == self.performance_id).unwrap();
        performance["availableSeats"].as_u64().unwrap()
    }
}
