//! The index templates that are shipped name every field that events have.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Ecs, Json};
use crate::delivery::Encoder;
use crate::event::samples;

/// Tables whose keys the events choose.
const TABLES: [&str; 3] = ["events", "noise", "coverage.sinks"];

/// The fields that a template names, and the objects that they are in.
fn named(properties: &Value, prefix: &str, names: &mut BTreeSet<String>) {
    for (key, field) in properties.as_object().unwrap() {
        let name = format!("{prefix}{key}");
        if let Some(inner) = field.get("properties") {
            named(inner, &format!("{name}."), names);
        }
        names.insert(name);
    }
}

fn fields(value: &Value, name: &str, is_table: &impl Fn(&str) -> bool) -> BTreeSet<String> {
    match value {
        _ if is_table(name) => BTreeSet::from([name.to_owned()]),
        Value::Object(object) => object
            .iter()
            .flat_map(|(key, value)| {
                let dot = if name.is_empty() { "" } else { "." };
                fields(value, &format!("{name}{dot}{key}"), is_table)
            })
            .collect(),
        Value::Array(items) if !items.is_empty() => items
            .iter()
            .flat_map(|item| fields(item, name, is_table))
            .collect(),
        _ => BTreeSet::from([name.to_owned()]),
    }
}

fn check(mut encoder: impl Encoder, template: &str, prefix: &str) {
    let template: Value = serde_json::from_str(template).unwrap();
    let mut names = BTreeSet::new();
    let properties = template.pointer("/template/mappings/properties").unwrap();
    named(properties, "", &mut names);
    let is_table = |name: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|name| TABLES.contains(&name))
    };
    let mut there = BTreeSet::new();
    for (event, number) in samples::all().into_iter().zip(0..) {
        let mut line = Vec::new();
        encoder
            .encode(&samples::message(event, number), &mut line)
            .unwrap();
        let document: Value = serde_json::from_slice(&line).unwrap();
        there.extend(fields(&document, "", &is_table));
    }
    let unnamed: Vec<_> = there.difference(&names).collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
}

#[test]
fn the_template_of_the_native_form_names_every_field() {
    let template = include_str!("../../../contrib/elasticsearch/kreset-native.json");
    check(Json, template, "");
}

#[test]
fn the_template_of_ecs_names_every_field() {
    let template = include_str!("../../../contrib/elasticsearch/kreset-ecs.json");
    check(Ecs, template, "kreset.");
}
