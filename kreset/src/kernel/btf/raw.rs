//! The bytes of a BTF blob: header, type records, strings. Every read is
//! bounds-checked; nothing here knows what a query is.
//!
//! Format: `Documentation/bpf/btf.rst` and `include/uapi/linux/btf.h` of Linux
//! 7.2, whose wider `vlen` (24 bits) and `kind` (7 bits) use bits that earlier
//! kernels keep zero.

use super::BtfError;

pub(super) const MAGIC: u16 = 0xeb9f;
pub(super) const VERSION: u8 = 1;
/// `sizeof(struct btf_header)` before 7.1 appended the layout section.
pub(super) const HEADER_LEN: usize = 24;
/// The same with `layout_off` and `layout_len`.
const HEADER_LEN_WITH_LAYOUT: usize = 32;
/// `sizeof(struct btf_type)`.
pub(super) const RECORD_LEN: usize = 12;
/// `sizeof(struct btf_layout)`.
const LAYOUT_LEN: usize = 4;

/// The word at `at`, little-endian as on every architecture that kreset runs on.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*word))
}

/// `BTF_KIND_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Type id 0, which has no record.
    Void,
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    DataSec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
    /// Newer than this reader; its size is known from the layout section.
    Other,
}

impl Kind {
    const fn new(number: u32) -> Self {
        match number {
            1 => Self::Int,
            2 => Self::Ptr,
            3 => Self::Array,
            4 => Self::Struct,
            5 => Self::Union,
            6 => Self::Enum,
            7 => Self::Fwd,
            8 => Self::Typedef,
            9 => Self::Volatile,
            10 => Self::Const,
            11 => Self::Restrict,
            12 => Self::Func,
            13 => Self::FuncProto,
            14 => Self::Var,
            15 => Self::DataSec,
            16 => Self::Float,
            17 => Self::DeclTag,
            18 => Self::TypeTag,
            19 => Self::Enum64,
            _ => Self::Other,
        }
    }

    /// Bytes after the record: fixed, and for each of its `vlen` elements.
    const fn extra(self) -> Option<(usize, usize)> {
        Some(match self {
            Self::Int | Self::Var | Self::DeclTag => (4, 0),
            Self::Array => (12, 0),
            Self::Struct | Self::Union | Self::DataSec | Self::Enum64 => (0, 12),
            Self::Enum | Self::FuncProto => (0, 8),
            Self::Void
            | Self::Ptr
            | Self::Fwd
            | Self::Typedef
            | Self::Volatile
            | Self::Const
            | Self::Restrict
            | Self::Func
            | Self::Float
            | Self::TypeTag => (0, 0),
            Self::Other => return None,
        })
    }

    /// A name or qualifier that wraps another type without changing its
    /// layout.
    pub(super) const fn is_modifier(self) -> bool {
        matches!(
            self,
            Self::Typedef | Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag
        )
    }

    pub(super) const fn is_composite(self) -> bool {
        matches!(self, Self::Struct | Self::Union)
    }
}

/// One type record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    pub(super) kind: Kind,
    pub(super) name: u32,
    /// `kind_flag`: for a struct, members encode their bit-field size.
    pub(super) flag: bool,
    pub(super) vlen: u32,
    /// `size` or `type`: bytes, or the type id referred to, depending on `kind`.
    pub(super) operand: u32,
    /// Where the bytes after the record start in the type section.
    extra: usize,
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) name: u32,
    pub(super) type_id: u32,
    pub(super) bit_offset: u32,
    /// Width in bits; 0 for an ordinary member.
    pub(super) bit_width: u32,
}

/// An array's type, `struct btf_array`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Array {
    pub(super) element: u32,
    pub(super) len: u32,
}

/// A blob with the place of each type.
#[derive(Debug)]
pub(super) struct Raw<'data> {
    types: &'data [u8],
    strings: &'data [u8],
    /// Place of type id `n + 1` in the type section.
    places: Vec<u32>,
    /// Ids of the kinds that are looked up by name. A lookup walks one list:
    /// ~10,000 structs, ~60,000 functions on 6.18, 0.1 ms and 0.5 ms; hashing
    /// every name first would cost more than all lookups together.
    pub(super) structs: Vec<u32>,
    pub(super) enums: Vec<u32>,
    pub(super) typedefs: Vec<u32>,
    pub(super) functions: Vec<u32>,
}

impl<'data> Raw<'data> {
    pub(super) fn parse(bytes: &'data [u8]) -> Result<Self, BtfError> {
        let header = Header::parse(bytes)?;
        let mut raw = Self {
            types: header.types,
            strings: header.strings,
            places: Vec::with_capacity(header.types.len() / 24),
            structs: Vec::new(),
            enums: Vec::new(),
            typedefs: Vec::new(),
            functions: Vec::new(),
        };
        raw.index(header.layout)?;
        Ok(raw)
    }

