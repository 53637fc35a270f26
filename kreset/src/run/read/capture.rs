//! From the packets of a capture to judged events.

use std::{collections::BTreeMap, io::Read, path::Path};

use kreset_ebpf::segment::tcp_flag;

use super::{BATCH, end, flush, name, progress::Progress};
use crate::{
    capture::{
        follow::Follower,
        input::Input,
        packets::{Packets, RawPacket},
        segment::Seen,
        viewpoint::{Ends, Viewpoint},
    },
    delivery::Delivery,
    run::{RunError, options::Options, pipeline::Pipeline},
    util::{
        clock::{Clocks, WallClock},
        ports::PortSet,
        stderr::log,
        units::count,
    },
};

/// Segments from which the point of the capture is learned.
const LEARN: usize = 20_000;
/// A clock that goes back by more was set; by less, packets are out of order.
const STEP_NS: u64 = 1_000_000_000;
/// Time of a capture between two looks at patterns, as in a run.
const ALERT_NS: u64 = 500_000_000;
/// Packets between two looks at the progress.
const LOOK: u64 = 65_536;
/// Ports with resets that are remembered, for a capture without Kafka.
const PORTS: usize = 4_096;

/// One packet that waits until the point of the capture is known.
struct Held {
    at_ns: u64,
    bytes: Vec<u8>,
    length: u32,
}

/// Reads the captures of one host.
pub(super) struct CaptureReader {
    ports: PortSet,
    pipeline: Pipeline,
    follower: Follower,
    viewpoint: Viewpoint,
    /// Segments of traced ports, while the point of the capture is being learned.
    held: Option<Vec<Held>>,
    clock: Clock,
    began_ns: Option<u64>,
    alerted_ns: u64,
    batch: u32,
    packets: u64,
    dropped: u64,
    missing: u64,
    /// Resets of other ports.
    other: BTreeMap<u16, u64>,
    reported: u64,
}

/// The time of a capture, which never goes back.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    /// Continuous time, ns.
    now_ns: u64,
    /// What continuous time is ahead of the time stamps.
    ahead_ns: i64,
    steps: u64,
}

impl Clock {
    fn place(&mut self, at_ns: u64) -> u64 {
        let placed = at_ns.saturating_add_signed(self.ahead_ns);
        if placed >= self.now_ns {
            self.now_ns = placed;
        } else if self.now_ns - placed > STEP_NS {
            self.steps += 1;
            self.ahead_ns += i64::try_from(self.now_ns - placed).unwrap_or(0);
        }
        self.now_ns
    }

    const fn clocks(self, now_ns: u64) -> Clocks {
        let wall = WallClock::new(0, self.ahead_ns);
        Clocks {
            monotonic: wall,
            boot: wall,
            now_ns,
        }
    }
}

impl CaptureReader {
    pub(super) fn new(options: &Options, seen_from: Option<Ends>, pipeline: Pipeline) -> Self {
        Self {
            ports: options.ports.clone(),
            pipeline,
            follower: Follower::default(),
            viewpoint: Viewpoint::new(seen_from),
            held: Some(Vec::new()),
            clock: Clock::default(),
            began_ns: None,
            alerted_ns: 0,
            batch: 0,
            packets: 0,
            dropped: 0,
            missing: 0,
            other: BTreeMap::new(),
            reported: 0,
        }
    }

