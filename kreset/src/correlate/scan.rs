//! The members of a JSON object, each value as it stands: what is not needed is skipped without
//! being read. A line has thousands of bytes, of which a few hundred matter.

use wide::u8x16;

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
        let rest = trim(object).strip_prefix(b"{").ok_or(Broken)?;
        Ok(Self {
            rest,
            is_first: true,
        })
    }

    /// The next member.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Member<'a>>, Broken> {
        match self.compact() {
            Some(member) => Ok(Some(member)),
            None => self.any(),
        }
    }

    /// The next member as programs write it: without white space, and with a plain name; `None`
    /// for whatever else is there.
    #[inline]
    pub(super) fn compact(&mut self) -> Option<Member<'a>> {
        let rest = if self.is_first {
            self.rest.strip_prefix(b"\"")?
        } else {
            self.rest.strip_prefix(b",\"")?
        };
        let (name, rest) = rest.split_at_checked(special(rest)?)?;
        let rest = rest.strip_prefix(b"\":")?;
        let (value, rest) = rest.split_at_checked(value(rest).ok()?)?;
        self.is_first = false;
        self.rest = rest;
        Some((name, value))
    }

    /// Nothing but the closing brace is left.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest == b"}"
    }

    /// The next member, however it is written, or the end.
    fn any(&mut self) -> Result<Option<Member<'a>>, Broken> {
        let mut rest = trim(self.rest);
        match rest.split_first().ok_or(Broken)? {
            (b'}', after) if trim(after).is_empty() => {
                self.rest = rest;
                return Ok(None);
            }
            (b',', after) if !self.is_first => rest = trim(after),
            (b'"', _) if self.is_first => {}
            _ => return Err(Broken),
        }
        self.is_first = false;
        let (quoted, rest) = rest.split_at_checked(string(rest)?).ok_or(Broken)?;
        let name = quoted.get(1..quoted.len() - 1).ok_or(Broken)?;
        let rest = trim(trim(rest).strip_prefix(b":").ok_or(Broken)?);
        let (value, rest) = rest.split_at_checked(value(rest)?).ok_or(Broken)?;
        self.rest = rest;
        Ok(Some((name, value)))
    }
}

/// Without white space at its beginning, where events have none.
#[inline]
const fn trim(bytes: &[u8]) -> &[u8] {
    match bytes.first() {
        Some(first) if !first.is_ascii_whitespace() => bytes,
        _ => bytes.trim_ascii_start(),
    }
}

/// The length of the value that the bytes begin with.
#[inline]
fn value(bytes: &[u8]) -> Result<usize, Broken> {
    match bytes.first().ok_or(Broken)? {
        b'"' => string(bytes),
        b'{' | b'[' => nested(bytes),
        _ => match scalar(bytes).ok_or(Broken)? {
            0 => Err(Broken),
            length => Ok(length),
        },
    }
}

/// The place of the first byte that ends a number or a word.
#[inline]
fn scalar(bytes: &[u8]) -> Option<usize> {
    let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
    if let Some(chunk) = bytes.first_chunk::<LANES>() {
        let chunk = u8x16::new(*chunk);
        let closing = (chunk | u8x16::splat(0x20)).simd_eq(u8x16::splat(b'}'));
        // White space and what else is below it: no number or word has any.
        let space = chunk.min(u8x16::splat(b' ')).simd_eq(chunk);
        let ends = (chunk.simd_eq(u8x16::splat(b',')) | closing | space).to_bitmask();
        let place = ends.trailing_zeros() as usize;
        if place < LANES && bytes.get(place).is_some_and(is_end) {
            return Some(place);
        }
    }
    bytes.iter().position(is_end)
}

/// The length of the string that the bytes begin with, quotes included.
#[inline]
fn string(bytes: &[u8]) -> Result<usize, Broken> {
    let mut at = 1;
    loop {
        let rest = bytes.get(at..).ok_or(Broken)?;
        let next = special(rest).ok_or(Broken)?;
        if rest[next] == b'"' {
            return Ok(at + next + 1);
        }
        // Whatever is escaped.
        at += next + 2;
    }
}

/// The place of the first quote or backslash.
#[inline]
fn special(bytes: &[u8]) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<LANES>();
    let mut at = 0;
    for chunk in chunks {
        let chunk = u8x16::new(*chunk);
        let found = chunk.simd_eq(u8x16::splat(b'"')) | chunk.simd_eq(u8x16::splat(b'\\'));
        let found = found.to_bitmask();
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += LANES;
    }
    let place = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some(at + place)
}

/// Bytes that are compared at once: as many as every processor of the targets can.
const LANES: usize = 16;
/// Bytes whose marks are looked at together.
const BLOCK: usize = 64;

/// A mark for each byte that is `byte`, the first one lowest.
#[inline]
fn where_is(chunk: u8x16, byte: u8) -> u32 {
    chunk.simd_eq(u8x16::splat(byte)).to_bitmask()
}

