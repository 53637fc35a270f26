//! Finds bytes eight at a time: a machine word is compared at once, without instructions that
//! only some processors have.

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// A mark for each byte that is zero. Above the lowest mark there may be some too many.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(LOW) & !word & HIGH
}

/// A mark for each byte that is `byte`, exact for the first one.
pub(crate) const fn equal(word: u64, byte: u8) -> u64 {
    zeros(word ^ (LOW * byte as u64))
}

/// The place of the first byte that is marked, and that `is_meant`. `marks` of eight bytes, the
/// first of which is the lowest, may mark more than those, but none less.
pub(crate) fn find(
    bytes: &[u8],
    marks: impl Fn(u64) -> u64,
    is_meant: impl Fn(u8) -> bool,
) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let mut marked = marks(u64::from_le_bytes(*word));
        while marked != 0 {
            let place = (marked.trailing_zeros() / 8) as usize;
            if is_meant(word[place]) {
                return Some(at + place);
            }
            marked &= marked - 1;
        }
        at += word.len();
    }
    let place = rest.iter().position(|byte| is_meant(*byte))?;
    Some(at + place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find_byte(bytes: &[u8], byte: u8) -> Option<usize> {
        find(bytes, |word| equal(word, byte), |it| it == byte)
    }

    proptest! {
        #[test]
        fn it_is_the_first_one(bytes in prop::collection::vec(0_u8..4, 0..40), other: u8) {
            for byte in [0, 3, other] {
                let expected = bytes.iter().position(|it| *it == byte);
                prop_assert_eq!(find_byte(&bytes, byte), expected);
            }
            let two = find(&bytes, |word| equal(word, 1) | equal(word, 3), |it| it == 1 || it == 3);
            prop_assert_eq!(two, bytes.iter().position(|it| *it == 1 || *it == 3));
        }

        #[test]
        fn every_byte_is_told_from_every_other(bytes in prop::collection::vec(any::<u8>(), 0..40), byte: u8) {
            prop_assert_eq!(find_byte(&bytes, byte), bytes.iter().position(|it| *it == byte));
        }
    }
}
