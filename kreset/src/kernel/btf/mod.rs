//! Reads the kernel's own description of its types (BTF): where a member of a
//! structure is, what an enumerator is worth, how many arguments a tracepoint
//! has.
//!
//! aya reads BTF too but keeps members to itself. This reader answers only
//! what kreset asks, from bytes it does not trust: it never panics, and every
//! walk has a bound, so that a corrupt or hostile blob ends in a
//! [`BtfError`].

mod extract;
mod few;
mod path;
mod raw;
#[cfg(test)]
pub(crate) mod synthetic;
#[cfg(test)]
mod tests;

use self::raw::{Kind, Raw, Type};
pub use self::{
    extract::Wanted,
    few::{Attachable, only},
};

/// Structures of one name that are compared. 6.18 has no more than 5 of any.
const MAX_NAMESAKES: usize = 64;

/// Why a question had no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// The blob does not start with BTF's magic number.
    #[error("not BTF: starts with {found:#06x}")]
    NotBtf {
        /// The first two bytes, read as little-endian.
        found: u16,
    },
    /// A version other than 1.
    #[error("BTF version {found} is not known")]
    Version {
        /// The version found.
        found: u8,
    },
    /// The blob ends, or a section does, before its content.
    #[error("BTF is cut short in its {what}")]
    Truncated {
        /// The part that was read.
        what: &'static str,
    },
    /// A kind of type that is newer than this reader and that the blob does
    /// not describe.
    #[error("BTF type {id} is of unknown kind {kind}")]
    UnknownKind {
        /// Id of the type.
        id: u32,
        /// `BTF_KIND_*`.
        kind: u32,
    },
    /// A reference to a type that is not there.
    #[error("BTF refers to type {id}, which is not there")]
    NoSuchId {
        /// The id referred to.
        id: u32,
    },
    /// A name that is no C identifier, or outside the string section.
    #[error("invalid identifier in BTF at offset {offset}")]
    BadName {
        /// Offset in the string section.
        offset: u32,
    },
    /// A reference chain or nesting beyond any compiler's: a loop.
    #[error("BTF nests without end")]
    TooComplex,
    /// A type without a size, such as a function, where a value was expected.
    #[error("BTF type has no size")]
    NoSize,
    /// No type of that kind and name.
    #[error("no {kind} {name}")]
    NoSuchType {
        /// `struct`, `enum`, `typedef` or `function`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The structure has no such member.
    #[error("no member {path}")]
    NoSuchMember {
        /// The path asked for.
        path: String,
    },
    /// A path that does not read `a.b[0].c`.
    #[error("invalid member path {path:?}")]
    BadPath {
        /// The path asked for.
        path: String,
    },
    /// The member lies outside its structure, off its bytes, or is a bit field
    /// that spans bytes.
    #[error("member {path} has an unreadable offset")]
    Misplaced {
        /// The path asked for.
        path: String,
    },
    /// Several types have this name, and they do not agree on the answer.
    #[error("conflicting BTF types named {name}")]
    Ambiguous {
        /// The name they share.
        name: String,
    },
}

/// What a member is made of, as far as reading it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An integer or an enumeration.
    Integer,
    /// A pointer.
    Pointer,
    /// A struct, union, array or anything else that is copied as bytes.
    Aggregate,
}

/// A bit field's bits in the byte at its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Right shift that brings its lowest bit to bit 0 of the byte.
    pub shift: u8,
    /// Width in bits.
    pub width: u8,
}

/// Where a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Bytes from the start of the structure; of a bit field, the byte that
    /// holds its first bit.
    pub offset: u32,
    /// Size in bytes of its type.
    pub size: u32,
    /// What it is made of.
    pub shape: Shape,
    /// Set for a bit field.
    pub bits: Option<Bits>,
}

/// A BTF blob, ready for questions.
#[derive(Debug)]
pub struct Btf<'data> {
    raw: Raw<'data>,
}

impl<'data> Btf<'data> {
    /// Checks a blob's header and records and indexes its types once.
    ///
    /// # Errors
    ///
    /// If the blob is not BTF, is cut short, or has types of an unknown kind
    /// that it does not describe.
    pub fn parse(bytes: &'data [u8]) -> Result<Self, BtfError> {
        Raw::parse(bytes).map(|raw| Self { raw })
    }

    /// Number of types.
    pub const fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there is no type at all.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A structure to ask for members.
    ///
    /// # Errors
    ///
    /// [`BtfError::NoSuchType`] if no structure has this name.
    pub fn structure<'a>(&'a self, name: &'a str) -> Result<Structure<'a>, BtfError> {
        let candidates = self.named(&self.raw.structs, "struct", name)?;
        if candidates.len() > MAX_NAMESAKES {
            return Err(BtfError::Ambiguous {
                name: name.to_owned(),
            });
        }
        Ok(Structure {
            raw: &self.raw,
            name,
            candidates,
        })
    }

    /// Names and values of an enumeration, in the order of its declaration.
    ///
    /// # Errors
    ///
    /// [`BtfError::NoSuchType`] if there is none of this name,
    /// [`BtfError::Ambiguous`] if several differ.
    pub fn enumerators(&self, name: &str) -> Result<Vec<(&'data str, i64)>, BtfError> {
        let candidates = self.named(&self.raw.enums, "enum", name)?;
        agree(name, &candidates, |candidate| {
            (0..candidate.vlen)
                .map(|index| self.raw.enumerator(candidate, index))
                .collect()
        })
    }

