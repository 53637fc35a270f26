//! Follows the connections of a capture, and writes the records that the kernel side of a
//! host at that point would have written.
//!
//! What only a kernel knows stays unknown: processes, its own reason for a RST, what a
//! socket has not sent.

mod flow;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    net::IpAddr,
    num::NonZeroUsize,
};

use flow::{Effects, Flow};
use kreset_common::{
    record::{KernelEvent, connection_flag as flag, event_flag, kind, role, tcp_present},
    sequence::is_after,
    settings::RECENT_RESET_NS,
};
use kreset_ebpf::{reset::record_reset, segment::tcp_flag, shared::SharedPackets};
use lru::LruCache;
use zerocopy::{FromZeros as _, IntoBytes as _};

pub use flow::HZ;

use super::{
    segment::{ACK, Seen},
    viewpoint::Ends,
};
use crate::{event::Endpoint, facts::State};

/// Ended connections that are remembered, as on the kernel side.
const ENDED: NonZeroUsize = NonZeroUsize::new(8_192).expect("not zero");
/// Brokers with a recent reset that are remembered.
const RECENT: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// Silences at least this long are reported when a path survives them, ticks.
const SILENCE: u32 = 500;
/// How long an end remembers in `TIME_WAIT`; kernel: `TCP_TIMEWAIT_LEN`.
const TIME_WAIT_NS: u64 = 60_000_000_000;
/// A packet that follows its like sooner than this was captured twice.
const TWICE_NS: u64 = 20_000_000;
/// What was sent so often again without an answer until the capture ended was dropped.
const UNANSWERED: u8 = 3;
/// `ETIMEDOUT`.
const ETIMEDOUT: u32 = 110;
/// `AF_INET` and `AF_INET6`.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// One end of a connection, and its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    /// When it began; 0 where that was before the capture.
    began_ns: u64,
    at_ns: u64,
    /// What it was in; `None` where a RST ended it.
    state: Option<State>,
}

/// What a packet looks like beside its time: two that are alike within milliseconds are
/// one, captured on two interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Likeness {
    sequence: u32,
    ack: u32,
    flags: u8,
    window: u16,
    ip_id: u16,
    payload: u32,
    timestamp: Option<u32>,
}

impl Likeness {
    fn of(seen: &Seen<'_>) -> Self {
        Self {
            sequence: seen.segment.sequence,
            ack: seen.ack,
            flags: seen.segment.flags,
            window: seen.segment.window,
            ip_id: seen.segment.ip_id,
            payload: seen.segment.payload_len,
            timestamp: seen.options.and_then(|options| options.timestamp),
        }
    }
}

/// Latest packets of one direction that are compared.
const LATEST: usize = 4;

#[derive(Clone, Debug)]
struct Entry {
    flow: Flow,
    latest: [[Option<(u64, Likeness)>; LATEST]; 2],
    next: [u8; 2],
}

impl Entry {
    const fn new(flow: Flow) -> Self {
        Self {
            flow,
            latest: [[None; LATEST]; 2],
            next: [0; 2],
        }
    }

    /// Whether a like packet was there just now; if not, it is remembered.
    fn is_repeat(&mut self, direction: usize, at_ns: u64, seen: &Seen<'_>) -> bool {
        let likeness = Likeness::of(seen);
        let latest = &mut self.latest[direction];
        let again = latest.iter().flatten().any(|(then_ns, other)| {
            *other == likeness && at_ns.saturating_sub(*then_ns) < TWICE_NS
        });
        if !again {
            let next = &mut self.next[direction];
            latest[usize::from(*next) % LATEST] = Some((at_ns, likeness));
            *next = next.wrapping_add(1);
        }
        again
    }
}

/// What was counted while following.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Segments of traced ports.
    pub segments: u64,
    /// Of these, captured twice.
    pub repeats: u64,
    /// Gaps: segments that were acknowledged and are not in the capture.
    pub missing: u64,
    /// Connections.
    pub connections: u64,
    /// Of these, older than the capture.
    pub older: u64,
}

/// Follows connections.
#[derive(Debug)]
pub struct Follower {
    flows: HashMap<Key, Entry>,
    ended: LruCache<Key, Ended>,
    recent_resets: LruCache<(IpAddr, u16), u64>,
    /// When senders have given up.
    timeouts: BinaryHeap<Reverse<(u64, Key)>>,
    /// When the capture began.
    began_ns: Option<u64>,
    next_id: u64,
    counts: Counts,
    records: VecDeque<(u64, Vec<u8>)>,
}

