//! The webhooks: the request for each type of event, and the responses to it.

use serde_json::{Value, json};

use crate::{
    domain::event::KINDS,
    interfaces::http::words::{BookingStatuses, PaymentStatuses, Words},
};

const ID: &str = "01939e6b-0c5d-7b11-8f3e-5a0d6c1b2e34";

const USER: &str = "01939e6b-0c5a-7d02-9c41-7be1f0a2c3d4";

/// Adds a webhook and a schema for each type of event.
pub(super) fn add(document: &mut Value) {
    for kind in KINDS {
        let name = schema_name(kind);
        document["components"]["schemas"][&name] = event(kind);
        document["webhooks"][kind] = json!({"post": operation(kind, &name)});
    }
}

/// `BookingHeldEvent` for `booking.held`.
fn schema_name(kind: &str) -> String {
    let word = |word: &str| format!("{}{}", word[..1].to_uppercase(), &word[1..]);
    kind.split('.').map(word).chain(["Event".to_owned()]).collect()
}

fn operation(kind: &str, name: &str) -> Value {
    let header = |name: &str, description: &str, example: &str| {
        json!({
            "name": name, "in": "header", "required": true, "description": description,
            "schema": {"type": "string"}, "example": example,
        })
    };
    json!({
        "operationId": format!("receive_{}", kind.replace('.', "_")),
        "tags": ["events"],
        "summary": format!("A webhook receives `{kind}`."),
        "description": "A CloudEvents 1.0 event, signed as in Standard Webhooks. Delivery is at least once: an event \
            may arrive repeatedly, with the same `id`. Events with the same `partitionkey` arrive in the order of \
            `sequence`.",
        "security": [],
        "parameters": [
            header("webhook-id", "The event's id.", ID),
            header("webhook-timestamp", "The time of sending, in seconds since 1970.", "1795161731"),
            header("webhook-signature", "HMAC-SHA-256 of id, timestamp and body, with the webhook's secret.",
                "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
        ],
        "requestBody": {
            "required": true,
            "content": {"application/cloudevents+json": {
                "schema": {"$ref": format!("#/components/schemas/{name}")},
                "example": example(kind),
            }},
        },
        "responses": {
            "2XX": {"description": "The webhook accepted the event."},
            "410": {"description": "The server disables the webhook, which gets no more events."},
            "4XX": {"description": "The server retries the event later, as after any other response than 2xx."},
            "503": {
                "description": "The server retries the event after `Retry-After`.",
                "headers": {"Retry-After": {"schema": {"type": "integer"}}},
            },
        },
    })
}

fn event(kind: &str) -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let mut properties = json!({
        "specversion": {"type": "string", "const": "1.0"},
        "id": {"type": "string", "format": "uuid", "description": "The same in every delivery."},
        "source": {"type": "string", "format": "uri-reference", "examples": ["/concert-reservation"]},
        "type": {"type": "string", "const": kind},
        "subject": text(subject(kind)),
        "time": {"type": "string", "format": "date-time", "description": "The time of the change."},
        "datacontenttype": {"type": "string", "const": "application/json"},
        "data": data(kind),
    });
    let mut required = vec!["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"];
    if is_ordered(kind) {
        properties["partitionkey"] = text("The booking, whose events arrive in order.");
        properties["sequence"] = text("The position among the events of the booking, from 1.");
        required.extend(["partitionkey", "sequence"]);
    }
    json!({
        "type": "object", "description": format!("The event `{kind}`."),
        "properties": properties, "required": required,
    })
}

/// Whether events of the type are ordered: those of a booking, its payment and its tickets are.
fn is_ordered(kind: &str) -> bool {
    kind.starts_with("booking.") || kind.starts_with("payment.") || kind.starts_with("ticket.")
}

fn subject(kind: &str) -> &'static str {
    match kind.split('.').next() {
        Some("booking" | "ticket") => "The booking's id.",
        Some("payment") => "The payment's id.",
        Some("points") => "The transaction's id.",
        _ => "The performance's id.",
    }
}

