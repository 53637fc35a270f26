//! Parses the headers of one TCP segment in place.

use core::mem::MaybeUninit;

use crate::shared::Shared;

/// A packet from its network header on. Destination buffers are not zeroed
/// first: `memset` is a call in BPF, and goes byte by byte.
pub trait Packet {
    /// The first `N` bytes in place, if they are contiguous in memory.
    fn in_place<const N: usize>(&self) -> Option<&[u8; N]>;

    /// Copies bytes at `offset`, contiguous or not; `None` beyond the end.
    fn load<'a, const N: usize>(
        &self,
        offset: u32,
        into: &'a mut MaybeUninit<[u8; N]>,
    ) -> Option<&'a [u8; N]>;

    /// Overwrites the first `len` bytes of `into`, or all of it if it is shorter,
    /// and returns how many; `None` beyond the end. `len` is not 0.
    fn load_over<const N: usize>(
        &self,
        offset: u32,
        len: u32,
        into: &[Shared<u8>; N],
    ) -> Option<u8>;
}

/// A packet in memory, for tests and fuzzers.
#[cfg(not(target_arch = "bpf"))]
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    /// All bytes, from the network header on.
    pub bytes: &'a [u8],
    /// How many of the first are contiguous, as after `bpf_skb_pull_data`.
    pub linear: usize,
}

#[cfg(not(target_arch = "bpf"))]
impl Packet for Bytes<'_> {
    fn in_place<const N: usize>(&self) -> Option<&[u8; N]> {
        self.bytes.get(..self.linear)?.first_chunk()
    }

    fn load<'a, const N: usize>(
        &self,
        offset: u32,
        into: &'a mut MaybeUninit<[u8; N]>,
    ) -> Option<&'a [u8; N]> {
        let offset = usize::try_from(offset).ok()?;
        Some(into.write(*self.bytes.get(offset..)?.first_chunk()?))
    }

    fn load_over<const N: usize>(
        &self,
        offset: u32,
        len: u32,
        into: &[Shared<u8>; N],
    ) -> Option<u8> {
        let len = N.min(usize::try_from(len).ok()?);
        let offset = usize::try_from(offset).ok()?;
        let from = self.bytes.get(offset..)?.get(..len)?;
        for (to, byte) in into.iter().zip(from) {
            to.set(*byte);
        }
        u8::try_from(len).ok()
    }
}

/// Lengths of the headers without options or extensions, bytes.
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const TCP_LEN: usize = 20;
/// The timestamps option, bytes (RFC 7323, 3.2).
const TIMESTAMPS_LEN: u32 = 10;
/// Offset of the flags in the TCP header.
const FLAGS: usize = 13;
/// First byte of an IPv4 header without options: the version, and its length.
const PLAIN_IPV4: u8 = 0x45;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// IPv6 extension headers that may precede TCP (RFC 8200): hop-by-hop
/// options, routing, fragment, destination options.
const EXTENSIONS: [u8; 4] = [0, 43, 44, 60];
/// Most extension headers that are followed.
const MAX_EXTENSIONS: usize = 4;

/// TCP flags, byte 13 of the header.
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronizes sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Resets the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
}

/// The header fields of one segment.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "bpf"), derive(Debug, PartialEq, Eq))]
pub struct Segment {
    /// TTL or hop limit.
    pub ttl: u8,
    /// The network header is IPv4, not IPv6.
    pub is_v4: bool,
    /// IPv4 identification; 0 for IPv6.
    pub ip_id: u16,
    /// Sequence number of the first byte.
    pub sequence: u32,
    /// Acknowledgement number; valid with [`tcp_flag::ACK`].
    pub acknowledgement: u32,
    /// TCP flags; see [`tcp_flag`].
    pub flags: u8,
    /// Window field, unscaled.
    pub window: u16,
    /// Length of the TCP header, bytes.
    pub header_len: u32,
    /// Offset of the payload from the network header.
    pub payload: u32,
    /// Length of the payload; of all segments where the kernel keeps several
    /// as one packet (GSO, GRO).
    pub payload_len: u32,
}

