//! Cuts a kernel's BTF down to the types that are read, as a fixture of tests.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    BtfError,
    path::{MAX_CHAIN, MAX_MEMBERS, peel, peeled, split_index},
    raw::{HEADER_LEN, Kind, MAGIC, Raw, Type, VERSION},
    typedef_of,
};

/// What an extract has to answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted<'name> {
    /// Structures by name, each with the paths of the members that are read.
    pub structures: BTreeMap<&'name str, BTreeSet<&'name str>>,
    /// Enumerations, whole.
    pub enumerations: BTreeSet<&'name str>,
    /// Functions, with their parameters.
    pub functions: BTreeSet<&'name str>,
    /// Tracepoints, with their arguments.
    pub tracepoints: BTreeSet<&'name str>,
}

pub(super) fn extract(raw: &Raw<'_>, wanted: &Wanted<'_>) -> Result<Vec<u8>, BtfError> {
    let mut cut = Cut {
        raw,
        members: BTreeMap::new(),
        enumerations: BTreeSet::new(),
        ids: BTreeMap::new(),
        out: Writer::new(),
    };
    let mut roots = Vec::new();
    for (name, paths) in &wanted.structures {
        for id in raw.ids_named(&raw.structs, name)? {
            for path in paths {
                let mut budget = MAX_MEMBERS;
                cut.keep(id, path, &mut budget, MAX_CHAIN)?;
            }
            roots.push(id);
        }
    }
    for name in &wanted.enumerations {
        let ids = raw.ids_named(&raw.enums, name)?;
        cut.enumerations.extend(&ids);
        roots.extend(ids);
    }
    for name in &wanted.functions {
        roots.extend(raw.ids_named(&raw.functions, name)?);
    }
    for name in &wanted.tracepoints {
        roots.extend(raw.ids_named(&raw.typedefs, &typedef_of(name))?);
    }
    for id in roots {
        cut.copy(id, MAX_CHAIN)?;
    }
    cut.out.finish()
}

struct Cut<'a> {
    raw: &'a Raw<'a>,
    /// Members that are kept, of each structure or union.
    members: BTreeMap<u32, BTreeSet<u32>>,
    /// Enumerations that are kept whole; of others only the size is.
    enumerations: BTreeSet<u32>,
    /// New ids of types that were copied.
    ids: BTreeMap<u32, u32>,
    out: Writer,
}

