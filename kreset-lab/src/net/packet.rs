//! TCP segments as they are on the wire: reading headers, and writing the one packet that
//! devices make up, a reset.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

const TCP: u8 = 6;
const IPV4_HEADER: u8 = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER_LENGTH: u8 = 20;
const TCP_HEADER: usize = TCP_HEADER_LENGTH as usize;

/// TCP's control bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flags(u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// First segment of a connection.
    pub const SYN: Self = Self(0x02);
    /// Reset.
    pub const RST: Self = Self(0x04);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);

    /// All of these at once.
    #[cfg(test)]
    pub(crate) fn of(flags: &[Self]) -> Self {
        Self(flags.iter().fold(0, |all, flag| all | flag.0))
    }

    /// Whether all of `other` are set.
    pub const fn contain(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (flag, letter) in [
            (Self::SYN, "S"),
            (Self::FIN, "F"),
            (Self::RST, "R"),
            (Self::ACK, "A"),
        ] {
            if self.contain(flag) {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// The headers of one TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it says it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// IPv4 time to live or IPv6 hop limit.
    pub ttl: u8,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number; means something if the flag says so.
    pub acknowledgement: u32,
    /// Control bits.
    pub flags: Flags,
    /// Window, as it is in the header.
    pub window: u16,
    /// IPv4 identification; IPv6 has none.
    pub ip_id: Option<u16>,
    /// Whether it carries TCP timestamps.
    pub timestamps: bool,
    /// Bytes of payload.
    pub payload: u32,
}

impl Segment {
    /// One of a connection that never was.
    #[cfg(test)]
    pub(crate) fn made_up(from: crate::Side, flags: &[Flags]) -> Self {
        let ends = ["10.77.1.2:40000", "10.77.2.2:9092"].map(|end| end.parse().expect("an end"));
        let [source, destination] = match from {
            crate::Side::Client => ends,
            crate::Side::Broker => [ends[1], ends[0]],
        };
        Self {
            source,
            destination,
            ttl: 64,
            sequence: 1,
            acknowledgement: 1,
            flags: Flags::of(flags),
            window: 0,
            ip_id: Some(0),
            timestamps: false,
            payload: 0,
        }
    }

    /// Whether this reset answers a segment: it acknowledges nothing, since that one said what to
    /// expect (`tcp_v4_send_reset` and `tcp_v6_send_reset`, 6.18). One that a socket sends by itself
    /// does (`tcp_send_active_reset`).
    pub const fn answers(&self) -> bool {
        !self.flags.contain(Flags::ACK)
    }

    /// Reads an IPv4 or IPv6 packet from its IP header on. `None` if it is not TCP, is a
    /// fragment, or is cut off within the headers. The payload may be cut off.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let ip = match packet.first()? >> 4 {
            4 => Ip::parse_v4(packet)?,
            6 => Ip::parse_v6(packet)?,
            _ => return None,
        };
        let tcp = ip.payload;
        let header = usize::from(*tcp.get(12)? >> 4) * 4;
        Some(Self {
            source: SocketAddr::new(ip.source, be16(tcp, 0)?),
            destination: SocketAddr::new(ip.destination, be16(tcp, 2)?),
            ttl: ip.ttl,
            sequence: be32(tcp, 4)?,
            acknowledgement: be32(tcp, 8)?,
            flags: Flags(*tcp.get(13)?),
            window: be16(tcp, 14)?,
            ip_id: ip.id,
            timestamps: has_timestamps(tcp.get(TCP_HEADER..header)?),
            payload: u32::try_from(ip.length.checked_sub(header)?).ok()?,
        })
    }

    /// What follows the headers of a packet, as far as it is there.
    pub fn payload_of(packet: &[u8]) -> &[u8] {
        let payload = || {
            let ip = match packet.first()? >> 4 {
                4 => Ip::parse_v4(packet)?,
                6 => Ip::parse_v6(packet)?,
                _ => return None,
            };
            let header = usize::from(*ip.payload.get(12)? >> 4) * 4;
            ip.payload.get(header..)
        };
        payload().unwrap_or_default()
    }

    /// The sequence number that the sender's next segment will have.
    pub fn next_sequence(&self) -> u32 {
        let phantom = |flag| u32::from(self.flags.contain(flag));
        self.sequence
            .wrapping_add(self.payload)
            .wrapping_add(phantom(Flags::SYN))
            .wrapping_add(phantom(Flags::FIN))
    }
}

/// What matters of either IP header, and what comes after it.
struct Ip<'a> {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    id: Option<u16>,
    /// Of the payload, which may be cut off.
    length: usize,
    payload: &'a [u8],
}

impl<'a> Ip<'a> {
    fn parse_v4(packet: &'a [u8]) -> Option<Self> {
        let header = usize::from(packet.first()? & 0xf) * 4;
        let fragment = be16(packet, 6)? & 0x3fff != 0;
        if fragment || *packet.get(9)? != TCP {
            return None;
        }
        let address = |at| Some(Ipv4Addr::from(be32(packet, at)?).into());
        Some(Self {
            source: address(12)?,
            destination: address(16)?,
            ttl: *packet.get(8)?,
            id: Some(be16(packet, 4)?),
            length: usize::from(be16(packet, 2)?).checked_sub(header)?,
            payload: packet.get(header..)?,
        })
    }

