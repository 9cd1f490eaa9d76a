//! The JSON Schema of a job file, made from its types.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::file::JobFile;
use super::job::OutputMode;

/// The JSON Schema (draft 2020-12) of a job file, for editors and for `phalanx schema`.
pub fn json_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<JobFile>().to_value()
}

pub(super) fn example() -> Value {
    json!({
        "name": "digits",
        "ranks": 4,
        "command": ["python", "train.py", "--epochs", "3"],
        "env": {"OMP_NUM_THREADS": 8},
        "maxRestarts": 3,
        "output": {"mode": "label", "logDir": "logs"},
    })
}

/// An optional key may be absent; it may not be null.
pub(super) fn without_null(schema: &mut Schema) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for property in properties.values_mut() {
        let Value::Object(property) = property else { continue };
        if let Some(Value::Array(types)) = property.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                property.insert("type".into(), only);
            }
        }
        if let Some(Value::Array(branches)) = property.get_mut("anyOf") {
            branches.retain(|branch| *branch != json!({"type": "null"}));
            if let [Value::Object(only)] = branches.as_slice() {
                let only = only.clone();
                property.remove("anyOf");
                for (key, value) in only {
                    property.entry(key).or_insert(value);
                }
            }
        }
    }
}

/// `output` is its mapping, or a mode alone.
pub(super) fn mode_or_mapping(schema: &mut Schema) {
    without_null(schema);
    let mode = OutputMode::json_schema(&mut SchemaGenerator::default());
    *schema = json_schema!({"anyOf": [mode, schema.clone()]});
}
