//! The problems of each operation: a schema for each code, and responses with examples.
//!
//! A handler declares its own codes in the extension `x-problems` of its annotation. [`implied_codes`] derives the
//! others from the operation's parameters, body and security. The tests' client compares every response with this list.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    schemas::referenced,
    schemes::{BEARER, QUEUE_TOKEN},
};
use crate::{
    domain::{
        clock::Instant,
        id::SeatId,
        points::Points,
        refusal::{ConflictReason, Refusal, SeatConflict},
    },
    interfaces::http::{
        context::RequestContext,
        problem::{BODY_CODES, CODES_OUTSIDE_OPERATIONS, Code, FieldError, Problem},
        words::{ConflictReasons, Words},
    },
};

/// The extension in which a handler lists its codes. It isn't published.
const PROBLEMS: &str = "x-problems";

/// Defines a schema for each code, and one for all of them.
pub(super) fn define(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
    let description = "The kind of the failure.";
    schemas["ProblemCode"] = json!({"type": "string", "description": description, "enum": codes});
    schemas["Problem"] = problem();
    schemas["FieldError"] = json!({
        "type": "object",
        "description": "An invalid field of a body, or an invalid parameter of a query or a header.",
        "properties": {
            "pointer": {"type": "string", "description": "The field, as a JSON pointer.", "examples": ["/seatIds/0"]},
            "parameter": {"type": "string", "description": "The parameter.", "examples": ["limit"]},
            "message": {"type": "string", "description": "The reason."},
        },
        "required": ["message"],
    });
    schemas["SeatConflict"] = json!({
        "type": "object",
        "description": "A seat that is unavailable.",
        "properties": {
            "seatId": {"type": "integer", "format": "int64", "minimum": 1, "examples": [41]},
            "reason": {"type": "string", "enum": ConflictReasons::ALL},
        },
        "required": ["seatId", "reason"],
    });
    for code in Code::ALL.iter().filter(|code| !CODES_OUTSIDE_OPERATIONS.contains(code)) {
        // An enum of one value instead of a constant: generators of clients can merge it with the enum of all codes.
        let mut extra = json!({
            "type": "object",
            "properties": {"code": {"type": "string", "enum": [code.name()]}},
            "required": ["code"],
        });
        for (name, member, is_always_there) in extra_members(*code) {
            extra["properties"][name] = member;
            if let (true, Some(required)) = (is_always_there, extra["required"].as_array_mut()) {
                required.push(name.into());
            }
        }
        schemas[schema_name(*code)] = json!({
            "description": format!("{}: `{}`, status {}.", code.title(), code.name(), code.status().as_u16()),
            "allOf": [{"$ref": "#/components/schemas/Problem"}, extra],
        });
    }
}

/// The schema of the members that every problem has.
fn problem() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "type": "object",
        "description": "The reason for which a request failed (RFC 9457).",
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "description": "The page that explains the code."},
            "title": text("The code in words."),
            "status": {"type": "integer", "format": "int32"},
            "detail": text("A human-readable explanation of this failure."),
            "instance": text("The request's path."),
            "code": {"$ref": "#/components/schemas/ProblemCode"},
            "requestId": text("The id of the request in the server's log."),
        },
        "required": ["type", "title", "status", "detail", "instance", "code", "requestId"],
    })
}

/// The additional members of a code: name, schema, and whether it is required.
fn extra_members(code: Code) -> Vec<(&'static str, Value, bool)> {
    let list = |name: &str| json!({"type": "array", "items": {"$ref": format!("#/components/schemas/{name}")}});
    let amount = || json!({"$ref": "#/components/schemas/Amount"});
    let count = |minimum: u32| json!({"type": "integer", "format": "int32", "minimum": minimum});
    match code {
        Code::VALIDATION_FAILED => vec![("errors", list("FieldError"), true)],
        Code::SEATS_UNAVAILABLE => vec![("conflicts", list("SeatConflict"), true)],
        Code::INSUFFICIENT_POINTS => vec![("balance", amount(), true), ("required", amount(), true)],
        Code::BALANCE_NOT_ZERO => vec![("balance", amount(), true)],
        Code::SEAT_LIMIT_EXCEEDED => vec![("limit", count(1), true), ("live", count(0), true)],
        Code::QUEUE_TOKEN_NOT_ACTIVE => {
            let position = json!({"type": ["integer", "null"], "format": "int32", "minimum": 1});
            vec![("position", position, true), ("pollAfterSeconds", count(1), true)]
        }
        Code::TICKET_ALREADY_USED => {
            vec![("admittedAt", json!({"$ref": "#/components/schemas/Timestamp"}), true)]
        }
        Code::RATE_LIMITED => vec![("limit", json!({"type": "string", "description": "The limit's name."}), false)],
        _ => vec![],
    }
}