impl Default for Follower {
    fn default() -> Self {
        Self {
            flows: HashMap::new(),
            ended: LruCache::new(ENDED),
            recent_resets: LruCache::new(RECENT),
            timeouts: BinaryHeap::new(),
            began_ns: None,
            next_id: 1,
            counts: Counts::default(),
            records: VecDeque::new(),
        }
    }
}

/// Which end of a connection a packet is of.
#[derive(Clone, Copy, Debug)]
struct Side {
    key: Key,
    role: u8,
    outbound: bool,
    /// Only what reached this end counts: the capture is not its own.
    received_only: bool,
}

impl Follower {
    /// What was counted so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Connections that are followed now.
    #[must_use]
    pub fn live(&self) -> usize {
        self.flows.len()
    }

    /// The next record, with its time.
    pub fn next_record(&mut self) -> Option<(u64, Vec<u8>)> {
        self.records.pop_front()
    }

    /// Takes a segment of a connection to a broker, in the order of time. `from_client`
    /// says who sent it, and `ends` at which ends the capture was taken.
    pub fn observe(&mut self, seen: &Seen<'_>, from_client: bool, ends: Ends, at_ns: u64) {
        self.began_ns.get_or_insert(at_ns);
        self.counts.segments += 1;
        self.give_up_until(at_ns);
        let (source, destination) = (pair(seen.source), pair(seen.destination));
        let side = |role: u8, received_only: bool| {
            let outbound = (role == role::CLIENT) == from_client;
            let (local, remote) = if outbound {
                (source, destination)
            } else {
                (destination, source)
            };
            Side {
                key: Key { local, remote },
                role,
                outbound,
                received_only,
            }
        };
        match ends {
            Ends::Client => self.observe_at(seen, side(role::CLIENT, false), at_ns),
            Ends::Broker => self.observe_at(seen, side(role::BROKER, false), at_ns),
            Ends::Both => {
                self.observe_at(seen, side(role::CLIENT, false), at_ns);
                self.observe_at(seen, side(role::BROKER, false), at_ns);
            }
            Ends::Neither => {
                self.observe_at(seen, side(role::CLIENT, true), at_ns);
                self.observe_at(seen, side(role::BROKER, true), at_ns);
            }
        }
    }

    /// Ends the capture at `at_ns`: what had been given up by then is reported, and what
    /// was sent again and again until then without an answer.
    pub fn end(&mut self, at_ns: u64) {
        self.give_up_until(at_ns);
        let unanswered = |entry: &Entry| entry.flow.resent() >= UNANSWERED;
        let mut keys: Vec<Key> = self
            .flows
            .iter()
            .filter(|(_, entry)| unanswered(entry))
            .map(|(key, _)| *key)
            .collect();
        keys.sort_unstable();
        for key in keys {
            self.give_up(key, at_ns);
        }
    }

    fn observe_at(&mut self, seen: &Seen<'_>, side: Side, at_ns: u64) {
        // Between the ends, a packet is taken for both of them, and counted once.
        let counted = !side.received_only || side.role == role::CLIENT;
        let known = self.flows.get_mut(&side.key);
        let begins = begins(known.as_ref().map(|entry| &entry.flow), seen, side);
        if let Some(entry) = known {
            if entry.is_repeat(side.outbound.into(), at_ns, seen) {
                self.counts.repeats += u64::from(counted);
                return;
            }
            if !begins && !seen.has(tcp_flag::RST) {
                // Nearly all packets: the look-up of the connection is most of the work.
                let effects = take(&mut entry.flow, seen, side, at_ns);
                if is_any(effects) {
                    self.apply(side, effects, at_ns);
                }
                return;
            }
        }
        if seen.has(tcp_flag::RST) {
            if side.outbound {
                self.reset_sent(seen, side, at_ns);
            } else {
                self.reset_received(seen, side, at_ns);
            }
            return;
        }
        if begins {
            self.begin(seen, side, at_ns);
        }
        let Some(entry) = self.entry(side, at_ns) else {
            return;
        };
        let effects = take(&mut entry.flow, seen, side, at_ns);
        self.apply(side, effects, at_ns);
    }

    /// What still comes of a connection that has ended.
    fn follows_end(&mut self, side: Side, at_ns: u64) -> bool {
        let Some(ended) = self.ended.get(&side.key) else {
            return false;
        };
        at_ns.saturating_sub(ended.at_ns) < TIME_WAIT_NS
    }

    fn begin(&mut self, seen: &Seen<'_>, side: Side, at_ns: u64) {
        self.counts.connections += u64::from(!side.received_only || side.role == role::CLIENT);
        let flow = Flow::new(self.next_id, side.role, at_ns);
        self.next_id += 1;
        let mut entry = Entry::new(flow);
        let _first = entry.is_repeat(side.outbound.into(), at_ns, seen);
        self.flows.insert(side.key, entry);
    }

