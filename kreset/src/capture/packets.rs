//! Packets of a capture file: pcap and pcapng.

use std::io::Read;

use pcap_parser::{
    Block, Linktype, PcapBlockOwned, PcapError, PcapNGOption, create_reader,
    data::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, PacketData, get_packetdata},
    traits::{PcapNGPacketBlock as _, PcapReaderIterator},
};
use thiserror::Error;

/// The largest block that is read: some tools write packets of up to 256 KiB.
const LARGEST: usize = 16 << 20;
const BUFFER: usize = 1 << 16;
const NANOSECONDS: u64 = 1_000_000_000;

/// Why the rest of a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PacketsError {
    /// It ends in the middle of a packet.
    #[error("it is cut off at byte {0}; everything before that was read")]
    CutOff(u64),
    /// Something in it is not as it should be.
    #[error("it is damaged at byte {0}; everything before that was read")]
    Damaged(u64),
    /// The file cannot be read.
    #[error("it cannot be read after byte {0}")]
    Unreadable(u64),
}

/// One packet from its network header on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawPacket<'a> {
    /// Nanoseconds since the Unix epoch.
    pub at_ns: u64,
    /// What was kept of it.
    pub bytes: &'a [u8],
    /// How long it was.
    pub length: u32,
}

/// How the packets of an interface are to be read.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Linktype,
    per_second: u64,
    offset_s: i64,
}

/// Reads the packets of a file.
pub struct Packets<'r> {
    reader: Box<dyn PcapReaderIterator + Send + 'r>,
    interfaces: Vec<Interface>,
    dropped: u64,
    /// The capacity of the buffer.
    capacity: usize,
    unread: usize,
}

impl std::fmt::Debug for Packets<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets")
            .field("interfaces", &self.interfaces)
            .finish_non_exhaustive()
    }
}

impl<'r> Packets<'r> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// If it has no header of a capture file.
    pub fn open(read: impl Read + Send + 'r) -> Result<Self, PacketsError> {
        let reader = create_reader(BUFFER, read).map_err(|error| match error {
            PcapError::Eof | PcapError::Incomplete(_) => PacketsError::CutOff(0),
            PcapError::ReadError => PacketsError::Unreadable(0),
            _ => PacketsError::Damaged(0),
        })?;
        Ok(Self {
            reader,
            interfaces: Vec::new(),
            dropped: 0,
            capacity: BUFFER,
            unread: 0,
        })
    }

    /// Packets that the capture itself had to drop, where the file tells.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Bytes read so far, of the uncompressed file.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.reader.consumed() as u64
    }

    /// Calls `take` with the next packet that carries IP. `false` at the end of the file.
    ///
    /// # Errors
    ///
    /// If the file ends in the middle of a packet, or is damaged.
    pub fn next(&mut self, mut take: impl FnMut(RawPacket<'_>)) -> Result<bool, PacketsError> {
        loop {
            let at = self.position();
            match self.reader.next() {
                Ok((length, block)) => {
                    let mut found = false;
                    match &block {
                        PcapBlockOwned::LegacyHeader(header) => {
                            let nanoseconds = header.is_nanosecond_precision();
                            self.interfaces = vec![Interface {
                                link: header.network,
                                per_second: if nanoseconds { NANOSECONDS } else { 1_000_000 },
                                offset_s: 0,
                            }];
                        }
                        PcapBlockOwned::Legacy(packet) => {
                            if let Some(interface) = self.interfaces.first()
                                && let Some(bytes) = network(packet.data, interface.link)
                            {
                                let fraction = u64::from(packet.ts_usec)
                                    * (NANOSECONDS / interface.per_second);
                                let at_ns = u64::from(packet.ts_sec)
                                    .saturating_mul(NANOSECONDS)
                                    .saturating_add(fraction);
                                take(raw(at_ns, packet.data, bytes, packet.origlen));
                                found = true;
                            }
                        }
                        PcapBlockOwned::NG(Block::SectionHeader(_)) => self.interfaces.clear(),
                        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                            self.interfaces.push(Interface {
                                link: interface.linktype,
                                per_second: interface.ts_resolution().unwrap_or(1_000_000).max(1),
                                offset_s: interface.ts_offset(),
                            });
                        }
                        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                            let interface = usize::try_from(packet.if_id)
                                .ok()
                                .and_then(|id| self.interfaces.get(id));
                            if let Some(interface) = interface
                                && let Some(bytes) = network(packet.packet_data(), interface.link)
                            {
                                let units =
                                    (u64::from(packet.ts_high) << 32) | u64::from(packet.ts_low);
                                let at_ns = interface.nanoseconds(units);
                                take(raw(at_ns, packet.packet_data(), bytes, packet.origlen));
                                found = true;
                            }
                        }
                        PcapBlockOwned::NG(Block::InterfaceStatistics(statistics)) => {
                            self.dropped += dropped(&statistics.options);
                        }
                        PcapBlockOwned::NG(_) => {}
                    }
                    self.reader.consume(length);
                    self.unread = 0;
                    if found {
                        return Ok(true);
                    }
                }
                Err(PcapError::Eof) => return Ok(false),
                Err(PcapError::Incomplete(_)) => {
                    if !self.refill(at)? {
                        return Ok(false);
                    }
                }
                Err(PcapError::BufferTooSmall) => {
                    self.capacity *= 2;
                    if self.capacity > LARGEST || !self.reader.grow(self.capacity) {
                        return Err(PacketsError::Damaged(at));
                    }
                    self.refill(at)?;
                }
                Err(PcapError::UnexpectedEof) => {
                    return if self.reader.data().is_empty() {
                        Ok(false)
                    } else {
                        Err(PacketsError::CutOff(at))
                    };
                }
                Err(PcapError::ReadError) => return Err(PacketsError::Unreadable(at)),
                Err(_) => return Err(PacketsError::Damaged(at)),
            }
        }
    }

    /// Reads on; what it cannot complete is cut off. `false` at the end of the file.
    fn refill(&mut self, at: u64) -> Result<bool, PacketsError> {
        let before = self.reader.data().len();
        if self.reader.refill().is_err() {
            return Err(PacketsError::Unreadable(at));
        }
        if self.reader.data().len() > before {
            self.unread = 0;
            return Ok(true);
        }
        if before == 0 {
            return Ok(false);
        }
        self.unread += 1;
        if self.reader.reader_exhausted() || self.unread > 1 {
            return Err(PacketsError::CutOff(at));
        }
        Ok(true)
    }
}