/// `SeatsUnavailableProblem` for `SEATS_UNAVAILABLE`.
fn schema_name(code: Code) -> String {
    let word = |word: &str| format!("{}{}", &word[..1], word[1..].to_lowercase());
    code.name().split('_').map(word).chain(["Problem".to_owned()]).collect()
}

/// Adds the responses of an operation's failures, one per status.
pub(super) fn add(path: &str, operation: &mut Value, schemas: &Value) {
    let declared = operation.as_object_mut().and_then(|operation| operation.remove(PROBLEMS)).unwrap_or_default();
    let mut names = Vec::new();
    collect_names(&declared, &mut names);
    let implied = implied_codes(operation);
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL.iter().filter(|code| implied.contains(code) || names.contains(&code.name())) {
        by_status.entry(code.status().as_u16()).or_default().push(*code);
    }
    for (status, codes) in by_status {
        operation["responses"][status.to_string()] = response(path, operation, &codes, schemas);
    }
}

/// Collects the names in a list of codes, which may be nested.
fn collect_names<'a>(declared: &'a Value, names: &mut Vec<&'a str>) {
    match declared {
        Value::Array(codes) => codes.iter().for_each(|code| collect_names(code, names)),
        code => names.extend(code.as_str()),
    }
}

/// The codes that follow from an operation's tags, security, parameters and body.
fn implied_codes(operation: &Value) -> Vec<Code> {
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    let has = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
    let has_query = parameters.iter().any(|parameter| parameter["in"] == "query");
    let is = |tag: &str| operation["tags"].as_array().is_some_and(|tags| tags.iter().any(|name| name == tag));
    let needs =
        |scheme: &str| operation["security"].as_array().is_some_and(|all| all.iter().any(|one| !one[scheme].is_null()));
    let mut codes = Vec::new();
    if !is("operation") {
        codes.extend([
            Code::INTERNAL,
            Code::OVERLOADED,
            Code::DATABASE_UNAVAILABLE,
            Code::DRAINING,
            Code::CLOCK_SKEWED,
            Code::TIMEOUT,
        ]);
    }
    if needs(BEARER) {
        codes.push(Code::UNAUTHENTICATED);
    }
    if is("administration") {
        codes.push(Code::FORBIDDEN);
    }
    if needs(QUEUE_TOKEN) {
        codes.extend([Code::QUEUE_TOKEN_REQUIRED, Code::QUEUE_TOKEN_INVALID]);
    }
    if needs(QUEUE_TOKEN) && needs(BEARER) {
        codes.extend([
            Code::QUEUE_TOKEN_NOT_YOURS,
            Code::QUEUE_TOKEN_WRONG_CONCERT,
            Code::QUEUE_TOKEN_NOT_ACTIVE,
            Code::QUEUE_TOKEN_EXPIRED,
        ]);
    }
    if needs(BEARER) || needs(QUEUE_TOKEN) {
        // A token header may be repeated.
        codes.push(Code::MALFORMED_REQUEST);
    }
    if !operation["requestBody"].is_null() {
        codes.extend(BODY_CODES);
    }
    if has_query {
        codes.push(Code::VALIDATION_FAILED);
    }
    if has("cursor") {
        codes.push(Code::MALFORMED_REQUEST);
    }
    if has("Idempotency-Key") {
        codes.extend([Code::IDEMPOTENCY_KEY_REQUIRED, Code::IDEMPOTENCY_KEY_REUSED, Code::IDEMPOTENCY_IN_PROGRESS]);
    }
    codes
}

fn response(path: &str, operation: &Value, codes: &[Code], schemas: &Value) -> Value {
    let names: Vec<_> = codes.iter().map(|code| format!("`{}`", code.name())).collect();
    let schema = |code: &Code| json!({"$ref": format!("#/components/schemas/{}", schema_name(*code))});
    let schema = match codes {
        [code] => schema(code),
        codes => json!({"oneOf": codes.iter().map(schema).collect::<Vec<_>>()}),
    };
    let examples: BTreeMap<_, _> = codes
        .iter()
        .map(|code| (code.name(), json!({"summary": code.title(), "value": example(path, operation, *code, schemas)})))
        .collect();
    json!({
        "description": names.join(", "),
        "content": {"application/problem+json": {"schema": schema, "examples": examples}},
    })
}

