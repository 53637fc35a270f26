//! One TCP segment of a capture, parsed by the same code as on the kernel side.

use std::{mem::MaybeUninit, net::IpAddr};

use kreset_ebpf::{
    segment::{Packet, Segment, tcp_flag},
    shared::Shared,
};

use crate::event::Endpoint;

/// `ACK` in byte 13 of the TCP header.
pub const ACK: u8 = 0x10;

/// What was kept of a packet, from its network header on.
///
/// Captures are often cut after 68 or 96 bytes: of a payload that is cut, what is there
/// is used.
#[derive(Clone, Copy, Debug)]
pub struct Captured<'a>(pub &'a [u8]);

impl Packet for Captured<'_> {
    fn in_place<const N: usize>(&self) -> Option<&[u8; N]> {
        self.0.first_chunk()
    }

    fn load<'a, const N: usize>(
        &self,
        offset: u32,
        into: &'a mut MaybeUninit<[u8; N]>,
    ) -> Option<&'a [u8; N]> {
        let offset = usize::try_from(offset).ok()?;
        Some(into.write(*self.0.get(offset..)?.first_chunk()?))
    }

    fn load_over<const N: usize>(
        &self,
        offset: u32,
        len: u32,
        into: &[Shared<u8>; N],
    ) -> Option<u8> {
        let from = self.0.get(usize::try_from(offset).ok()?..)?;
        let len = N.min(usize::try_from(len).ok()?).min(from.len());
        for (to, byte) in into.iter().zip(from.get(..len)?) {
            to.set(*byte);
        }
        u8::try_from(len).ok()
    }
}

/// A TCP segment, and both its ends.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Who sent it, by its header.
    pub source: Endpoint,
    /// Where it goes.
    pub destination: Endpoint,
    /// Its header, as the kernel side reads it.
    pub segment: Segment,
    /// Acknowledgement number.
    pub ack: u32,
    /// Its TCP options, where all of them were kept.
    pub options: Option<Options>,
    /// All that was kept of it.
    pub packet: Captured<'a>,
}

/// TCP options (RFC 9293, 3.2; RFC 7323).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The sender's time stamp.
    pub timestamp: Option<u32>,
    /// The maximum segment size of a SYN.
    pub mss: Option<u16>,
}

impl<'a> Seen<'a> {
    /// Parses a packet from its network header on. `length` is how long it was before it
    /// was cut. `None` if it has no whole TCP header: other protocols, later fragments.
    #[must_use]
    pub fn parse(bytes: &'a [u8], length: u32) -> Option<Self> {
        let packet = Captured(bytes);
        let (source, destination, total) = match bytes.first()? >> 4 {
            4 => {
                let header: &[u8; 20] = bytes.first_chunk()?;
                if u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0 {
                    return None;
                }
                let total = u32::from(u16::from_be_bytes([header[2], header[3]]));
                let address = |at: usize| {
                    let octets: [u8; 4] = *header.get(at..)?.first_chunk()?;
                    Some(IpAddr::from(octets))
                };
                (address(12)?, address(16)?, total)
            }
            6 => {
                let header: &[u8; 40] = bytes.first_chunk()?;
                let payload = u32::from(u16::from_be_bytes([header[4], header[5]]));
                let address = |at: usize| {
                    let octets: [u8; 16] = *header.get(at..)?.first_chunk()?;
                    Some(IpAddr::from(octets).to_canonical())
                };
                let total = if payload == 0 { 0 } else { payload + 40 };
                (address(8)?, address(24)?, total)
            }
            _ => return None,
        };
        // Of segments that the network card cuts later, the header has no length yet.
        let total = if total == 0 { length } else { total };
        let segment = Segment::parse(&packet, total)?;
        let transport = usize::try_from(segment.payload.checked_sub(segment.header_len)?).ok()?;
        let header: &[u8; 20] = bytes.get(transport..)?.first_chunk()?;
        let port = |at: usize| Some(u16::from_be_bytes(*header.get(at..)?.first_chunk()?));
        let options = bytes
            .get(transport + 20..usize::try_from(segment.payload).ok()?)
            .map(Options::parse);
        Some(Self {
            source: Endpoint {
                address: source,
                port: port(0)?,
            },
            destination: Endpoint {
                address: destination,
                port: port(2)?,
            },
            segment,
            ack: u32::from_be_bytes(*header.get(8..)?.first_chunk()?),
            options,
            packet,
        })
    }

    /// Whether any of `flags` is set.
    #[must_use]
    pub const fn has(&self, flags: u8) -> bool {
        self.segment.has(flags)
    }

    /// It asks for a connection.
    #[must_use]
    pub const fn is_syn(&self) -> bool {
        self.has(tcp_flag::SYN) && !self.has(ACK)
    }

    /// It answers such a request.
    #[must_use]
    pub const fn is_synack(&self) -> bool {
        self.has(tcp_flag::SYN) && self.has(ACK)
    }

    /// The sequence number after it.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.segment.sequence.wrapping_add(self.segment.consumes())
    }

    /// Whether it carries a time stamp; `None` where its options were cut off.
    #[must_use]
    pub fn has_timestamp(&self) -> Option<bool> {
        Some(self.options?.timestamp.is_some())
    }
}

impl Options {
    const END: u8 = 0;
    const NOTHING: u8 = 1;
    const MSS: u8 = 2;
    const TIMESTAMP: u8 = 8;

    fn parse(mut bytes: &[u8]) -> Self {
        let mut options = Self::default();
        while let [kind, rest @ ..] = bytes {
            match *kind {
                Self::END => break,
                Self::NOTHING => bytes = rest,
                kind => {
                    let Some(length) = rest.first().map(|length| usize::from(*length)) else {
                        break;
                    };
                    let Some(value) = bytes.get(2..length) else {
                        break;
                    };
                    match kind {
                        Self::TIMESTAMP => {
                            let value = value.first_chunk().copied();
                            options.timestamp = value.map(u32::from_be_bytes);
                        }
                        Self::MSS => {
                            options.mss = value.first_chunk().copied().map(u16::from_be_bytes);
                        }
                        _ => {}
                    }
                    bytes = bytes.get(length..).unwrap_or_default();
                }
            }
        }
        options
    }
}
