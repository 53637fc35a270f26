//! The members of a JSON object, each value as it stands: what is not needed is skipped without
//! being read. A line has thousands of bytes, of which a few hundred matter.

use crate::util::find::{equal, find};

/// The members of an object, in order.
#[derive(Clone, Debug)]
pub(super) struct Members<'a> {
    rest: &'a [u8],
    is_first: bool,
}

/// It is not an object, or ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// A name without its quotes, and the value as it stands.
pub(super) type Member<'a> = (&'a [u8], &'a [u8]);

impl<'a> Members<'a> {
    /// Of an object.
    pub(super) fn of(object: &'a [u8]) -> Result<Self, Broken> {
        let rest = object.trim_ascii_start();
        let rest = rest.strip_prefix(b"{").ok_or(Broken)?;
        Ok(Self {
            rest,
            is_first: true,
        })
    }

    /// The next member.
    pub(super) fn next(&mut self) -> Result<Option<Member<'a>>, Broken> {
        let mut rest = self.rest.trim_ascii_start();
        match rest.split_first().ok_or(Broken)? {
            (b'}', after) if after.trim_ascii_start().is_empty() => {
                self.rest = rest;
                return Ok(None);
            }
            (b',', after) if !self.is_first => rest = after.trim_ascii_start(),
            (b'"', _) if self.is_first => {}
            _ => return Err(Broken),
        }
        self.is_first = false;
        let (quoted, rest) = rest.split_at_checked(string(rest)?).ok_or(Broken)?;
        let name = quoted.get(1..quoted.len() - 1).ok_or(Broken)?;
        let rest = rest.trim_ascii_start().strip_prefix(b":").ok_or(Broken)?;
        let rest = rest.trim_ascii_start();
        let (value, rest) = rest.split_at_checked(value(rest)?).ok_or(Broken)?;
        self.rest = rest;
        Ok(Some((name, value)))
    }
}

/// The length of the value that the bytes begin with.
fn value(bytes: &[u8]) -> Result<usize, Broken> {
    match bytes.first().ok_or(Broken)? {
        b'"' => string(bytes),
        b'{' | b'[' => nested(bytes),
        _ => {
            let is_end =
                |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
            let length = bytes.iter().position(is_end).ok_or(Broken)?;
            if length == 0 { Err(Broken) } else { Ok(length) }
        }
    }
}

fn nested(bytes: &[u8]) -> Result<usize, Broken> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        let rest = bytes.get(at..).ok_or(Broken)?;
        // Brackets and braces differ from 0x7f in bits that this sets, as few other bytes do.
        let marks = |word: u64| equal(word, b'"') | equal(word | 0x2626_2626_2626_2626, 0x7f);
        let is_special = |byte: u8| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']');
        let next = find(rest, marks, is_special).ok_or(Broken)?;
        at += next;
        match rest[next] {
            b'"' => at += string(&rest[next..])?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            _ => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return Ok(at);
                }
            }
        }
    }
}

/// The length of the string that the bytes begin with, quotes included.
fn string(bytes: &[u8]) -> Result<usize, Broken> {
    let mut at = 1;
    loop {
        let rest = bytes.get(at..).ok_or(Broken)?;
        let marks = |word: u64| equal(word, b'"') | equal(word, b'\\');
        let next = find(rest, marks, |byte| matches!(byte, b'"' | b'\\')).ok_or(Broken)?;
        if rest[next] == b'"' {
            return Ok(at + next + 1);
        }
        // Whatever is escaped.
        at += next + 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn members(text: &str) -> Result<Vec<(String, Value)>, Broken> {
        let mut members = Members::of(text.as_bytes())?;
        let mut all = Vec::new();
        while let Some((name, value)) = members.next()? {
            let name = String::from_utf8(name.to_vec()).unwrap();
            all.push((
                name,
                serde_json::from_slice(value).map_err(|_invalid| Broken)?,
            ));
        }
        Ok(all)
    }

    #[test]
    fn values_of_every_kind_are_found() {
        let text = r#" { "a" : "x\"}\\" , "b":[1,{"c":"]"},[]],"d":-1.5e3,"e":null,"f":{}} "#;
        let names: Vec<_> = members(text).unwrap().into_iter().map(|it| it.0).collect();
        assert_eq!(names, ["a", "b", "d", "e", "f"]);
        assert_eq!(members("{}"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_object_or_ends_early_is_broken() {
        let text = r#"{"a":"x\"}","b":[1,{"c":"]"}],"d":1}"#;
        for length in 0..text.len() {
            assert_eq!(members(&text[..length]), Err(Broken), "{}", &text[..length]);
        }
        for text in [
            "[]",
            "{,}",
            "{\"a\":1,,\"b\":2}",
            "{\"a\" 1}",
            "{\"a\":}",
            "{}x",
            "{\"a\":1 2}",
        ] {
            assert_eq!(members(text), Err(Broken), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_fatal(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(mut members) = Members::of(&bytes) {
                while let Ok(Some(_)) = members.next() {}
            }
        }
    }
}