fn data(kind: &str) -> Value {
    let id = || json!({"type": "integer", "format": "int64", "minimum": 1});
    let uuid = || json!({"type": "string", "format": "uuid"});
    let amount = || json!({"$ref": "#/components/schemas/Amount"});
    let time = || json!({"type": "string", "format": "date-time"});
    let properties = match kind.split('.').next() {
        Some("booking") => json!({
            "bookingId": uuid(), "userId": uuid(), "concertId": id(), "performanceId": id(),
            "seatIds": {"type": "array", "items": id(), "minItems": 1},
            "status": {"type": "string", "enum": BookingStatuses::ALL}, "totalPrice": amount(),
            "heldUntil": time(),
        }),
        Some("payment") => json!({
            "paymentId": uuid(), "bookingId": uuid(), "userId": uuid(), "amount": amount(),
            "status": {"type": "string", "enum": PaymentStatuses::ALL},
        }),
        Some("points") => json!({
            "transactionId": uuid(), "userId": uuid(), "amount": amount(), "balance": amount(),
        }),
        Some("ticket") => json!({
            "ticketId": uuid(), "bookingId": uuid(), "performanceId": id(), "seatId": id(),
        }),
        Some("performance") if kind == "performance.cancelled" => json!({
            "performanceId": id(), "concertId": id(), "startsAt": time(),
        }),
        Some("performance") => json!({
            "performanceId": id(), "concertId": id(), "previousStartsAt": time(), "startsAt": time(),
        }),
        _ => json!({
            "performanceId": id(),
            "seats": {"type": "array", "items": {
                "type": "object",
                "properties": {"seatId": id(), "status": {"$ref": "#/components/schemas/SeatStatus"}},
                "required": ["seatId", "status"],
            }},
        }),
    };
    let required: Value = properties.as_object().into_iter().flat_map(|members| members.keys().cloned()).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

/// An example of an event.
fn example(kind: &str) -> Value {
    let (status, sequence) = match kind {
        "booking.confirmed" => ("CONFIRMED", "2"),
        "booking.cancelled" => ("CANCELLED", "2"),
        "booking.expired" => ("EXPIRED", "2"),
        "payment.completed" => ("COMPLETED", "3"),
        "booking.refunded" => ("REFUNDED", "4"),
        "payment.refunded" => ("REFUNDED", "5"),
        "ticket.used" => ("CONFIRMED", "6"),
        _ => ("PENDING", "1"),
    };
    let (subject, data) = match kind.split('.').next() {
        Some("booking") => (
            ID,
            json!({
                "bookingId": ID, "userId": USER, "concertId": 1, "performanceId": 2, "seatIds": [3, 4], "status": status,
                "totalPrice": "300000", "heldUntil": "2026-11-20T08:07:11.123Z",
            }),
        ),
        Some("payment") => (
            ID,
            json!({
                "paymentId": ID, "bookingId": ID, "userId": USER, "amount": "300000", "status": status,
            }),
        ),
        Some("points") => (
            ID,
            json!({
                "transactionId": ID, "userId": USER, "amount": "50000", "balance": "550000",
            }),
        ),
        Some("ticket") => (
            ID,
            json!({
                "ticketId": "24883911-c14a-5929-af7f-227eef0b0219", "bookingId": ID, "performanceId": 2, "seatId": 3,
            }),
        ),
        Some("performance") if kind == "performance.cancelled" => {
            ("2", json!({"performanceId": 2, "concertId": 1, "startsAt": "2026-12-24T10:00:00.000Z"}))
        }
        Some("performance") => (
            "2",
            json!({
                "performanceId": 2, "concertId": 1, "previousStartsAt": "2026-12-24T10:00:00.000Z",
                "startsAt": "2026-12-26T10:00:00.000Z",
            }),
        ),
        _ => ("2", json!({"performanceId": 2, "seats": [{"seatId": 3, "status": "HELD"}]})),
    };
    let mut event = json!({
        "specversion": "1.0", "id": "01939e6b-0c5e-7c6e-9d0a-3f1f2a6f7b10", "source": "/concert-reservation",
        "type": kind, "subject": subject, "time": "2026-11-20T08:02:11.123Z",
        "datacontenttype": "application/json", "data": data,
    });
    if is_ordered(kind) {
        event["partitionkey"] = ID.into();
        event["sequence"] = sequence.into();
    }
    event
}
