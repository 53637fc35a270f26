//! One compact JSON object a line: the contract for machines.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

use super::object::append;
use crate::{
    delivery::{Encoder, SinkError},
    event::{Message, SCHEMA},
    util::escape::is_plain,
};

/// Encodes each event as one line of JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Encoder for Json {
    fn encode(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), SinkError> {
        let Message { id, event } = message;
        append(&Head { schema: SCHEMA, id }, out)?;
        // One object of both: the brace that ends the head goes, and a comma
        // stands for the one that begins the event. To flatten the event into
        // one object, serde goes through every field of it once more.
        out.pop();
        let joint = out.len();
        append(event, out)?;
        if let Some(brace) = out.get_mut(joint) {
            *brace = b',';
        }
        out.push(b'\n');
        Ok(())
    }
}

/// What every line begins with.
#[derive(Serialize)]
struct Head<'a> {
    schema: &'static str,
    id: &'a str,
}

/// Compact JSON that is one line to every reader and harmless on a terminal.
///
/// JSON itself only forbids control characters below U+0020. But U+0085 and
/// U+2028 end a line for many readers, and U+009B or U+202E act on a
/// terminal, so whatever text output would escape is escaped here too. A
/// parser reads the very same string.
#[derive(Clone, Copy, Debug)]
pub(super) struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        // serde_json has already taken out what is special in ASCII but DEL,
        // so nearly every fragment is done here. The maximum of all bytes
        // rather than a search: it has no branch and becomes vector code.
        if fragment.bytes().fold(0, u8::max) < 0x7f {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| !is_plain(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, ser::Serializer};

    use super::*;
    use crate::{
        event::{Event, Line, samples},
        util::golden::golden,
    };

    fn encode(message: &Message) -> String {
        let mut out = Vec::new();
        Json.encode(message, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_type_has_this_shape() {
        golden(
            "events.jsonl",
            &samples::messages().iter().map(encode).collect::<String>(),
        );
    }

    #[test]
    fn a_line_is_the_object_that_the_schema_describes() {
        for message in samples::messages() {
            let mut whole = Vec::new();
            let mut serializer = Serializer::with_formatter(&mut whole, OneLine);
            Line::new(&message).serialize(&mut serializer).unwrap();
            whole.push(b'\n');
            assert_eq!(encode(&message), String::from_utf8(whole).unwrap());
        }
    }

    #[test]
    fn every_line_names_its_schema_first() {
        for message in samples::messages() {
            assert!(encode(&message).starts_with(r#"{"schema":"kreset/1","id":""#));
        }
    }

    #[test]
    fn what_ends_a_line_elsewhere_or_acts_on_a_terminal_is_escaped() {
        let mut finding = samples::finding();
        let name = "a\u{85}\u{2028}\u{9b}2J\u{202e}\u{7f}\u{e0041}\n\"\\é";
        finding.process.name = Some(name.into());
        let line = encode(&samples::message(Event::Reset(Box::new(finding)), 1));
        let escaped = r#""name":"a\u0085\u2028\u009b2J\u202e\u007f\udb40\udc41\n\"\\é""#;
        assert!(line.contains(escaped), "{line}");
    }

    proptest! {
        #[test]
        fn a_parser_reads_what_was_meant(name: String, confidence: f64) {
            let mut finding = samples::finding();
            finding.confidence = confidence;
            finding.process.name = Some(name.as_str().into());
            let line = encode(&samples::message(Event::Reset(Box::new(finding)), 1));
            prop_assert!(line.strip_suffix('\n').unwrap().chars().all(is_plain));
            let value: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(value["process"]["name"].as_str(), Some(name.as_str()));
            prop_assert_eq!(value["confidence"].is_null(), !confidence.is_finite());
        }
    }
}
