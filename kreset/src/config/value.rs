//! TOML values as serde reads them, with the line and the words of a refusal.

use std::{fmt, fs::File, io::Read as _, vec};

use serde::{
    Deserializer,
    de::{
        self, DeserializeSeed, Error as _, Expected, IntoDeserializer as _, Unexpected, Visitor,
        value::{MapAccessDeserializer, StrDeserializer, StringDeserializer},
    },
    forward_to_deserialize_any,
};
use toml::{Spanned, de::DeValue};

use super::{Entry, in_order, scalar};

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The byte of the file.
    at: Option<usize>,
    /// The key whose value it is.
    key: Option<String>,
    pub(super) problem: Problem,
}

/// What is wrong.
#[derive(Debug)]
pub(super) enum Problem {
    UnknownKey {
        key: String,
        known: Vec<&'static str>,
    },
    MissingKey(&'static str),
    UnknownValue {
        value: String,
        known: &'static [&'static str],
    },
    WrongType {
        expected: String,
        found: String,
    },
    Other(String),
}

impl Refusal {
    const fn new(problem: Problem) -> Self {
        Self {
            at: None,
            key: None,
            problem,
        }
    }

    /// It stands at byte `at`, unless a part of it is known to.
    pub(super) fn at(mut self, at: usize) -> Self {
        self.at.get_or_insert(at);
        self
    }

    fn of_key(mut self, key: &str) -> Self {
        self.key.get_or_insert_with(|| key.to_owned());
        self
    }

    /// The byte of the file, `otherwise` where none is known, and the sentence.
    pub(super) fn into_parts(self, otherwise: usize) -> (usize, String) {
        (self.at.unwrap_or(otherwise), self.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_deref().unwrap_or("value");
        match &self.problem {
            Problem::UnknownKey { key, known } => {
                write!(
                    f,
                    "unknown key \"{key}\"; expected one of {}",
                    known.join(", ")
                )
            }
            Problem::MissingKey(key) => write!(f, "missing key \"{key}\""),
            Problem::UnknownValue { value, known } => {
                write!(
                    f,
                    "unknown {key} \"{value}\"; expected one of {}",
                    known.join(", ")
                )
            }
            // Without the value: it may be a secret under a wrong key.
            Problem::WrongType { expected, found } => {
                write!(
                    f,
                    "invalid type for \"{key}\": expected {expected}, found {found}"
                )
            }
            Problem::Other(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        Self::new(Problem::Other(msg.to_string()))
    }

    fn invalid_type(unexp: Unexpected<'_>, exp: &dyn Expected) -> Self {
        let found = match unexp {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
            Unexpected::Float(_) => "a float",
            Unexpected::Seq => "an array",
            Unexpected::Map => "a table",
            Unexpected::Other(other) => other,
            _ => "a string",
        };
        // In the words of TOML.
        let expected = match exp.to_string() {
            map if map == "a map" => "a table".to_owned(),
            list if list == "a sequence" => "an array".to_owned(),
            other => other,
        };
        Self::new(Problem::WrongType {
            expected,
            found: found.to_owned(),
        })
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownValue {
            value: variant.to_owned(),
            known: expected,
        })
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownKey {
            key: field.to_owned(),
            known: expected.to_vec(),
        })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Problem::MissingKey(field))
    }
}

/// Reads those keys of `table` that `wanted` takes.
pub(super) fn keys<'a, 'i>(
    table: &'a Spanned<DeValue<'i>>,
    wanted: impl Fn(&str) -> bool,
) -> MapAccessDeserializer<Entries<'a, 'i>> {
    let entries = table.get_ref().as_table().map(in_order).unwrap_or_default();
    let wanted: Vec<_> = entries
        .into_iter()
        .filter(|(key, _)| wanted(key.get_ref()))
        .collect();
    MapAccessDeserializer::new(Entries::new(wanted))
}

/// The entries of a table, in the order of the file.
pub(super) struct Entries<'a, 'i> {
    entries: vec::IntoIter<Entry<'a, 'i>>,
    current: Option<Entry<'a, 'i>>,
}

