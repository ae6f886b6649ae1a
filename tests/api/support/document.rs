//! Checks every answer against the OpenAPI document.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, LazyLock, Mutex},
};

use axum::http::Method;
use concert_reservation::{
    domain::event::KINDS,
    interfaces::http::{
        problem::{CODES_OUTSIDE_OPERATIONS, Code},
        router::document,
    },
};
use jsonschema::Validator;
use serde_json::{Value, json};

use super::{Received, Reply};

/// Longer bodies take too long to validate.
const MAX_CHECKED_BYTES: usize = 100_000;

/// Headers that an answer may have only where the document declares them.
const DECLARED: [&str; 8] = [
    "etag",
    "idempotency-replayed",
    "location",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "www-authenticate",
    "x-request-id",
];

static DOCUMENT: LazyLock<DocumentedApi> = LazyLock::new(DocumentedApi::new);

/// The document, with objects closed to undocumented members.
struct DocumentedApi {
    document: Value,
    operations: Vec<Operation>,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

struct Operation {
    method: Method,
    path: Vec<String>,
    responses: Value,
}

impl DocumentedApi {
    fn new() -> Self {
        let mut document = serde_json::to_value(document(None)).unwrap();
        for (name, schema) in document["components"]["schemas"].as_object_mut().unwrap() {
            // Other schemas add members to this one.
            if name != "Problem" {
                close(schema);
            }
        }
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                operations.push(Operation {
                    method: method.to_uppercase().parse().unwrap(),
                    path: path.split('/').map(str::to_owned).collect(),
                    responses: operation["responses"].clone(),
                });
            }
        }
        Self { document, operations, validators: Mutex::default() }
    }

    fn operation(&self, method: &Method, path: &str) -> Option<&Operation> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let parts: Vec<_> = path.split('/').collect();
        let fits = |operation: &&Operation| {
            let is_part = |(template, part): (&String, &&str)| {
                template == part || (template.starts_with('{') && !part.is_empty())
            };
            operation.method == *method
                && operation.path.len() == parts.len()
                && operation.path.iter().zip(&parts).all(is_part)
        };
        // The most specific path: the one with the fewest parameters.
        let parameters = |operation: &&Operation| operation.path.iter().filter(|part| part.starts_with('{')).count();
        self.operations.iter().filter(fits).min_by_key(parameters)
    }

    /// The violations of a schema by a value.
    fn errors(&self, schema: &Value, value: &Value) -> Vec<String> {
        let validator = Arc::clone(
            self.validators
                .lock()
                .unwrap()
                .entry(schema.to_string())
                .or_insert_with(|| Arc::new(jsonschema::validator_for(&self.alone(schema)).unwrap())),
        );
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    /// A schema with all schemas that it references.
    fn alone(&self, schema: &Value) -> Value {
        let all = &self.document["components"]["schemas"];
        let (mut needed, mut found) = (BTreeMap::new(), references(schema));
        while let Some(name) = found.pop_first() {
            if !needed.contains_key(&name) {
                found.extend(references(&all[&name]));
                needed.insert(name.clone(), all[&name].clone());
            }
        }
        let mut schema = schema.clone();
        schema["components"] = json!({ "schemas": needed });
        schema
    }
}

/// The names of the schemas that a value references.
fn references(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, member)| match (name.as_str(), member.as_str()) {
                ("$ref", Some(reference)) => {
                    BTreeSet::from([reference.rsplit('/').next().unwrap_or_default().to_owned()])
                }
                _ => references(member),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => BTreeSet::new(),
    }
}

/// Forbids undocumented members: clients must accept them, but the servers under test must not send them.
fn close(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    if members.contains_key("allOf") {
        members.insert("unevaluatedProperties".to_owned(), false.into());
        return;
    }
    if members.contains_key("properties") {
        members.entry("additionalProperties").or_insert(false.into());
    }
    let properties = members.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flat_map(|properties| properties.values_mut()).for_each(close);
    if let Some(items) = members.get_mut("items") {
        close(items);
    }
}

