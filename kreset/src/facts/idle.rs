//! How long a connection had carried nothing before the packet that drew the
//! RST: never `now - last activity`, which on a device that resets the next
//! packet is always about one round trip.

use kreset_common::{
    record::{
        Packets, Record, Tcp, event_flag, kind, packets_flag as seen, tcp_present as present,
    },
    settled::BUSY_MS,
};

use super::{Idle, State, settled::is_sampled};
use crate::event::ProvokedBy;

/// Milliseconds between two jiffies counts of the same clock, wrapping.
/// Counts that lie apart the other way (the kernel read them a tick later) are
/// 0. Right up to 24 days at 1,000 Hz.
pub(super) fn jiffies_ms(now: u32, then: u32, hz: u32) -> f64 {
    let ticks = now.wrapping_sub(then).cast_signed().max(0);
    f64::from(ticks) * 1000.0 / f64::from(hz)
}

/// The later of two jiffies counts; kernel: `time_after32`.
const fn later(a: u32, b: u32) -> u32 {
    if a.wrapping_sub(b).cast_signed() > 0 {
        a
    } else {
        b
    }
}

/// What went before the event of a full record.
pub(super) fn idle(record: &Record, state: Option<State>, hz: u32) -> Option<Idle> {
    if state == Some(State::SynSent) {
        return None;
    }
    if record.event.flags & event_flag::HAS_TRIGGER != 0 {
        return Some(before_trigger(record, hz));
    }
    let half_open = record.event.flags & event_flag::NO_FILE == 0;
    let provoked_by = match provoked_by(&record.tcp, state, half_open) {
        // This host's own RST, which no packet drew: that data was out is by the way.
        ProvokedBy::Data if record.event.kind == kind::RESET_SENT => ProvokedBy::Nothing,
        other => other,
    };
    let delay_us = delay_us(&record.tcp, provoked_by);
    let acknowledged = provoked_by == ProvokedBy::Nothing && just_acknowledged(record, hz);
    let (data_ms, wire_ms, from_packets) = from_packets(record, provoked_by, delay_us, hz)
        .map_or_else(
            || {
                let (data, wire) = from_socket(record, provoked_by, delay_us, hz);
                (data, wire, false)
            },
            |(data, wire)| (data, wire, true),
        );
    let wire_ms = if acknowledged {
        before_acknowledgement(record, hz).min(data_ms)
    } else {
        wire_ms
    };
    Some(Idle {
        data_ms,
        wire_ms,
        provoked_by,
        delay_us,
        from_packets,
        heard_since: heard_since(record, delay_us, hz),
        acknowledged,
    })
}

/// This host's latest packet carried nothing, asked for nothing, and went out within a
/// round trip of the RST, which no live socket sent: a window update, a challenge ACK or
/// the answer to a keepalive may have drawn it, as a stack without a socket answers those
/// as it answers data (kernel: `tcp_v4_send_reset`; 5.10 to 7.3). Ticks are up to 10 ms.
fn just_acknowledged(record: &Record, hz: u32) -> bool {
    const BOTH: u32 = seen::SEEN_IN | seen::SEEN_OUT;
    let Record {
        event,
        tcp,
        packets,
        ..
    } = record;
    let is_live = tcp.tstamp_ok != 0 && tcp.saw_tstamp != 0;
    if event.kind != kind::RESET_RECEIVED || is_live || packets.flags & BOTH != BOTH {
        return false;
    }
    let trip_ms = f64::from(tcp.srtt_us >> 3) / 1_000.0;
    let tick_ms = 1_000.0 / f64::from(hz);
    if is_sampled(record) {
        // What this host acknowledged last may have been let pass.
        let heard_ms = jiffies_ms(event.jiffies, later(tcp.rcv_tstamp, tcp.lrcvtime), hz);
        return heard_ms <= 2.0_f64.mul_add(tick_ms, trip_ms) + f64::from(BUSY_MS);
    }
    let ours_last = later(packets.last_out, packets.last_in) == packets.last_out;
    let was_data = packets.flags & seen::SEEN_DATA != 0
        && packets.flags & seen::LAST_DATA_IN == 0
        && packets.last_data == packets.last_out;
    let ago_ms = jiffies_ms(event.jiffies, packets.last_out, hz);
    ours_last && !was_data && ago_ms <= 2.0_f64.mul_add(tick_ms, trip_ms)
}

/// The silence before an acknowledgement of this host's: since the peer's latest packet,
/// or before that one where it is what was acknowledged.
fn before_acknowledgement(record: &Record, hz: u32) -> f64 {
    let Packets {
        last_in,
        last_out,
        silence_in,
        ..
    } = record.packets;
    let unasked = jiffies_ms(last_out, last_in, hz);
    if last_out.wrapping_sub(last_in) > 1 {
        unasked
    } else {
        jiffies_ms(silence_in, 0, hz)
    }
}

