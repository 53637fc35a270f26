//! Packets of any shape, in the name of one end of a connection.

use std::{io, iter, net::SocketAddr};

use kreset_lab::net::{
    forge::{Segment, addresses},
    raw::RawSockets,
};

const TCP: u8 = 6;
/// IPv6 extension headers (RFC 8200).
const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;

/// Both ends of what is forged.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) ttl: u8,
}

impl Ends {
    fn addresses(&self) -> Vec<u8> {
        addresses(self.from, self.to)
    }

    /// The segment in packets: as it is, behind options or extension headers, and in fragments.
    pub(crate) fn packets(&self, segment: &Segment, number: u32) -> Vec<Vec<u8>> {
        let tcp = segment.bytes(self.from, self.to);
        if self.from.is_ipv4() {
            // Record route, no operation, end of the list.
            let options = [7, 7, 4, 0, 0, 0, 0, 0].as_slice();
            let (head, tail) = tcp.split_at(8);
            vec![
                self.ipv4(&[], 0, number, &tcp),
                self.ipv4(options, 0, number, &tcp),
                self.ipv4(&[], MORE, number, head),
                self.ipv4(&[], 1, number, tail),
                // Its other half never comes.
                self.ipv4(&[], 1, number ^ 0xffff, tail),
                // It claims to be longer than it is.
                self.ipv4_of_length(900, &tcp),
            ]
        } else {
            let (head, tail) = tcp.split_at(8);
            let fragment = |offset_and_more: u16| {
                let [high, low] = offset_and_more.to_be_bytes();
                let mut header = vec![TCP, 0, high, low];
                header.extend(number.to_be_bytes());
                header
            };
            let padding = |next| vec![next, 0, 1, 4, 0, 0, 0, 0];
            vec![
                self.ipv6(TCP, &tcp),
                self.ipv6(DESTINATION, &[padding(TCP), tcp.clone()].concat()),
                self.ipv6(
                    HOP_BY_HOP,
                    &[padding(DESTINATION), padding(TCP), tcp.clone()].concat(),
                ),
                // More of them than any table holds.
                self.ipv6(
                    DESTINATION,
                    &iter::repeat_n(padding(DESTINATION), 6)
                        .chain([padding(TCP), tcp.clone()])
                        .collect::<Vec<_>>()
                        .concat(),
                ),
                self.ipv6(FRAGMENT, &[fragment(0), tcp.clone()].concat()),
                self.ipv6(FRAGMENT, &[fragment(1), head.to_vec()].concat()),
                self.ipv6(FRAGMENT, &[fragment(8), tail.to_vec()].concat()),
            ]
        }
    }

    fn ipv4(&self, options: &[u8], fragment: u16, number: u32, payload: &[u8]) -> Vec<u8> {
        let length = 20 + options.len() + payload.len();
        let words = 5 + u8::try_from(options.len() / 4).expect("few");
        let mut packet = vec![0x40 | words, 0];
        packet.extend(u16::try_from(length).expect("short").to_be_bytes());
        let [_, _, high, low] = number.to_be_bytes();
        packet.extend([high, low]);
        packet.extend(fragment.to_be_bytes());
        // The kernel fills the checksum in.
        packet.extend([self.ttl, TCP, 0, 0]);
        packet.extend(self.addresses());
        packet.extend(options);
        packet.extend(payload);
        packet
    }

    fn ipv4_of_length(&self, length: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = self.ipv4(&[], 0, 1, payload);
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet
    }

    fn ipv6(&self, next: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).expect("short");
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([next, self.ttl]);
        packet.extend(self.addresses());
        packet.extend(payload);
        packet
    }

    /// Sends packets from the namespace of the calling thread; how many it took.
    pub(crate) fn send(&self, packets: &[Vec<u8>]) -> io::Result<usize> {
        let sockets = RawSockets::open()?;
        let taken = packets
            .iter()
            .filter(|packet| sockets.send(packet, self.to.ip()).is_ok());
        Ok(taken.count())
    }
}

/// More fragments follow.
const MORE: u16 = 0x2000;
