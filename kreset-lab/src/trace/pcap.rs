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

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct File<W>(W);

impl<W: Write> File<W> {
    /// Begins one, of packets with no more than `snap` bytes.
    pub(crate) fn new(mut out: W, snap: u16) -> io::Result<Self> {
        const VERSION: [u8; 4] = [2, 0, 4, 0];
        // Time zone and accuracy, which are always 0.
        const UNUSED: [u8; 8] = [0; 8];
        out.write_all(&MAGIC.to_le_bytes())?;
        out.write_all(&VERSION)?;
        out.write_all(&UNUSED)?;
        out.write_all(&u32::from(snap).to_le_bytes())?;
        out.write_all(&RAW_IP.to_le_bytes())?;
        Ok(Self(out))
    }

    pub(crate) fn write(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        const SECOND: u64 = 1_000_000_000;
        for number in [
            packet.at / SECOND,
            packet.at % SECOND,
            packet.bytes.len() as u64,
            packet.length as u64,
        ] {
            // The format's own limit, which it reaches in 2106.
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            self.0.write_all(&number.to_le_bytes())?;
        }
        self.0.write_all(packet.bytes)
    }
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
        let mut bytes = Vec::new();
        let mut file = File::new(&mut bytes, 192).expect("a vector takes everything");
        file.write(&packet).expect("a vector takes everything");
        let (header, record) = bytes.split_at(24);
        assert_eq!(header[..8], [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(header[16..], [192, 0, 0, 0, 101, 0, 0, 0]);
        assert_eq!(
            record,
            [3, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 60, 0, 0, 0, 0x45, 0xaa]
        );
    }
}
