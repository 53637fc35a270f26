//! Facts and their judgement to the event that is written.

use std::{fmt::Write as _, net::SocketAddr};

use smol_str::SmolStr;

use crate::{
    classify::{
        Judgement,
        class::Class,
        class_of,
        context::PathView,
        devices,
        incident::{InRoll, Snapshot},
        load,
        pattern::Turn,
    },
    event::{
        AgeKind, Alert, Client, ClientNames, Connection, Endpoint, Event, Finding, FlowId, Host,
        HostNames, Id, Incident, IncidentClient, NamedHost, OtherEnd, Path, Process, RefusedSpan,
        Reset, Roll, Source, Spread, community_id,
    },
    facts::{Facts, Flow, Kind, ResetPacket},
    util::{clock::WallClock, units::tenths},
};

/// The names that this host, or the client itself, has for what a connection belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The owner of this host's socket.
    pub process: Process,
    /// The owner of the other end's socket, where that is on this host as well.
    pub other_process: Process,
    /// What the client calls itself.
    pub client: ClientNames,
    /// What the operator calls the hosts of both ends.
    pub hosts: Option<HostNames>,
}

/// Puts an event together.
#[must_use]
pub fn report(
    facts: &Facts,
    judgement: Judgement,
    view: &PathView,
    host: &Host,
    names: Names,
    source: Source,
    clock: WallClock,
) -> Event {
    let path = path(view, &judgement);
    let mut finding = Box::new(Finding {
        time: clock.timestamp(facts.at_ns).into(),
        host: host.clone(),
        source,
        community_id: community_id::of_tcp(address(facts.local), address(facts.remote)),
        sent_by: judgement.sent_by,
        summary: SmolStr::default(),
        direction: judgement.direction,
        role: facts.role,
        kreset_probe: facts.kreset_probe(),
        incident_id: None,
        verdict: judgement.verdict,
        cause: judgement.cause,
        confidence: judgement.confidence,
        client: Client::new(facts.client(), names.client),
        broker: facts.broker(),
        host_names: names.hosts.map(Box::new),
        connection: connection(facts),
        reset: reset(facts),
        process: names.process,
        process_end: judgement.process_end.map(Box::new),
        load: load::of_event(facts).map(Box::new),
        other_end: facts
            .other_end
            .as_deref()
            .map(|other| Box::new(other_end(other, names.other_process, clock))),
        path,
        evidence: judgement
            .evidence
            .into_iter()
            .map(super::evidence::Observation::into_evidence)
            .collect(),
        candidates: judgement.candidates,
        advice: judgement.advice,
    });
    finding.summary = finding.summarize();
    match facts.kind {
        Kind::Timeout => Event::Timeout(finding),
        Kind::Fin | Kind::Closed | Kind::Unobserved => Event::Close(finding),
        _ => Event::Reset(finding),
    }
}

/// The other end of a connection, as the event of this one has it.
fn other_end(facts: &Facts, process: Process, clock: WallClock) -> OtherEnd {
    let connection = connection(facts);
    OtherEnd {
        time: clock.timestamp(facts.at_ns).into(),
        role: facts.role,
        direction: facts.direction(),
        client: facts.client(),
        broker: facts.broker(),
        state: connection.state,
        idle_ms: connection.idle_ms,
        wire_idle_ms: connection.wire_idle_ms,
        kernel_reason: facts.kernel_reason.clone(),
        process,
    }
}

const fn address(endpoint: Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.address, endpoint.port)
}

fn flow_id(flow: Flow) -> FlowId {
    let mut id = FlowId::new();
    // Two numbers of eight digits and a hyphen fit.
    let _fits = write!(id, "{flow}");
    id
}

fn connection(facts: &Facts) -> Connection {
    let of_socket = connection_of_socket(facts);
    let Some(fin) = facts
        .fin
        .filter(|_| matches!(facts.kind, Kind::Fin | Kind::Closed))
    else {
        return of_socket;
    };
    // No RST, so nothing drew one: the silence is the one before the FIN.
    Connection {
        idle_ms: Some(tenths(fin.silence_ms)),
        wire_idle_ms: None,
        reset_delay_us: None,
        provoked_by: None,
        ..of_socket
    }
}

fn connection_of_socket(facts: &Facts) -> Connection {
    let counters = facts.counters.unwrap_or_default();
    // Silences are counted in ticks: of a young connection they come out too long.
    let whole = facts.age.filter(|age| age.kind == AgeKind::Exact);
    let silence = |ms: f64| tenths(whole.map_or(ms, |age| ms.min(age.ms)));
    Connection {
        flow_id: facts.flow.map(flow_id),
        state: facts.state.map(|state| state.as_str().into()),
        age_ms: facts.age.map(|age| tenths(age.ms)),
        age_kind: facts.age.map(|age| age.kind),
        idle_ms: facts.idle.map(|idle| silence(idle.data_ms)),
        wire_idle_ms: facts.idle.map(|idle| silence(idle.wire_ms)),
        reset_delay_us: facts.idle.and_then(|idle| idle.delay_us),
        provoked_by: facts.idle.map(|idle| idle.provoked_by),
        retransmits: facts.counters.map(|counters| counters.retransmits),
        bytes_sent: counters.bytes_sent,
        bytes_received: counters.bytes_received,
        srtt_us: counters.srtt_us,
        min_rtt_us: counters.min_rtt_us,
    }
}