impl Segment {
    /// Parses the headers; `None` if this is not a whole TCP segment.
    #[inline(always)]
    pub fn parse(packet: &impl Packet, packet_len: u32) -> Option<Self> {
        // Nearly every packet takes this path: reading in place calls no helper.
        if let Some(head) = packet.in_place::<{ IPV4_LEN + TCP_LEN }>()
            && head[0] == PLAIN_IPV4
        {
            let (network, tcp) = (head.first_chunk()?, head.last_chunk()?);
            return Self::of(network, IPV4_LEN as u32, tcp, packet_len);
        }
        if let Some(head) = packet.in_place::<{ IPV6_LEN + TCP_LEN }>()
            && head[0] >> 4 == 6
            && head[6] == TCP
        {
            let (network, tcp) = (head.first_chunk()?, head.last_chunk()?);
            return Self::of(network, IPV6_LEN as u32, tcp, packet_len);
        }
        let mut network = MaybeUninit::uninit();
        let network: &[u8; IPV4_LEN] = packet.load(0, &mut network)?;
        let network_len = if network[0] >> 4 == 4 {
            u32::from(network[0] & 0xf) * 4
        } else {
            ipv6_header_len(packet, network[6])?
        };
        let mut tcp = MaybeUninit::uninit();
        let tcp = packet.load(network_len, &mut tcp)?;
        Self::of(network, network_len, tcp, packet_len)
    }

    /// Reads the fields of the given headers: the first bytes of the network
    /// header, its whole length, and the TCP header. For IPv6 the caller has
    /// checked that TCP follows.
    #[inline(always)]
    pub fn of(
        network: &[u8; IPV4_LEN],
        network_len: u32,
        tcp: &[u8; TCP_LEN],
        packet_len: u32,
    ) -> Option<Self> {
        let is_v4 = network[0] >> 4 == 4;
        if is_v4 && network[9] != TCP {
            return None;
        }
        let ip_id = if is_v4 {
            u16::from_be_bytes([network[4], network[5]])
        } else {
            0
        };
        let header_len = u32::from(tcp[12] >> 4) * 4;
        let payload = network_len + header_len;
        Some(Self {
            ttl: ttl(network),
            is_v4,
            ip_id,
            sequence: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
            acknowledgement: u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]),
            flags: tcp[13],
            window: u16::from_be_bytes([tcp[14], tcp[15]]),
            header_len,
            payload,
            payload_len: packet_len.saturating_sub(payload),
        })
    }

    /// Sequence numbers that it consumes: its payload, and one for SYN or FIN.
    #[inline(always)]
    pub fn consumes(&self) -> u32 {
        let synchronizes = self.has(tcp_flag::SYN | tcp_flag::FIN);
        self.payload_len + u32::from(synchronizes)
    }

    /// The sequence number after it.
    #[inline(always)]
    pub fn end(&self) -> u32 {
        self.sequence.wrapping_add(self.consumes())
    }

    /// Whether it ends a silence of the data: payload, or the SYN of a handshake.
    #[inline(always)]
    pub const fn is_data(&self) -> bool {
        self.payload_len > 0 || self.has(tcp_flag::SYN)
    }

    /// Whether its header has room for timestamps. Which options are there is not read.
    #[inline(always)]
    pub const fn may_have_timestamps(&self) -> bool {
        self.header_len >= TCP_LEN as u32 + TIMESTAMPS_LEN
    }

    /// Whether any of `flags` is set.
    #[inline(always)]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

/// The TCP flags of a packet without IP options or extension headers, read in place;
/// `None` for others.
#[inline(always)]
pub fn plain_flags(packet: &impl Packet) -> Option<u8> {
    if let Some(head) = packet.in_place::<{ IPV4_LEN + TCP_LEN }>()
        && head[0] == PLAIN_IPV4
    {
        return (head[9] == TCP).then_some(head[IPV4_LEN + FLAGS]);
    }
    let head = packet.in_place::<{ IPV6_LEN + TCP_LEN }>()?;
    (head[0] >> 4 == 6 && head[6] == TCP).then_some(head[IPV6_LEN + FLAGS])
}

/// TTL or hop limit from the first bytes of a network header.
#[inline(always)]
pub const fn ttl(network: &[u8; IPV4_LEN]) -> u8 {
    if network[0] >> 4 == 4 {
        network[8]
    } else {
        network[7]
    }
}

/// Length of the IPv6 header and its extensions; `None` if TCP does not follow.
#[inline(always)]
fn ipv6_header_len(packet: &impl Packet, next_header: u8) -> Option<u32> {
    let mut next = next_header;
    let mut len = 40_u32;
    let mut seen = 0;
    while seen < MAX_EXTENSIONS {
        if next == TCP {
            return Some(len);
        }
        if !EXTENSIONS.contains(&next) {
            return None;
        }
        let mut extension = MaybeUninit::uninit();
        let extension: &[u8; 2] = packet.load(len, &mut extension)?;
        // A fragment header is 8 bytes long; the others count 8-byte units
        // after the first.
        len += if next == 44 {
            8
        } else {
            (u32::from(extension[1]) + 1) * 8
        };
        next = extension[0];
        seen += 1;
    }
    (next == TCP).then_some(len)
}
