//! TCP segments as they are on the wire: reading headers, and writing the one packet that
//! devices make up, a reset.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::forge;
use etherparse::{
    IpNumber, LaxIpSlice, PacketBuilder, TcpOptionElement, TcpOptionsIterator, TcpSlice,
};

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

    /// As they are shown.
    const LETTERS: [(Self, &str); 4] = [
        (Self::SYN, "S"),
        (Self::FIN, "F"),
        (Self::RST, "R"),
        (Self::ACK, "A"),
    ];

    /// Those that are shown as these letters.
    #[cfg(test)]
    pub(crate) fn of(letters: &str) -> Self {
        let is_named = |(_, letter): &&(Self, &str)| letters.contains(letter);
        let named = Self::LETTERS.iter().filter(is_named);
        Self(named.fold(0, |all, (flag, _)| all | flag.0))
    }

    /// Whether all of `other` are set.
    pub const fn contain(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (flag, letter) in Self::LETTERS {
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
    /// Whether the lab forged it.
    pub forged: Option<Forged>,
}

/// What was forged of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// All but the checksum.
    Numbers,
    /// The checksum is wrong too.
    Checksum,
}

impl Forged {
    /// By the mark of [`forge`].
    const fn of(urgent: u16, flags: u8) -> Option<Self> {
        const URG: u8 = 0x20;
        let [right, wrong] = forge::MARKS;
        match urgent {
            _ if flags & URG != 0 => None,
            _ if urgent == right => Some(Self::Numbers),
            _ if urgent == wrong => Some(Self::Checksum),
            _ => None,
        }
    }
}

impl Segment {
    /// One of a connection that never was.
    #[cfg(test)]
    pub(crate) fn made_up(from: crate::Side, flags: &str) -> Self {
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
            forged: None,
        }
    }

    /// Whether all of `flags` are set.
    pub const fn has(&self, flags: Flags) -> bool {
        self.flags.contain(flags)
    }

    /// Whether this reset answers a segment: it acknowledges nothing, since that one said what to
    /// expect, or has the number 0, since that one did not (`tcp_v4_send_reset` and
    /// `tcp_v6_send_reset`, 6.18). One that a socket sends by itself acknowledges, with a number of
    /// its own (`tcp_send_active_reset`).
    pub const fn answers(&self) -> bool {
        !self.flags.contain(Flags::ACK) || self.sequence == 0
    }

    /// Reads an IPv4 or IPv6 packet from its IP header on. `None` if it is not TCP, is a
    /// fragment, or is cut off within the headers. The payload may be cut off.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let (ip, tcp) = headers(packet)?;
        let (ttl, ip_id, length) = match &ip {
            LaxIpSlice::Ipv4(ip) => {
                let header = ip.header();
                let length = usize::from(header.total_len()).checked_sub(header.slice().len())?;
                (header.ttl(), Some(header.identification()), length)
            }
            LaxIpSlice::Ipv6(ip) => {
                let (header, extensions) = (ip.header(), ip.extensions().slice().len());
                let length = usize::from(header.payload_length()).checked_sub(extensions)?;
                (header.hop_limit(), None, length)
            }
        };
        let header = tcp.header_slice();
        Some(Self {
            source: SocketAddr::new(ip.source_addr(), tcp.source_port()),
            destination: SocketAddr::new(ip.destination_addr(), tcp.destination_port()),
            ttl,
            sequence: tcp.sequence_number(),
            acknowledgement: tcp.acknowledgment_number(),
            flags: Flags(*header.get(13)?),
            window: tcp.window_size(),
            ip_id,
            timestamps: has_timestamps(tcp.options()),
            payload: u32::try_from(length.checked_sub(header.len())?).ok()?,
            forged: Forged::of(tcp.urgent_pointer(), *header.get(13)?),
        })
    }

    /// What follows the headers of a packet, as far as it is there.
    pub fn payload_of(packet: &[u8]) -> &[u8] {
        headers(packet).map_or(&[], |(_, tcp)| tcp.payload())
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

/// Both headers of an unfragmented TCP segment.
fn headers(packet: &[u8]) -> Option<(LaxIpSlice<'_>, TcpSlice<'_>)> {
    let (ip, _stopped) = LaxIpSlice::from_slice(packet).ok()?;
    let payload = ip.payload();
    if payload.fragmented || payload.ip_number != IpNumber::TCP {
        return None;
    }
    let tcp = TcpSlice::from_slice(payload.payload).ok()?;
    Some((ip, tcp))
}

fn has_timestamps(options: &[u8]) -> bool {
    TcpOptionsIterator::from_slice(options)
        .any(|option| matches!(option, Ok(TcpOptionElement::Timestamp(..))))
}

/// Writes a RST or a SYN that a device sends in the name of `source`: no acknowledgement, no options,
/// window 0, as nftables makes its resets. The kernel fills in an IPv4 identification.
///
/// `None` if the two addresses are of different families.
pub fn bare(
    source: SocketAddr,
    destination: SocketAddr,
    flags: Flags,
    sequence: u32,
    ttl: u8,
) -> Option<Vec<u8>> {
    let ip = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.octets(), destination.octets(), ttl)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            PacketBuilder::ipv6(source.octets(), destination.octets(), ttl)
        }
        _ => return None,
    };
    let mut tcp = ip.tcp(source.port(), destination.port(), sequence, 0);
    if flags.contain(Flags::RST) {
        tcp = tcp.rst();
    }
    if flags.contain(Flags::SYN) {
        tcp = tcp.syn();
    }
    let mut packet = Vec::new();
    tcp.write(&mut packet, &[]).ok()?;
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn reset(
        source: SocketAddr,
        destination: SocketAddr,
        sequence: u32,
        ttl: u8,
    ) -> Option<Vec<u8>> {
        bare(source, destination, Flags::RST, sequence, ttl)
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
                    forged: None,
                }
            );
        }
    }

    #[test]
    fn its_checksum_is_right() {
        for (source, destination) in [
            ("10.0.0.1:9092", "10.0.0.2:1"),
            ("[fd77:2::2]:9092", "[fd77:1::2]:1"),
        ] {
            let packet = reset(socket(source), socket(destination), 77, 64).expect("one family");
            let (ip, tcp) = headers(&packet).expect("a segment");
            let right = match ip {
                LaxIpSlice::Ipv4(ip) => {
                    let header = ip.header();
                    tcp.calc_checksum_ipv4(header.source(), header.destination())
                }
                LaxIpSlice::Ipv6(ip) => {
                    let header = ip.header();
                    tcp.calc_checksum_ipv6(header.source(), header.destination())
                }
            };
            assert_eq!(right, Ok(tcp.checksum()));
        }
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
