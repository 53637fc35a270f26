//! Resets without connections: segments to a port without a listener. The kernel answers each
//! with a RST (`tcp_v4_send_reset`), at any rate.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use etherparse::PacketBuilder;

use crate::net::raw::RawSockets;

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

/// What each segment carries, so that it looks like late data.
const PAYLOAD: [u8; 4] = [0; 4];
/// Their destination.
const TARGET: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// The first of the sources.
const FIRST_SOURCE: u32 = u32::from_be_bytes([10, 0, 0, 1]);

impl Flood {
    /// Sends them, and returns how long that took.
    pub fn run(self) -> Result<Duration> {
        let sockets = RawSockets::open().context("cannot open a raw socket")?;
        let began = Instant::now();
        for number in 0..self.count {
            if let Some(rate) = self.rate {
                pace(began, f64::from(number) / rate);
            }
            let segment = segment(number, self.sources, self.port)?;
            sockets
                .send(&segment, TARGET.into())
                .context("cannot send a segment")?;
        }
        Ok(began.elapsed())
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

/// Segment `number`: data with an ACK, from the next of the sources.
fn segment(number: u32, sources: u32, port: u16) -> Result<Vec<u8>> {
    let source = Ipv4Addr::from(FIRST_SOURCE + number % sources.max(1));
    let source_port = 1_024 + (number / sources.max(1) % 60_000) as u16;
    let mut segment = Vec::new();
    PacketBuilder::ipv4(source.octets(), TARGET.octets(), 64)
        .tcp(source_port, port, number, u16::MAX)
        .psh()
        .ack(1)
        .write(&mut segment, &PAYLOAD)
        .context("cannot make a segment")?;
    Ok(segment)
}

#[cfg(test)]
mod tests {
    use etherparse::TcpSlice;

    use super::*;

    #[test]
    fn a_segment_sums_up_as_a_receiver_checks_it() {
        let bytes = segment(70_000, 1_000, 29_092).expect("a segment");
        assert_eq!(bytes[12..16], [10, 0, 0, 1]);
        assert_eq!(bytes[20..24], [4, 70, 0x71, 0xa4]);
        let tcp = TcpSlice::from_slice(&bytes[20..]).expect("a header");
        let right = tcp.calc_checksum_ipv4([10, 0, 0, 1], TARGET.octets());
        assert_eq!(right, Ok(tcp.checksum()));
    }

    #[test]
    fn every_source_is_a_path_of_its_own() {
        let sources: std::collections::BTreeSet<_> = (0..1_000)
            .map(|number| segment(number, 1_000, 1).expect("a segment")[12..16].to_vec())
            .collect();
        assert_eq!(sources.len(), 1_000);
    }
}