/// The length of the object or array that the bytes begin with.
fn nested(bytes: &[u8]) -> Result<usize, Broken> {
    let mut brackets = Brackets::default();
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut at = 0;
    for block in blocks {
        if let Some(end) = brackets.end(block) {
            return Ok(at + end);
        }
        at += BLOCK;
    }
    let mut last = [b' '; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    brackets.end(&last).map(|end| at + end).ok_or(Broken)
}

/// Which brackets are open, as far as was read: those in strings do not count.
#[derive(Debug, Default)]
struct Brackets {
    depth: u32,
    /// All bits, if a string goes on.
    in_string: u64,
    /// One, if the byte before escapes the next.
    escapes: u64,
}

/// Where bytes of a block are that matter, the first one lowest.
#[derive(Default)]
struct Marks {
    quotes: u64,
    /// Brackets and braces, and bytes beside them that JSON has in strings alone.
    brackets: u64,
    has_backslash: bool,
}

impl Marks {
    #[inline]
    fn of(block: &[u8; BLOCK]) -> Self {
        let mut marks = Self::default();
        let mut backslashes = u8x16::ZERO;
        let (chunks, _none) = block.as_chunks::<LANES>();
        for (index, chunk) in chunks.iter().enumerate() {
            let chunk = u8x16::new(*chunk);
            // Brackets differ from braces in this bit alone, and little is beyond them.
            let braces = chunk | u8x16::splat(0x20);
            let beyond = braces.max(u8x16::splat(b'{')).simd_eq(braces);
            backslashes |= chunk.simd_eq(u8x16::splat(b'\\'));
            marks.quotes |= u64::from(where_is(chunk, b'"')) << (index * LANES);
            marks.brackets |= u64::from(beyond.to_bitmask()) << (index * LANES);
        }
        marks.has_backslash = backslashes.to_bitmask() != 0;
        marks
    }
}

/// How much deeper a byte leads.
const DEEPER: [i8; 256] = {
    let mut deeper = [0; 256];
    deeper[b'{' as usize] = 1;
    deeper[b'[' as usize] = 1;
    deeper[b'}' as usize] = -1;
    deeper[b']' as usize] = -1;
    deeper
};

impl Brackets {
    /// The place after the bracket that closes the first one, if it is in this block.
    #[inline]
    fn end(&mut self, block: &[u8; BLOCK]) -> Option<usize> {
        let marks = Marks::of(block);
        let quotes = if marks.has_backslash || self.escapes != 0 {
            marks.quotes & !self.escaped(backslashes(block))
        } else {
            marks.quotes
        };
        let in_string = inside(quotes) ^ self.in_string;
        self.in_string = ((in_string >> (BLOCK - 1)) & 1).wrapping_neg();
        let mut brackets = marks.brackets & !in_string;
        while brackets != 0 {
            let at = brackets.trailing_zeros() as usize;
            let deeper = DEEPER[usize::from(block[at % BLOCK])];
            self.depth = self.depth.wrapping_add_signed(deeper.into());
            if self.depth == 0 {
                return Some(at + 1);
            }
            brackets &= brackets - 1;
        }
        None
    }

    /// The bytes that a backslash escapes.
    #[inline]
    fn escaped(&mut self, mut backslashes: u64) -> u64 {
        let mut escaped = std::mem::take(&mut self.escapes);
        // One that is escaped escapes nothing.
        backslashes &= !escaped;
        while backslashes != 0 {
            let at = backslashes & backslashes.wrapping_neg();
            let next = at << 1;
            if next == 0 {
                self.escapes = 1;
            }
            escaped |= next;
            backslashes &= !(at | next);
        }
        escaped
    }
}

/// Where a block has backslashes: few have any.
#[cold]
fn backslashes(block: &[u8; BLOCK]) -> u64 {
    let (chunks, _none) = block.as_chunks::<LANES>();
    let all = chunks
        .iter()
        .enumerate()
        .map(|(index, chunk)| u64::from(where_is(u8x16::new(*chunk), b'\\')) << (index * LANES));
    all.fold(0, |any, chunk| any | chunk)
}

/// From each quote that opens a string to before the one that ends it.
#[inline]
const fn inside(quotes: u64) -> u64 {
    let mut inside = quotes;
    inside ^= inside << 1;
    inside ^= inside << 2;
    inside ^= inside << 4;
    inside ^= inside << 8;
    inside ^= inside << 16;
    inside ^= inside << 32;
    inside
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

    /// Values with all that may be mistaken for an end, as long as several blocks.
    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            r#"[a"\\\\{}\[\],: ]{0,80}"#.prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(r#"[a"\\\\{}\[\],:]{0,20}"#, inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn each_value_ends_where_the_parser_ends_it(
            values in prop::collection::vec(any_value(), 0..8),
            spaces in "[ \t]{0,70}",
        ) {
            let named = || values.iter().enumerate().map(|(at, it)| (format!("m{at}"), it.clone()));
            let text = serde_json::to_string(&Value::Object(named().collect())).unwrap();
            prop_assert_eq!(members(&format!("{spaces}{text}{spaces}")), Ok(named().collect()));
            let pretty = serde_json::to_string_pretty(&Value::Object(named().collect())).unwrap();
            prop_assert_eq!(members(&pretty), Ok(named().collect()));
        }

        #[test]
        fn no_bytes_are_fatal(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(mut members) = Members::of(&bytes) {
                while let Ok(Some(_)) = members.next() {}
            }
        }
    }
}
