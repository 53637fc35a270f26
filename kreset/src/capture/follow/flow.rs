//! One connection as one of its ends sees it, kept from the packets of a capture in the
//! form in which the kernel side keeps it.

use kreset_common::{
    record::{
        Connection, Packets, Record, Tcp, connection_flag as flag, event_flag, kind,
        packets_flag as seen, role, tcp_present as present,
    },
    sequence::is_after,
    settings::UNANSWERED_MS,
};
use kreset_ebpf::{
    payload::{Direction, record_payload},
    segment::tcp_flag,
    shared::SharedPackets,
    unanswered::Exchange,
};
use zerocopy::FromZeros as _;

use crate::{
    capture::segment::{ACK, Seen},
    facts::State,
};

/// Ticks of a capture's clock per second: records count silences in them.
pub const HZ: u32 = 1_000;

/// The segment size where no SYN named one: Ethernet's, with time stamps.
const USUAL_MSS: u32 = 1_448;

/// [`UNANSWERED_MS`] in ticks.
const UNANSWERED: u32 = UNANSWERED_MS * HZ / 1_000;

/// What one packet did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effects {
    /// It ended a silence of so many ticks, which the path survived.
    pub(super) survived: u32,
    /// It completed the handshake.
    pub(super) established: bool,
    /// It was the first FIN, the broker's or that of a client that gave up; the state before it
    /// and the kind of its record.
    pub(super) first_fin: Option<(State, u8)>,
    /// The socket reached CLOSE in order; the state before it.
    pub(super) closed: Option<State>,
    /// Segments before it are missing in the capture.
    pub(super) missing: bool,
    /// Retransmitted: the time after which the sender has given up, ns.
    pub(super) given_up_ns: Option<u64>,
}

/// A packet that may have drawn a RST of this end.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastIn {
    pub(super) flags: u8,
    pub(super) payload: u32,
    pub(super) ttl: u8,
    pub(super) ack: u32,
}

impl LastIn {
    /// It carries no data and asks for no connection.
    pub(super) const fn is_bare_ack(self) -> bool {
        self.payload == 0 && self.flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::ACK
    }
}

/// One connection at one end.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) id: u64,
    pub(super) state: State,
    pub(super) connection: Connection,
    pub(super) packets: Packets,
    tcp: Tcp,
    knows_sent: bool,
    knows_received: bool,
    /// End of what was seen of the peer.
    received_end: u32,
    fin_sent_end: Option<u32>,
    /// Timestamps: `None` where the options were cut off.
    timestamps: Option<bool>,
    syn_timestamps: Option<bool>,
    /// End and time of a segment whose acknowledgement measures the round trip.
    sample: Option<(u32, u64)>,
    sent_ns: u64,
    pub(super) last_in: Option<LastIn>,
    mss: u32,
    /// What the peer's SYN named, as the kernel would keep it.
    peer_mss: Option<u16>,
    /// Ticks of the latest packet either way; of an older connection, where the capture
    /// began.
    latest: Option<u32>,
    /// The same of data.
    latest_data: Option<u32>,
    pub(super) given_up_ns: Option<u64>,
    answered: bool,
}

/// Ticks of a time.
pub(super) const fn ticks(at_ns: u64) -> u32 {
    (at_ns / (1_000_000_000 / HZ as u64)) as u32
}

const fn micros(at_ns: u64) -> u64 {
    at_ns / 1_000
}

/// Ticks since then; 0 before the first.
const fn since(then: Option<u32>, now: u32) -> u32 {
    match then {
        Some(then) => now.wrapping_sub(then),
        None => 0,
    }
}

