//! Made-up events, to try out the way from this host to a SIEM.
//!
//! Number `n` is always the same event, but for its time, host and id. Its
//! addresses are of the networks that are set aside for documentation, and
//! its client's address and port say which number it is.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::system::uname;

use crate::{
    agent::{self, Agent},
    cli::Sample,
    community_id,
    event::{
        AgeKind, Alert, Candidate, Cause, Connection, Direction, Endpoint, Event, Evidence,
        Finding, Host, Ids, Message, Path, Process, ProvokedBy, Reset, Role, Verdict,
    },
    run::RunError,
};

/// Events in between two looks at the clock.
const BURST: u64 = 64;
/// The least that is sent where nobody says how many.
const COUNT: u64 = 100;
/// How long the sinks may take to keep a burst.
const PATIENCE: Duration = Duration::from_mins(1);
/// Verdicts and causes in turn.
const CASES: [(Verdict, Option<Cause>, ProvokedBy); 7] = [
    (
        Verdict::MiddleboxIdleReset,
        Some(Cause::ResetOnSend),
        ProvokedBy::Data,
    ),
    (
        Verdict::MiddleboxIdleReset,
        Some(Cause::ResetOnTimer),
        ProvokedBy::Nothing,
    ),
    (
        Verdict::MiddleboxIdleDrop,
        Some(Cause::Blackholed),
        ProvokedBy::Data,
    ),
    (
        Verdict::BrokerOriginated,
        Some(Cause::Shutdown),
        ProvokedBy::Nothing,
    ),
    (
        Verdict::HandshakePhase,
        Some(Cause::Authentication),
        ProvokedBy::Nothing,
    ),
    (
        Verdict::ClientOriginated,
        Some(Cause::Aborted),
        ProvokedBy::Nothing,
    ),
    (Verdict::Indeterminate, None, ProvokedBy::Nothing),
];

/// Sends what `sample` asks for through its sinks, and waits until it is
/// delivered or the time to drain is over.
///
/// # Errors
///
/// When a sink cannot be opened or fails.
pub fn run(sample: &Sample) -> Result<(), RunError> {
    let Agent { mut delivery, .. } = agent::open(&sample.options)?.start(&sample.options)?;
    let host = Host {
        name: uname().nodename().to_string_lossy().into_owned(),
    };
    let mut ids = Ids::of_this_run();
    let count = sample
        .options
        .count
        .map_or(COUNT, std::num::NonZeroU64::get);
    let began = Instant::now();
    for number in sample.first..sample.first.saturating_add(count) {
        let event = event(number, &host, &Timestamp::now().to_string());
        delivery.offer(&Arc::new(Message {
            id: ids.next_id(),
            event,
        }));
        let sent = number - sample.first + 1;
        if !sent.is_multiple_of(BURST) && sent != count {
            continue;
        }
        let kept = delivery.settle(PATIENCE);
        if let Some(error) = delivery.take_failure() {
            return Err(error.into());
        }
        if kept && sample.progress {
            // Whoever counted has gone.
            let _told = writeln!(io::stdout(), "kept {}", number + 1);
        }
        if let Some(due) = (sent * 1_000_000).checked_div(sample.rate) {
            let ahead = Duration::from_micros(due).saturating_sub(began.elapsed());
            thread::sleep(ahead);
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|source| RunError::System {
            what: "cannot start the event loop",
            source,
        })?;
    let drained = agent::drain(
        &sample.options,
        &mut delivery,
        false,
        std::future::pending(),
    );
    Ok(runtime.block_on(drained)?)
}

/// The event of a number.
#[must_use]
pub fn event(number: u64, host: &Host, time: &str) -> Event {
    if number % 50 == 49 {
        return Event::Alert(Box::new(alert(number, host, time)));
    }
    let finding = Box::new(finding(number, host, time));
    match finding.verdict {
        Verdict::MiddleboxIdleDrop => Event::Timeout(finding),
        Verdict::HandshakePhase => Event::Close(finding),
        _ => Event::Reset(finding),
    }
}

/// Which number an event is of, from the address and port of its client.
#[must_use]
pub fn number_of(client: SocketAddr) -> Option<u64> {
    let high = match client.ip() {
        IpAddr::V4(it) if it.octets()[..3] == [198, 51, 100] => u64::from(it.octets()[3]),
        IpAddr::V6(it) if it.segments()[..2] == [0x2001, 0xdb8] => {
            (u64::from(it.segments()[6]) << 16) | u64::from(it.segments()[7])
        }
        _ => return None,
    };
    u64::from(client.port())
        .checked_sub(FIRST_PORT)
        .map(|low| high * PORTS + low)
}

/// Ports of the made-up clients.
const FIRST_PORT: u64 = 10_000;
const PORTS: u64 = 50_000;

fn client(number: u64) -> Endpoint {
    let port = u16::try_from(FIRST_PORT + number % PORTS).unwrap_or(u16::MAX);
    let high = number / PORTS;
    // Every third connection is IPv6; so are those for which IPv4 has no room.
    let address = match u8::try_from(high) {
        Ok(high) if !number.is_multiple_of(3) => IpAddr::V4(Ipv4Addr::new(198, 51, 100, high)),
        _ => {
            let [.., a, b, c, d] = high.to_be_bytes();
            let (upper, lower) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, upper, lower))
        }
    };
    Endpoint { address, port }
}

