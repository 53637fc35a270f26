//! Bytes of the ring buffer to [`Facts`].

use std::{
    collections::BTreeMap,
    mem::offset_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use kreset_common::record::{
    Connection, KernelEvent, Listened, Record, connection_flag as flag, event_flag, kind, role,
    tcp_present as present,
};
use smol_str::{SmolStr, ToSmolStr as _};
use thiserror::Error;
use zerocopy::{FromBytes, IntoBytes};

use super::{
    Age, ConnectionId, Counters, Facts, Fin, Had, Kind, Owner, PacketFacts, State, Trigger, clock,
    close_notify,
    idle::{idle, jiffies_ms},
    load::Load,
    process::ProcessFacts,
    sequence, settled,
};
use crate::event::{AgeKind, Endpoint, Role};

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Shorter than an event.
    #[error("a record of {0} bytes is too short")]
    Short(usize),
    /// The kind is not known.
    #[error("a record of unknown kind {0}")]
    Kind(u8),
    /// The role is not known.
    #[error("a record of unknown role {0}")]
    Role(u8),
    /// What happened to a process is not known.
    #[error("a record of unknown change {0} of a process")]
    Change(u8),
    /// The address family is not known.
    #[error("a record of unknown address family {0}")]
    Family(u16),
}

/// Turns records into facts.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Ticks of the kernel's jiffies per second.
    pub hz: u32,
    /// Names of `enum sk_rst_reason`, without their prefix.
    pub reasons: BTreeMap<u32, String>,
}

impl Decoder {
    /// Decodes a record about a process; `None` if it is about a connection.
    #[must_use]
    pub fn process(&self, bytes: &[u8]) -> Option<Result<ProcessFacts, DecodeError>> {
        ProcessFacts::is_record(bytes).then(|| ProcessFacts::decode(bytes))
    }

    /// When a record was made, monotonic ns; 0 if it is none.
    #[must_use]
    pub fn at_ns(&self, bytes: &[u8]) -> u64 {
        let connection = || self.decode(bytes).map_or(0, |facts| facts.at_ns);
        self.process(bytes)
            .map_or_else(connection, |facts| facts.map_or(0, |facts| facts.at_ns))
    }

    /// Decodes one record about a connection.
    ///
    /// # Errors
    ///
    /// If the bytes are no record of this version.
    pub fn decode(&self, bytes: &[u8]) -> Result<Facts, DecodeError> {
        let (event, _) = KernelEvent::read_from_prefix(bytes)
            .map_err(|_short| DecodeError::Short(bytes.len()))?;
        let full = if event.flags & event_flag::FULL == 0 {
            None
        } else {
            Some(whole_record(bytes)?)
        };
        let mut facts = self.facts(&event, full.as_ref())?;
        if event.flags & event_flag::LISTENER != 0 {
            let listened: Listened = extended(bytes, offset_of!(Listened, load))?;
            facts.owner = owner(&event, Some(&listened.listener));
            facts.load = Load::of_listener(&listened.load);
        }
        Ok(facts)
    }