impl Flow {
    /// A connection that begins with this packet.
    pub(super) fn new(id: u64, role: u8, at_ns: u64) -> Self {
        let mut connection = Connection::UNKNOWN;
        connection.first_seen_ns = at_ns;
        connection.role = role;
        let mut packets = Packets::NONE;
        packets.flags = seen::FROM_START;
        let mut tcp = Tcp::new_zeroed();
        tcp.min_rtt_us = u32::MAX;
        Self {
            id,
            state: if role == role::CLIENT {
                connection.flags = flag::ACTIVE;
                State::SynSent
            } else {
                State::SynRecv
            },
            connection,
            packets,
            tcp,
            knows_sent: false,
            knows_received: false,
            received_end: 0,
            fin_sent_end: None,
            timestamps: None,
            syn_timestamps: None,
            sample: None,
            sent_ns: at_ns,
            last_in: None,
            mss: USUAL_MSS,
            peer_mss: None,
            latest: None,
            latest_data: None,
            given_up_ns: None,
            answered: false,
        }
    }

    /// A connection that is older than the capture, which began at `began_ns`: it was
    /// silent since then.
    pub(super) fn older(id: u64, role: u8, began_ns: u64) -> Self {
        let mut flow = Self::new(id, role, began_ns);
        flow.connection.flags = flag::SEEDED;
        flow.packets.flags = 0;
        flow.state = State::Established;
        let began = ticks(began_ns);
        (flow.tcp.lsndtime, flow.tcp.lrcvtime) = (began, began);
        flow.tcp.rcv_tstamp = began;
        flow.latest = Some(began);
        flow
    }

    pub(super) const fn is_late(&self) -> bool {
        self.connection.flags & flag::SEEDED != 0
    }

    pub(super) const fn has_sent(&self) -> bool {
        self.packets.flags & seen::SEEN_OUT != 0
    }

    const fn is_client(&self) -> bool {
        self.connection.role == role::CLIENT
    }

    /// The next number that the peer is expected to use.
    pub(super) const fn next_in(&self) -> Option<u32> {
        if self.knows_received {
            Some(self.tcp.rcv_nxt)
        } else {
            None
        }
    }

    /// The next number of this end.
    pub(super) const fn next_out(&self) -> Option<u32> {
        if self.knows_sent {
            Some(self.tcp.snd_nxt)
        } else {
            None
        }
    }

    /// How often in a row the oldest unanswered segment was sent again.
    pub(super) const fn resent(&self) -> u8 {
        self.tcp.retransmits
    }

    /// Segments with payload, both ways.
    pub(super) const fn data_segments(&self) -> u32 {
        self.tcp.data_segs_in.wrapping_add(self.tcp.data_segs_out)
    }

    /// Keepalive probes went unanswered, and nothing else did.
    pub(super) const fn probes_unanswered(&self) -> bool {
        self.tcp.probes_out > 0 && self.tcp.packets_out == 0
    }

    /// This end answered the SYN and has sent nothing since: whether a socket took the
    /// connection on, its packets do not show.
    pub(super) const fn only_accepted(&self) -> bool {
        !self.is_client() && !self.is_late() && !self.answered
    }

    fn learn_options(&mut self, seen: &Seen<'_>) {
        if seen.has(tcp_flag::SYN) {
            let both = match (self.syn_timestamps, seen.has_timestamp()) {
                (Some(one), Some(other)) if seen.has(ACK) => Some(one && other),
                (_, one) => one,
            };
            self.syn_timestamps = both;
            self.timestamps = both.filter(|_| seen.has(ACK));
            if let Some(mss) = seen.options.and_then(|options| options.mss) {
                self.mss = u32::from(mss).clamp(64, USUAL_MSS.max(9_000));
                // Of the client's own SYN nothing shows whether its application limits the
                // size (`TCP_MAXSEG`), and so what the kernel keeps of the answer
                // (`tcp_parse_options`, 6.18).
                if self.is_client() || !seen.has(ACK) {
                    self.peer_mss = Some(self.peer_mss.map_or(mss, |known| known.min(mss)));
                }
            }
        } else if self.timestamps.is_none() && !seen.has(tcp_flag::RST) {
            self.timestamps = seen.has_timestamp();
        }
    }

    /// How many segments the network carried: what a host keeps as one packet may be
    /// several (GSO, GRO).
    fn segments(&self, payload: u32) -> u32 {
        payload.div_ceil(self.mss).max(1)
    }