/// An example of a problem.
fn example(path: &str, operation: &Value, code: Code, schemas: &Value) -> Value {
    let filled = path.split('/').map(|part| match part {
        "{concertId}" | "{performanceId}" => "1",
        part if part.starts_with('{') => "01939e6b-0c5e-7c6e-9d0a-3f1f2a6f7b10",
        part => part,
    });
    let uri = filled.collect::<Vec<_>>().join("/").parse().unwrap_or_default();
    let request_id = "01939e6b-0c5e-7c6e-9d0a-3f1f2a6f7b11".into();
    let context = RequestContext { request_id, uri, ..RequestContext::default() };
    let problem = match code {
        Code::VALIDATION_FAILED => Problem::validation(&[field_error(operation, schemas)]),
        Code::QUEUE_TOKEN_NOT_ACTIVE => Problem::new(code, "It is not your turn yet.")
            .with_member("position", 1_234.into())
            .with_member("pollAfterSeconds", 5.into()),
        Code::RATE_LIMITED => Problem::rate_limited(3).with_member("limit", "logins-per-address".into()),
        code => refusals()
            .into_iter()
            .map(Problem::from)
            .find(|problem| problem.code() == code)
            .unwrap_or_else(|| Problem::new(code, code.title())),
    };
    serde_json::from_slice(&problem.body(&context)).unwrap_or_default()
}

/// An example of an error in a request of the operation.
fn field_error(operation: &Value, schemas: &Value) -> FieldError {
    let schema = referenced(&operation["requestBody"]["content"]["application/json"]["schema"], schemas);
    let required = schema["required"].as_array().and_then(|names| names.first()?.as_str());
    let has_limit = operation["parameters"]
        .as_array()
        .is_some_and(|parameters| parameters.iter().any(|parameter| parameter["name"] == "limit"));
    match required {
        Some(name) => FieldError::pointer(format!("/{name}"), "is required"),
        None if has_limit => FieldError::parameter("limit", "must be a whole number from 1 to 100"),
        None => FieldError::pointer("/x", "is unknown"),
    }
}

/// An example of each refusal.
fn refusals() -> Vec<Refusal> {
    let conflict = |seat_id, reason| SeatConflict { seat_id: SeatId(seat_id), reason };
    let points = |text: &str| text.parse().unwrap_or(Points::ZERO);
    vec![
        Refusal::Unauthenticated,
        Refusal::InvalidCredentials,
        Refusal::InvalidRefreshToken,
        Refusal::Forbidden,
        Refusal::EmailTaken,
        Refusal::UserHasLiveBookings,
        Refusal::BalanceNotZero { balance: points("1000") },
        Refusal::QueueTokenRequired,
        Refusal::QueueTokenInvalid,
        Refusal::QueueTokenNotYours,
        Refusal::QueueTokenWrongConcert,
        Refusal::QueueTokenExpired,
        Refusal::ConcertNotFound,
        Refusal::DrawNotFound,
        Refusal::PerformanceNotFound,
        Refusal::SeatNotFound,
        Refusal::BookingNotFound,
        Refusal::PaymentNotFound,
        Refusal::UserBlocked,
        Refusal::EmailNotVerified,
        Refusal::InvalidCode,
        Refusal::LastAdmin,
        Refusal::UserNotFound,
        Refusal::SessionNotFound,
        Refusal::VenueNotFound,
        Refusal::EventNotFound,
        Refusal::WebhookNotFound,
        Refusal::SeatsUnavailable {
            requested: 3,
            conflicts: vec![conflict(41, ConflictReason::Held), conflict(42, ConflictReason::Sold)],
        },
        Refusal::SeatLimitExceeded { limit: 4, live: 3 },
        Refusal::SalesClosed,
        Refusal::SalesAlreadyOpen,
        Refusal::HoldAlreadyExtended,
        Refusal::HoldExpired,
        Refusal::BookingNotPayable { status: "CANCELLED" },
        Refusal::BookingNotCancellable,
        Refusal::RefundWindowClosed { cutoff_hours: 24 },
        Refusal::BookingNotConfirmed { status: "PENDING" },
        Refusal::TicketNotFound,
        Refusal::TicketAlreadyUsed {
            admitted_at: Instant::from_timestamp_millis(1_795_161_731_123).unwrap_or_default(),
        },
        Refusal::TicketNotValid { reason: "its booking is REFUNDED".to_owned() },
        Refusal::ConcertHasBookings,
        Refusal::InsufficientPoints { balance: points("1000"), required: points("110000") },
        Refusal::BalanceLimitExceeded,
        Refusal::PreconditionFailed { version: 7 },
        Refusal::TopUpRequired,
        Refusal::NoPaymentProvider,
        Refusal::TopUpNotFound,
        Refusal::TopUpNotRefundable,
        Refusal::PaymentProviderNotFound,
        Refusal::InvalidSignature,
        Refusal::IdempotencyKeyReused,
        Refusal::IdempotencyInProgress,
    ]
}
