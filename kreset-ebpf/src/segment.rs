//! One TCP segment as the packet programs see it, parsed in place.
//!
//! Knows nothing of BPF, so that the fuzzer runs the same code on a host.

use core::mem::MaybeUninit;

/// A packet from its network header on. Where its bytes are read to is not
/// zeroed before: `memset` is a call in BPF, and goes byte by byte.
pub(crate) trait Packet {
    /// Reads bytes at `offset`, wherever they lie; `None` beyond the end.
    fn load<'a, const N: usize>(
        &self,
        offset: u32,
        into: &'a mut MaybeUninit<[u8; N]>,
    ) -> Option<&'a [u8; N]>;

    /// Overwrites bytes that are there already; `None` beyond the end.
    fn load_over<const N: usize>(&self, offset: u32, into: &mut [u8; N]) -> Option<()>;
}

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
        let mut network = MaybeUninit::uninit();
        let network: &[u8; 20] = packet.load(0, &mut network)?;
        let (ttl, ip_id, network_len, is_v4) = if network[0] >> 4 == 4 {
            if network[9] != TCP {
                return None;
            }
            let ip_id = u16::from_be_bytes([network[4], network[5]]);
            (network[8], ip_id, u32::from(network[0] & 0xf) * 4, true)
        } else {
            (network[7], 0, ipv6_header_len(packet, network[6])?, false)
        };
        let mut tcp = MaybeUninit::uninit();
        let tcp: &[u8; 20] = packet.load(network_len, &mut tcp)?;
        let header_len = u32::from(tcp[12] >> 4) * 4;
        let payload = network_len + header_len;
        Some(Self {
            ttl,
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
