//! The `[[sink]]` tables.

use serde::{Deserialize, Deserializer, de::Error as _};
use toml::{Spanned, de::DeValue};

use super::value::{Problem, Refusal, keys};
use crate::{
    event::{Kind, Verdict, filter::SinkFilter},
    sink::{SinkConfig, Target},
};

/// Reads one table; where it is refused, the byte and a sentence.
pub(super) fn read(table: &Spanned<DeValue<'_>>) -> Result<SinkConfig, (usize, String)> {
    sink(table).map_err(|refusal| refusal.into_parts(table.span().start))
}

fn sink(table: &Spanned<DeValue<'_>>) -> Result<SinkConfig, Refusal> {
    let Type { kind } = Type::deserialize(keys(table, |key| key == "type"))
        .map_err(|refusal| complete(refusal, |key| (key == "type").then_some("file")))?;
    let common = |key: &str| {
        let filter = Target::is_filtered(&kind) && Common::FILTER.contains(&key);
        Common::EVERY.contains(&key) || filter
    };
    let target = Target::deserialize(&kind, keys(table, |key| !common(key)));
    let target = target.map_err(|mut refusal| {
        if let Problem::UnknownKey { known, .. } = &mut refusal.problem {
            let all = Common::EVERY.into_iter().chain(Common::FILTER);
            let own = std::mem::take(known);
            known.extend(all.filter(|key| common(key)).chain(own));
        }
        complete(refusal, |key| Target::example(&kind, key))
    })?;
    let Common {
        name,
        events,
        verdicts,
        min_confidence,
    } = Common::deserialize(keys(table, |key| key != "type" && common(key)))?;
    Ok(SinkConfig {
        name: name.map_or(kind, |Name(name)| name),
        filter: SinkFilter {
            events: events.into_iter().map(|EventType(it)| it).collect(),
            verdicts: verdicts.into_iter().map(|VerdictName(it)| it).collect(),
            min_confidence: min_confidence.map_or(0.0, |Confidence(share)| share),
        },
        target,
    })
}

/// Adds an example to the refusal of a missing key.
fn complete(refusal: Refusal, example: impl Fn(&str) -> Option<&'static str>) -> Refusal {
    match refusal.problem {
        Problem::MissingKey(key) => {
            let example = example(key).map(|it| format!(": add it, such as {key} = \"{it}\""));
            let example = example.unwrap_or_default();
            Refusal::custom(format_args!("missing key \"{key}\"{example}"))
        }
        _ => refusal,
    }
}

#[derive(Deserialize)]
struct Type {
    #[serde(rename = "type")]
    kind: String,
}

/// The keys that sinks of every type have.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Common {
    name: Option<Name>,
    #[serde(default)]
    events: Vec<EventType>,
    #[serde(default)]
    verdicts: Vec<VerdictName>,
    min_confidence: Option<Confidence>,
}

impl Common {
    const EVERY: [&str; 2] = ["type", "name"];
    /// Of sinks that can be given a filter.
    const FILTER: [&str; 3] = ["events", "verdicts", "min-confidence"];
}

/// A sink's name, which is also that of its directory.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        let name = value;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!(
                "invalid sink name \"{name}\": use letters, digits, \"-\" and \"_\""
            ));
        }
        if name.len() > 64 {
            return Err(format!(
                "invalid sink name \"{name}\": use at most 64 characters"
            ));
        }
        Ok(Self(name))
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Confidence(f64);

impl TryFrom<String> for Confidence {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        let text = value;
        let share = text.parse().ok();
        share
            .filter(|share| (0.0..=1.0).contains(share))
            .map(Self)
            .ok_or_else(|| format!("invalid confidence \"{text}\": expected a number from 0 to 1"))
    }
}

#[derive(Deserialize)]
struct EventType(#[serde(deserialize_with = "event_type")] Kind);

fn event_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
    one_of(deserializer, "event type", Kind::ALL)
}

#[derive(Deserialize)]
struct VerdictName(#[serde(deserialize_with = "verdict")] Verdict);

fn verdict<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Verdict, D::Error> {
    one_of(deserializer, "verdict", Verdict::ALL)
}

/// The one of `all` with the given name.
fn one_of<'de, D: Deserializer<'de>, T: Copy + ToString>(
    deserializer: D,
    what: &str,
    all: &[T],
) -> Result<T, D::Error> {
    let name = String::deserialize(deserializer)?;
    let found = all.iter().copied().find(|it| it.to_string() == name);
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(ToString::to_string).collect();
        let names = names.join(", ");
        D::Error::custom(format_args!(
            "unknown {what} \"{name}\"; expected one of {names}"
        ))
    })
}