    /// Whether the kernel has a function of this name. Functions that the
    /// compiler inlined everywhere or renamed are not listed.
    ///
    /// # Errors
    ///
    /// Only if the blob is corrupt.
    pub fn has_function(&self, name: &str) -> Result<bool, BtfError> {
        Ok(!self.raw.named(&self.raw.functions, name)?.is_empty())
    }

    /// The id of the first type of that kind and name, if there is one.
    ///
    /// # Errors
    ///
    /// Only if the blob is corrupt.
    pub fn id(&self, kind: Attachable, name: &str) -> Result<Option<u32>, BtfError> {
        let ids = match kind {
            Attachable::Typedef => &self.raw.typedefs,
            Attachable::Function => &self.raw.functions,
        };
        self.raw.first_named(ids, name)
    }

    /// Number of parameters of a function.
    ///
    /// # Errors
    ///
    /// [`BtfError::NoSuchType`] if there is none of this name,
    /// [`BtfError::Ambiguous`] if several differ.
    pub fn function_arity(&self, name: &str) -> Result<u32, BtfError> {
        let candidates = self.named(&self.raw.functions, "function", name)?;
        agree(name, &candidates, |function| {
            self.arity(name, function.operand)
        })
    }

    /// Number of arguments of a tracepoint, from the prototype
    /// `btf_trace_NAME` that `include/trace/bpf_probe.h` declares for it.
    ///
    /// # Errors
    ///
    /// [`BtfError::NoSuchType`] if the kernel has no such tracepoint,
    /// [`BtfError::Ambiguous`] if several differ.
    pub fn tracepoint_arity(&self, tracepoint: &str) -> Result<u32, BtfError> {
        let name = typedef_of(tracepoint);
        let candidates = self.named(&self.raw.typedefs, "typedef", &name)?;
        let arity = agree(&name, &candidates, |typedef| {
            let pointer = path::peel(&self.raw, typedef.operand)?;
            self.arity(&name, pointer.operand)
        })?;
        // The prototype starts with the `void *` of the probe itself.
        Ok(arity.saturating_sub(1))
    }

    /// A blob of the types in `wanted` alone, and of what they refer to: structures have the
    /// members on the paths asked for, and pointers point to nothing. It answers what `wanted`
    /// names as this one does, in some thousand bytes instead of some million.
    ///
    /// # Errors
    ///
    /// Only if the blob is corrupt: what it does not have, the extract does not have either.
    pub fn extract(&self, wanted: &Wanted<'_>) -> Result<Vec<u8>, BtfError> {
        extract::extract(&self.raw, wanted)
    }

    fn arity(&self, name: &str, prototype: u32) -> Result<u32, BtfError> {
        let prototype = path::peel(&self.raw, prototype)?;
        if prototype.kind == Kind::FuncProto {
            Ok(prototype.vlen)
        } else {
            Err(BtfError::NoSuchType {
                kind: "prototype",
                name: name.to_owned(),
            })
        }
    }

    fn named(&self, ids: &[u32], kind: &'static str, name: &str) -> Result<Vec<Type>, BtfError> {
        let found = self.raw.named(ids, name)?;
        if found.is_empty() {
            return Err(BtfError::NoSuchType {
                kind,
                name: name.to_owned(),
            });
        }
        Ok(found)
    }
}

/// The typedef that has a tracepoint's prototype.
fn typedef_of(tracepoint: &str) -> String {
    format!("btf_trace_{tracepoint}")
}

/// A structure, or all structures that share its name.
///
/// Kernels do hold several structures of one name, where a driver has a type
/// of its own or a header was compiled twice. Which of them is meant cannot be
/// distinguished, so a question is answered only where all give the same answer.
#[derive(Debug)]
pub struct Structure<'a> {
    raw: &'a Raw<'a>,
    name: &'a str,
    candidates: Vec<Type>,
}

impl Structure<'_> {
    /// Where the member at `path` is: names joined by dots, each with an
    /// optional array index (`rtt_min.s[0].v`). Anonymous structs and unions
    /// on the way need no mention, as in C; typedefs and qualifiers are
    /// followed.
    ///
    /// # Errors
    ///
    /// [`BtfError::NoSuchMember`] if there is none,
    /// [`BtfError::Ambiguous`] if structures of the same name disagree.
    pub fn field(&self, path: &str) -> Result<Field, BtfError> {
        agree(self.name, &self.candidates, |candidate| {
            path::resolve(self.raw, candidate, path)
        })
    }

    /// Whether the member at `path` is itself a `struct name`.
    ///
    /// # Errors
    ///
    /// As [`Self::field`].
    pub fn is_struct(&self, path: &str, name: &str) -> Result<bool, BtfError> {
        agree(self.name, &self.candidates, |candidate| {
            let leaf = path::leaf(self.raw, candidate, path)?;
            Ok(leaf.kind == Kind::Struct && self.raw.is_named(leaf.name, name))
        })
    }
}

/// The answer that all candidates give.
fn agree<T: PartialEq>(
    name: &str,
    candidates: &[Type],
    answer: impl Fn(&Type) -> Result<T, BtfError>,
) -> Result<T, BtfError> {
    let mut answers = candidates.iter().map(answer);
    let first = answers.next().ok_or(BtfError::TooComplex)?;
    if answers.all(|other| other == first) {
        first
    } else {
        Err(BtfError::Ambiguous {
            name: name.to_owned(),
        })
    }
}