    /// Reads one file.
    pub(super) fn read(
        &mut self,
        path: &Path,
        file: Box<dyn Read + Send>,
        progress: &Progress,
    ) -> Result<(), RunError> {
        let mut packets = match Packets::open(file) {
            Ok(packets) => packets,
            Err(error) => {
                log(format_args!("{}: {error}", name(path)));
                return Ok(());
            }
        };
        loop {
            let mut failed = None;
            let next = packets.next(|packet| {
                failed = self.take(packet).err();
            });
            if let Some(error) = failed {
                return Err(error);
            }
            match next {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    log(format_args!("{}: {error}", name(path)));
                    break;
                }
            }
            if self.packets.is_multiple_of(LOOK) {
                progress.tick();
            }
            if self.pipeline.is_done() {
                break;
            }
        }
        self.dropped += packets.dropped();
        self.settle_viewpoint()?;
        self.report(path);
        Ok(())
    }

    fn take(&mut self, packet: RawPacket<'_>) -> Result<(), RunError> {
        self.packets += 1;
        let Some(seen) = Seen::parse(packet.bytes, packet.length) else {
            return Ok(());
        };
        let at_ns = self.clock.place(packet.at_ns);
        self.began_ns.get_or_insert(at_ns);
        let Some(from_client) = from_client(&self.ports, &seen) else {
            if seen.has(tcp_flag::RST) && self.other.len() < PORTS {
                let port = seen.source.port.min(seen.destination.port);
                *self.other.entry(port).or_default() += 1;
            }
            return Ok(());
        };
        if let Some(held) = &mut self.held {
            self.viewpoint.learn(&seen, from_client, at_ns);
            held.push(Held {
                at_ns,
                bytes: packet.bytes.to_vec(),
                length: packet.length,
            });
            if held.len() >= LEARN {
                self.settle_viewpoint()?;
            }
            return Ok(());
        }
        self.follow(&seen, from_client, at_ns)
    }

    /// Decides where the capture was taken, and takes what waited for that.
    fn settle_viewpoint(&mut self) -> Result<(), RunError> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        self.viewpoint.decide();
        for Held {
            at_ns,
            bytes,
            length,
        } in held
        {
            let Some(seen) = Seen::parse(&bytes, length) else {
                continue;
            };
            if let Some(from_client) = from_client(&self.ports, &seen) {
                self.follow(&seen, from_client, at_ns)?;
            }
        }
        Ok(())
    }

    fn follow(&mut self, seen: &Seen<'_>, from_client: bool, at_ns: u64) -> Result<(), RunError> {
        let (client, broker) = if from_client {
            (seen.source, seen.destination)
        } else {
            (seen.destination, seen.source)
        };
        let ends = self.viewpoint.ends(client.address, broker.address);
        self.follower.observe(seen, from_client, ends, at_ns);
        self.judge(at_ns)
    }

    /// Judges what came of the packets so far.
    fn judge(&mut self, now_ns: u64) -> Result<(), RunError> {
        while let Some((at_ns, record)) = self.follower.next_record() {
            let clocks = self.clock.clocks(at_ns);
            self.pipeline.release(at_ns, clocks);
            self.pipeline.take(&record, clocks)?;
            self.batch += 1;
        }
        if now_ns.saturating_sub(self.alerted_ns) >= ALERT_NS {
            self.alerted_ns = now_ns;
            let clocks = self.clock.clocks(now_ns);
            self.pipeline.release(now_ns, clocks);
            self.pipeline.alert(clocks);
        }
        if self.batch >= BATCH {
            self.batch = 0;
            flush(&mut self.pipeline)?;
        }
        Ok(())
    }

    /// Says where the capture was taken and what is in it.
    fn report(&mut self, path: &Path) {
        let counts = self.follower.counts();
        let path = name(path);
        if counts.segments == self.reported {
            log(format_args!("{path}: {}", self.nothing()));
            return;
        }
        self.reported = counts.segments;
        let (ends, why) = self.viewpoint.summary();
        log(format_args!(
            "{path}: captured {ends} ({why}); {}, {}, {} of them older than the capture",
            count(self.packets, "packet"),
            count(counts.connections, "connection"),
            counts.older
        ));
        if ends == Ends::Neither {
            log(format_args!(
                "{path}: between the ends, a RST is judged as its receiver would judge it; what \
                 an end sent and why stays open"
            ));
        }
        if self.clock.steps > 0 {
            log(format_args!(
                "{path}: its clock was set back {} times; silences are counted on from there",
                self.clock.steps
            ));
        }
    }

    /// What there is where nothing of Kafka is.
    fn nothing(&self) -> String {
        let mut ports: Vec<_> = self.other.iter().collect();
        ports.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let found: Vec<_> = ports
            .iter()
            .take(3)
            .map(|(port, count)| format!("{port} ({count})"))
            .collect();
        let Some((first, _)) = ports.first() else {
            return format!(
                "no packet of port {}, and no reset of any other port; --port names the brokers'",
                self.ports
            );
        };
        format!(
            "no packet of port {}; ports with resets: {}; try --port {first}",
            self.ports,
            found.join(", ")
        )
    }

    /// Ends the host: returns where events go.
    pub(super) fn end(mut self) -> Result<Delivery, RunError> {
        let now_ns = self.clock.now_ns;
        self.follower.end(now_ns);
        self.judge(now_ns)?;
        let clocks = self.clock.clocks(now_ns);
        self.missing = self.follower.counts().missing;
        let lost = self.missing.max(self.dropped);
        if lost > 0 {
            self.pipeline.record_loss("capture", lost, clocks);
        }
        end(&mut self.pipeline, self.began_ns.unwrap_or(now_ns), clocks)?;
        Ok(self.pipeline.into_delivery())
    }
}

/// When the first packet of a file was captured; 0 where that cannot be read.
pub(super) fn first_ns(path: &Path) -> u64 {
    let Ok(input) = Input::open(path) else {
        return 0;
    };
    let mut first_ns = 0;
    if let Ok(mut packets) = Packets::open(input.reader) {
        let _end = packets.next(|packet| first_ns = packet.at_ns);
    }
    first_ns
}

/// Whether the client sent it; `None` if neither end has a traced port. Where both have,
/// the handshake tells, and later the smaller port is the broker's.
fn from_client(ports: &PortSet, seen: &Seen<'_>) -> Option<bool> {
    let source = ports.contains(seen.source.port);
    let destination = ports.contains(seen.destination.port);
    match (source, destination) {
        (false, false) => None,
        (false, true) => Some(true),
        (true, false) => Some(false),
        (true, true) if seen.is_syn() => Some(true),
        (true, true) if seen.is_synack() => Some(false),
        (true, true) => Some(seen.source.port > seen.destination.port),
    }
}
