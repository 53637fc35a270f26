//! Writes a blob of a few types that keep the ids which they have among many others.

use super::raw::{HEADER_LEN, MAGIC, RECORD_LEN, VERSION};

/// `BTF_KIND_FWD`: a record without anything behind it.
const FORWARD: u32 = 7;
const TYPEDEF: u32 = 8;
const FUNCTION: u32 = 12;
/// Room for the names of a few types.
const LONG_NAMES: usize = 4_096;

/// What a program attaches to, as BTF describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachable {
    /// A tracepoint: the typedef of its prototype.
    Typedef,
    /// A function.
    Function,
}

impl Attachable {
    const fn number(self) -> u32 {
        match self {
            Self::Typedef => TYPEDEF,
            Self::Function => FUNCTION,
        }
    }
}

/// A blob with these types, each under its id, as far as name and kind go. All other ids up to
/// the highest are nameless forward declarations, and what a type refers to is void.
pub fn only(types: &[(Attachable, String, u32)]) -> Vec<u8> {
    let mut types: Vec<_> = types.iter().filter(|(_, _, id)| *id > 0).collect();
    types.sort_by_key(|(_, _, id)| *id);
    // Two of one id cannot be: the later one is left out.
    types.dedup_by_key(|(_, _, id)| *id);
    let count = types.last().map_or(0, |(_, _, id)| *id);
    let mut strings = vec![0];
    let mut blob = Vec::with_capacity(HEADER_LEN + count as usize * RECORD_LEN + LONG_NAMES);
    blob.extend(MAGIC.to_le_bytes());
    blob.extend([VERSION, 0]);
    words(&mut blob, [length(HEADER_LEN)]);
    let sections = blob.len();
    words(&mut blob, [0; 4]);
    let mut next = 1;
    for (kind, name, id) in types {
        for _ in next..*id {
            words(&mut blob, [0, FORWARD << 24, 0]);
        }
        words(&mut blob, [length(strings.len()), kind.number() << 24, 0]);
        strings.extend(name.as_bytes());
        strings.push(0);
        next = id + 1;
    }
    let records = length(blob.len() - HEADER_LEN);
    let mut filled = Vec::new();
    words(&mut filled, [0, records, records, length(strings.len())]);
    blob[sections..HEADER_LEN].copy_from_slice(&filled);
    blob.extend(strings);
    blob
}

fn words<const COUNT: usize>(to: &mut Vec<u8>, all: [u32; COUNT]) {
    for word in all {
        to.extend(word.to_le_bytes());
    }
}

/// Sections are at most 4 GiB: ids have 32 bits, and those of a kernel far fewer.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{super::Btf, *};

    #[test]
    fn a_type_is_found_under_its_id_and_nothing_else_is() {
        let (typedef, function) = (Attachable::Typedef, Attachable::Function);
        // In any order.
        let blob = only(&[
            (function, "tcp_v4_rcv".to_owned(), 1_000),
            (typedef, "btf_trace_tcp_send_reset".to_owned(), 7),
            (function, "bpf_iter_task_file".to_owned(), 8),
        ]);
        let btf = Btf::parse(&blob).unwrap();
        assert_eq!(btf.len(), 1_000);
        assert_eq!(btf.id(function, "tcp_v4_rcv"), Ok(Some(1_000)));
        assert_eq!(btf.id(typedef, "btf_trace_tcp_send_reset"), Ok(Some(7)));
        assert_eq!(btf.id(function, "bpf_iter_task_file"), Ok(Some(8)));
        assert_eq!(btf.id(typedef, "tcp_v4_rcv"), Ok(None));
        assert_eq!(btf.id(function, ""), Ok(None));
    }

    #[test]
    fn no_type_is_an_empty_blob() {
        assert!(Btf::parse(&only(&[])).unwrap().is_empty());
    }
}