    /// A packet of this end other than a RST.
    pub(super) fn sent(&mut self, seen: &Seen<'_>, at_ns: u64) -> Effects {
        let mut effects = Effects::default();
        let now = ticks(at_ns);
        let segment = &seen.segment;
        let (consumed, end) = (segment.consumes(), seen.end());
        self.learn_options(seen);
        let by_client = self.is_client();
        let is_new = !self.knows_sent || is_after(end, self.tcp.snd_nxt);
        let is_answered = self.knows_sent && !is_after(end, self.tcp.snd_una);
        // Kernel: tcp_xmit_probe_skb sends a keepalive with sequence snd_una - 1.
        let is_probe = self.knows_sent
            && segment.payload_len <= 1
            && !segment.has(tcp_flag::FIN | tcp_flag::SYN)
            && segment.sequence.wrapping_add(1) == self.tcp.snd_una;
        if self.packets.flags & seen::PENDING == 0 && (is_probe || (consumed > 0 && !is_answered)) {
            self.packets.silence = since(self.latest, now);
            self.packets.flags |= seen::PENDING;
        }
        if segment.is_data() && is_new {
            if self.packets.flags & (seen::DATA_PENDING | seen::SEEN_DATA) == seen::SEEN_DATA {
                self.packets.data_silence = since(self.latest_data, now);
                self.packets.flags |= seen::DATA_PENDING;
            }
            self.packets.last_data = now;
            self.packets.flags |= seen::SEEN_DATA;
            self.latest_data = Some(now);
        }
        if is_probe {
            self.tcp.probes_out = self.tcp.probes_out.saturating_add(1);
        } else if consumed > 0 && is_new {
            if self.tcp.packets_out == 0 {
                self.tcp.first_tx_mstamp = micros(at_ns);
            }
            if self.sample.is_none() {
                self.sample = Some((end, at_ns));
            }
            self.tcp.packets_out += self.segments(segment.payload_len);
            self.sent_ns = at_ns;
        } else if consumed > 0 && !is_answered {
            // Karn: what was sent twice measures no round trip.
            self.sample = None;
            self.tcp.retransmits = self.tcp.retransmits.saturating_add(1);
            self.tcp.total_retrans += 1;
            effects.given_up_ns = Some(self.next_timeout(at_ns));
            self.given_up_ns = effects.given_up_ns;
            self.sent_ns = at_ns;
        }
        if segment.payload_len > 0 && !is_probe {
            self.tcp.lsndtime = now;
            if is_new {
                let fresh = if self.knows_sent {
                    end.wrapping_sub(self.tcp.snd_nxt).min(segment.payload_len)
                } else {
                    segment.payload_len
                };
                self.tcp.bytes_sent += u64::from(fresh);
                self.tcp.data_segs_out += self.segments(fresh);
                record_payload(
                    SharedPackets::of(&mut self.packets),
                    &seen.packet,
                    segment,
                    Direction::Out,
                    by_client,
                );
            }
        }
        if self.knows_sent && is_new && is_after(segment.sequence, self.tcp.snd_nxt) {
            effects.missing = true;
        }
        if is_new && !is_probe {
            self.tcp.snd_nxt = end;
        }
        if !self.knows_sent {
            self.knows_sent = true;
            self.tcp.snd_una = segment.sequence;
        }
        if seen.has(ACK) {
            effects.missing |= self.acknowledge_peer(seen.ack);
        }
        if !segment.has(tcp_flag::SYN) && (segment.payload_len > 0 || self.state != State::SynRecv)
        {
            self.answered = true;
        }
        self.tcp.segs_out += 1;
        self.packets.flags |= seen::SEEN_OUT;
        self.packets.last_out = now;
        self.latest = Some(now);
        self.advance_sent(seen, at_ns, &mut effects);
        effects
    }

    /// After which time without a further packet the sender has given up: the timeout
    /// doubles each time (RFC 6298, 5.5).
    fn next_timeout(&self, at_ns: u64) -> u64 {
        const LEAST_NS: u64 = 200_000_000;
        let gap = at_ns.saturating_sub(self.sent_ns).max(LEAST_NS);
        at_ns.saturating_add(gap.saturating_mul(5) / 2)
    }

