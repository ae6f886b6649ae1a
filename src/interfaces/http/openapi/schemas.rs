//! Makes the schemas exact: required fields, nullable fields, and unknown fields.

use serde_json::{Map, Value, json};

use super::json::members;

/// Completes every schema that utoipa derived.
pub(super) fn make_exact(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    let derived = schemas.clone();
    for (name, schema) in members(schemas) {
        flatten(schema, &derived);
        if name.ends_with("Request") && schema["properties"].is_object() {
            // Requests with unknown fields are refused.
            schema["additionalProperties"] = false.into();
        } else if let Some(properties) = schema["properties"].as_object() {
            // Responses have all fields, including those that are null.
            schema["required"] = properties.keys().cloned().collect();
        }
    }
}

/// Replaces `allOf`, which utoipa derives for a flattened struct, by one object.
fn flatten(schema: &mut Value, derived: &Value) {
    let Some(parts) = schema["allOf"].as_array() else { return };
    let mut properties = Map::new();
    for part in parts {
        let part = referenced(part, derived);
        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
    }
    let description = schema["description"].clone();
    *schema = json!({"type": "object", "description": description, "properties": properties});
}

/// Follows a reference to a schema.
pub(super) fn referenced<'a>(schema: &'a Value, schemas: &'a Value) -> &'a Value {
    match schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        Some(name) => &schemas[name],
        None => schema,
    }
}

/// Removes `null` from the types of a schema.
pub(super) fn forbid_null(schema: &mut Value) {
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|kind| kind != "null");
        if let [kind] = types.as_slice() {
            schema["type"] = kind.clone();
        }
    }
    if let Some(choices) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        choices.retain(|choice| choice["type"] != "null");
        if let [choice] = choices.as_slice() {
            *schema = choice.clone();
        }
    }
}
