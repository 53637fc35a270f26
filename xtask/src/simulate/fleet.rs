//! Which hosts there are, and what their agents do.

use std::net::Ipv4Addr;

use fastrand::Rng;

/// Nanoseconds of a second.
pub(super) const SECOND: i64 = 1_000_000_000;
/// When the fleet is first looked at: noon.
pub(super) const BEGIN: i64 = 12 * 3_600 * SECOND;
/// How often agents write a summary.
pub(super) const SUMMARY: i64 = 10 * SECOND;
/// Agents that come late do so within this time.
const LATE: i64 = 120 * SECOND;

/// One run of an agent, by true time.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The host's boot: another one after a crash of the host.
    pub(super) boot: u64,
    /// When it began, as nanoseconds since boot: a part of its ids.
    pub(super) since_boot: u64,
    pub(super) from: i64,
    pub(super) to: i64,
    /// It wrote a last summary.
    pub(super) ends_in_order: bool,
}

/// A host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    /// How far its clock is ahead.
    pub(super) skew: i64,
    /// None if it has no agent.
    pub(super) runs: Vec<Run>,
    /// Its kernel does not show every RST that it sends.
    pub(super) degraded: bool,
    /// The ports that its agent traces, as JSON.
    pub(super) ports: &'static str,
    /// Its agent leaves routine closes out.
    pub(super) hides: bool,
    /// When records are lost, with the `loss` event that says so, or silently.
    pub(super) losses: Vec<(i64, bool)>,
    /// When a sink loses events.
    pub(super) sink_loses: Option<i64>,
}

/// All hosts, clients' first.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) hosts: Vec<Host>,
    clients: usize,
    pub(super) end: i64,
}

impl Fleet {
    /// Draws a fleet.
    pub(super) fn draw(random: &mut Rng, count: u32, seconds: u32) -> Self {
        let end = BEGIN + i64::from(seconds) * SECOND;
        let clients = count - count / 10;
        let mut hosts: Vec<Host> = (0..count)
            .map(|index| host(random, index, index >= clients, end))
            .collect();
        // Private networks that never meet use the same addresses.
        for _ in 0..clients / 100 {
            let [one, other] = [(); 2].map(|()| random.usize(..clients as usize));
            let address = hosts[other].address;
            hosts[one].address = address;
        }
        Self {
            hosts,
            clients: clients as usize,
            end,
        }
    }

    /// One client's host.
    pub(super) fn client(&self, random: &mut Rng) -> usize {
        random.usize(..self.clients)
    }

    /// One broker's host; a few have most connections.
    pub(super) fn broker(&self, random: &mut Rng) -> usize {
        let brokers = self.hosts.len() - self.clients;
        self.clients + random.usize(..brokers).min(random.usize(..brokers))
    }

    /// Events that are about agents, about.
    pub(super) fn reports(&self) -> usize {
        let runs = self.hosts.iter().flat_map(|host| &host.runs);
        let summaries = runs.map(|run| (run.to - run.from) / SUMMARY + 1);
        usize::try_from(summaries.sum::<i64>()).unwrap_or(0)
    }
}

/// One of the four parts of an address.
pub(super) fn part(number: u32) -> u8 {
    u8::try_from(number % 256).unwrap_or_default()
}

fn host(random: &mut Rng, index: u32, is_broker: bool, end: i64) -> Host {
    let network = if is_broker { 20 } else { 10 };
    let one_in = |random: &mut Rng, of: u32| random.u32(..of) == 0;
    let skew = match random.u32(..100) {
        // Some are not kept in time at all.
        0 => random.i64(-120 * SECOND..120 * SECOND),
        1..10 => random.i64(-8 * SECOND..8 * SECOND),
        _ => random.i64(-SECOND / 20..SECOND / 20),
    };
    let has_agent = !one_in(random, 16);
    Host {
        name: format!("{}-{index}", if is_broker { "broker" } else { "client" }),
        address: Ipv4Addr::new(10, network, part(index / 250), part(index % 250 + 1)),
        skew,
        runs: if has_agent {
            runs(random, end)
        } else {
            Vec::new()
        },
        degraded: one_in(random, 40),
        ports: if one_in(random, 50) {
            "[\"9093\"]"
        } else {
            "[\"9092\",\"9094-9096\"]"
        },
        hides: one_in(random, 40),
        losses: if one_in(random, 5) {
            let times = 1 + random.usize(..2);
            let lost = |_| (random.i64(BEGIN..end), random.bool());
            (0..times).map(lost).collect()
        } else {
            Vec::new()
        },
        sink_loses: one_in(random, 50).then(|| random.i64(BEGIN..end)),
    }
}

fn runs(random: &mut Rng, end: i64) -> Vec<Run> {
    let mut boot = random.u64(1 << 60..);
    let mut from = if random.u32(..20) == 0 {
        BEGIN + random.i64(0..LATE)
    } else {
        BEGIN - random.i64(0..SUMMARY)
    };
    let mut runs = Vec::new();
    let mut since_boot = random.u64(1 << 40..1 << 50);
    loop {
        // Some end early, some of these begin again, some after a reboot.
        let ends_early = random.u32(..8) == 0;
        let to = if ends_early && end - from > 60 * SECOND {
            random.i64(from + 30 * SECOND..end)
        } else {
            end + random.i64(SECOND..2 * SUMMARY)
        };
        runs.push(Run {
            boot,
            since_boot,
            from,
            to,
            ends_in_order: to > end || random.bool(),
        });
        if to > end || random.u32(..4) == 0 {
            return runs;
        }
        from = to + random.i64(SECOND / 10..60 * SECOND);
        if from > end - 60 * SECOND {
            return runs;
        }
        since_boot += 1 << 41;
        if random.u32(..3) == 0 {
            boot = random.u64(1 << 60..);
        }
    }
}
