//! The document's title, description, tags, servers and security schemes.

use serde_json::{Value, json};

use super::schemes::{BEARER, QUEUE_TOKEN};

const DESCRIPTION: &str =
    "Sells concert seats to thousands of concurrent users, in a fair order, and never a seat twice.

The steps of a purchase:

1. `POST /users`, `POST /auth/login`: then **Authorize** with the `accessToken`.
2. `GET /concerts`, `GET /concerts/{concertId}/performances`.
3. `POST /queue/tokens`, `GET /queue/tokens/current` until it is `ACTIVE`: then **Authorize** with the `queueToken`.
4. `GET /performances/{performanceId}/seats`, `POST /bookings`.
5. `POST /points/charges`, `POST /payments`.
6. `GET /bookings/{bookingId}/tickets`.

Every failure is `application/problem+json` with a `code`. The page at its `type` explains the code.

Operations that end in `/events` stream server-sent events until their token ends. Swagger UI shows a stream \
only after its end: read one with `curl --no-buffer`, or in a browser with `fetch`.";

/// The tags, in the order of a purchase.
const TAGS: &[(&str, &str)] = &[
    ("users", "Accounts and logins"),
    ("concerts", "The public catalogue"),
    ("queue", "The waiting queue"),
    ("seats", "Seat maps; they need an admitted queue token"),
    ("bookings", "Holding seats, extending and cancelling bookings"),
    ("points", "The prepaid balance"),
    ("payments", "Paying for a booking"),
    ("tickets", "The tickets of a confirmed booking, and the keys that verify them"),
    ("administration", "Operations for the role ADMIN"),
    ("operation", "Probes, metrics and the version"),
    ("events", "Requests that webhooks receive"),
];

/// The accounts of a demonstration server.
#[derive(Clone, Copy, Debug)]
pub struct DemoAccounts {
    /// Their email addresses; the first is the administrator's.
    pub emails: [&'static str; 3],
    /// The password of all accounts.
    pub password: &'static str,
}

/// Adds the parts about the document as a whole.
pub(super) fn describe(document: &mut Value, demo: Option<&DemoAccounts>) {
    let description = demo.map_or_else(|| DESCRIPTION.to_owned(), |demo| format!("{DESCRIPTION}\n\n{}", demo.text()));
    document["info"] = json!({
        "title": "concert-reservation",
        "version": env!("CARGO_PKG_VERSION"),
        "description": description,
        "contact": {"name": "The operators of this server"},
        "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
    });
    document["servers"] = json!([{"url": "/", "description": "The server that this document comes from."}]);
    let tag = |(name, text): &(&str, &str)| json!({"name": name, "description": text});
    document["tags"] = TAGS.iter().map(tag).collect();
    document["components"]["securitySchemes"] = json!({
        BEARER: {"type": "http", "scheme": "bearer", "description": "The accessToken of a login."},
        QUEUE_TOKEN: {
            "type": "apiKey", "in": "header", "name": "Queue-Token",
            "description": "The queueToken, once it is ACTIVE.",
        },
    });
    if let Some(demo) = demo {
        let login = &mut document["components"]["schemas"]["LogInRequest"]["properties"];
        login["email"]["example"] = demo.emails[1].into();
        login["password"]["example"] = demo.password.into();
    }
}

impl DemoAccounts {
    fn text(&self) -> String {
        let [admin, users @ ..] = self.emails;
        format!(
            "**Demo accounts**, all with the password `{}`: `{}`, who have points, and the administrator `{admin}`.",
            self.password,
            users.join("`, `")
        )
    }
}