    fn begin_older(&mut self, side: Side) {
        let counted = u64::from(!side.received_only || side.role == role::CLIENT);
        self.counts.connections += counted;
        self.counts.older += counted;
        let began_ns = self.began_ns.unwrap_or(0);
        let flow = Flow::older(self.next_id, side.role, began_ns);
        self.next_id += 1;
        self.flows.insert(side.key, Entry::new(flow));
    }

    fn apply(&mut self, side: Side, effects: Effects, at_ns: u64) {
        let Some(entry) = self.flows.get_mut(&side.key) else {
            return;
        };
        let flow = &mut entry.flow;
        if effects.missing && (!side.received_only || side.role == role::CLIENT) {
            self.counts.missing += 1;
        }
        if let Some(due_ns) = effects.given_up_ns {
            self.timeouts.push(Reverse((due_ns, side.key)));
        }
        let mut report = |kind, state, flow: &Flow| {
            let mut record = flow.record(kind, state, at_ns);
            address(&mut record.event, side.key);
            self.records.push_back((at_ns, record.as_bytes().to_vec()));
        };
        if effects.survived >= SILENCE {
            let before = flow.packets.silence_max;
            flow.packets.silence_max = before.max(effects.survived);
            if effects.survived > before.saturating_add(before / 4) {
                report(kind::SURVIVED, flow.state, flow);
            }
        }
        let main = !side.received_only || side.role == role::CLIENT;
        if effects.established && main && side.role == role::CLIENT {
            let recent = self.recent_resets.get(&side.key.remote);
            if recent.is_some_and(|then_ns| at_ns.saturating_sub(*then_ns) < RECENT_RESET_NS) {
                report(kind::ESTABLISHED, State::Established, flow);
            }
        }
        if let Some((old, kind)) = effects.first_fin
            && main
        {
            report(kind, old, flow);
        }
        if let Some(old) = effects.closed {
            if main && flow.data_segments() < YOUNG_SEGMENTS {
                report(kind::CLOSED, old, flow);
            }
            let ended = Ended {
                began_ns: began_ns(flow),
                at_ns,
                state: Some(flow.state),
            };
            self.ended.put(side.key, ended);
            self.flows.remove(&side.key);
        }
    }

    /// The connection of a packet, which may be older than the capture; `None` if the packet
    /// follows a connection's end.
    fn entry(&mut self, side: Side, at_ns: u64) -> Option<&mut Entry> {
        if !self.flows.contains_key(&side.key) {
            if self.follows_end(side, at_ns) {
                return None;
            }
            self.begin_older(side);
        }
        self.flows.get_mut(&side.key)
    }

    fn reset_received(&mut self, seen: &Seen<'_>, side: Side, at_ns: u64) {
        let Some(entry) = self.entry(side, at_ns) else {
            return;
        };
        let flow = &mut entry.flow;
        if !is_accepted(flow, seen) {
            return;
        }
        record_reset(SharedPackets::of(&mut flow.packets), &seen.segment);
        flow.connection.flags |= flag::RESET;
        let mut record = flow.record(kind::RESET_RECEIVED, flow.state, at_ns);
        record.packets.reset_seq = seen.segment.sequence;
        record.tcp.rcv_nxt = seen.segment.sequence;
        match seen.has_timestamp() {
            Some(has) => record.tcp.saw_tstamp = has.into(),
            None => record.tcp.present &= !tcp_present::TIMESTAMPS,
        }
        address(&mut record.event, side.key);
        self.records.push_back((at_ns, record.as_bytes().to_vec()));
        if side.role == role::CLIENT {
            self.recent_resets.put(side.key.remote, at_ns);
        }
        self.forget(side.key, at_ns);
    }

    fn forget(&mut self, key: Key, at_ns: u64) {
        if let Some(entry) = self.flows.remove(&key) {
            let ended = Ended {
                began_ns: began_ns(&entry.flow),
                at_ns,
                state: None,
            };
            self.ended.put(key, ended);
        }
    }