/// The peer was heard from when what is unanswered had been out for longer than its
/// answer takes: the path carries packets, and the peer's host lives.
fn heard_since(record: &Record, delay_us: Option<u64>, hz: u32) -> bool {
    /// What was under way, and delayed acknowledgements (kernel: `TCP_DELACK_MAX`), ms.
    const UNDER_WAY_MS: f64 = 300.0;
    let Tcp {
        rcv_tstamp,
        lrcvtime,
        srtt_us,
        ..
    } = record.tcp;
    let heard = jiffies_ms(record.event.jiffies, later(rcv_tstamp, lrcvtime), hz);
    let trip_ms = f64::from(srtt_us >> 3) / 1000.0;
    pending_ms(delay_us) > trip_ms.mul_add(2.0, heard + UNDER_WAY_MS)
}

/// This host's RST answers a packet of the peer, which has already counted as
/// the latest activity: what went before that packet is the silence.
fn before_trigger(record: &Record, hz: u32) -> Idle {
    let Packets {
        flags,
        silence_in,
        data_silence_in,
        data_in,
        data_out,
        ..
    } = record.packets;
    let from_packets = flags & seen::SEEN_IN != 0;
    let (data_ms, wire_ms) = if from_packets {
        let wire = jiffies_ms(silence_in, 0, hz);
        // The first data seen of a connection from before the tracer: what went
        // before is not known, but that it was no shorter.
        let first_data = flags & seen::FROM_START == 0 && data_in + data_out <= 1;
        let data = jiffies_ms(data_silence_in, 0, hz);
        (if first_data { data.max(wire) } else { data }, wire)
    } else {
        let Tcp {
            lsndtime, lrcvtime, ..
        } = record.tcp;
        let data = jiffies_ms(record.event.jiffies, later(lsndtime, lrcvtime), hz);
        (data, data)
    };
    Idle {
        data_ms,
        wire_ms: wire_ms.min(data_ms),
        provoked_by: ProvokedBy::Data,
        delay_us: None,
        from_packets,
        heard_since: false,
        acknowledged: false,
    }
}

/// What of ours was unanswered. A FIN takes one sequence number: where nothing
/// else is out, the FIN drew the RST. In `FIN_WAIT2` the FIN was answered: an
/// application that only shut its sending side still waits for the peer.
fn provoked_by(tcp: &Tcp, state: Option<State>, half_open: bool) -> ProvokedBy {
    let outstanding = tcp.snd_nxt.wrapping_sub(tcp.snd_una);
    let fin_out = match state {
        Some(State::FinWait1 | State::Closing | State::LastAck) => true,
        Some(State::FinWait2) => !half_open,
        _ => false,
    };
    if outstanding > u32::from(fin_out) || (tcp.packets_out > 0 && !fin_out) {
        ProvokedBy::Data
    } else if fin_out {
        ProvokedBy::Close
    } else if tcp.present & present::PROBES != 0 && tcp.probes_out > 0 {
        ProvokedBy::Keepalive
    } else {
        ProvokedBy::Nothing
    }
}

