//! A JSON value as the tree that a YAML text would have given.
//!
//! What a client sends does not go through the YAML parser: it has no lines that a person wrote, it may
//! hold characters that YAML does not print, and a tree that is there needs no second parser to trust.

use serde_json::Value as Json;

use super::place::NOWHERE;
use crate::yaml::{Key, Node, Value};

/// The same content; a number as it would be written without an exponent.
pub(super) fn tree(json: Json) -> Node {
    let plain = |text: String| Value::Scalar { text, quoted: false };
    let value = match json {
        Json::Null => plain("null".to_string()),
        Json::Bool(truth) => plain(truth.to_string()),
        Json::Number(number) => plain(match (number.as_u64(), number.as_f64()) {
            (None, Some(float)) => float.to_string(),
            _ => number.to_string(),
        }),
        Json::String(text) => Value::Scalar { text, quoted: true },
        Json::Array(items) => Value::List(items.into_iter().map(tree).collect()),
        Json::Object(entries) => Value::Mapping(
            entries.into_iter().map(|(text, value)| (Key { span: NOWHERE, text }, tree(value))).collect(),
        ),
    };
    Node { span: NOWHERE, value }
}