    fn reset_sent(&mut self, seen: &Seen<'_>, side: Side, at_ns: u64) {
        if side.received_only {
            return;
        }
        let known = self.flows.get(&side.key).map(|entry| &entry.flow);
        let trigger = known
            .and_then(|flow| flow.last_in)
            .filter(|last| seen.has(ACK) || last.ack == seen.segment.sequence);
        let origin = origin(known, seen);
        let (began, had_state, in_order) = match (known, self.ended.get(&side.key)) {
            (Some(flow), _) if flow.has_sent() => (Some(began_ns(flow)), None, false),
            (_, Some(ended)) => {
                let rests = at_ns.saturating_sub(ended.at_ns) < TIME_WAIT_NS;
                let state = ended.state.filter(|_| rests);
                (Some(ended.began_ns), state, ended.state.is_some())
            }
            _ => (None, None, false),
        };
        let bytes = match (origin, known) {
            (Origin::Socket { state, drawn }, Some(flow)) => {
                let mut record = flow.record(kind::RESET_SENT, state, at_ns);
                address(&mut record.event, side.key);
                if drawn && let Some(last) = trigger {
                    set_trigger(&mut record.event, last);
                }
                record.as_bytes().to_vec()
            }
            (origin, _) => {
                let mut event = KernelEvent::new_zeroed();
                event.kind = kind::RESET_SENT;
                event.ktime_ns = at_ns;
                event.jiffies = flow::ticks(at_ns);
                event.role = side.role;
                let state = match origin {
                    Origin::Rest(state) => Some(state),
                    _ => had_state.filter(|state| *state == State::TimeWait),
                };
                event.state = state.map_or(0, |state| state as u8);
                address(&mut event, side.key);
                event.flags |= event_flag::ADDRESSES_FROM_PACKET;
                let trigger = trigger.or_else(|| last_of_syn(seen));
                if let Some(last) = trigger {
                    set_trigger(&mut event, last);
                }
                let (bit, then_ns) = began.map_or_else(
                    || (event_flag::NOT_HAD, self.began_ns.unwrap_or(0)),
                    |began_ns| (event_flag::HAD, began_ns),
                );
                event.flags |= bit;
                if in_order && trigger.is_some_and(flow::LastIn::is_bare_ack) {
                    event.flags |= event_flag::HAD_ENDED_IN_ORDER;
                }
                event.remembered_ms = since_ms(then_ns, at_ns);
                event.as_bytes().to_vec()
            }
        };
        self.records.push_back((at_ns, bytes));
        self.forget(side.key, at_ns);
    }

    /// Reports the senders that have given up by `at_ns`.
    fn give_up_until(&mut self, at_ns: u64) {
        while let Some(Reverse((due_ns, key))) = self.timeouts.peek().copied() {
            if due_ns > at_ns {
                break;
            }
            self.timeouts.pop();
            let Some(entry) = self.flows.get(&key) else {
                continue;
            };
            // Another retransmission, or an answer, came since.
            if entry.flow.given_up_ns == Some(due_ns) && entry.flow.resent() > 0 {
                self.give_up(key, due_ns);
            }
        }
    }

    fn give_up(&mut self, key: Key, at_ns: u64) {
        let Some(Entry { flow, .. }) = self.flows.get(&key) else {
            return;
        };
        if flow.state != State::SynSent && flow.state != State::SynRecv {
            let mut record = flow.record(kind::TIMEOUT, flow.state, at_ns);
            record.event.error = ETIMEDOUT;
            address(&mut record.event, key);
            self.records.push_back((at_ns, record.as_bytes().to_vec()));
        }
        self.forget(key, at_ns);
    }
}

/// Whether a packet opens a new connection of this end, of whose ports `known` is.
fn begins(known: Option<&Flow>, seen: &Seen<'_>, side: Side) -> bool {
    let opens = seen.is_syn() && side.outbound == (side.role == role::CLIENT);
    let accepts = seen.is_synack() && side.outbound == (side.role == role::BROKER);
    let first = seen.segment.sequence.wrapping_add(1);
    match known {
        None => opens,
        Some(flow) if opens && side.outbound => {
            flow.state != State::SynSent || flow.next_out() != Some(seen.end())
        }
        // A live socket answers a SYN with a challenge: the connection stays.
        Some(flow) if opens => {
            flow.state == State::TimeWait
                || flow.state == State::Close
                || (flow.state == State::SynRecv && flow.next_in() != Some(seen.end()))
        }
        Some(flow) if accepts && side.outbound => {
            flow.state != State::SynRecv
                && flow.next_out().is_some_and(|it| it != first)
                && flow.has_sent()
        }
        Some(_) => false,
    }
}

fn take(flow: &mut Flow, seen: &Seen<'_>, side: Side, at_ns: u64) -> Effects {
    if side.outbound {
        flow.sent(seen, at_ns)
    } else {
        flow.received(seen, at_ns)
    }
}

