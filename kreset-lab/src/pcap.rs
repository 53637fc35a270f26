//! Packet capture files, for tcpdump and Wireshark.

use std::io::{self, Write};

/// Time stamps in nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;

/// Packets begin with their IP header.
const RAW_IP: u32 = 101;

/// One packet to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    /// Nanoseconds since the Unix epoch.
    pub(crate) at: u64,
    /// What was kept of it.
    pub(crate) bytes: &'a [u8],
    /// How long it was.
    pub(crate) length: usize,
}

/// Writes a whole file. No packet has more than `snap` bytes.
pub(crate) fn write<'a>(
    out: &mut impl Write,
    snap: u16,
    packets: impl Iterator<Item = Packet<'a>>,
) -> io::Result<()> {
    const SECOND: u64 = 1_000_000_000;
    // Version 2.4 as two 16-bit numbers; time zone and accuracy, which nobody uses.
    for number in [MAGIC, 4 << 16 | 2, 0, 0, snap.into(), RAW_IP] {
        out.write_all(&number.to_le_bytes())?;
    }
    for packet in packets {
        for number in [
            packet.at / SECOND,
            packet.at % SECOND,
            packet.bytes.len() as u64,
            packet.length as u64,
        ] {
            // The format's own limit, which it reaches in 2106.
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            out.write_all(&number.to_le_bytes())?;
        }
        out.write_all(packet.bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_header_and_its_packets() {
        let packet = Packet {
            at: 3_000_000_005,
            bytes: &[0x45, 0xaa],
            length: 60,
        };
        let mut file = Vec::new();
        write(&mut file, 192, [packet].into_iter()).expect("a vector takes everything");
        let (header, record) = file.split_at(24);
        assert_eq!(header[..8], [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(header[16..], [192, 0, 0, 0, 101, 0, 0, 0]);
        assert_eq!(
            record,
            [3, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 60, 0, 0, 0, 0x45, 0xaa]
        );
    }
}
