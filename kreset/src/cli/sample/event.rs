//! The event of a number.
//!
//! Number `n` is always the same event, but for its time, host and id. Its
//! addresses are of the networks that are set aside for documentation, and
//! its client's address and port say which number it is; where there is no
//! client, a count says it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use smol_str::{SmolStr, format_smolstr};

use crate::event::{
    AgeKind, Alert, Candidate, Candidates, Cause, Connection, Coverage, Degraded, Direction,
    Endpoint, Event, Evidence, Finding, FlowId, Host, Loss, Path, Process, Proof, ProvokedBy,
    Reset, Role, SentBy, Source, Start, Summary, Time, Verdict, Weights, community_id,
};

/// Verdicts and causes in turn.
const CASES: [(Verdict, Option<Cause>, ProvokedBy); 7] = {
    use ProvokedBy::{Data, Nothing};
    use Verdict::{
        BrokerOriginated, ClientOriginated, HandshakePhase, Indeterminate, MiddleboxIdleDrop,
        MiddleboxIdleReset,
    };
    [
        (MiddleboxIdleReset, Some(Cause::ResetOnSend), Data),
        (MiddleboxIdleReset, Some(Cause::ResetOnTimer), Nothing),
        (MiddleboxIdleDrop, Some(Cause::Blackholed), Data),
        (BrokerOriginated, Some(Cause::Shutdown), Nothing),
        (HandshakePhase, Some(Cause::Authentication), Nothing),
        (ClientOriginated, Some(Cause::Aborted), Nothing),
        (Indeterminate, None, Nothing),
    ]
};