impl Interface {
    fn nanoseconds(self, units: u64) -> u64 {
        let seconds = units / self.per_second;
        let rest = u128::from(units % self.per_second) * u128::from(NANOSECONDS)
            / u128::from(self.per_second);
        seconds
            .saturating_add_signed(self.offset_s)
            .saturating_mul(NANOSECONDS)
            .saturating_add(u64::try_from(rest).unwrap_or(0))
    }
}

/// `isb_ifdrop` and `isb_osdrop`; draft-ietf-opsawg-pcapng, 4.6.
fn dropped(options: &[PcapNGOption<'_>]) -> u64 {
    const DROPPED: [u16; 2] = [5, 7];
    options
        .iter()
        .filter(|option| DROPPED.contains(&option.code.0))
        .filter_map(|option| option.value().first_chunk().copied())
        .map(u64::from_le_bytes)
        .sum()
}

fn raw<'a>(at_ns: u64, whole: &[u8], bytes: &'a [u8], length: u32) -> RawPacket<'a> {
    let header = u32::try_from(whole.len() - bytes.len()).unwrap_or(0);
    RawPacket {
        at_ns,
        bytes,
        length: length.saturating_sub(header),
    }
}

/// Tags of VLANs: 802.1Q, 802.1ad, and the older one of Q-in-Q.
const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// OpenBSD's loopback: as `NULL`, in network order.
const LOOP: Linktype = Linktype(108);
/// Raw IP under the number that BSDs use.
const RAW_BSD: Linktype = Linktype(12);

/// The packet from its IP header on.
fn network(bytes: &[u8], link: Linktype) -> Option<&[u8]> {
    match link {
        LOOP => {
            let family: [u8; 4] = *bytes.first_chunk()?;
            matches!(u32::from_be_bytes(family), 2 | 24 | 28 | 30).then(|| &bytes[4..])
        }
        Linktype::NULL => {
            let family: [u8; 4] = *bytes.first_chunk()?;
            let known = |number| matches!(number, 2 | 10 | 24 | 28 | 30);
            // In the order of the host that captured.
            let fits = known(u32::from_le_bytes(family)) || known(u32::from_be_bytes(family));
            fits.then(|| &bytes[4..])
        }
        RAW_BSD => Some(bytes),
        link => match get_packetdata(bytes, link, bytes.len())? {
            PacketData::L2(frame) => {
                let kind = frame.get(12..)?.first_chunk()?;
                untagged(u16::from_be_bytes(*kind), frame.get(14..)?)
            }
            PacketData::L3(kind, payload) => untagged(kind, payload),
            PacketData::L4(..) | PacketData::Unsupported(_) => None,
        },
    }
}

fn untagged(mut kind: u16, mut payload: &[u8]) -> Option<&[u8]> {
    while VLAN.contains(&kind) {
        kind = u16::from_be_bytes(*payload.get(2..)?.first_chunk()?);
        payload = payload.get(4..)?;
    }
    matches!(kind, ETHERTYPE_IPV4 | ETHERTYPE_IPV6).then_some(payload)
}
