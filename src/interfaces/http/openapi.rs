//! The OpenAPI document: what the handlers say of themselves, completed with what holds for all of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::openapi::{
    Components, Content, InfoBuilder, LicenseBuilder, OpenApi, Ref, RefOr, ResponseBuilder,
    example::ExampleBuilder,
    path::{Operation, ParameterIn},
    schema::{ArrayBuilder, ObjectBuilder, Schema, Type},
    security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    tag::TagBuilder,
};

use super::{
    admin, booking, concert, draw, event, operation, payment, point, problem::Code, queue, seat, seat_events, user,
};

/// The security scheme of access tokens.
pub const BEARER: &str = "accessToken";

/// The security scheme of queue tokens.
pub const QUEUE_TOKEN: &str = "queueToken";

/// An operation's id, and the codes it can fail with besides those that follow from its form.
pub type Failures = &'static [(&'static str, &'static [Code])];

/// Adds what the handlers needn't repeat: information, security schemes, and every operation's failures with
/// examples.
pub fn complete(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("concert-reservation")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build()))
        .contact(None::<utoipa::openapi::Contact>)
        .build();
    document.tags =
        Some(TAGS.iter().map(|(name, text)| TagBuilder::new().name(*name).description(Some(*text)).build()).collect());
    let components = document.components.get_or_insert_default();
    add_components(components);
    close_requests(components);
    let failures = failures();
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            describe_key(operation);
            add_failures(operation, &failures);
        }
    }
    document
}

const DESCRIPTION: &str = "Sells concert seats to thousands of people at once: fairly, and never a seat twice.

The way of a buyer: `POST /users`, `POST /auth/login` (then **Authorize** with the access token), `GET /concerts`, \
`POST /queue/tokens`, `GET /queue/tokens/current` until it is `ACTIVE` (then **Authorize** with the queue token), \
`GET /performances/{performanceId}/seats`, `POST /bookings`, `POST /points/charges`, `POST /payments`.

Every failure is `application/problem+json` with a `code`; the page at its `type` explains it.";

const TAGS: &[(&str, &str)] = &[
    ("users", "Accounts and logins"),
    ("concerts", "What is on: open to all"),
    ("queue", "The waiting queue"),
    ("seats", "Seat maps, behind the queue"),
    ("bookings", "Holding seats, and what becomes of them"),
    ("points", "The prepaid balance"),
    ("payments", "Paying for a booking"),
    ("administration", "For the role ADMIN"),
    ("operation", "For operators"),
];

fn failures() -> BTreeMap<&'static str, &'static [Code]> {
    [
        user::FAILURES,
        concert::FAILURES,
        queue::FAILURES,
        draw::FAILURES,
        seat::FAILURES,
        seat_events::FAILURES,
        booking::FAILURES,
        point::FAILURES,
        payment::FAILURES,
        admin::FAILURES,
        event::FAILURES,
        operation::FAILURES,
    ]
    .into_iter()
    .flatten()
    .copied()
    .collect()
}

fn add_components(components: &mut Components) {
    let bearer =
        Http::builder().scheme(HttpAuthScheme::Bearer).description(Some("The accessToken of a login.")).build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    let queue_token = ApiKeyValue::with_description("Queue-Token", "The queueToken, once it is ACTIVE.");
    components.add_security_scheme(QUEUE_TOKEN, SecurityScheme::ApiKey(ApiKey::Header(queue_token)));
    components.schemas.insert("Problem".to_owned(), problem_schema());
}

fn problem_schema() -> RefOr<Schema> {
    let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    let error = ObjectBuilder::new()
        .property("pointer", text("The bad field of a body, as a JSON pointer."))
        .property("parameter", text("The bad parameter of a query or header."))
        .property("message", text("What is wrong with it."))
        .required("message");
    ObjectBuilder::new()
        .description(Some("Why it was not done (RFC 9457). Nothing was changed."))
        .property("type", text("The page that explains the code."))
        .required("type")
        .property("title", text("The code, as people write."))
        .required("title")
        .property("status", ObjectBuilder::new().schema_type(Type::Integer))
        .required("status")
        .property("detail", text("A sentence for people."))
        .required("detail")
        .property("instance", text("The request's path."))
        .required("instance")
        .property("code", text("The meaning, for machines."))
        .required("code")
        .property("requestId", text("Names the request in the server's log."))
        .required("requestId")
        .property("errors", ArrayBuilder::new().items(error))
        .into()
}

/// Request types take no unknown fields.
fn close_requests(components: &mut Components) {
    for (name, schema) in &mut components.schemas {
        if let (true, RefOr::T(Schema::Object(object))) = (name.ends_with("Request"), schema) {
            object.additional_properties =
                Some(Box::new(utoipa::openapi::schema::AdditionalProperties::FreeForm(false)));
        }
    }
}