    fn index(&mut self, layout: &[u8]) -> Result<(), BtfError> {
        let mut at = 0;
        while at < self.types.len() {
            let id = narrow(self.places.len() + 1)?;
            let (record, kind_number) = self.record(at)?;
            let (fixed, each) = record
                .kind
                .extra()
                .or_else(|| layout_of(layout, kind_number))
                .ok_or(BtfError::UnknownKind {
                    id,
                    kind: kind_number,
                })?;
            let end = usize::try_from(record.vlen)
                .ok()
                .and_then(|vlen| vlen.checked_mul(each))
                .and_then(|elements| elements.checked_add(fixed))
                .and_then(|extra| extra.checked_add(record.extra))
                .filter(|end| *end <= self.types.len())
                .ok_or(BtfError::Truncated { what: "type" })?;
            self.places.push(narrow(at)?);
            match record.kind {
                Kind::Struct => self.structs.push(id),
                Kind::Enum | Kind::Enum64 => self.enums.push(id),
                Kind::Typedef => self.typedefs.push(id),
                Kind::Func => self.functions.push(id),
                _ => {}
            }
            at = end;
        }
        Ok(())
    }

    /// The record at `at`, and its kind as a number.
    fn record(&self, at: usize) -> Result<(Type, u32), BtfError> {
        let info = self.word(at + 4)?;
        let kind_number = (info >> 24) & 0x7f;
        let record = Type {
            kind: Kind::new(kind_number),
            name: self.word(at)?,
            flag: info >> 31 == 1,
            vlen: info & 0x00ff_ffff,
            operand: self.word(at + 8)?,
            extra: at + RECORD_LEN,
        };
        Ok((record, kind_number))
    }

    fn word(&self, at: usize) -> Result<u32, BtfError> {
        u32_at(self.types, at).ok_or(BtfError::Truncated { what: "type" })
    }

    pub(super) const fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn get(&self, id: u32) -> Result<Type, BtfError> {
        let Some(index) = id.checked_sub(1) else {
            return Ok(Type {
                kind: Kind::Void,
                name: 0,
                flag: false,
                vlen: 0,
                operand: 0,
                extra: 0,
            });
        };
        let place = usize::try_from(index)
            .ok()
            .and_then(|index| self.places.get(index))
            .ok_or(BtfError::NoSuchId { id })?;
        // Lossless: `usize` is at least 32 bits wherever BPF exists.
        Ok(self.record(*place as usize)?.0)
    }

    /// Types among `ids` with this name.
    pub(super) fn named(&self, ids: &[u32], name: &str) -> Result<Vec<Type>, BtfError> {
        let found = self.ids_named(ids, name)?;
        found.into_iter().map(|id| self.get(id)).collect()
    }