    /// This end acknowledged the peer up to `ack`. Whether what it acknowledges is not in
    /// the capture.
    const fn acknowledge_peer(&mut self, ack: u32) -> bool {
        let missing = self.knows_received && is_after(ack, self.received_end);
        if !self.knows_received || is_after(ack, self.tcp.rcv_nxt) {
            self.tcp.rcv_nxt = ack;
        }
        if missing || !self.knows_received {
            self.received_end = ack;
        }
        self.knows_received = true;
        missing
    }

    /// A packet of the peer other than a RST.
    pub(super) fn received(&mut self, seen: &Seen<'_>, at_ns: u64) -> Effects {
        let mut effects = Effects::default();
        let now = ticks(at_ns);
        let segment = &seen.segment;
        self.learn_options(seen);
        let by_client = self.is_client();
        let end = seen.end();
        let first = self.packets.flags & seen::PEER_TTL == 0;
        self.packets.flags &= !seen::SYN_LATEST;
        if seen.is_syn() && self.state == State::Established && !first {
            self.packets.flags |= seen::SYN_LATEST;
            self.packets.flags |= seen::SEEN_IN;
            self.packets.last_in = now;
            self.latest = Some(now);
            return effects;
        }
        if first && self.packets.flags & seen::FROM_START != 0 {
            self.packets.flags |= seen::HANDSHAKE_TTL;
            self.packets.handshake_ttl = segment.ttl;
        }
        // As the kernel side: the peer's own carry timestamps once these were negotiated.
        if first || self.timestamps != Some(true) || seen.has_timestamp() != Some(false) {
            self.packets.peer_ttl = segment.ttl;
            self.packets.peer_ip_id = segment.ip_id;
        }
        let silence = since(self.latest, now);
        effects.survived = if self.packets.flags & seen::PENDING != 0 {
            self.packets.silence
        } else if self.has_sent() || !first {
            silence
        } else {
            0
        };
        self.packets.silence_in = silence;
        let is_new = !self.knows_received || is_after(end, self.received_end);
        if segment.has(tcp_flag::SYN) || (segment.payload_len > 0 && is_new) {
            self.packets.data_silence_in = since(self.latest_data, now);
            self.packets.flags |= seen::SEEN_DATA;
            self.packets.last_data = now;
            self.latest_data = Some(now);
        }
        self.packets.flags = (self.packets.flags | seen::PEER_TTL | seen::SEEN_IN)
            & !(seen::PENDING | seen::DATA_PENDING);
        self.packets.last_in = now;
        self.latest = Some(now);
        if seen.has(ACK) {
            effects.missing |= self.acknowledged(seen.ack, at_ns);
        }
        if segment.payload_len > 0 {
            self.tcp.lrcvtime = now;
            if is_new {
                let fresh = if self.knows_received {
                    end.wrapping_sub(self.received_end).min(segment.payload_len)
                } else {
                    segment.payload_len
                };
                self.tcp.bytes_received += u64::from(fresh);
                self.tcp.data_segs_in += self.segments(fresh);
                record_payload(
                    SharedPackets::of(&mut self.packets),
                    &seen.packet,
                    segment,
                    Direction::In,
                    !by_client,
                );
            }
        }
        self.tcp.segs_in += 1;
        if !self.knows_received {
            self.knows_received = true;
            self.tcp.rcv_nxt = end;
            self.received_end = end;
        } else if is_new {
            if segment.sequence == self.tcp.rcv_nxt || !is_after(segment.sequence, self.tcp.rcv_nxt)
            {
                self.tcp.rcv_nxt = end;
            }
            self.received_end = end;
        }
        self.last_in = Some(LastIn {
            flags: segment.flags,
            payload: segment.payload_len,
            ttl: segment.ttl,
            ack: seen.ack,
        });
        self.advance_received(seen, at_ns, &mut effects);
        effects
    }

