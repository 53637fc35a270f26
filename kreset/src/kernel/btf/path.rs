//! Where a member is: dotted paths through structs, unions and arrays.

use super::{
    Bits, BtfError, Field, Shape,
    raw::{Kind, Member, Raw, Type},
};

/// Modifiers and array dimensions followed before a chain is called endless.
/// The longest of vmlinux 6.18 has 6 modifiers.
pub(super) const MAX_CHAIN: usize = 64;

/// Members looked at before one path is called endless: anonymous members may
/// form a graph that is exponential to walk. No structure of vmlinux 6.18 has
/// more than 271.
pub(super) const MAX_MEMBERS: usize = 1 << 16;

/// Bytes of a kernel pointer. BTF does not say; kreset is for 64-bit kernels.
const POINTER_SIZE: u64 = 8;

/// A step on the way: what lies at a bit offset from the root structure.
struct Place {
    bit_offset: u64,
    type_id: u32,
    /// Width in bits of a bit field that encodes it in its member; else 0.
    bit_width: u32,
}

/// Where the member at `path` (`a.b.c[2].d`) of `root` is.
pub(super) fn resolve(raw: &Raw<'_>, root: &Type, path: &str) -> Result<Field, BtfError> {
    let place = walk(raw, root, path)?;
    locate(raw, root, &place)?.ok_or_else(|| BtfError::Misplaced {
        path: path.to_owned(),
    })
}

/// The type of the member at `path`.
pub(super) fn leaf(raw: &Raw<'_>, root: &Type, path: &str) -> Result<Type, BtfError> {
    peel(raw, walk(raw, root, path)?.type_id)
}

fn walk(raw: &Raw<'_>, root: &Type, path: &str) -> Result<Place, BtfError> {
    let no_such_member = || BtfError::NoSuchMember {
        path: path.to_owned(),
    };
    let mut within = *root;
    let mut place = Place {
        bit_offset: 0,
        type_id: 0,
        bit_width: 0,
    };
    for segment in path.split('.') {
        let (name, index) = split_index(segment).ok_or_else(|| BtfError::BadPath {
            path: path.to_owned(),
        })?;
        let (offset, member) = find(raw, &within, name)?.ok_or_else(no_such_member)?;
        place = Place {
            bit_offset: add(place.bit_offset, offset)?,
            type_id: member.type_id,
            bit_width: member.bit_width,
        };
        if let Some(index) = index {
            place = element(raw, &place, index)?.ok_or_else(no_such_member)?;
        }
        within = peel(raw, place.type_id)?;
    }
    Ok(place)
}

/// `name` or `name[index]`.
pub(super) fn split_index(segment: &str) -> Option<(&str, Option<u32>)> {
    let Some((name, index)) = segment.split_once('[') else {
        return (!segment.is_empty()).then_some((segment, None));
    };
    let index = index.strip_suffix(']')?.parse().ok()?;
    Some((name, Some(index)))
}

/// The member called `name` of a struct or union, also inside its anonymous
/// members, and its bit offset from the start of `of`.
fn find(raw: &Raw<'_>, of: &Type, name: &str) -> Result<Option<(u64, Member)>, BtfError> {
    let mut budget = MAX_MEMBERS;
    let mut todo = vec![(*of, 0_u64)];
    while let Some((composite, base)) = todo.pop() {
        if !composite.kind.is_composite() {
            continue;
        }
        for index in 0..composite.vlen {
            budget = budget.checked_sub(1).ok_or(BtfError::TooComplex)?;
            let member = raw.member(&composite, index)?;
            // No overflow: at most `MAX_MEMBERS` 32-bit offsets are added.
            let offset = base + u64::from(member.bit_offset);
            if raw.is_anonymous(member.name) {
                todo.push((peel(raw, member.type_id)?, offset));
            } else if raw.is_named(member.name, name) {
                return Ok(Some((offset, member)));
            }
        }
    }
    Ok(None)
}

/// Element `index` of the array at `place`; `None` if that is no array, or a
/// shorter one.
fn element(raw: &Raw<'_>, place: &Place, index: u32) -> Result<Option<Place>, BtfError> {
    let array_type = peel(raw, place.type_id)?;
    if array_type.kind != Kind::Array {
        return Ok(None);
    }
    let array = raw.array(&array_type)?;
    if index >= array.len {
        return Ok(None);
    }
    let bits = size_of(raw, array.element)?
        .checked_mul(u64::from(index) * 8)
        .ok_or(BtfError::TooComplex)?;
    Ok(Some(Place {
        bit_offset: add(place.bit_offset, bits)?,
        type_id: array.element,
        bit_width: 0,
    }))
}