/// Time since the first packet of the pending flight. `first_tx_mstamp` is not
/// changed by retransmissions, and `tcp_mstamp` is "now" at the event
/// (kernel: `tcp_rate_skb_sent`, `tcp_mstamp_refresh`; 5.10 to 7.3).
fn delay_us(tcp: &Tcp, provoked_by: ProvokedBy) -> Option<u64> {
    let in_flight = matches!(provoked_by, ProvokedBy::Data | ProvokedBy::Close);
    (in_flight && tcp.present & present::FLIGHT != 0)
        .then(|| tcp.tcp_mstamp.saturating_sub(tcp.first_tx_mstamp))
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a delay")]
fn pending_ms(delay_us: Option<u64>) -> f64 {
    delay_us.map_or(0.0, |us| us as f64 / 1000.0)
}

/// From the packets, where they were watched both ways.
fn from_packets(
    record: &Record,
    provoked_by: ProvokedBy,
    delay_us: Option<u64>,
    hz: u32,
) -> Option<(f64, f64)> {
    let Packets {
        flags,
        last_in,
        last_out,
        last_data,
        silence,
        data_silence,
        ..
    } = record.packets;
    let both = seen::SEEN_IN | seen::SEEN_OUT;
    if flags & both != both {
        return None;
    }
    let now = record.event.jiffies;
    let span = |ticks: u32| jiffies_ms(ticks, 0, hz);
    let wire = if flags & seen::PENDING != 0 && provoked_by != ProvokedBy::Nothing {
        span(silence)
    } else {
        jiffies_ms(now, later(last_in, last_out), hz)
    };
    let data_drew = provoked_by == ProvokedBy::Data;
    let data = if flags & seen::DATA_PENDING != 0 && data_drew {
        span(data_silence)
    } else if flags & seen::PENDING != 0 && data_drew {
        // Of a connection from before the tracer what drew the RST is the first data
        // seen: only the socket knows what went before.
        let received = jiffies_ms(now, record.tcp.lrcvtime, hz);
        (received - pending_ms(delay_us)).max(wire)
    } else if flags & seen::SEEN_DATA != 0 {
        jiffies_ms(now, last_data, hz)
    } else {
        wire
    };
    // Data is carried by packets: the wire cannot have been silent for longer.
    Some((data, wire.min(data)))
}

/// From the socket's time stamps, which are those from before the RST (kernel:
/// `tcp_validate_incoming` runs before `tcp_ack`). `lsndtime` is the last
/// transmission, retransmissions included, so it says nothing while data is
/// pending.
fn from_socket(
    record: &Record,
    provoked_by: ProvokedBy,
    delay_us: Option<u64>,
    hz: u32,
) -> (f64, f64) {
    let Tcp {
        rcv_tstamp,
        lrcvtime,
        lsndtime,
        srtt_us,
        ..
    } = record.tcp;
    let since = |then: u32| jiffies_ms(record.event.jiffies, then, hz);
    let since_last_rx = since(later(rcv_tstamp, lrcvtime));
    match provoked_by {
        ProvokedBy::Data | ProvokedBy::Close => {
            let idle = (since_last_rx - pending_ms(delay_us)).max(0.0);
            (idle, idle)
        }
        ProvokedBy::Keepalive => {
            // The probe went out about one round trip ago.
            let trip_ms = f64::from(srtt_us >> 3) / 1000.0;
            let data = since(later(lsndtime, lrcvtime));
            (
                (data - trip_ms).max(0.0),
                (since_last_rx - trip_ms).max(0.0),
            )
        }
        ProvokedBy::Nothing => {
            let data = since(later(lsndtime, lrcvtime));
            (data, since(later(later(rcv_tstamp, lrcvtime), lsndtime)))
        }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    /// A socket with data that was not acknowledged for 31 us.
    fn with_data_out(kind: u8) -> Idle {
        let mut record = Record::new_zeroed();
        record.event.kind = kind;
        record.tcp.snd_nxt = 10;
        record.tcp.present = present::FLIGHT;
        record.tcp.tcp_mstamp = 31;
        idle(&record, Some(State::Close), 250).unwrap()
    }

    #[test]
    fn data_under_way_draws_the_peers_reset_and_none_of_this_host() {
        let received = with_data_out(kind::RESET_RECEIVED);
        assert_eq!(received.provoked_by, ProvokedBy::Data);
        assert_eq!(received.delay_us, Some(31));
        let sent = with_data_out(kind::RESET_SENT);
        assert_eq!(sent.provoked_by, ProvokedBy::Nothing);
        assert_eq!(sent.delay_us, None);
    }

    const HZ: u32 = 250;

    /// Of a connection from before the tracer: an answer came, and a keepalive of the
    /// peer's 10 s later; data of this host's after another 20 s drew a RST at once.
    fn used_late() -> Record {
        let mut record = Record::new_zeroed();
        record.event.kind = kind::RESET_RECEIVED;
        record.event.jiffies = 30 * HZ + 1;
        (record.tcp.snd_nxt, record.tcp.packets_out) = (100, 1);
        (record.tcp.lrcvtime, record.tcp.rcv_tstamp) = (1, 10 * HZ + 1);
        record.packets.flags = seen::SEEN_IN | seen::SEEN_OUT | seen::SEEN_DATA | seen::PENDING;
        record.packets.last_in = 10 * HZ + 1;
        (record.packets.last_out, record.packets.last_data) = (30 * HZ + 1, 30 * HZ + 1);
        record.packets.silence = 20 * HZ;
        record
    }

    #[test]
    fn the_first_data_seen_of_an_older_connection_does_not_make_it_busy() {
        let idle = idle(&used_late(), Some(State::Established), HZ).unwrap();
        assert_eq!(idle.provoked_by, ProvokedBy::Data);
        assert_eq!((idle.data_ms, idle.wire_ms), (30_000.0, 20_000.0));
        assert!(idle.from_packets);
    }

    #[test]
    fn nor_does_the_first_that_draws_a_rst_of_this_host() {
        let mut record = used_late();
        record.event.flags = event_flag::HAS_TRIGGER;
        (record.packets.data_in, record.packets.silence_in) = (1, 20 * HZ);
        let drawn = idle(&record, None, HZ).unwrap();
        assert_eq!((drawn.data_ms, drawn.wire_ms), (20_000.0, 20_000.0));
        record.packets.flags |= seen::FROM_START;
        let seen = idle(&record, None, HZ).unwrap();
        assert!(seen.data_ms < 1.0, "all its data was seen");
    }

    #[test]
    fn a_peer_is_heard_from_since_only_after_its_answer_was_due() {
        let heard = |ago_ms: u32, out_ms: u64| {
            let mut record = used_late();
            record.tcp.present = present::FLIGHT;
            record.tcp.tcp_mstamp = out_ms * 1_000;
            record.tcp.rcv_tstamp = record.event.jiffies - ago_ms * HZ / 1_000;
            record.tcp.srtt_us = 100_000 << 3;
            idle(&record, Some(State::Established), HZ)
                .unwrap()
                .heard_since
        };
        assert!(heard(1_000, 2_000));
        assert!(!heard(1_000, 1_200), "it was under way");
        assert!(!heard(3_000, 2_000), "it was heard from before");
    }
}
