//! One TCP segment as the packet programs see it, parsed in place.
//!
//! Knows nothing of BPF, so that the fuzzer runs the same code on a host.

use core::mem::MaybeUninit;

/// A packet from its network header on. Where its bytes are read to is not
/// zeroed before: `memset` is a call in BPF, and goes byte by byte.
pub(crate) trait Packet {
    /// The first `N` bytes where they are, if they lie in one piece.
    fn in_place<const N: usize>(&self) -> Option<&[u8; N]>;

    /// Reads bytes at `offset`, wherever they lie; `None` beyond the end.
    fn load<'a, const N: usize>(
        &self,
        offset: u32,
        into: &'a mut MaybeUninit<[u8; N]>,
    ) -> Option<&'a [u8; N]>;

    /// Overwrites the first `len` of the bytes that are there already, or all of
    /// them, and says how many; `None` beyond the end. `len` is not 0.
    fn load_over<const N: usize>(&self, offset: u32, len: u32, into: &mut [u8; N]) -> Option<u8>;
}

/// Lengths of the headers without options or extensions, bytes.
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const TCP_LEN: usize = 20;
/// First byte of an IPv4 header without options: the version, and its length.
const PLAIN_IPV4: u8 = 0x45;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// IPv6 extension headers that may stand before TCP (RFC 8200): hop-by-hop
/// options, routing, fragment, destination options.
const EXTENSIONS: [u8; 4] = [0, 43, 44, 60];
/// More extension headers than this are not looked through.
const MAX_EXTENSIONS: usize = 4;

/// TCP flags, byte 13 of the header.
pub(crate) mod tcp_flag {
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const SYN: u8 = 0x02;
    pub(crate) const RST: u8 = 0x04;
}

/// What one segment's headers say.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "bpf"), derive(Debug, PartialEq, Eq))]
pub(crate) struct Segment {
    pub(crate) ttl: u8,
    pub(crate) is_v4: bool,
    pub(crate) ip_id: u16,
    pub(crate) sequence: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// Length of the TCP header, bytes.
    pub(crate) header_len: u32,
    /// Offset of the payload from the network header.
    pub(crate) payload: u32,
    /// Length of the payload; of all segments where the kernel keeps several
    /// as one packet (GSO, GRO).
    pub(crate) payload_len: u32,
}

impl Segment {
    /// Parses the headers; `None` for what is not a whole TCP segment.
    #[inline(always)]
    pub(crate) fn parse(packet: &impl Packet, packet_len: u32) -> Option<Self> {
        // Nearly every packet. What is read in place costs no call of a helper.
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

    /// Of headers: the first bytes of that of the network, which is known to be
    /// followed by one of TCP where it is IPv6, and its length.
    #[inline(always)]
    pub(crate) fn of(
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
            flags: tcp[13],
            window: u16::from_be_bytes([tcp[14], tcp[15]]),
            header_len,
            payload,
            payload_len: packet_len.saturating_sub(payload),
        })
    }

    /// Sequence numbers that it takes: its payload, and one for SYN or FIN.
    #[inline(always)]
    pub(crate) fn consumes(&self) -> u32 {
        let synchronizes = self.has(tcp_flag::SYN | tcp_flag::FIN);
        self.payload_len + u32::from(synchronizes)
    }

    /// What ends a silence of the data: payload, or the handshake before it.
    #[inline(always)]
    pub(crate) const fn is_data(&self) -> bool {
        self.payload_len > 0 || self.has(tcp_flag::SYN)
    }

    /// Whether any of `flags` is set.
    #[inline(always)]
    pub(crate) const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

/// TTL or hop limit, of the first bytes of a network header.
#[inline(always)]
pub(crate) const fn ttl(network: &[u8; IPV4_LEN]) -> u8 {
    if network[0] >> 4 == 4 {
        network[8]
    } else {
        network[7]
    }
}

/// Length of the IPv6 header and its extensions, if TCP follows.
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
