//! What one observed fact weighs, by class.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use smol_str::SmolStr;

/// What a fact adds to one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Weight {
    /// The class, as `verdict/cause`.
    pub class: SmolStr,
    /// Log-odds.
    pub weight: f64,
}

/// The weights of one fact: each class once, the heaviest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights(SmallVec<[Weight; 6]>);

impl Weights {
    /// Each class that weighs something, the heaviest first.
    pub fn iter(&self) -> impl Iterator<Item = &Weight> {
        self.0.iter()
    }
}

impl FromIterator<Weight> for Weights {
    fn from_iter<I: IntoIterator<Item = Weight>>(iter: I) -> Self {
        let mut all = SmallVec::<[Weight; 6]>::new();
        for new in iter {
            match all.iter_mut().find(|it| it.class == new.class) {
                Some(it) => it.weight += new.weight,
                None => all.push(new),
            }
        }
        all.sort_by(|a, b| {
            let heavier = b.weight.abs().total_cmp(&a.weight.abs());
            heavier.then_with(|| a.class.cmp(&b.class))
        });
        Self(all)
    }
}

impl FromIterator<(&'static str, f64)> for Weights {
    fn from_iter<I: IntoIterator<Item = (&'static str, f64)>>(iter: I) -> Self {
        let weights = iter.into_iter().map(|(class, weight)| Weight {
            class: SmolStr::new_static(class),
            weight,
        });
        weights.collect()
    }
}

impl Serialize for Weights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Weights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Weight>::deserialize(deserializer).map(Self::from_iter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_a_list_of_each_class_once_the_heaviest_first() {
        let weights: Weights = [("b", 1.5), ("a", -2.0), ("b", 0.25), ("c", 1.75)]
            .into_iter()
            .collect();
        let json = serde_json::to_string(&weights).unwrap();
        assert_eq!(
            json,
            r#"[{"class":"a","weight":-2.0},{"class":"b","weight":1.75},{"class":"c","weight":1.75}]"#
        );
        assert_eq!(serde_json::from_str::<Weights>(&json).unwrap(), weights);
    }
}