    /// The peer acknowledged this end up to `ack`. Whether what it acknowledges is not in
    /// the capture.
    fn acknowledged(&mut self, ack: u32, at_ns: u64) -> bool {
        self.tcp.rcv_tstamp = ticks(at_ns);
        self.tcp.probes_out = 0;
        if !self.knows_sent {
            self.knows_sent = true;
            (self.tcp.snd_una, self.tcp.snd_nxt) = (ack, ack);
            return false;
        }
        if !is_after(ack, self.tcp.snd_una) {
            return false;
        }
        let missing = is_after(ack, self.tcp.snd_nxt);
        if missing {
            self.tcp.snd_nxt = ack;
        }
        self.tcp.snd_una = ack;
        if let Some((end, sent_ns)) = self.sample
            && !is_after(end, ack)
        {
            self.sample = None;
            self.measure(at_ns.saturating_sub(sent_ns));
        }
        self.tcp.retransmits = 0;
        self.given_up_ns = None;
        if ack == self.tcp.snd_nxt {
            self.tcp.packets_out = 0;
        } else {
            self.tcp.packets_out = self.tcp.packets_out.saturating_sub(1).max(1);
            self.tcp.first_tx_mstamp = micros(self.sent_ns);
        }
        missing
    }

    /// A round trip; RFC 6298, and the kernel's `rtt_min`.
    fn measure(&mut self, span_ns: u64) {
        let us = u32::try_from(span_ns / 1_000).unwrap_or(u32::MAX).max(1);
        self.tcp.min_rtt_us = self.tcp.min_rtt_us.min(us);
        self.tcp.srtt_us = if self.tcp.srtt_us == 0 {
            us.saturating_mul(8)
        } else {
            let smoothed = self.tcp.srtt_us >> 3;
            (self.tcp.srtt_us - smoothed).saturating_add(us)
        };
    }

    const fn establish(&mut self, at_ns: u64, effects: &mut Effects) {
        self.state = State::Established;
        self.connection.established_ns = at_ns;
        self.connection.flags |= flag::ESTABLISHED;
        let now = ticks(at_ns);
        (self.tcp.lsndtime, self.tcp.lrcvtime) = (now, now);
        effects.established = true;
    }

    fn advance_sent(&mut self, seen: &Seen<'_>, at_ns: u64, effects: &mut Effects) {
        if self.state == State::SynSent && !seen.has(tcp_flag::SYN) {
            // Its SYN,ACK is not in the capture.
            self.establish(at_ns, effects);
        }
        if !seen.has(tcp_flag::FIN) {
            return;
        }
        let old = self.state;
        self.fin_sent_end = Some(seen.end());
        self.state = match old {
            State::Established | State::SynRecv => State::FinWait1,
            State::CloseWait => State::LastAck,
            other => other,
        };
        if self.state != old {
            self.closing(flag::FIN_SENT, old, at_ns, effects);
        }
    }

    fn advance_received(&mut self, seen: &Seen<'_>, at_ns: u64, effects: &mut Effects) {
        match self.state {
            State::SynSent if seen.is_synack() => self.establish(at_ns, effects),
            State::SynRecv if seen.has(ACK) && !seen.has(tcp_flag::SYN) => {
                self.establish(at_ns, effects);
            }
            _ => {}
        }
        let answered = seen.has(ACK)
            && self
                .fin_sent_end
                .is_some_and(|end| !is_after(end, seen.ack));
        if answered {
            let old = self.state;
            self.state = match old {
                State::FinWait1 => State::FinWait2,
                State::Closing => State::TimeWait,
                State::LastAck => State::Close,
                other => other,
            };
            if matches!(old, State::Closing | State::LastAck) {
                effects.closed = Some(old);
            }
        }
        // Out of order, what goes before it is still to come.
        if seen.has(tcp_flag::FIN) && self.tcp.rcv_nxt == seen.end() {
            let old = self.state;
            self.state = match old {
                State::Established | State::SynRecv => State::CloseWait,
                State::FinWait1 => State::Closing,
                State::FinWait2 => State::TimeWait,
                other => other,
            };
            if self.state != old {
                self.closing(flag::FIN_RECEIVED, old, at_ns, effects);
            }
            if self.state == State::TimeWait {
                effects.closed = Some(old);
            }
        }
    }

