//! The headers that answers carry.

use serde_json::{Value, json};

use super::json::members;

/// Defines the headers that several operations answer with.
pub(super) fn define(document: &mut Value) {
    let header = |description: &str, required: bool, schema: Value| {
        json!({
            "description": description, "required": required, "schema": schema,
        })
    };
    let text = |example: &str| json!({"type": "string", "examples": [example]});
    document["components"]["headers"] = json!({
        "X-Request-Id": header(
            "Names the request in the server's log: the one that was sent, if it is sane, else a new one.",
            true,
            text("01939e6b-0c5e-7c6e-9d0a-3f1f2a6f7b10"),
        ),
        "Retry-After": header(
            "After how many seconds to try again.",
            true,
            json!({"type": "integer", "minimum": 1, "examples": [1]}),
        ),
        "Idempotency-Replayed": header(
            "There when this is the first answer to the Idempotency-Key, given again.",
            false,
            json!({"type": "string", "enum": ["true"]}),
        ),
        "RateLimit": header(
            "What is left of each limit (draft-ietf-httpapi-ratelimit-headers): absent while no limit is set.",
            false,
            text("\"holds-per-user\";r=59"),
        ),
        "RateLimit-Policy": header(
            "The limits: how many in how many seconds. Absent while no limit is set.",
            false,
            text("\"holds-per-user\";q=60;w=60"),
        ),
        "WWW-Authenticate": header("How to authenticate.", false, text("Bearer")),
    });
}

/// Adds to each response the headers that it carries, besides those that its handler declares.
pub(super) fn add(operation: &mut Value) {
    let is_keyed = operation["parameters"]
        .as_array()
        .is_some_and(|parameters| parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key"));
    let is_limited = !operation["responses"]["429"].is_null();
    for (status, response) in members(&mut operation["responses"]) {
        let mut names = vec!["X-Request-Id"];
        match status.as_str() {
            "401" => names.push("WWW-Authenticate"),
            "429" | "503" => names.push("Retry-After"),
            // The code IDEMPOTENCY_IN_PROGRESS alone.
            "409" if is_keyed => names.push("Retry-After"),
            _ => {}
        }
        // What is kept under a key: what was done, and what the rules refused.
        if is_keyed && (status.starts_with('2') || matches!(status.as_str(), "402" | "404" | "409" | "410")) {
            names.push("Idempotency-Replayed");
        }
        if is_limited {
            names.extend(["RateLimit", "RateLimit-Policy"]);
        }
        for name in names {
            response["headers"][name] = match (name, status.as_str()) {
                ("Retry-After", "409") => json!({
                    "description": "With IDEMPOTENCY_IN_PROGRESS: after how many seconds to try again.",
                    "schema": {"type": "integer", "minimum": 1},
                }),
                _ => json!({"$ref": format!("#/components/headers/{name}")}),
            };
        }
    }
}
