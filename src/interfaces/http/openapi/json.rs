//! Walking the document's JSON.

use serde_json::{Map, Value};

/// Calls `change` with the path and the object of every operation.
pub(super) fn for_each_operation(document: &mut Value, mut change: impl FnMut(&str, &mut Value)) {
    for (path, item) in members(&mut document["paths"]) {
        for (_, operation) in members(item) {
            change(path, operation);
        }
    }
}

/// The members of an object; none for any other value.
pub(super) fn members(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flat_map(Map::iter_mut)
}
