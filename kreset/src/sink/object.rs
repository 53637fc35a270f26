//! JSON as `serde_json` writes it with [`OneLine`], in less time.
//!
//! Half of an event's bytes are names that this program itself chose, and
//! nearly all of the rest is plain. `serde_json` looks at each byte for what
//! has to be escaped, then hands it to the formatter, which looks again. Here
//! names are copied, and values are looked at once; what is not plain, and each
//! number, is left to `serde_json`.

use serde::ser::{
    Error as _, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer,
};
use serde_json::{Error, ser::Serializer as Exact};

use super::json::OneLine;
use crate::util::plain::is_plain;

/// Appends `value` to `out`.
///
/// # Errors
/// When it is nothing that events consist of.
pub(super) fn append(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(Object(out))
}

/// Appends one value.
struct Object<'a>(&'a mut Vec<u8>);

/// Appends the members of a list or object.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
    end: u8,
}

impl<'a> Object<'a> {
    fn exact<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(&mut Exact::with_formatter(self.0, OneLine))
    }

    fn name(self, name: &'static str) {
        debug_assert!(is_plain(name.as_bytes()), "{name}");
        self.quoted(name);
    }

    fn quoted(self, text: &str) {
        self.0.reserve(text.len() + 2);
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
    }

    fn members(self, begin: u8, end: u8) -> Members<'a> {
        self.0.push(begin);
        Members {
            out: self.0,
            is_first: true,
            end,
        }
    }
}

impl Members<'_> {
    fn next(&mut self) -> Object<'_> {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b',');
        }
        Object(self.out)
    }

    fn finish(self) {
        self.out.push(self.end);
    }
}

/// Leaves numbers to `serde_json`.
macro_rules! exact {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, v: $type) -> Result<(), Error> {
            self.exact(&v)
        })*
    };
}

/// No event has one.
fn none_such<T>(what: &str) -> Result<T, Error> {
    Err(Error::custom(format_args!("{what} in an event")))
}

impl<'a> Serializer for Object<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Members<'a>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = Impossible<(), Error>;

    exact! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_f32: f32, serialize_f64: f64, serialize_char: char, serialize_bytes: &[u8]
    }

    fn serialize_bool(self, v: bool) -> Result<(), Error> {
        let text: &[u8] = if v { b"true" } else { b"false" };
        self.0.extend_from_slice(text);
        Ok(())
    }

    fn serialize_str(self, v: &str) -> Result<(), Error> {
        if is_plain(v.as_bytes()) {
            self.quoted(v);
            Ok(())
        } else {
            self.exact(v)
        }
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Error> {
        self.serialize_none()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.name(variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), Error> {
        none_such("a variant with a value")
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Members<'a>, Error> {
        Ok(self.members(b'[', b']'))
    }

    fn serialize_tuple(self, _length: usize) -> Result<Self::SerializeTuple, Error> {
        none_such("a tuple")
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleStruct, Error> {
        none_such("a tuple")
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        none_such("a variant with values")
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Members<'a>, Error> {
        Ok(self.members(b'{', b'}'))
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Members<'a>, Error> {
        Ok(self.members(b'{', b'}'))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        none_such("a variant with fields")
    }
}

impl SerializeSeq for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(self.next())
    }

    fn end(self) -> Result<(), Error> {
        self.finish();
        Ok(())
    }
}

impl SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let next = self.next();
        let at = next.0.len();
        key.serialize(Object(next.0))?;
        if self.out.get(at) == Some(&b'"') {
            Ok(())
        } else {
            none_such("a key that is no string")
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.out.push(b':');
        value.serialize(Object(self.out))
    }

    fn end(self) -> Result<(), Error> {
        self.finish();
        Ok(())
    }
}

impl SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let out = &mut *self.out;
        // Room for all at once: half of what is written are names.
        out.reserve(key.len() + 4);
        if !std::mem::take(&mut self.is_first) {
            out.push(b',');
        }
        Object(out).name(key);
        out.push(b':');
        value.serialize(Object(out))
    }

    fn end(self) -> Result<(), Error> {
        self.finish();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn exact(value: &impl Serialize) -> String {
        let mut out = Vec::new();
        let mut serializer = Exact::with_formatter(&mut out, OneLine);
        value.serialize(&mut serializer).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn quick(value: &impl Serialize) -> String {
        let mut out = b"before".to_vec();
        append(value, &mut out).unwrap();
        String::from_utf8(out.split_off(6)).unwrap()
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[ -~]{0,40}".prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_writes_what_serde_json_writes(value in any_value()) {
            prop_assert_eq!(quick(&value), exact(&value));
        }
    }

    #[test]
    fn each_character_alone_is_written_as_serde_json_writes_it() {
        for c in '\0'..='\u{2fff}' {
            let text = c.to_string();
            assert_eq!(quick(&text), exact(&text), "{c:?}");
        }
    }

    #[test]
    fn what_is_no_object_with_names_is_refused() {
        let mut out = Vec::new();
        let by_number = std::collections::BTreeMap::from([(1, 2)]);
        let error = append(&by_number, &mut out).unwrap_err();
        assert_eq!(error.to_string(), "a key that is no string in an event");
        assert!(append(&(1, 2), &mut out).is_err());
    }
}
