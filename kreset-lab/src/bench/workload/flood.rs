//! Resets without connections: segments to a port without a listener. The kernel answers each
//! with a RST (`tcp_v4_send_reset`), at any rate.

use std::{
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddrV4},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, Socket, Type};

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// A port without a listener.
    pub port: u16,
    /// Segments altogether.
    pub count: u32,
    /// Segments a second; `None` for as many as go.
    pub rate: Option<f64>,
    /// From this many addresses, each of which is one path to the tracer.
    pub sources: u32,
}

/// Segments with this many bytes, so that they look like late data.
const PAYLOAD: usize = 4;
const IP: usize = 20;
const TCP: usize = 20;
const LENGTH: usize = IP + TCP + PAYLOAD;
/// Their destination.
const TARGET: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// The first of the sources.
const FIRST_SOURCE: u32 = u32::from_be_bytes([10, 0, 0, 1]);

impl Flood {
    /// Sends them, and returns how long that took.
    pub fn run(self) -> Result<Duration> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP))
            .context("cannot open a raw socket")?;
        socket.set_header_included_v4(true)?;
        // Nothing is read from it: keep the kernel from queueing copies of all TCP of this netns.
        let _full = socket.set_recv_buffer_size(0);
        let target = SocketAddrV4::new(TARGET, 0).into();
        let began = Instant::now();
        for number in 0..self.count {
            if let Some(rate) = self.rate {
                pace(began, f64::from(number) / rate);
            }
            let segment = segment(number, self.sources, self.port);
            socket
                .send_to(&segment, &target)
                .context("cannot send a segment")?;
        }
        let took = began.elapsed();
        drain(&socket);
        Ok(took)
    }
}

/// Waits until `due` seconds after `began`. Waits in steps, so that segments go out in small
/// bursts, as they do when many connections end.
pub(super) fn pace(began: Instant, due: f64) {
    const STEP: Duration = Duration::from_micros(500);
    let due = Duration::from_secs_f64(due);
    while began.elapsed() < due {
        thread::sleep(STEP);
    }
}

fn drain(socket: &Socket) {
    let mut buffer = [MaybeUninit::uninit(); 64];
    if socket.set_nonblocking(true).is_ok() {
        while socket.recv(&mut buffer).is_ok() {}
    }
}

/// Segment `number`: data with an ACK, from the next of the sources.
fn segment(number: u32, sources: u32, port: u16) -> [u8; LENGTH] {
    let source = Ipv4Addr::from(FIRST_SOURCE + number % sources.max(1));
    let source_port = 1_024 + (number / sources.max(1) % 60_000) as u16;
    let mut bytes = [0; LENGTH];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&(LENGTH as u16).to_be_bytes());
    bytes[8] = 64;
    bytes[9] = 6;
    bytes[12..16].copy_from_slice(&source.octets());
    bytes[16..20].copy_from_slice(&TARGET.octets());
    let tcp = &mut bytes[IP..];
    tcp[0..2].copy_from_slice(&source_port.to_be_bytes());
    tcp[2..4].copy_from_slice(&port.to_be_bytes());
    tcp[4..8].copy_from_slice(&number.to_be_bytes());
    tcp[8..12].copy_from_slice(&1_u32.to_be_bytes());
    tcp[12] = (TCP as u8 / 4) << 4;
    // PSH and ACK.
    tcp[13] = 0x18;
    tcp[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
    let sum = checksum(source, TARGET, tcp);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// Of a TCP segment of even length (RFC 9293, 3.1).
fn checksum(source: Ipv4Addr, target: Ipv4Addr, tcp: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        bytes
            .chunks_exact(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum()
    };
    let mut sum = words(&source.octets()) + words(&target.octets()) + words(tcp);
    sum += 6 + tcp.len() as u32;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_sums_up_as_a_receiver_checks_it() {
        let bytes = segment(70_000, 1_000, 29_092);
        assert_eq!(bytes[12..16], [10, 0, 0, 1]);
        assert_eq!(bytes[IP..IP + 4], [4, 70, 0x71, 0xa4]);
        let source = Ipv4Addr::new(10, 0, 0, 1);
        // Over a segment that carries its own checksum the sum is 0.
        assert_eq!(checksum(source, TARGET, &bytes[IP..]), 0);
    }

    #[test]
    fn every_source_is_a_path_of_its_own() {
        let sources: std::collections::BTreeSet<_> = (0..1_000)
            .map(|number| segment(number, 1_000, 1)[12..16].to_vec())
            .collect();
        assert_eq!(sources.len(), 1_000);
    }
}