/// The event of a number.
#[must_use]
pub fn event(number: u64, host: &Host, time: Time) -> Event {
    match number % 50 {
        46 => return Event::Start(Box::new(start(number, host, time))),
        47 => return Event::Loss(loss(number, host, time)),
        48 => return Event::Summary(Box::new(summary(number, host, time))),
        49 => return Event::Alert(Box::new(alert(number, host, time))),
        _ => {}
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

/// Ports of the sample clients.
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

/// The same at both ends, and another one for each number.
fn flow_id(number: u64) -> FlowId {
    let client = first_sequence(number);
    let mut id = FlowId::new();
    // Two numbers of eight digits and a hyphen fit.
    let _fits = write!(id, "{client:08x}-{:08x}", !client);
    id
}

/// An odd multiplier takes no two numbers to the same sequence.
fn first_sequence(number: u64) -> u32 {
    u32::try_from(number & 0xffff_ffff)
        .unwrap_or(0)
        .wrapping_mul(0x9e37_79b1)
}

fn path(number: u64) -> Path {
    Path {
        survived_idle_ms: Some(300_000.0),
        fatal_idle_ms: Some(350_000.0),
        samples: number % 40,
        pattern: Some("periodic".into()),
        devices: vec!["sample".into()],
    }
}

/// Whom the verdict names; what is dropped has no sender.
const fn sent_by(verdict: Verdict) -> Option<SentBy> {
    match verdict {
        Verdict::MiddleboxIdleReset | Verdict::MiddleboxReset => Some(SentBy::Device),
        Verdict::MiddleboxIdleDrop => None,
        Verdict::BrokerOriginated | Verdict::HandshakePhase => Some(SentBy::Broker),
        Verdict::ClientOriginated => Some(SentBy::Client),
        Verdict::Indeterminate => Some(SentBy::Unknown),
    }
}

/// Only the end that is to blame sends the RST or FIN itself.
const fn direction(verdict: Verdict, role: Role) -> Direction {
    match (verdict, role) {
        (Verdict::BrokerOriginated | Verdict::HandshakePhase, Role::Broker)
        | (Verdict::ClientOriginated, Role::Client) => Direction::Sent,
        _ => Direction::Received,
    }
}

fn finding(number: u64, host: &Host, time: Time) -> Finding {
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
    let mut finding = Finding {
        time,
        host: host.clone(),
        source: Source::Live,
        community_id: community_id::of_tcp(socket(client), socket(broker)),
        sent_by: sent_by(verdict),
        summary: SmolStr::default(),
        direction: direction(verdict, role),
        role,
        kreset_probe: None,
        incident_id: None,
        verdict,
        cause,
        confidence: if cause.is_some() { 0.97 } else { 0.41 },
        client: client.into(),
        broker,
        connection: Connection {
            flow_id: Some(flow_id(number)),
            state: Some("ESTABLISHED".into()),
            age_ms: Some(idle + 1_000.5),
            age_kind: Some(AgeKind::Exact),
            idle_ms: Some(idle),
            wire_idle_ms: Some(idle),
            reset_delay_us: (provoked_by == ProvokedBy::Data).then_some(400 + number % 100),
            provoked_by: Some(provoked_by),
            retransmits: Some(0),
            bytes_sent: Some(1_024 * number),
            bytes_received: Some(2_048),
            srtt_us: Some(1_200),
            min_rtt_us: None,
        },
        reset: Reset {
            sequence: Some((!first_sequence(number)).wrapping_add(2_048)),
            flags: Some("R".into()),
            timestamps: Some(false),
            ttl: Some(63),
            handshake_ttl: Some(62),
            ip_id: Some(0),
            window: Some(0),
            kernel_reason: None,
        },
        process: Process {
            pid: Some(4_242),
            name: Some("kreset-sample".into()),
            executable: Some("kreset-trace".into()),
            start_time: Some(time),
            cgroup: Some("/system.slice/kreset-sample.service".into()),
            systemd_unit: Some("kreset-sample.service".into()),
            netns: Some(4_026_531_840),
            ..Process::default()
        },
        process_end: None,
        host_names: None,
        load: None,
        other_end: None,
        path: path(number),
        evidence: vec![Evidence {
            name: "idle".into(),
            value: format_smolstr!("{idle} ms \"sample\" \\ ]"),
            proof: Proof::Proven,
            weights: Weights::from_iter([("middlebox_idle_reset", 2.5)]),
        }],
        candidates: Candidates::from_iter([Candidate {
            verdict,
            share: 0.97,
        }]),
        advice: "None: this is a sample event.".into(),
    };
    finding.summary = finding.summarize();
    finding
}

fn alert(number: u64, host: &Host, time: Time) -> Alert {
    Alert {
        time,
        host: host.clone(),
        phase: if number % 100 == 49 { "begin" } else { "end" }.into(),
        broker: broker(number),
        verdict: Verdict::MiddleboxIdleReset,
        cause: Some(Cause::ResetOnSend),
        pattern: "periodic".into(),
        count: number,
        path: path(number),
        advice: "None: this is a sample alert.".into(),
    }
}

fn start(number: u64, host: &Host, time: Time) -> Start {
    Start {
        time,
        host: host.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        kernel: "sample".to_owned(),
        ports: vec!["9092".into()],
        packet_evidence: "off".into(),
        seeded: number,
        watched: None,
        attach_ms: 200.5,
        degraded: vec![Degraded {
            feature: "packet_evidence".into(),
            reason: "this is a sample event".to_owned(),
            remedy: "none".to_owned(),
        }],
    }
}

fn loss(number: u64, host: &Host, time: Time) -> Loss {
    Loss {
        time,
        host: host.clone(),
        source: "sample".to_owned(),
        lost: 1,
        total: number,
        by_broker: Vec::new(),
    }
}

/// One of the addresses reserved for documentation.
const fn unused_address(number: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 3, 0, 0, 0, number))
}

/// Covers reserved addresses, so that it proves nothing about real ones.
fn summary(number: u64, host: &Host, time: Time) -> Summary {
    Summary {
        time,
        host: host.clone(),
        duration_ms: number,
        end: false,
        events: BTreeMap::from([
            ("indeterminate".to_owned(), 1),
            ("middlebox_idle_reset/reset_on_send".to_owned(), number),
        ]),
        noise: BTreeMap::from([("probe".to_owned(), number)]),
        lost: 0,
        coverage: Coverage {
            ports: vec!["9092".into()],
            // As long as that of a host with many addresses: a receiver that
            // cuts long messages shows it.
            addresses: Some((1..=600).map(unused_address).collect()),
            ..Coverage::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn every_number_is_told_from_every_other() {
        let host = Host { name: "h".into() };
        for number in
            (0..2_000).chain([49_999, 50_000, 12_800_000, 20_000_000, u64::from(u32::MAX)])
        {
            let event = event(
                number,
                &host,
                samples::time("2026-11-23T14:22:07.123456789Z"),
            );
            let found = match &event {
                Event::Start(start) => start.seeded,
                Event::Loss(loss) => loss.total,
                Event::Summary(summary) => summary.duration_ms,
                Event::Alert(alert) => alert.count,
                other => {
                    let client = other.finding().unwrap().client.end();
                    number_of(SocketAddr::new(client.address, client.port)).unwrap()
                }
            };
            assert_eq!(found, number);
        }
    }
}