    /// Ids among `ids` of types with this name.
    pub(super) fn ids_named(&self, ids: &[u32], name: &str) -> Result<Vec<u32>, BtfError> {
        let mut found = Vec::new();
        for &id in ids {
            if self.is_named(self.get(id)?.name, name) {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// The first of `ids` whose type has this name.
    pub(super) fn first_named(&self, ids: &[u32], name: &str) -> Result<Option<u32>, BtfError> {
        for &id in ids {
            if self.is_named(self.get(id)?.name, name) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    pub(super) fn is_named(&self, offset: u32, name: &str) -> bool {
        self.tail(offset)
            .and_then(|tail| tail.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Whether a member or type has no name of its own.
    pub(super) fn is_anonymous(&self, offset: u32) -> bool {
        self.is_named(offset, "")
    }

    /// A name; only what a C identifier may hold is one.
    pub(super) fn identifier(&self, offset: u32) -> Result<&'data str, BtfError> {
        std::str::from_utf8(self.string(offset)?)
            .ok()
            .filter(|name| {
                name.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            })
            .ok_or(BtfError::BadName { offset })
    }

    /// A string, without the zero at its end.
    pub(super) fn string(&self, offset: u32) -> Result<&'data [u8], BtfError> {
        self.tail(offset)
            .and_then(|tail| Some(&tail[..tail.iter().position(|byte| *byte == 0)?]))
            .ok_or(BtfError::BadName { offset })
    }

    fn tail(&self, offset: u32) -> Option<&'data [u8]> {
        self.strings.get(usize::try_from(offset).ok()?..)
    }

    pub(super) fn member(&self, of: &Type, index: u32) -> Result<Member, BtfError> {
        let at = element(of, index, 12)?;
        let offset = self.word(at + 8)?;
        let (bit_offset, bit_width) = if of.flag {
            (offset & 0x00ff_ffff, offset >> 24)
        } else {
            (offset, 0)
        };
        Ok(Member {
            name: self.word(at)?,
            type_id: self.word(at + 4)?,
            bit_offset,
            bit_width,
        })
    }

    pub(super) fn array(&self, of: &Type) -> Result<Array, BtfError> {
        Ok(Array {
            element: self.word(of.extra)?,
            len: self.word(of.extra + 8)?,
        })
    }

    /// What follows the record of `of`, element by element of `size` bytes, as words.
    pub(super) fn words(&self, of: &Type, index: u32, size: usize) -> Result<Vec<u32>, BtfError> {
        let at = element(of, index, size)?;
        (0..size / 4).map(|word| self.word(at + word * 4)).collect()
    }

    /// The words between the record of `of` and its elements.
    pub(super) fn fixed_words(&self, of: &Type) -> Result<Vec<u32>, BtfError> {
        let (fixed, _) = of.kind.extra().unwrap_or_default();
        (0..fixed / 4)
            .map(|word| self.word(of.extra + word * 4))
            .collect()
    }

    /// `BTF_INT_OFFSET` and `BTF_INT_BITS` of an integer.
    pub(super) fn int_bits(&self, of: &Type) -> Result<(u32, u32), BtfError> {
        let encoding = self.word(of.extra)?;
        Ok(((encoding >> 16) & 0xff, encoding & 0xff))
    }

    /// Name and value of an enumerator of an ENUM or ENUM64.
    pub(super) fn enumerator(&self, of: &Type, index: u32) -> Result<(&'data str, i64), BtfError> {
        let (at, value) = if of.kind == Kind::Enum64 {
            let at = element(of, index, 12)?;
            let low = u64::from(self.word(at + 4)?);
            let high = u64::from(self.word(at + 8)?);
            (at, ((high << 32) | low).cast_signed())
        } else {
            let at = element(of, index, 8)?;
            let value = self.word(at + 4)?;
            // `kind_flag` of an enum since 6.0: its values are signed.
            let value = if of.flag {
                i64::from(value.cast_signed())
            } else {
                i64::from(value)
            };
            (at, value)
        };
        Ok((self.identifier(self.word(at)?)?, value))
    }
}

/// Place of element `index` of `of`, whose elements take `size` bytes.
fn element(of: &Type, index: u32, size: usize) -> Result<usize, BtfError> {
    // Records are checked to lie in the section when they are indexed, so this
    // cannot overflow for an index below `vlen`.
    (index < of.vlen)
        .then(|| of.extra + index as usize * size)
        .ok_or(BtfError::Truncated { what: "member" })
}

/// Sections are at most 4 GiB: their lengths are 32-bit.
fn narrow(place: usize) -> Result<u32, BtfError> {
    u32::try_from(place).ok().ok_or(BtfError::TooComplex)
}

/// Sizes of a kind that this reader does not know, from the blob itself.
fn layout_of(layout: &[u8], kind: u32) -> Option<(usize, usize)> {
    let at = usize::try_from(kind).ok()?.checked_mul(LAYOUT_LEN)?;
    let [fixed, each, ..] = layout.get(at..)?.first_chunk::<LAYOUT_LEN>()?;
    Some((usize::from(*fixed), usize::from(*each)))
}

struct Header<'data> {
    types: &'data [u8],
    strings: &'data [u8],
    layout: &'data [u8],
}

impl<'data> Header<'data> {
    fn parse(bytes: &'data [u8]) -> Result<Self, BtfError> {
        const SHORT: BtfError = BtfError::Truncated { what: "header" };
        let magic = bytes.first_chunk::<2>().ok_or(SHORT)?;
        let found = u16::from_le_bytes(*magic);
        if found != MAGIC {
            return Err(BtfError::NotBtf { found });
        }
        let version = *bytes.get(2).ok_or(SHORT)?;
        if version != VERSION {
            return Err(BtfError::Version { found: version });
        }
        let word = |at| {
            u32_at(bytes, at)
                .and_then(|word| usize::try_from(word).ok())
                .ok_or(SHORT)
        };
        let header_len = word(4)?;
        let body = bytes
            .get(header_len..)
            .filter(|_| header_len >= HEADER_LEN)
            .ok_or(SHORT)?;
        let section = |at: usize, what| {
            let (start, len) = (word(at)?, word(at + 4)?);
            start
                .checked_add(len)
                .and_then(|end| body.get(start..end))
                .ok_or(BtfError::Truncated { what })
        };
        Ok(Self {
            types: section(8, "type section")?,
            strings: section(16, "string section")?,
            layout: if header_len >= HEADER_LEN_WITH_LAYOUT {
                section(24, "layout section")?
            } else {
                &[]
            },
        })
    }
}