    fn facts(&self, event: &KernelEvent, full: Option<&Record>) -> Result<Facts, DecodeError> {
        let fact_kind = decode_kind(event.kind)?;
        let role = decode_role(event.role)?;
        let state = State::from_number(event.state);
        let connection = full.map(|record| &record.connection);
        let has = |bit: u16| event.flags & bit != 0;
        let closed_by_exit = connection.is_some_and(|c| c.flags & flag::CLOSED_BY_EXIT != 0);
        let by_other = connection.is_some_and(|c| c.flags & flag::OTHER_PROCESS != 0)
            || has(event_flag::OTHER_PROCESS);
        let by_any_exit = has(event_flag::TASK_EXITING) || closed_by_exit;
        Ok(Facts {
            kind: fact_kind,
            at_ns: event.ktime_ns,
            id: connection
                .filter(|_| event.socket != 0)
                .map(|connection| ConnectionId {
                    socket: event.socket,
                    first_seen_ns: connection.first_seen_ns,
                }),
            role,
            local: Endpoint {
                address: address(event.family, event.local_address)?,
                port: event.local_port,
            },
            remote: Endpoint {
                address: address(event.family, event.remote_address)?,
                port: event.remote_port,
            },
            netns: (event.netns != 0).then_some(event.netns),
            state,
            kernel_reason: has(event_flag::HAS_REASON).then(|| self.reason(event.reason)),
            trigger: has(event_flag::HAS_TRIGGER).then_some(Trigger {
                flags: event.trigger_flags,
                payload: event.trigger_payload,
            }),
            by_exit: by_any_exit && !by_other,
            by_other_exit: by_any_exit && by_other,
            exit_signal: if has(event_flag::HAS_EXIT_SIGNAL) {
                Some(event.exit_signal)
            } else {
                connection
                    .filter(|_| closed_by_exit)
                    .and_then(|connection| u8::try_from(connection.exit_signal).ok())
            },
            error: (event.error != 0).then_some(event.error),
            without_file: has(event_flag::NO_FILE),
            had: had(event),
            queue_full: has(event_flag::QUEUE_FULL),
            listened: match (has(event_flag::LISTENED), has(event_flag::NOT_LISTENED)) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            },
            flow: sequence::flow(event, role),
            reset_sequence: sequence::reset_sequence(event, full, state),
            age: full.map_or_else(|| age_of_ended(event), |record| age(record, self.hz)),
            idle: full
                .filter(|_| fact_kind != Kind::Survived)
                .and_then(|record| idle(record, state, self.hz)),
            fin: full.and_then(|record| self.fin(record)),
            established: connection.is_some_and(|connection| {
                connection.flags & (flag::ESTABLISHED | flag::SEEDED) != 0
            }),
            counters: full.map(|record| counters(record, state, self.hz)),
            packets: full.and_then(|record| PacketFacts::new(record, state, role, self.hz)),
            owner: owner(event, connection),
            load: full.map_or_else(Load::default, |record| Load::of_socket(&record.load)),
            broker_log: None,
            other_end: None,
            client_log: None,
        })
    }

    /// The name of a reason; its number where the kernel's BTF has no name.
    fn reason(&self, number: u32) -> SmolStr {
        self.reasons
            .get(&number)
            .map_or_else(|| number.to_smolstr(), SmolStr::new)
    }

    fn fin(&self, record: &Record) -> Option<Fin> {
        let Record {
            event, connection, ..
        } = record;
        if connection.fin_ns == 0 {
            return None;
        }
        let has = |bit: u32| connection.flags & bit != 0;
        Some(Fin {
            by_peer: has(flag::PEER_CLOSED_FIRST),
            ago_ms: span_ms(event.ktime_ns, connection.fin_ns),
            silence_ms: close_notify::silence_ms(connection, &record.packets, &record.tcp, self.hz),
            by_exit: has(flag::CLOSED_BY_EXIT) && !has(flag::OTHER_PROCESS),
            by_other_exit: has(flag::CLOSED_BY_EXIT) && has(flag::OTHER_PROCESS),
        })
    }
}

/// A record of a full socket; the packets that were let pass are made up for.
fn whole_record(bytes: &[u8]) -> Result<Record, DecodeError> {
    let mut record = extended(bytes, offset_of!(Record, incoming))?;
    settled::catch_up(&mut record);
    Ok(record)
}

/// One of a recording may end after the first `least` bytes: what was added since is zero.
fn extended<T: FromBytes + IntoBytes>(bytes: &[u8], least: usize) -> Result<T, DecodeError> {
    if bytes.len() < least {
        return Err(DecodeError::Short(bytes.len()));
    }
    let mut record = T::new_zeroed();
    for (to, from) in record.as_mut_bytes().iter_mut().zip(bytes) {
        *to = *from;
    }
    Ok(record)
}

const fn decode_kind(number: u8) -> Result<Kind, DecodeError> {
    Ok(match number {
        kind::RESET_RECEIVED => Kind::ResetReceived,
        kind::RESET_SENT => Kind::ResetSent,
        kind::TIMEOUT => Kind::Timeout,
        kind::FIN => Kind::Fin,
        kind::CLOSED => Kind::Closed,
        kind::ESTABLISHED => Kind::Established,
        kind::SURVIVED => Kind::Survived,
        kind::UNOBSERVED => Kind::Unobserved,
        kind::GAVE_UP => Kind::GaveUp,
        unknown => return Err(DecodeError::Kind(unknown)),
    })
}

const fn decode_role(number: u8) -> Result<Role, DecodeError> {
    Ok(match number {
        role::CLIENT => Role::Client,
        role::BROKER => Role::Broker,
        unknown => return Err(DecodeError::Role(unknown)),
    })
}