impl Cut<'_> {
    /// Marks what is on `path` in `of`, also inside its anonymous members. Whether there is
    /// anything.
    fn keep(
        &mut self,
        of: u32,
        path: &str,
        budget: &mut usize,
        depth: usize,
    ) -> Result<bool, BtfError> {
        let depth = depth.checked_sub(1).ok_or(BtfError::TooComplex)?;
        let composite = self.raw.get(of)?;
        if !composite.kind.is_composite() {
            return Ok(false);
        }
        let (segment, rest) = match path.split_once('.') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (path, None),
        };
        let (name, _) = split_index(segment).ok_or_else(|| BtfError::BadPath {
            path: path.to_owned(),
        })?;
        let mut found = false;
        for index in 0..composite.vlen {
            *budget = budget.checked_sub(1).ok_or(BtfError::TooComplex)?;
            let member = self.raw.member(&composite, index)?;
            let is_on_path = if self.raw.is_anonymous(member.name) {
                let (within, _) = peeled(self.raw, member.type_id)?;
                self.keep(within, path, budget, depth)?
            } else if self.raw.is_named(member.name, name) {
                if let Some(rest) = rest {
                    let within = self.element(member.type_id)?;
                    self.keep(within, rest, budget, depth)?;
                }
                true
            } else {
                false
            };
            if is_on_path {
                self.members.entry(of).or_default().insert(index);
                found = true;
            }
        }
        Ok(found)
    }

    /// The type of which `id` is an array, or an array of arrays; else its own.
    fn element(&self, mut id: u32) -> Result<u32, BtfError> {
        for _ in 0..MAX_CHAIN {
            let (bare, found) = peeled(self.raw, id)?;
            if found.kind != Kind::Array {
                return Ok(bare);
            }
            id = self.raw.array(&found)?.element;
        }
        Err(BtfError::TooComplex)
    }

    /// Copies a type after all that it refers to, once. Its new id.
    fn copy(&mut self, id: u32, depth: usize) -> Result<u32, BtfError> {
        if id == 0 {
            return Ok(0);
        }
        if let Some(copied) = self.ids.get(&id) {
            return Ok(*copied);
        }
        let depth = depth.checked_sub(1).ok_or(BtfError::TooComplex)?;
        let found = self.raw.get(id)?;
        let mut words = self.raw.fixed_words(&found)?;
        let mut operand = found.operand;
        let mut vlen = 0;
        match found.kind {
            Kind::Int | Kind::Float | Kind::Fwd => vlen = found.vlen,
            Kind::Ptr => {
                let is_prototype = peel(self.raw, operand)?.kind == Kind::FuncProto;
                operand = if is_prototype {
                    self.copy(operand, depth)?
                } else {
                    0
                };
            }
            Kind::Array => {
                // Of its element and of its index.
                for id in words.iter_mut().take(2) {
                    *id = self.copy(*id, depth)?;
                }
            }
            Kind::Struct | Kind::Union => {
                let kept = self.members.get(&id).cloned().unwrap_or_default();
                for index in kept {
                    words.extend(self.typed(&found, index, 12, depth)?);
                    vlen += 1;
                }
            }
            Kind::Enum | Kind::Enum64 => {
                let size = if found.kind == Kind::Enum { 8 } else { 12 };
                if self.enumerations.contains(&id) {
                    vlen = found.vlen;
                }
                for index in 0..vlen {
                    let mut value = self.raw.words(&found, index, size)?;
                    self.rename(&mut value)?;
                    words.extend(value);
                }
            }
            // The `vlen` of a function is its linkage.
            Kind::Func => {
                vlen = found.vlen;
                operand = self.copy(operand, depth)?;
            }
            Kind::FuncProto => {
                operand = self.copy(operand, depth)?;
                vlen = found.vlen;
                for index in 0..vlen {
                    words.extend(self.typed(&found, index, 8, depth)?);
                }
            }
            kind if kind.is_modifier() => operand = self.copy(operand, depth)?,
            _ => return Err(BtfError::NoSize),
        }
        let name = self.raw.string(found.name)?;
        let copied = self.out.record(name, &found, vlen, operand, &words)?;
        self.ids.insert(id, copied);
        Ok(copied)
    }

    /// A member or a parameter, which begins with its name and its type.
    fn typed(
        &mut self,
        of: &Type,
        index: u32,
        size: usize,
        depth: usize,
    ) -> Result<Vec<u32>, BtfError> {
        let mut words = self.raw.words(of, index, size)?;
        self.rename(&mut words)?;
        if let Some(id) = words.get_mut(1) {
            *id = self.copy(*id, depth)?;
        }
        Ok(words)
    }

    /// Replaces the offset of a name, which comes first.
    fn rename(&mut self, words: &mut [u32]) -> Result<(), BtfError> {
        if let Some(name) = words.first_mut() {
            let string = self.raw.string(*name)?;
            *name = self.out.string(string)?;
        }
        Ok(())
    }
}

/// Writes a blob. Strings are shared.
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    offsets: BTreeMap<Vec<u8>, u32>,
    last_id: u32,
}

impl Writer {
    fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
            offsets: BTreeMap::from([(Vec::new(), 0)]),
            last_id: 0,
        }
    }

    fn string(&mut self, string: &[u8]) -> Result<u32, BtfError> {
        if let Some(offset) = self.offsets.get(string) {
            return Ok(*offset);
        }
        let offset = length(&self.strings)?;
        self.strings.extend(string);
        self.strings.push(0);
        self.offsets.insert(string.to_owned(), offset);
        Ok(offset)
    }

    /// Writes a type like `of`, and returns its id.
    fn record(
        &mut self,
        name: &[u8],
        of: &Type,
        vlen: u32,
        operand: u32,
        words: &[u32],
    ) -> Result<u32, BtfError> {
        let name = self.string(name)?;
        let info = (u32::from(of.flag) << 31) | ((of.kind as u32) << 24) | vlen;
        for word in [name, info, operand].iter().chain(words) {
            self.types.extend(word.to_le_bytes());
        }
        self.last_id += 1;
        Ok(self.last_id)
    }

    fn finish(self) -> Result<Vec<u8>, BtfError> {
        let (types, strings) = (length(&self.types)?, length(&self.strings)?);
        let [low, high] = MAGIC.to_le_bytes();
        let mut blob = vec![low, high, VERSION, 0];
        for word in [HEADER_LEN as u32, 0, types, types, strings] {
            blob.extend(word.to_le_bytes());
        }
        blob.extend(self.types);
        blob.extend(self.strings);
        Ok(blob)
    }
}

fn length(bytes: &[u8]) -> Result<u32, BtfError> {
    u32::try_from(bytes.len()).ok().ok_or(BtfError::TooComplex)
}
