//! TCP segments that no stack sent: any header, any payload, a right checksum or a wrong one.

use std::net::{IpAddr, SocketAddr};

const TCP: u8 = 6;
/// Control bits.
pub const FIN: u8 = 0x01;
/// Opens a connection.
pub const SYN: u8 = 0x02;
/// Resets one.
pub const RST: u8 = 0x04;
/// Data to hand on at once.
pub const PSH: u8 = 0x08;
/// The acknowledgement number counts.
pub const ACK: u8 = 0x10;

/// Urgent pointers, without the bit that would make them count: whoever follows a connection can
/// tell what was forged, by whether a kernel would accept its checksum.
pub const MARKS: [u16; 2] = [7, 8];
/// Words of a TCP header without options.
const PLAIN_WORDS: u8 = 5;

/// One TCP segment, right or not.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// The byte of the control bits.
    pub flags: u8,
    /// The header's length in words, if it is to be another than it is.
    pub offset: Option<u8>,
    /// As they are: of any length that is a multiple of 4, up to 40 bytes.
    pub options: Vec<u8>,
    /// What follows the header.
    pub payload: Vec<u8>,
    /// Whether the checksum is to be wrong.
    pub corrupt: bool,
}

impl Segment {
    /// Its bytes between two ends.
    pub fn bytes(&self, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
        let extra = u8::try_from(self.options.len() / 4).unwrap_or_default();
        let words = self.offset.unwrap_or(PLAIN_WORDS + extra);
        let mut tcp = Vec::new();
        tcp.extend(from.port().to_be_bytes());
        tcp.extend(to.port().to_be_bytes());
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend(self.acknowledgement.to_be_bytes());
        tcp.extend([words << 4, self.flags, 2, 0, 0, 0]);
        tcp.extend(MARKS[usize::from(self.corrupt)].to_be_bytes());
        tcp.extend(&self.options);
        tcp.extend(&self.payload);
        let length = u32::try_from(tcp.len()).unwrap_or_default().to_be_bytes();
        let pseudo = [&addresses(from, to), &length[..], &[0, 0, 0, TCP]].concat();
        let sum = checksum(&[pseudo, tcp.clone()].concat());
        let sum = if self.corrupt { sum ^ 0x5555 } else { sum };
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        tcp
    }

    /// A packet with nothing between its headers; `None` if the two ends are of different
    /// families, or it is too long. The kernel fills in IPv4's checksum.
    pub fn packet(&self, from: SocketAddr, to: SocketAddr, ttl: u8) -> Option<Vec<u8>> {
        if from.is_ipv4() != to.is_ipv4() {
            return None;
        }
        let tcp = self.bytes(from, to);
        let mut packet = Vec::new();
        if from.is_ipv4() {
            packet.extend([0x45, 0]);
            packet.extend(u16::try_from(20 + tcp.len()).ok()?.to_be_bytes());
            packet.extend([0, 0, 0x40, 0, ttl, TCP, 0, 0]);
        } else {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(u16::try_from(tcp.len()).ok()?.to_be_bytes());
            packet.extend([TCP, ttl]);
        }
        packet.extend(addresses(from, to));
        packet.extend(tcp);
        Some(packet)
    }
}

/// The addresses as they are in either IP header, and in the pseudo header.
pub fn addresses(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let bytes = |end: SocketAddr| match end.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    [bytes(from), bytes(to)].concat()
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for (at, byte) in bytes.iter().enumerate() {
        sum += u32::from(*byte) << if at % 2 == 0 { 8 } else { 0 };
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = (!sum).to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::packet;

    fn ends() -> [(SocketAddr, SocketAddr); 2] {
        [
            ("10.77.2.2:9092", "10.77.1.2:40000"),
            ("[fd77:2::2]:9092", "[fd77:1::2]:40000"),
        ]
        .map(|(from, to)| (from.parse().expect("an end"), to.parse().expect("an end")))
    }

    #[test]
    fn what_is_forged_can_be_read() {
        for (from, to) in ends() {
            let forged = Segment {
                sequence: 7,
                acknowledgement: 9,
                flags: 0x10,
                payload: b"abc".to_vec(),
                ..Segment::default()
            };
            let packet = forged.packet(from, to, 33).expect("one family");
            let read = packet::Segment::parse(&packet).expect("a segment");
            assert_eq!((read.source, read.destination, read.ttl), (from, to, 33));
            assert_eq!(read.forged, Some(packet::Forged::Numbers));
            assert_eq!(
                (read.sequence, read.acknowledgement, read.payload),
                (7, 9, 3)
            );
        }
    }

    #[test]
    fn only_what_is_corrupt_has_a_wrong_checksum() {
        for (from, to) in ends() {
            for corrupt in [false, true] {
                let forged = Segment {
                    payload: b"odd".to_vec(),
                    corrupt,
                    ..Segment::default()
                };
                let tcp = forged.bytes(from, to);
                let length = u32::try_from(tcp.len()).expect("short").to_be_bytes();
                let all = [&addresses(from, to), &length[..], &[0, 0, 0, TCP], &tcp].concat();
                assert_eq!(checksum(&all) != 0, corrupt);
            }
        }
    }
}