impl<'a, 'i> Entries<'a, 'i> {
    fn new(entries: Vec<Entry<'a, 'i>>) -> Self {
        Self {
            entries: entries.into_iter(),
            current: None,
        }
    }
}

impl<'de> de::MapAccess<'de> for Entries<'_, '_> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refusal> {
        self.current = self.entries.next();
        let Some((key, _)) = self.current else {
            return Ok(None);
        };
        let text: StrDeserializer<'_, Refusal> = key.get_ref().as_ref().into_deserializer();
        seed.deserialize(text)
            .map(Some)
            .map_err(|refusal| refusal.at(key.span().start))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let Some((key, value)) = self.current.take() else {
            return Err(Refusal::custom("a value without a key"));
        };
        seed.deserialize(Value(value.get_ref()))
            .map_err(|refusal| refusal.of_key(key.get_ref()).at(value.span().start))
    }
}

/// The items of an array.
struct Items<'a, 'i>(std::slice::Iter<'a, Spanned<DeValue<'i>>>);

impl<'de> de::SeqAccess<'de> for Items<'_, '_> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refusal> {
        let Some(item) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(Value(item.get_ref()))
            .map(Some)
            .map_err(|refusal| refusal.at(item.span().start))
    }
}

/// A value: a number is also a string, `{ file = "PATH" }` the string in that file, and a string an
/// array of one.
#[derive(Clone, Copy)]
struct Value<'a, 'i>(&'a DeValue<'i>);

impl<'de> Deserializer<'de> for Value<'_, '_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.0 {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Integer(number) => match number.to_string().parse() {
                Ok(number) => visitor.visit_i64(number),
                Err(_) => Err(Refusal::invalid_type(Unexpected::Signed(0), &visitor)),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(Refusal::invalid_type(Unexpected::Float(0.0), &visitor)),
            },
            DeValue::Boolean(given) => visitor.visit_bool(*given),
            DeValue::Datetime(_) => {
                Err(Refusal::invalid_type(Unexpected::Other("a date"), &visitor))
            }
            DeValue::Array(items) => visitor.visit_seq(Items(items.iter())),
            DeValue::Table(table) => visitor.visit_map(Entries::new(in_order(table))),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match (scalar(self.0), file_of(self.0)) {
            (Some(text), _) => visitor.visit_string(text),
            (None, Some(path)) => visitor.visit_string(contents(path)?),
            (None, None) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_string(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.0 {
            DeValue::String(_) => visitor.visit_seq(Single(Some(self))),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match scalar(self.0) {
            Some(text) => {
                let text: StringDeserializer<Refusal> = text.into_deserializer();
                visitor.visit_enum(text)
            }
            None => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf
        unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

/// The path in `{ file = "PATH" }`.
fn file_of<'a>(value: &'a DeValue<'_>) -> Option<&'a str> {
    let table = value.as_table()?;
    let path = table.get("file")?.get_ref().as_str()?;
    (table.len() == 1).then_some(path)
}

/// More than any password or token has.
const MOST_BYTES: u64 = 64 << 10;

/// A file's text without the line break at its end, which editors add.
fn contents(path: &str) -> Result<String, Refusal> {
    let refuse = |problem: &dyn fmt::Display| {
        Refusal::custom(format_args!(
            "cannot read {}: {problem}",
            path.escape_debug()
        ))
    };
    let file = File::open(path).map_err(|error| refuse(&error))?;
    let mut text = String::new();
    let read = file.take(MOST_BYTES + 1).read_to_string(&mut text);
    let read = read.map_err(|error| refuse(&error))?;
    if read as u64 > MOST_BYTES {
        return Err(refuse(&format_args!("it has more than {MOST_BYTES} bytes")));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// One value that stands for an array.
struct Single<'a, 'i>(Option<Value<'a, 'i>>);

impl<'de> de::SeqAccess<'de> for Single<'_, '_> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refusal> {
        self.0
            .take()
            .map(|value| seed.deserialize(value))
            .transpose()
    }
}
