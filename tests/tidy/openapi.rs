//! The OpenAPI document: problem codes, effects, failures and examples of every operation.

use std::collections::BTreeSet;

use concert_reservation::interfaces::http::{
    problem::{CODES_OUTSIDE_OPERATIONS, Code},
    router::document,
};
use serde_json::Value;

use crate::assert_none;

/// Operations that can't fail, since they read nothing.
const INFALLIBLE: [&str; 3] = ["get_livez", "get_metrics", "get_version"];

/// Every operation of the document, with its method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("there are paths") {
        for (method, operation) in item.as_object().expect("a path has methods") {
            if operation.get("responses").is_some() {
                operations.push((format!("{method} {path}"), operation));
            }
        }
    }
    assert!(operations.len() > 30, "{}", operations.len());
    operations
}

#[test]
fn every_problem_code_is_documented_and_has_one_meaning() {
    let document = serde_json::to_value(document(None)).unwrap();
    let mut documented = BTreeSet::new();
    for (_, operation) in operations(&document) {
        for response in operation["responses"].as_object().unwrap().values() {
            let examples = &response["content"]["application/problem+json"]["examples"];
            documented.extend(examples.as_object().into_iter().flat_map(|it| it.keys().cloned()));
        }
    }
    let mut findings = Vec::new();
    let mut names = BTreeSet::new();
    for code in Code::ALL {
        if !names.insert(code.name()) {
            findings.push(format!("{} is there twice", code.name()));
        }
        if documented.contains(code.name()) == CODES_OUTSIDE_OPERATIONS.contains(code) {
            findings.push(format!("{}: either an operation documents it, or it is listed as of none", code.name()));
        }
    }
    for name in documented.iter().filter(|name| !names.contains(name.as_str())) {
        findings.push(format!("{name} is documented and isn't a code"));
    }
    assert_none(&findings);
}

#[test]
fn every_operation_documents_its_effect_and_its_failures() {
    let document = serde_json::to_value(document(None)).unwrap();
    let mut findings = Vec::new();
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap_or("");
        if id.is_empty() || !ids.insert(id) {
            findings.push(format!("{name}: the operationId {id:?} is missing or not its own"));
        }
        if operation["summary"].as_str().is_none_or(str::is_empty) {
            findings.push(format!("{name}: no summary"));
        }
        let fails = operation["responses"].as_object().unwrap().keys().any(|it| it.starts_with(['4', '5']));
        if fails == INFALLIBLE.contains(&id) {
            findings.push(format!("{name}: documents a failure or is listed as infallible, not both"));
        }
        for (media_type, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
            let lacking = fields_without_example(&document, &content["schema"], "");
            findings.extend(lacking.iter().map(|field| format!("{name}: no example of {field} ({media_type})")));
        }
    }
    assert_none(&findings);
}

/// The fields of a schema without an example.
fn fields_without_example(document: &Value, schema: &Value, pointer: &str) -> Vec<String> {
    if schema.get("example").is_some() || schema.get("examples").is_some() {
        return Vec::new();
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).expect("a reference leads somewhere");
        return fields_without_example(document, target, pointer);
    }
    for several in ["allOf", "oneOf", "anyOf"] {
        if let Some(parts) = schema[several].as_array() {
            let parts = parts.iter().filter(|part| part["type"] != "null");
            return parts.flat_map(|part| fields_without_example(document, part, pointer)).collect();
        }
    }
    if let Some(properties) = schema["properties"].as_object() {
        let fields = properties.iter();
        return fields
            .flat_map(|(name, it)| fields_without_example(document, it, &format!("{pointer}/{name}")))
            .collect();
    }
    if schema.get("items").is_some() {
        return fields_without_example(document, &schema["items"], &format!("{pointer}/0"));
    }
    vec![pointer.to_owned()]
}