/// Turns a place into bytes and bits; `None` if it lies outside `root`, off
/// its bytes, or is a bit field that spans bytes.
fn locate(raw: &Raw<'_>, root: &Type, place: &Place) -> Result<Option<Field>, BtfError> {
    let leaf = peel(raw, place.type_id)?;
    let size = size_of(raw, place.type_id)?;
    let bit_field = bit_field(raw, &leaf, place, size)?;
    let (skipped, width) = match bit_field {
        Some(found) => found,
        None => (0, size.checked_mul(8).ok_or(BtfError::TooComplex)?),
    };
    let start = add(place.bit_offset, skipped)?;
    if add(start, width)? > u64::from(root.operand) * 8 {
        return Ok(None);
    }
    let bits = match bit_field {
        None if start % 8 == 0 => None,
        None => return Ok(None),
        Some(_) => match bits(start % 8, width) {
            None => return Ok(None),
            found => found,
        },
    };
    let (Ok(offset), Ok(size)) = (u32::try_from(start / 8), u32::try_from(size)) else {
        return Ok(None);
    };
    let shape = match leaf.kind {
        Kind::Int | Kind::Enum | Kind::Enum64 => Shape::Integer,
        Kind::Ptr => Shape::Pointer,
        _ => Shape::Aggregate,
    };
    Ok(Some(Field {
        offset,
        size,
        shape,
        bits,
    }))
}

/// A bit field that starts `first` bits into its byte; `None` if it reaches
/// into the next.
fn bits(first: u64, width: u64) -> Option<Bits> {
    if first.checked_add(width)? > 8 {
        return None;
    }
    Some(Bits {
        // Offsets count from the least significant bit on little-endian machines.
        shift: u8::try_from(first).ok()?,
        width: u8::try_from(width).ok()?,
    })
}

/// Bits to skip from the place, and the width in bits, of a bit field. A width
/// is in the member or, in structs encoded without `kind_flag`, in the integer
/// type.
fn bit_field(
    raw: &Raw<'_>,
    leaf: &Type,
    place: &Place,
    size: u64,
) -> Result<Option<(u64, u64)>, BtfError> {
    if place.bit_width != 0 {
        return Ok(Some((0, u64::from(place.bit_width))));
    }
    if leaf.kind != Kind::Int {
        return Ok(None);
    }
    let (skipped, width) = raw.int_bits(leaf)?;
    let whole = skipped == 0 && u64::from(width) == size * 8;
    Ok((!whole).then_some((u64::from(skipped), u64::from(width))))
}

fn add(bits: u64, more: u64) -> Result<u64, BtfError> {
    bits.checked_add(more).ok_or(BtfError::TooComplex)
}

/// Follows names and qualifiers to the type that has a layout.
pub(super) fn peel(raw: &Raw<'_>, id: u32) -> Result<Type, BtfError> {
    peeled(raw, id).map(|(_, found)| found)
}

/// The same, with the id of the type.
pub(super) fn peeled(raw: &Raw<'_>, mut id: u32) -> Result<(u32, Type), BtfError> {
    for _ in 0..MAX_CHAIN {
        let found = raw.get(id)?;
        if !found.kind.is_modifier() {
            return Ok((id, found));
        }
        id = found.operand;
    }
    Err(BtfError::TooComplex)
}

/// Size in bytes.
fn size_of(raw: &Raw<'_>, mut id: u32) -> Result<u64, BtfError> {
    let mut factor = 1_u64;
    for _ in 0..MAX_CHAIN {
        let found = peel(raw, id)?;
        let size = match found.kind {
            Kind::Array => {
                let array = raw.array(&found)?;
                factor = factor
                    .checked_mul(u64::from(array.len))
                    .ok_or(BtfError::TooComplex)?;
                id = array.element;
                continue;
            }
            Kind::Ptr => POINTER_SIZE,
            Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float => {
                u64::from(found.operand)
            }
            _ => return Err(BtfError::NoSize),
        };
        return factor.checked_mul(size).ok_or(BtfError::TooComplex);
    }
    Err(BtfError::TooComplex)
}
