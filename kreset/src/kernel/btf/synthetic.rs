//! Writes small BTF blobs for tests.

const MAGIC: u16 = 0xeb9f;

/// A blob in the making. Each method that adds a type returns its id.
pub(crate) struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    layout: Vec<u8>,
    last_id: u32,
}

/// A member: name (empty for none), type, offset in bits, and width in bits
/// for a bit field (else 0).
pub(crate) type Member<'a> = (&'a str, u32, u32, u32);

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
            layout: Vec::new(),
            last_id: 0,
        }
    }

    /// The id that the next type gets, for types that refer to later ones.
    pub(crate) fn next_id(&self) -> u32 {
        self.last_id + 1
    }

    pub(crate) fn int(&mut self, size: u32) -> u32 {
        self.int_with_bits(size, 0, size * 8)
    }

    /// An integer type that is itself a bit field, as in structs without
    /// `kind_flag`.
    pub(crate) fn int_with_bits(&mut self, size: u32, offset: u32, bits: u32) -> u32 {
        let id = self.record(1, "int", false, 0, size);
        self.word((offset << 16) | bits);
        id
    }

    pub(crate) fn pointer(&mut self, to: u32) -> u32 {
        self.record(2, "", false, 0, to)
    }

    pub(crate) fn array(&mut self, element: u32, len: u32) -> u32 {
        let id = self.record(3, "", false, 0, 0);
        self.words(&[element, element, len]);
        id
    }

    pub(crate) fn structure(&mut self, name: &str, size: u32, members: &[Member<'_>]) -> u32 {
        self.composite(4, name, size, members)
    }

    pub(crate) fn union(&mut self, name: &str, size: u32, members: &[Member<'_>]) -> u32 {
        self.composite(5, name, size, members)
    }

    fn composite(&mut self, kind: u32, name: &str, size: u32, members: &[Member<'_>]) -> u32 {
        let flag = members.iter().any(|member| member.3 != 0);
        let id = self.record(kind, name, flag, members.len(), size);
        for &(name, type_id, offset, width) in members {
            let name = self.string(name);
            self.words(&[name, type_id, (width << 24) | offset]);
        }
        id
    }

    pub(crate) fn enumeration(&mut self, name: &str, signed: bool, values: &[(&str, i32)]) -> u32 {
        let id = self.record(6, name, signed, values.len(), 4);
        for &(name, value) in values {
            let name = self.string(name);
            self.words(&[name, value.cast_unsigned()]);
        }
        id
    }

    pub(crate) fn enumeration64(&mut self, name: &str, values: &[(&str, u64)]) -> u32 {
        let id = self.record(19, name, false, values.len(), 8);
        for &(name, value) in values {
            let name = self.string(name);
            let [low, high] = [value & 0xffff_ffff, value >> 32];
            self.words(&[
                name,
                u32::try_from(low).unwrap(),
                u32::try_from(high).unwrap(),
            ]);
        }
        id
    }

    pub(crate) fn typedef(&mut self, name: &str, to: u32) -> u32 {
        self.record(8, name, false, 0, to)
    }

    pub(crate) fn volatile(&mut self, to: u32) -> u32 {
        self.record(9, "", false, 0, to)
    }

    pub(crate) fn constant(&mut self, to: u32) -> u32 {
        self.record(10, "", false, 0, to)
    }

    pub(crate) fn function(&mut self, name: &str, prototype: u32) -> u32 {
        self.record(12, name, false, 0, prototype)
    }

    pub(crate) fn prototype(&mut self, parameters: &[u32]) -> u32 {
        let id = self.record(13, "", false, parameters.len(), 0);
        for parameter in parameters {
            self.words(&[0, *parameter]);
        }
        id
    }

    /// A tracepoint's typedef, with `arity` arguments.
    pub(crate) fn tracepoint(&mut self, name: &str, arity: usize) {
        let void_pointer = self.pointer(0);
        let prototype = self.prototype(&vec![void_pointer; arity + 1]);
        let pointer = self.pointer(prototype);
        self.typedef(&format!("btf_trace_{name}"), pointer);
    }

    /// A record of any kind with the words that follow it.
    pub(crate) fn any(&mut self, kind: u32, vlen: usize, words: &[u32]) -> u32 {
        let id = self.record(kind, "", false, vlen, 0);
        self.words(words);
        id
    }

    /// Describes the size of kinds 0 up to `kind`, all with `each` bytes per
    /// element.
    pub(crate) fn describe_kinds(&mut self, kind: u8, each: u8) {
        self.layout = [0, each, 0, 0].repeat(usize::from(kind) + 1);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut header = Self::new();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let (types, layout) = (length(&self.types), length(&self.layout));
        header.words(&[32, 0, types, types + layout, length(&self.strings)]);
        header.words(&[types, layout]);
        let magic = MAGIC.to_le_bytes();
        let version_and_flags = [1, 0];
        [
            &magic[..],
            &version_and_flags,
            &header.types,
            &self.types,
            &self.layout,
            &self.strings,
        ]
        .concat()
    }

    fn record(&mut self, kind: u32, name: &str, flag: bool, vlen: usize, size: u32) -> u32 {
        let name = self.string(name);
        let info = (u32::from(flag) << 31) | (kind << 24) | u32::try_from(vlen).unwrap();
        self.words(&[name, info, size]);
        self.last_id += 1;
        self.last_id
    }

    fn string(&mut self, string: &str) -> u32 {
        if string.is_empty() {
            return 0;
        }
        let offset = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(string.as_bytes());
        self.strings.push(0);
        offset
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.word(*word);
        }
    }

    fn word(&mut self, word: u32) {
        self.types.extend(word.to_le_bytes());
    }
}