/// Whether a packet did anything that is more than its connection's to know.
const fn is_any(effects: Effects) -> bool {
    let Effects {
        survived,
        established,
        first_fin,
        closed,
        missing,
        given_up_ns,
    } = effects;
    survived >= SILENCE
        || established
        || missing
        || first_fin.is_some()
        || closed.is_some()
        || given_up_ns.is_some()
}

/// A connection with fewer data segments than this may have closed in its first exchange.
const YOUNG_SEGMENTS: u32 = 24;

const fn pair(endpoint: Endpoint) -> (IpAddr, u16) {
    (endpoint.address, endpoint.port)
}

/// When it began; 0 where that was before the capture.
const fn began_ns(flow: &Flow) -> u64 {
    if flow.is_late() {
        0
    } else {
        flow.connection.first_seen_ns
    }
}

/// Milliseconds, at least 1; 0 where the beginning is unknown.
fn since_ms(then_ns: u64, at_ns: u64) -> u32 {
    match then_ns {
        0 => 0,
        then_ns => u32::try_from(at_ns.saturating_sub(then_ns) / 1_000_000 + 1).unwrap_or(u32::MAX),
    }
}

fn address(event: &mut KernelEvent, key: Key) {
    let bytes = |address: IpAddr| match address {
        IpAddr::V4(four) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&four.octets());
            bytes
        }
        IpAddr::V6(six) => six.octets(),
    };
    event.family = match key.local.0 {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    };
    event.local_address = bytes(key.local.0);
    event.remote_address = bytes(key.remote.0);
    (event.local_port, event.remote_port) = (key.local.1, key.remote.1);
}

const fn set_trigger(event: &mut KernelEvent, last: flow::LastIn) {
    event.flags |= event_flag::HAS_TRIGGER;
    event.trigger_flags = last.flags;
    event.trigger_payload = last.payload;
    event.trigger_ttl = last.ttl;
}

/// Only a SYN is answered with a RST that acknowledges and has number 0, where the SYN
/// itself is not in the capture (kernel: `tcp_v4_send_reset`).
fn last_of_syn(seen: &Seen<'_>) -> Option<flow::LastIn> {
    (seen.has(ACK) && seen.segment.sequence == 0).then_some(flow::LastIn {
        flags: tcp_flag::SYN,
        payload: 0,
        ttl: 0,
        ack: 0,
    })
}

/// The kernel accepts a RST at exactly the next number, or the one before once the peer
/// has sent its FIN, and in `SYN_SENT` one that acknowledges the SYN
/// (`tcp_validate_incoming`, `tcp_reset_check`, `tcp_rcv_synsent_state_process`; 5.10 to
/// 7.3). Where the capture has gaps, the number is not known that well.
fn is_accepted(flow: &Flow, seen: &Seen<'_>) -> bool {
    const GAP: u32 = 1 << 24;
    if flow.state == State::SynSent {
        return seen.has(ACK) && flow.next_out().is_none_or(|next| next == seen.ack);
    }
    if matches!(flow.state, State::TimeWait | State::Close) {
        return false;
    }
    let Some(next) = flow.next_in() else {
        return true;
    };
    let sequence = seen.segment.sequence;
    if sequence == next || sequence.wrapping_add(1) == next {
        return true;
    }
    flow.is_late() && is_after(sequence, next) && sequence.wrapping_sub(next) < GAP
}

/// What sent a RST of this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A socket: in which state, and whether a packet drew it.
    Socket { state: State, drawn: bool },
    /// What is left of one, or a listener, in this state.
    Rest(State),
    /// None.
    Nothing,
}

/// A live socket's abort acknowledges and stands at its next number
/// (`tcp_send_active_reset`); an answer to a packet stands at the number that the packet
/// acknowledges, without `ACK` (`tcp_v4_send_reset`; 5.10 to 7.3).
fn origin(known: Option<&Flow>, seen: &Seen<'_>) -> Origin {
    let Some(flow) = known.filter(|flow| flow.has_sent()) else {
        return Origin::Nothing;
    };
    if seen.has(ACK) && seen.segment.sequence != 0 {
        // Closing, a socket is in CLOSE before it sends its RST (`__tcp_close`,
        // `tcp_disconnect`); that of keepalives is not.
        let state = if flow.probes_unanswered() {
            flow.state
        } else {
            State::Close
        };
        return Origin::Socket {
            state,
            drawn: false,
        };
    }
    match flow.state {
        state @ (State::SynSent | State::FinWait1) => Origin::Socket { state, drawn: true },
        State::FinWait2 | State::TimeWait => Origin::Rest(State::TimeWait),
        _ if flow.only_accepted() => Origin::Rest(State::NewSynRecv),
        _ => Origin::Nothing,
    }
}
