//! Text that JSON writes as it stands.

use wide::u8x16;

/// Bytes that are looked at together: as many as every processor of the targets can.
const LANES: usize = 16;

/// Printable ASCII but quotes and backslashes: nothing that JSON, a reader of lines or a terminal
/// takes for anything else.
#[inline]
pub(crate) fn is_plain(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk::<LANES>() else {
        return special(padded(text)).to_bitmask() == 0;
    };
    let (chunks, _in_last) = text.as_chunks::<LANES>();
    let all = chunks.iter().map(|chunk| special(*chunk));
    all.fold(special(*last), |any, chunk| any | chunk)
        .to_bitmask()
        == 0
}

/// All bytes of a short text, some of them twice, and of an empty one none: without a loop.
#[inline]
fn padded(text: &[u8]) -> [u8; LANES] {
    let mut all = [b' '; LANES];
    let (first, last) = all.split_at_mut(LANES / 2);
    if let (Some(begin), Some(end)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        first.copy_from_slice(begin);
        last.copy_from_slice(end);
    } else if let (Some(begin), Some(end)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        first[..4].copy_from_slice(begin);
        last[..4].copy_from_slice(end);
    } else if let ([begin, ..], [.., end]) = (text, text) {
        // Of up to three bytes.
        first[0] = *begin;
        first[1] = text[text.len() / 2];
        last[0] = *end;
    }
    all
}

/// All bits of each byte that is not plain.
#[inline]
fn special(chunk: [u8; LANES]) -> u8x16 {
    let chunk = u8x16::new(chunk);
    let (first, last) = (u8x16::splat(b' '), u8x16::splat(b'~'));
    let printable = chunk.max(first).min(last).simd_eq(chunk);
    !printable | chunk.simd_eq(u8x16::splat(b'"')) | chunk.simd_eq(u8x16::splat(b'\\'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_byte_is_looked_at(text in "[ -~]{0,70}", at: prop::sample::Index, byte: u8) {
            let of_one = |byte: &u8| (b' '..=b'~').contains(byte) && !matches!(byte, b'"' | b'\\');
            let mut text = text.into_bytes();
            prop_assert_eq!(is_plain(&text), text.iter().all(of_one));
            text.retain(of_one);
            prop_assert!(is_plain(&text));
            text.insert(at.index(text.len() + 1), byte);
            prop_assert_eq!(is_plain(&text), of_one(&byte));
        }
    }
}
