//! The headers of responses.

use serde_json::{Value, json};

use super::json::members;

/// Defines the headers that several operations share.
pub(super) fn define(document: &mut Value) {
    let header = |description: &str, required: bool, schema: Value| {
        json!({
            "description": description, "required": required, "schema": schema,
        })
    };
    let text = |example: &str| json!({"type": "string", "examples": [example]});
    document["components"]["headers"] = json!({
        "X-Request-Id": header(
            "The id of the request in the server's log: the client's, if it is valid, otherwise a new one.",
            true,
            text("01939e6b-0c5e-7c6e-9d0a-3f1f2a6f7b10"),
        ),
        "Retry-After": header(
            "The seconds until the next attempt.",
            true,
            json!({"type": "integer", "minimum": 1, "examples": [1]}),
        ),
        "Idempotency-Replayed": header(
            "Present when this is a replay of the first answer to the Idempotency-Key.",
            false,
            json!({"type": "string", "enum": ["true"]}),
        ),
        "RateLimit": header(
            "The remaining requests of each limit (draft-ietf-httpapi-ratelimit-headers). Absent while no limit is set.",
            false,
            text("\"holds-per-user\";r=59"),
        ),
        "RateLimit-Policy": header(
            "The limits: requests (q) per seconds (w). Absent while no limit is set.",
            false,
            text("\"holds-per-user\";q=60;w=60"),
        ),
        "WWW-Authenticate": header("The scheme of authentication.", false, text("Bearer")),
    });
}

/// Adds to each response the shared headers that it has, besides those that its handler declares.
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
            // Only with the code IDEMPOTENCY_IN_PROGRESS.
            "409" if is_keyed => names.push("Retry-After"),
            _ => {}
        }
        // Answers that are recorded under a key: successes and lasting refusals.
        if is_keyed && (status.starts_with('2') || matches!(status.as_str(), "402" | "404" | "409" | "410")) {
            names.push("Idempotency-Replayed");
        }
        if is_limited {
            names.extend(["RateLimit", "RateLimit-Policy"]);
        }
        for name in names {
            response["headers"][name] = match (name, status.as_str()) {
                ("Retry-After", "409") => json!({
                    "description": "With IDEMPOTENCY_IN_PROGRESS: the seconds until the next attempt.",
                    "schema": {"type": "integer", "minimum": 1},
                }),
                _ => json!({"$ref": format!("#/components/headers/{name}")}),
            };
        }
    }
}