    fn parse_v6(packet: &'a [u8]) -> Option<Self> {
        const HOP_BY_HOP: u8 = 0;
        const DESTINATION_OPTIONS: u8 = 60;
        let (mut next, mut header) = (*packet.get(6)?, IPV6_HEADER);
        while matches!(next, HOP_BY_HOP | DESTINATION_OPTIONS) {
            let units = usize::from(*packet.get(header + 1)?) + 1;
            next = *packet.get(header)?;
            header += units * 8;
        }
        if next != TCP {
            return None;
        }
        let address = |at| {
            let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
            Some(IpAddr::from(Ipv6Addr::from(bytes)))
        };
        Some(Self {
            source: address(8)?,
            destination: address(24)?,
            ttl: *packet.get(7)?,
            id: None,
            length: (usize::from(be16(packet, 4)?) + IPV6_HEADER).checked_sub(header)?,
            payload: packet.get(header..)?,
        })
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn has_timestamps(mut options: &[u8]) -> bool {
    const END: u8 = 0;
    const NOTHING: u8 = 1;
    const TIMESTAMPS: u8 = 8;
    loop {
        options = match options {
            [] | [END, ..] => return false,
            [TIMESTAMPS, ..] => return true,
            [NOTHING, rest @ ..] => rest,
            [_, length, ..] => match options.get(usize::from(*length).max(2)..) {
                Some(rest) => rest,
                None => return false,
            },
            [_] => return false,
        };
    }
}

/// Writes the reset that a device sends in the name of `source`: no acknowledgement, no options,
/// window 0, as nftables does it.
///
/// `None` if the two addresses are of different families.
pub fn reset(
    source: SocketAddr,
    destination: SocketAddr,
    sequence: u32,
    ttl: u8,
) -> Option<Vec<u8>> {
    let mut tcp = [0; TCP_HEADER];
    tcp[0..2].copy_from_slice(&source.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&destination.port().to_be_bytes());
    tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
    tcp[12] = (TCP_HEADER_LENGTH / 4) << 4;
    tcp[13] = Flags::RST.0;

    let mut packet = Vec::with_capacity(IPV6_HEADER + TCP_HEADER);
    let addresses = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            packet.extend([0x45, 0, 0, IPV4_HEADER + TCP_HEADER_LENGTH]);
            // Identification (the kernel fills in one where it is 0), do not fragment, and a
            // checksum that the kernel fills in too.
            packet.extend([0, 0, 0x40, 0, ttl, TCP, 0, 0]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
            &packet[12..20]
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            packet.extend([0x60, 0, 0, 0, 0, TCP_HEADER_LENGTH, TCP, ttl]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
            &packet[8..40]
        }
        _ => return None,
    };
    let checksum = checksum(addresses, &tcp);
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(tcp);
    Some(packet)
}

/// The Internet checksum of an option-less TCP header under its pseudo header. The pseudo headers
/// of both IP versions sum up alike: addresses, length, protocol, and zeroes.
fn checksum(addresses: &[u8], tcp: &[u8; TCP_HEADER]) -> u16 {
    let words = |bytes: &[u8]| {
        bytes
            .chunks_exact(2)
            .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
            .sum::<u32>()
    };
    let mut sum = words(addresses) + words(tcp) + u32::from(TCP) + u32::from(TCP_HEADER_LENGTH);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = (!sum).to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn what_is_written_can_be_read() {
        for (source, destination, ip_id) in [
            ("10.77.2.2:9092", "10.77.1.2:40000", Some(0)),
            ("[fd77:2::2]:9092", "[fd77:1::2]:40000", None),
        ] {
            let packet =
                reset(socket(source), socket(destination), 0xdead_beef, 64).expect("one family");
            let segment = Segment::parse(&packet).expect("a segment");
            assert_eq!(
                segment,
                Segment {
                    source: socket(source),
                    destination: socket(destination),
                    ttl: 64,
                    sequence: 0xdead_beef,
                    acknowledgement: 0,
                    flags: Flags::RST,
                    window: 0,
                    ip_id,
                    timestamps: false,
                    payload: 0,
                }
            );
        }
    }

    #[test]
    fn a_right_checksum_sums_to_zero() {
        let packet =
            reset(socket("10.0.0.1:9092"), socket("10.0.0.2:1"), 77, 64).expect("one family");
        let mut tcp = [0; TCP_HEADER];
        tcp.copy_from_slice(&packet[IPV4_HEADER.into()..]);
        assert_eq!(checksum(&packet[12..20], &tcp), 0);
    }

    #[test]
    fn families_do_not_mix() {
        assert_eq!(reset(socket("10.0.0.1:1"), socket("[::1]:1"), 0, 64), None);
    }

    #[test]
    fn a_cut_off_packet_is_no_segment() {
        let packet =
            reset(socket("10.0.0.1:9092"), socket("10.0.0.2:1"), 77, 64).expect("one family");
        for length in 0..packet.len() {
            assert_eq!(Segment::parse(&packet[..length]), None);
        }
    }

    #[test]
    fn timestamps_are_found_behind_other_options() {
        assert!(has_timestamps(&[
            2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0
        ]));
        assert!(has_timestamps(&[1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert!(!has_timestamps(&[2, 4, 5, 180, 1, 0, 8, 10]));
        assert!(!has_timestamps(&[3, 0]));
        assert!(!has_timestamps(&[]));
    }

    #[test]
    fn syn_and_fin_take_a_number() {
        let packet = reset(socket("10.0.0.1:1"), socket("10.0.0.2:1"), u32::MAX, 64).expect("v4");
        let mut segment = Segment::parse(&packet).expect("a segment");
        assert_eq!(segment.next_sequence(), u32::MAX);
        segment.flags = Flags(Flags::FIN.0 | Flags::ACK.0);
        segment.payload = 10;
        assert_eq!(segment.next_sequence(), 10);
        assert_eq!(segment.flags.to_string(), "FA");
    }
}