fn reset(facts: &Facts) -> Reset {
    if !matches!(facts.kind, Kind::ResetReceived | Kind::ResetSent) {
        return Reset::default();
    }
    let packets = facts.packets.as_ref();
    let packet = packets.and_then(|packets| packets.reset);
    Reset {
        sequence: facts.reset_sequence,
        flags: packet.map(flags),
        timestamps: facts
            .counters
            .filter(|_| facts.kind == Kind::ResetReceived)
            .and_then(|counters| counters.reset_timestamps),
        ttl: packet.map(|packet| packet.ttl),
        handshake_ttl: packets.and_then(|packets| packets.handshake_ttl),
        ip_id: packet.and_then(|packet| packet.ip_id),
        window: packet.map(|packet| packet.window),
        kernel_reason: facts.reset_reason().cloned(),
    }
}

/// As tcpdump orders them, without its dot for ACK.
fn flags(packet: ResetPacket) -> SmolStr {
    const NAMES: [(u8, char); 8] = [
        (0x01, 'F'),
        (0x02, 'S'),
        (0x04, 'R'),
        (0x08, 'P'),
        (0x10, 'A'),
        (0x20, 'U'),
        (0x40, 'E'),
        (0x80, 'C'),
    ];
    NAMES
        .iter()
        .filter(|(bit, _)| packet.flags & bit != 0)
        .map(|(_, name)| *name)
        .collect()
}

fn path(view: &PathView, judgement: &Judgement) -> Path {
    Path {
        pattern: judgement.pattern.map(|pattern| pattern.as_str().into()),
        ..known(view, class_of(judgement))
    }
}

/// What is known of a path, and the devices that fit it.
fn known(view: &PathView, class: Option<Class>) -> Path {
    Path {
        survived_idle_ms: view.survived_ms.map(tenths),
        fatal_idle_ms: view.fatal_ms.map(tenths),
        samples: view.samples,
        pattern: None,
        devices: class
            .map(|class| devices::candidates(class, view))
            .unwrap_or_default()
            .iter()
            .map(|device| device.name.clone())
            .collect(),
    }
}

/// A path that turned sustained or periodic, or ceased to be.
#[must_use]
pub fn alert(turn: &Turn, view: &PathView, host: &Host, clock: WallClock) -> Event {
    Event::Alert(Box::new(Alert {
        time: clock.timestamp(turn.at_ns).into(),
        host: host.clone(),
        phase: if turn.begins { "begin" } else { "end" }.into(),
        broker: turn.broker,
        verdict: turn.class.verdict(),
        cause: Some(turn.class.cause()),
        pattern: turn.pattern.as_str().into(),
        count: turn.count,
        path: Path {
            pattern: Some(turn.pattern.as_str().into()),
            ..known(view, Some(turn.class))
        },
        advice: turn.advice.clone(),
    }))
}

/// The names of an incident among events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentIds {
    /// Its own.
    pub id: Id,
    /// That of the first one of its roll.
    pub roll: Id,
    /// Its events that were written before it was recognised.
    pub earlier: Vec<Id>,
}

/// An incident that was recognised, or is over at `now_ns`, monotonic; with what the operator calls
/// its hosts.
#[must_use]
pub fn incident(
    it: Snapshot,
    ids: IncidentIds,
    named_hosts: Vec<NamedHost>,
    host: &Host,
    source: Source,
    clock: WallClock,
    now_ns: u64,
) -> Event {
    // Recordings may have no clock.
    let at_ns = if it.is_end {
        now_ns.max(it.last_ns)
    } else {
        it.first_ns
    };
    let spread = |(least, most): (u64, u64)| Spread {
        least: milliseconds(least),
        most: milliseconds(most),
    };
    let mut incident = Box::new(Incident {
        time: clock.timestamp(at_ns).into(),
        host: host.clone(),
        source,
        incident_id: ids.id,
        phase: if it.is_end { "end" } else { "begin" }.into(),
        incident: it.kind,
        verdict: it.verdict,
        cause: it.cause,
        summary: SmolStr::default(),
        role: it.role,
        brokers: it.places.iter().map(|place| place.broker).collect(),
        ended: it.connections,
        refusals: it.refusals,
        clients: it.clients as u64,
        first: clock.timestamp(it.first_ns).into(),
        last: clock.timestamp(it.last_ns).into(),
        idle_ms: it.silence_ms.map(|(least, most)| Spread {
            least: tenths(least),
            most: tenths(most),
        }),
        refused: it.refused.map(|(since_ns, ns, is_exact)| RefusedSpan {
            since: clock.timestamp(since_ns).into(),
            until: is_exact.then(|| clock.timestamp(since_ns.saturating_add(ns)).into()),
            ms: milliseconds(ns),
            ms_kind: if is_exact {
                AgeKind::Exact
            } else {
                AgeKind::AtLeast
            },
        }),
        who: it
            .who
            .into_iter()
            .map(|(client, after_ns)| IncidentClient {
                address: client.address,
                name: client.name,
                pid: client.pid,
                back_after_ms: after_ns.map(milliseconds),
            })
            .collect(),
        named_hosts,
        back: it.back.map(|(count, _)| count as u64),
        back_ms: it.back.and_then(|(_, spent)| spent).map(spread),
        roll: it.roll.map(|InRoll { number, .. }| Roll {
            id: ids.roll,
            number,
        }),
        ended_by: it.ended_by,
        earlier: ids.earlier,
        still_open: it.still_open,
        advice: it.kind.advice().into(),
    });
    incident.summary = incident.summarize();
    Event::Incident(incident)
}

/// Nanoseconds in milliseconds, to a tenth.
#[expect(clippy::cast_precision_loss, reason = "exact for a hundred days")]
fn milliseconds(ns: u64) -> f64 {
    tenths(ns as f64 / 1e6)
}