    /// The FIN of one side.
    fn closing(&mut self, side: u32, old: State, at_ns: u64, effects: &mut Effects) {
        let first = self.connection.flags & (flag::FIN_SENT | flag::FIN_RECEIVED) == 0;
        self.connection.flags |= side;
        if !first {
            return;
        }
        let by_peer = side == flag::FIN_RECEIVED;
        if by_peer {
            self.connection.flags |= flag::PEER_CLOSED_FIRST;
        }
        self.connection.fin_ns = at_ns;
        let now = ticks(at_ns);
        let since = |then: u32| now.wrapping_sub(then);
        let mut silence = since(self.tcp.lsndtime).min(since(self.tcp.lrcvtime));
        if !by_peer {
            silence = silence.min(since(self.tcp.rcv_tstamp));
        }
        self.connection.fin_silence = silence;
        effects.first_fin = if by_peer == self.is_client() {
            Some((old, kind::FIN))
        } else {
            self.gave_up(by_peer).then_some((old, kind::GAVE_UP))
        };
    }

    /// The client's FIN, which the peer sent or this end, comes after it had waited for an answer.
    const fn gave_up(&self, by_peer: bool) -> bool {
        let (tcp, packets) = (&self.tcp, &self.packets);
        let sent = (tcp.lsndtime, tcp.data_segs_out);
        let received = (tcp.lrcvtime, tcp.data_segs_in);
        let (client, broker, silence_before_latest) = if by_peer {
            (received, sent, packets.data_silence_in)
        } else {
            (sent, received, packets.data_silence)
        };
        let exchange = Exchange {
            client_at: client.0,
            broker_at: broker.0,
            client_segments: client.1,
            // Of an older connection it is not known.
            broker_segments: if self.is_late() {
                broker.1.saturating_add(1)
            } else {
                broker.1
            },
            client_spoke_last: packets.flags & seen::SEEN_DATA != 0
                && (packets.flags & seen::LAST_DATA_IN != 0) == by_peer,
            silence: self.connection.fin_silence,
            silence_before_latest,
            // A capture does not show it.
            unread: 0,
        };
        exchange.is_given_up(UNANSWERED)
    }

    /// The record of an event of this connection; the caller sets what is its own.
    pub(super) fn record(&self, kind: u8, state: State, at_ns: u64) -> Record {
        let mut record = Record::new_zeroed();
        record.event.kind = kind;
        record.event.state = state as u8;
        record.event.ktime_ns = at_ns;
        record.event.jiffies = ticks(at_ns);
        record.event.socket = self.id;
        record.event.role = self.connection.role;
        record.event.flags = event_flag::FULL;
        record.connection = self.connection;
        record.packets = self.packets;
        record.tcp = self.tcp;
        let tcp = &mut record.tcp;
        tcp.tcp_mstamp = micros(at_ns);
        tcp.present = present::FLIGHT | present::PROBES | present::MIN_RTT;
        if self.is_late() {
            // Counts since the capture began prove nothing of the time before: neither
            // how old it is, nor that it had not been used.
            (tcp.segs_in, tcp.segs_out) = (0, 0);
            tcp.data_segs_in = tcp.data_segs_in.max(1);
            tcp.data_segs_out = tcp.data_segs_out.max(1);
        } else {
            tcp.present |= present::BYTES_SENT;
        }
        if self.connection.flags & flag::FIN_RECEIVED != 0 {
            // As the kernel counts (`tcp_rcv_nxt_update`).
            tcp.bytes_received += 1;
        }
        if let Some(timestamps) = self.timestamps {
            tcp.present |= present::TIMESTAMPS;
            tcp.tstamp_ok = timestamps.into();
        }
        if let Some(mss) = self.peer_mss {
            tcp.present |= present::PEER_MSS;
            tcp.peer_mss = mss;
        }
        record
    }
}