/// `AF_INET` and `AF_INET6`.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// An address; IPv4-mapped ones (every JVM socket) are IPv4.
fn address(family: u16, bytes: [u8; 16]) -> Result<IpAddr, DecodeError> {
    match family {
        AF_INET => Ok(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        AF_INET6 => Ok(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()),
        unknown => Err(DecodeError::Family(unknown)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a span of milliseconds")]
fn span_ms(now_ns: u64, then_ns: u64) -> f64 {
    now_ns.saturating_sub(then_ns) as f64 / 1e6
}

/// Exact where the tracer saw the connection begin. Otherwise the kernel's
/// counters may still prove it: without data one way, the time stamp of that
/// way is that of the establishment (kernel: `tcp_init_transfer`).
fn age(record: &Record, hz: u32) -> Option<Age> {
    let Record {
        event,
        tcp,
        connection,
        ..
    } = record;
    if connection.first_seen_ns == 0 {
        return None;
    }
    let seen_ms = span_ms(event.ktime_ns, connection.first_seen_ns);
    if connection.flags & flag::SEEDED == 0 {
        return Some(Age {
            ms: seen_ms,
            kind: AgeKind::Exact,
        });
    }
    let since = |then: u32| jiffies_ms(event.jiffies, then, hz);
    if tcp.data_segs_out == 0 && tcp.segs_out > 0 && tcp.lsndtime != 0 {
        return Some(Age {
            ms: since(tcp.lsndtime),
            kind: AgeKind::Exact,
        });
    }
    if tcp.data_segs_in == 0 && tcp.segs_in > 0 && tcp.lrcvtime != 0 {
        return Some(Age {
            ms: since(tcp.lrcvtime),
            kind: AgeKind::Exact,
        });
    }
    let oldest = [tcp.lsndtime, tcp.lrcvtime, tcp.rcv_tstamp]
        .into_iter()
        .filter(|stamp| *stamp != 0)
        .map(since)
        .fold(seen_ms, f64::max);
    Some(Age {
        ms: oldest,
        kind: AgeKind::AtLeast,
    })
}

const fn had(event: &KernelEvent) -> Had {
    if event.flags & event_flag::HAD != 0 {
        if event.flags & event_flag::HAD_ENDED_IN_ORDER != 0 {
            Had::InOrder
        } else {
            Had::Yes
        }
    } else if event.flags & event_flag::NOT_HAD != 0 {
        Had::NotWithin(event.remembered_ms)
    } else {
        Had::Unknown
    }
}

/// The age of a connection that has no socket any more, where its beginning was seen.
fn age_of_ended(event: &KernelEvent) -> Option<Age> {
    (event.flags & event_flag::HAD != 0 && event.remembered_ms != 0).then(|| Age {
        ms: event.remembered_ms.into(),
        kind: AgeKind::Exact,
    })
}

fn counters(record: &Record, state: Option<State>, hz: u32) -> Counters {
    let Record {
        tcp, connection, ..
    } = record;
    let has = |bit: u32| tcp.present & bit != 0;
    let fin_came = connection.flags & flag::FIN_RECEIVED != 0
        || matches!(
            state,
            Some(State::CloseWait | State::LastAck | State::Closing | State::TimeWait)
        );
    let negotiated = has(present::TIMESTAMPS).then_some(tcp.tstamp_ok != 0);
    Counters {
        retransmits: tcp.retransmits.into(),
        bytes_sent: has(present::BYTES_SENT).then_some(tcp.bytes_sent),
        bytes_received: has(present::BYTES_SENT)
            // A FIN takes one sequence number; kernel: `tcp_rcv_nxt_update`.
            .then(|| tcp.bytes_received.saturating_sub(fin_came.into())),
        data_segs_in: tcp.data_segs_in,
        data_segs_out: tcp.data_segs_out,
        srtt_us: (tcp.srtt_us != 0).then_some(tcp.srtt_us >> 3),
        // Kernel: `minmax_reset(&tp->rtt_min, .., ~0U)` until the first sample.
        min_rtt_us: (has(present::MIN_RTT) && tcp.min_rtt_us != u32::MAX).then_some(tcp.min_rtt_us),
        timestamps_negotiated: negotiated,
        reset_timestamps: (negotiated == Some(true)).then_some(tcp.saw_tstamp != 0),
        reset_clock: clock::of_reset(record, age(record, hz)),
        peer_mss: has(present::PEER_MSS).then_some(tcp.peer_mss),
        unread: has(present::COPIED).then(|| {
            // The end of the stream counts as a byte to both, once it is read.
            let unread = tcp.rcv_nxt.wrapping_sub(u32::from_ne_bytes(tcp.copied_seq));
            unread.saturating_sub(fin_came.into()).into()
        }),
    }
}

fn owner(event: &KernelEvent, connection: Option<&Connection>) -> Owner {
    let Some(connection) = connection else {
        return Owner::default();
    };
    let known = connection.tgid != 0;
    Owner {
        pid: known.then_some(connection.tgid),
        name: known.then(|| text(&connection.comm)),
        start_boottime_ns: (connection.owner_start_ns != 0).then_some(connection.owner_start_ns),
        cgroup_id: (event.cgroup != 0).then_some(event.cgroup),
    }
}

/// NUL-padded text of the kernel.
pub(super) fn text(bytes: &[u8]) -> SmolStr {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    SmolStr::new(String::from_utf8_lossy(
        bytes.get(..end).unwrap_or_default(),
    ))
}
