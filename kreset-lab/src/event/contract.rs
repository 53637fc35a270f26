//! The JSON Schema of the contract, as it is shipped: every event that a lab reads has to be valid.

use std::sync::LazyLock;

use jsonschema::{Validator, draft202012};
use serde_json::Value;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = include_str!("../../../docs/schema/kreset-1.schema.json");
    let schema: Value = serde_json::from_str(schema).expect("the shipped schema is JSON");
    draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .expect("the shipped schema is a JSON Schema")
});

/// Whether `line` is an event of the contract.
pub fn check(line: &str) -> Result<(), String> {
    let event: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let refusals: Vec<String> = SCHEMA
        .iter_errors(&event)
        .map(|error| format!("{error} (at {:?})", error.instance_path().to_string()))
        .collect();
    if refusals.is_empty() {
        Ok(())
    } else {
        Err(refusals.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: &str = include_str!("../../../kreset/golden/events.jsonl");

    #[test]
    fn one_event_of_each_type_is_valid() {
        for line in EVENTS.lines() {
            assert_eq!(check(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn what_the_schema_refuses_is_named() {
        let reset = EVENTS.lines().nth(1).expect("a reset");
        for (right, wrong, named) in [
            ("\"kreset/1\"", "\"kreset/2\"", "/schema"),
            ("\"id\":", "\"Id\":", "id"),
            ("\"confidence\":0.", "\"confidence\":\"0.", "confidence"),
            ("T14:", "T25:", "time"),
        ] {
            let mut broken = reset.replacen(right, wrong, 1);
            if named == "confidence" {
                broken = broken.replacen("0.973", "0.973\"", 1);
            }
            assert_ne!(broken, reset);
            assert!(check(&broken).is_err(), "{named}: {broken}");
        }
    }
}
