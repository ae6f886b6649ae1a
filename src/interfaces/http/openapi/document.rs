//! The document: the annotations that utoipa collects, completed and ordered.

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

use super::{
    events, headers,
    info::{self, DemoAccounts},
    json::{for_each_operation, members},
    problems, schemas,
};
use crate::interfaces::http::paths::BASE_PATH;

/// The document, in a readable order.
#[derive(Clone, Debug)]
pub struct Document(Value);

/// The paths of a purchase, in order. The other paths follow.
const JOURNEY: [&str; 13] = [
    "/users",
    "/auth/login",
    "/concerts",
    "/concerts/{concertId}",
    "/concerts/{concertId}/performances",
    "/queue/tokens",
    "/queue/tokens/current",
    "/performances/{performanceId}/seats",
    "/bookings",
    "/bookings/{bookingId}",
    "/points/charges",
    "/points",
    "/payments",
];

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = ["openapi", "info", "servers", "tags", "paths", "webhooks", "components"];
        let mut map = serializer.serialize_map(Some(parts.len()))?;
        for part in parts {
            match part {
                "paths" => map.serialize_entry(part, &OrderedPaths(&self.0[part]))?,
                part => map.serialize_entry(part, &self.0[part])?,
            }
        }
        map.end()
    }
}

/// The paths of a document, those of a purchase first.
struct OrderedPaths<'a>(&'a Value);

impl Serialize for OrderedPaths<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let position = |path: &str| {
            let path = path.strip_prefix(BASE_PATH).unwrap_or(path);
            JOURNEY.iter().position(|known| *known == path).unwrap_or(JOURNEY.len())
        };
        let mut paths: Vec<_> = self.0.as_object().into_iter().flatten().collect();
        paths.sort_by_key(|(path, _)| position(path));
        serializer.collect_map(paths)
    }
}

/// Adds the parts that all operations share. `demo` names the accounts of a demonstration server.
pub fn add_shared_parts(document: OpenApi, demo: Option<&DemoAccounts>) -> Document {
    // Maps with string keys and plain values always serialise.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    info::describe(&mut document, demo);
    schemas::make_exact(&mut document);
    headers::define(&mut document);
    problems::define(&mut document);
    let schemas = document["components"]["schemas"].clone();
    for_each_operation(&mut document, |path, operation| {
        forbid_null_parameters(operation);
        declare_security(operation);
        problems::add(path, operation, &schemas);
        headers::add(operation);
        describe_responses(operation, &schemas);
    });
    events::add(&mut document);
    Document(document)
}

/// Parameters are never null: an optional one is absent.
fn forbid_null_parameters(operation: &mut Value) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        schemas::forbid_null(&mut parameter["schema"]);
        if parameter["name"] == "Idempotency-Key" {
            parameter["schema"] = json!({"type": "string", "pattern": "^[!-~]{1,255}$"});
            parameter["description"] =
                "A new UUID for each operation. A repetition with the same key has one effect.".into();
        }
    }
}

/// Declares that a public operation needs no token.
fn declare_security(operation: &mut Value) {
    if operation["security"].is_null() {
        operation["security"] = json!([]);
    }
}

/// Describes each response by its body, unless the handler describes it.
fn describe_responses(operation: &mut Value, schemas: &Value) {
    let summary = operation["summary"].clone();
    for (_, response) in members(&mut operation["responses"]) {
        if response["description"].as_str().is_none_or(str::is_empty) {
            let schema = &response["content"]["application/json"]["schema"];
            let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()).unwrap_or_default();
            let described = schemas[name]["description"].clone();
            response["description"] = if described.is_string() { described } else { summary.clone() };
        }
    }
}
