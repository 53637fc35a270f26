//! The set of traced ports, as the kernel looks it up.

/// Words in the port bitmap: one bit for each of the 65,536 TCP ports.
pub const PORT_WORDS: u32 = 65_536 / 64;

/// The word of the bitmap that holds `port`.
#[must_use]
pub const fn word(port: u16) -> u32 {
    (port >> 6) as u32
}

/// The bit of `port` inside its word.
#[must_use]
pub const fn bit(port: u16) -> u64 {
    1 << (port & 63)
}

#[cfg(test)]
mod tests {
    use super::{PORT_WORDS, bit, word};

    #[test]
    fn every_port_has_its_own_bit() {
        let mut bitmap = [0_u64; PORT_WORDS as usize];
        for port in 0..=u16::MAX {
            let slot = &mut bitmap[word(port) as usize];
            assert_eq!(*slot & bit(port), 0, "port {port} shares a bit");
            *slot |= bit(port);
        }
        assert!(bitmap.iter().all(|word| *word == u64::MAX));
    }
}