fn operations(item: &mut utoipa::openapi::PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
}

/// Says how an idempotency key must look, wherever one is taken.
fn describe_key(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && parameter.name == "Idempotency-Key"
        {
            let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[!-~]{1,255}$"));
            parameter.schema = Some(text.examples(["0b9f6f0e-7c1d-4c55-9d0e-3a1f0f6b2a10"]).into());
        }
    }
}

fn add_failures(operation: &mut Operation, failures: &BTreeMap<&str, &[Code]>) {
    let id = operation.operation_id.clone().unwrap_or_default();
    let mut codes = implied(operation);
    codes.extend(failures.get(id.as_str()).copied().unwrap_or_default());
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL.iter().filter(|code| codes.contains(code)) {
        by_status.entry(code.status().as_u16()).or_default().push(*code);
    }
    for (status, codes) in by_status {
        let response = RefOr::T(response(&codes));
        operation.responses.responses.entry(status.to_string()).or_insert(response);
    }
}

/// What an operation can fail with because of its form.
fn implied(operation: &Operation) -> Vec<Code> {
    let security = serde_json::to_string(&operation.security).unwrap_or_default();
    let parameters: Vec<_> = operation
        .parameters
        .iter()
        .flatten()
        .filter_map(|parameter| if let RefOr::T(parameter) = parameter { Some(parameter) } else { None })
        .collect();
    let has = |name: &str| parameters.iter().any(|parameter| parameter.name == name);
    let has_query = parameters.iter().any(|parameter| matches!(parameter.parameter_in, ParameterIn::Query));
    let is = |tag: &str| operation.tags.as_ref().is_some_and(|tags| tags.iter().any(|name| name == tag));
    let mut codes = Vec::new();
    if !is("operation") {
        codes.extend([
            Code::INTERNAL,
            Code::OVERLOADED,
            Code::DATABASE_UNAVAILABLE,
            Code::DRAINING,
            Code::CLOCK_SKEWED,
            Code::TIMEOUT,
            Code::RATE_LIMITED,
        ]);
    }
    if security.contains(BEARER) || security.contains(QUEUE_TOKEN) {
        // A token that was sent twice.
        codes.push(Code::MALFORMED_REQUEST);
    }
    if security.contains(BEARER) {
        codes.push(Code::UNAUTHENTICATED);
    }
    if is("administration") {
        codes.push(Code::FORBIDDEN);
    }
    if security.contains(QUEUE_TOKEN) {
        codes.extend([Code::QUEUE_TOKEN_REQUIRED, Code::QUEUE_TOKEN_INVALID]);
        if security.contains(BEARER) {
            codes.extend([
                Code::QUEUE_TOKEN_NOT_YOURS,
                Code::QUEUE_TOKEN_WRONG_CONCERT,
                Code::QUEUE_TOKEN_NOT_ACTIVE,
                Code::QUEUE_TOKEN_EXPIRED,
            ]);
        }
    }
    if operation.request_body.is_some() {
        codes.extend([
            Code::MALFORMED_REQUEST,
            Code::PAYLOAD_TOO_LARGE,
            Code::UNSUPPORTED_MEDIA_TYPE,
            Code::VALIDATION_FAILED,
        ]);
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

fn response(codes: &[Code]) -> utoipa::openapi::Response {
    let names: Vec<_> = codes.iter().map(|code| format!("`{}`", code.name())).collect();
    let mut content = Content::new(Some(Ref::from_schema_name("Problem")));
    content.examples = codes
        .iter()
        .map(|code| (code.name().to_owned(), RefOr::T(ExampleBuilder::new().value(Some(example(*code))).build())))
        .collect();
    ResponseBuilder::new().description(names.join(", ")).content("application/problem+json", content).build()
}

fn example(code: Code) -> Value {
    let mut body = json!({
        "type": code.page(), "title": code.title(), "status": code.status().as_u16(),
        "detail": code.title(), "instance": "/api/v1/…", "code": code.name(),
        "requestId": "01939e6b-0c5e-7c6e-9d0a-3f1f2a6f7b10",
    });
    match code {
        Code::VALIDATION_FAILED => {
            body["errors"] =
                json!([{"pointer": "/seatIds/0", "message": "must be a whole number from 1 to 9223372036854775807"}]);
        }
        Code::SEATS_UNAVAILABLE => body["conflicts"] = json!([{"seatId": 41, "reason": "HELD"}]),
        Code::INSUFFICIENT_POINTS => {
            body["balance"] = json!("1000");
            body["required"] = json!("110000");
        }
        Code::QUEUE_TOKEN_NOT_ACTIVE => {
            body["position"] = json!(1_234);
            body["pollAfterSeconds"] = json!(5);
        }
        _ => {}
    }
    body
}