fn broker(number: u64) -> Endpoint {
    let last = u8::try_from(number % 5 + 1).unwrap_or(1);
    let address = match client(number).address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, last.into())),
    };
    Endpoint {
        address,
        port: 9092,
    }
}

fn path(number: u64) -> Path {
    Path {
        survived_idle_ms: Some(300_000.0),
        fatal_idle_ms: Some(350_000.0),
        samples: number % 40,
        pattern: Some("periodic"),
        devices: vec!["made up".to_owned()],
    }
}

fn finding(number: u64, host: &Host, time: &str) -> Finding {
    let (client, broker) = (client(number), broker(number));
    let at = usize::try_from(number % CASES.len() as u64).unwrap_or(0);
    let (verdict, cause, provoked_by) = CASES[at];
    let idle = 350_000.0 + f64::from(u32::try_from(number % 1_000).unwrap_or(0));
    let role = if number.is_multiple_of(2) {
        Role::Client
    } else {
        Role::Broker
    };
    let socket = |end: Endpoint| SocketAddr::new(end.address, end.port);
    Finding {
        time: time.to_owned(),
        host: host.clone(),
        community_id: community_id::of_tcp(socket(client), socket(broker)),
        direction: if number.is_multiple_of(4) {
            Direction::Sent
        } else {
            Direction::Received
        },
        role,
        verdict,
        cause,
        confidence: if cause.is_some() { 0.97 } else { 0.41 },
        client,
        broker,
        connection: Connection {
            state: Some("ESTABLISHED"),
            age_ms: Some(idle + 1_000.5),
            age_kind: Some(AgeKind::Exact),
            idle_ms: Some(idle),
            wire_idle_ms: Some(idle),
            reset_delay_us: Some(400 + number % 100),
            provoked_by: Some(provoked_by),
            retransmits: Some(0),
            bytes_sent: Some(1_024 * number),
            bytes_received: Some(2_048),
            srtt_us: Some(1_200),
            min_rtt_us: None,
        },
        reset: Reset {
            flags: Some("R".to_owned()),
            timestamps: Some(false),
            ttl: Some(63),
            handshake_ttl: Some(62),
            ip_id: Some(0),
            window: Some(0),
            kernel_reason: None,
        },
        process: Process {
            pid: Some(4_242),
            name: Some("kreset-sample".to_owned()),
            start_time: Some(time.to_owned()),
            cgroup: Some("/system.slice/kreset-sample.service".to_owned()),
            container_id: None,
            pod_uid: None,
            systemd_unit: Some("kreset-sample.service".to_owned()),
            netns: Some(4_026_531_840),
        },
        path: path(number),
        evidence: vec![Evidence {
            name: "idle",
            value: format!("{idle} ms \"made up\" \\ ]"),
            weights: BTreeMap::from([("middlebox_idle_reset", 2.5)]),
        }],
        candidates: vec![Candidate {
            verdict,
            share: 0.97,
        }],
        advice: "None: this event was made up.".to_owned(),
    }
}

fn alert(number: u64, host: &Host, time: &str) -> Alert {
    Alert {
        time: time.to_owned(),
        host: host.clone(),
        phase: if number % 100 == 49 { "begin" } else { "end" },
        broker: broker(number),
        verdict: Verdict::MiddleboxIdleReset,
        cause: Some(Cause::ResetOnSend),
        pattern: "periodic",
        count: number,
        path: path(number),
        advice: "None: this alert was made up.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_told_from_every_other() {
        let host = Host {
            name: "h".to_owned(),
        };
        for number in
            (0..2_000).chain([49_999, 50_000, 12_800_000, 20_000_000, u64::from(u32::MAX)])
        {
            let event = event(number, &host, "2026-11-23T14:22:07.123456789Z");
            let told = match &event {
                Event::Alert(alert) => alert.count,
                other => {
                    let client = other.finding().unwrap().client;
                    number_of(SocketAddr::new(client.address, client.port)).unwrap()
                }
            };
            assert_eq!(told, number);
        }
    }
}
