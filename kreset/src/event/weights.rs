//! What one observed fact weighs, by class.

use serde::{Serialize, Serializer};
use smallvec::SmallVec;

/// Log-odds by the name of their class: an object in JSON, its keys in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights(SmallVec<[(&'static str, f64); 6]>);

impl Weights {
    /// Adds `weight` to what `class` weighs already.
    pub fn add(&mut self, class: &'static str, weight: f64) {
        match self.0.binary_search_by_key(&class, |(name, _)| name) {
            Ok(at) => self.0[at].1 += weight,
            Err(at) => self.0.insert(at, (class, weight)),
        }
    }

    /// Each class that weighs something, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<(&'static str, f64)> for Weights {
    fn from_iter<I: IntoIterator<Item = (&'static str, f64)>>(iter: I) -> Self {
        let mut all = Self::default();
        for (class, weight) in iter {
            all.add(class, weight);
        }
        all
    }
}

impl Serialize for Weights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Weights {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        Map::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Map::json_schema(generator)
    }
}

/// What it is to a reader.
#[cfg(test)]
type Map = std::collections::BTreeMap<String, f64>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_an_object_whose_keys_are_in_order() {
        let weights: Weights = [("b", 1.5), ("a", -2.0), ("b", 0.25)].into_iter().collect();
        let json = serde_json::to_string(&weights).unwrap();
        assert_eq!(json, r#"{"a":-2.0,"b":1.75}"#);
    }
}
