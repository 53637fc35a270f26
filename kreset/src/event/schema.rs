//! The JSON Schema of the contract, made from the types.
//!
//! The file under `docs/schema/` is what others rely on. A test keeps it
//! what the types say (`KRESET_UPDATE=1` writes it anew), and another keeps
//! what is written valid by it.

use std::{collections::BTreeSet, path::Path};

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::{Event, Line, SCHEMA, samples};
use crate::util::golden::same_as_file;

fn schema() -> Value {
    // What comes out, rather than what would be read: a key that may be null
    // is there all the same.
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema: Value = settings
        .into_generator()
        .into_root_schema_for::<Line<'_>>()
        .into();
    schema["$id"] = format!("urn:{}", SCHEMA.replace('/', ":")).into();
    schema["title"] = "An event of kreset".into();
    schema["properties"]["schema"]["const"] = SCHEMA.into();
    for definition in schema["$defs"].as_object_mut().unwrap().values_mut() {
        if let Some(time) = definition.pointer_mut("/properties/time") {
            time["format"] = "date-time".into();
        }
    }
    schema
}

#[test]
fn the_file_is_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema/kreset-1.schema.json");
    // The links of rustdoc mean nothing there.
    let text = format!("{:#}\n", schema())
        .replace("[`", "`")
        .replace("`]", "`");
    same_as_file(&path, &text);
}

#[test]
fn what_is_written_is_valid() {
    let schema = schema();
    for event in samples::messages() {
        let value = serde_json::to_value(Line::new(&event)).unwrap();
        assert_eq!(check(&schema, &schema, &value), Ok(()), "{event:?}");
    }
}

#[test]
fn a_key_that_is_missing_new_or_of_another_type_is_not_valid() {
    let schema = schema();
    let event = samples::message(Event::Reset(Box::new(samples::finding())), 1);
    let valid = serde_json::to_value(Line::new(&event)).unwrap();
    for object in [
        "",
        "/host",
        "/connection",
        "/reset",
        "/process",
        "/path",
        "/evidence/0",
        "/candidates/0",
    ] {
        let keys: Vec<_> = valid
            .pointer(object)
            .unwrap()
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        let broken = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
            let mut value = valid.clone();
            change(value.pointer_mut(object).unwrap().as_object_mut().unwrap());
            assert!(check(&schema, &schema, &value).is_err(), "{value:#}");
        };
        for key in &keys {
            broken(&|object| drop(object.remove(key)));
            broken(&|object| drop(object.insert(key.clone(), json!([[]]))));
        }
        broken(&|object| drop(object.insert("new".to_owned(), Value::Null)));
    }
}

/// Judges `value` by `schema`, more strictly than JSON Schema: a key that no
/// schema names is refused. It knows the keywords that this schema uses and
/// fails on any other; a general validator would be sixty crates.
fn check(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let mut named = BTreeSet::new();
    apply(root, schema, value, &mut named)?;
    let keys = value
        .as_object()
        .into_iter()
        .flat_map(|object| object.keys());
    match keys.into_iter().find(|key| !named.contains(*key)) {
        None => Ok(()),
        Some(key) => Err(format!("no schema names {key}")),
    }
}

fn apply(
    root: &Value,
    schema: &Value,
    value: &Value,
    named: &mut BTreeSet<String>,
) -> Result<(), String> {
    let wrong = |keyword: &str| Err(format!("{keyword} of {schema} refuses {value}"));
    for (keyword, argument) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$ref" => {
                let target = argument.as_str().unwrap().strip_prefix('#').unwrap();
                apply(root, root.pointer(target).unwrap(), value, named)?;
            }
            "const" if argument != value => return wrong(keyword),
            "type" => {
                let types = argument
                    .as_array()
                    .map_or_else(|| std::slice::from_ref(argument), Vec::as_slice);
                if !types
                    .iter()
                    .any(|name| is_of(name.as_str().unwrap(), value))
                {
                    return wrong(keyword);
                }
            }
            "minimum" if value.as_f64() < argument.as_f64() && value.is_number() => {
                return wrong(keyword);
            }
            "maximum" if value.as_f64() > argument.as_f64() => return wrong(keyword),
            // A bound that holds, or nothing that judges.
            "const" | "minimum" | "maximum" | "$schema" | "$id" | "$defs" | "title"
            | "description" | "format" => {}
            "oneOf" | "anyOf" => {
                let fits = |it: &&Value| apply(root, it, value, &mut BTreeSet::new()).is_ok();
                let fitting: Vec<_> = argument.as_array().unwrap().iter().filter(fits).collect();
                if fitting.is_empty() || (keyword == "oneOf" && fitting.len() > 1) {
                    return wrong(keyword);
                }
                fitting
                    .iter()
                    .try_for_each(|it| apply(root, it, value, named))?;
            }
            "items" => {
                value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .try_for_each(|item| check(root, argument, item))?;
            }
            "required" => {
                let key = |key: &Value| value.get(key.as_str().unwrap()).is_some();
                if value.is_object() && !argument.as_array().unwrap().iter().all(key) {
                    return wrong(keyword);
                }
            }
            "properties" | "additionalProperties" => {
                for (key, item) in value.as_object().into_iter().flatten() {
                    let schema = match keyword.as_str() {
                        "properties" => argument.get(key),
                        _ => Some(argument).filter(|_| schema["properties"].get(key).is_none()),
                    };
                    if let Some(schema) = schema {
                        check(root, schema, item)?;
                        named.insert(key.clone());
                    }
                }
            }
            other => return Err(format!("this test does not know the keyword {other}")),
        }
    }
    Ok(())
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("this test does not know the type {other}"),
    }
}