/// Fails the test if an answer differs from the document.
pub(crate) fn check(method: &Method, path: &str, reply: &Reply) {
    let path = path.split('?').next().unwrap_or_default();
    let Some(operation) = DOCUMENT.operation(method, path) else { return };
    if path.starts_with("/api/v1/") {
        assert!(reply.headers.contains_key("cache-control"), "{reply:?}: no Cache-Control");
    }
    let is_json = ["application/json", "application/problem+json"].contains(&reply.header("content-type"));
    let body = (is_json && *method != Method::HEAD && reply.header("content-encoding").is_empty())
        .then(|| serde_json::from_slice::<Value>(&reply.bytes).ok())
        .flatten();
    if body
        .as_ref()
        .is_some_and(|body| CODES_OUTSIDE_OPERATIONS.map(Code::name).iter().any(|code| body["code"] == *code))
    {
        return;
    }
    let response = &operation.responses[reply.status.as_str()];
    assert!(!response.is_null(), "{reply:?}: the OpenAPI document lists no such status, see openapi/problems.rs");
    check_headers(response, reply);
    let Some(body) = body.filter(|_| reply.bytes.len() <= MAX_CHECKED_BYTES) else { return };
    let schema = &response["content"][reply.header("content-type")]["schema"];
    assert!(!schema.is_null(), "{reply:?}: the OpenAPI document lists no {}", reply.header("content-type"));
    let errors = DOCUMENT.errors(schema, &body);
    assert!(errors.is_empty(), "{reply:?}: differs from the OpenAPI document: {errors:#?}");
}

fn check_headers(response: &Value, reply: &Reply) {
    let no_headers = serde_json::Map::new();
    let declared = response["headers"].as_object().unwrap_or(&no_headers);
    for (name, header) in declared {
        let target = header["$ref"].as_str().map(|reference| &reference[1..]);
        let header = target.map_or(header, |pointer| DOCUMENT.document.pointer(pointer).unwrap());
        let is_missing = header["required"] == true && !reply.headers.contains_key(name.as_str());
        assert!(!is_missing, "{reply:?}: no {name}");
    }
    let declared: BTreeSet<_> = declared.keys().map(|name| name.to_lowercase()).collect();
    let undeclared = DECLARED.iter().filter(|name| reply.headers.contains_key(**name) && !declared.contains(**name));
    let undeclared: Vec<_> = undeclared.collect();
    assert!(undeclared.is_empty(), "{reply:?}: the OpenAPI document lists no {undeclared:?}");
}

/// Fails the test if an event differs from the document.
pub(crate) fn check_event(received: &Received) {
    let Ok(event) = serde_json::from_slice::<Value>(&received.bytes) else { return };
    let Some(kind) = event["type"].as_str() else { return };
    // An event type of another version of the server.
    if !KINDS.contains(&kind) {
        return;
    }
    let content = &DOCUMENT.document["webhooks"][kind]["post"]["requestBody"]["content"];
    let schema = &content["application/cloudevents+json"]["schema"];
    assert!(!schema.is_null(), "the OpenAPI document has no webhook {kind}");
    let errors = DOCUMENT.errors(schema, &event);
    assert!(errors.is_empty(), "{event}: differs from the OpenAPI document: {errors:#?}");
}

/// Every example of a request or response that violates its schema, with its operation and the violation.
pub(crate) fn invalid_examples() -> Vec<String> {
    let mut wrong = Vec::new();
    let document = &DOCUMENT.document;
    for part in ["paths", "webhooks"] {
        for (path, item) in document[part].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let responses = operation["responses"].as_object().unwrap().values();
                for holder in responses.chain([&operation["requestBody"]]) {
                    for (media_type, content) in holder["content"].as_object().into_iter().flatten() {
                        if !media_type.ends_with("json") {
                            continue;
                        }
                        let named = content["examples"].as_object().into_iter().flatten();
                        let named = named.map(|(_, example)| &example["value"]);
                        for example in named.chain(content.get("example")) {
                            let errors = DOCUMENT.errors(&content["schema"], example);
                            wrong.extend(errors.iter().map(|error| format!("{method} {path}: {example}: {error}")));
                        }
                    }
                }
            }
        }
    }
    wrong
}
