//! Whose timestamps a received RST carries. The kernel accepts a RST whatever they are
//! (`tcp_validate_incoming`: "Reset is accepted even if it did not pass PAWS"; 5.10 to
//! 7.3), so that they are there says less than whose they are.

use kreset_common::record::{Record, incoming_present, kind, tcp_present};

use super::Age;
use crate::event::AgeKind;

/// Whose timestamps a received RST carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetClock {
    /// The peer's: its timestamp goes on from the latest one as clocks of at most 1,000 Hz
    /// do, and it echoes one that this host sent. Whoever has not seen the connection's
    /// packets would have to guess both.
    Peer,
    /// Perhaps the peer's: its clock may be a faster one.
    Unknown,
    /// Not the peer's.
    Other,
}

/// Clocks may be off by a twentieth, and whole seconds are counted.
const SLACK_MS: u64 = 2_000;

/// Whose timestamps the received RST of a record carries; `None` if it carries none.
pub(super) fn of_reset(record: &Record, age: Option<Age>) -> Option<ResetClock> {
    let Record {
        event,
        tcp,
        incoming,
        ..
    } = record;
    let has_both = incoming.present & incoming_present::CLOCK != 0
        && tcp.present & tcp_present::FLIGHT != 0
        && tcp.present & tcp_present::TIMESTAMPS != 0;
    if event.kind != kind::RESET_RECEIVED || tcp.tstamp_ok == 0 || tcp.saw_tstamp == 0 || !has_both
    {
        return None;
    }
    let ahead = incoming.rcv_tsval.wrapping_sub(incoming.ts_recent);
    let (is_past, is_far) = (
        ahead.cast_signed() < 0,
        u64::from(ahead) > most_ahead_ms(record),
    );
    let echo = echo(record, age);
    Some(match (is_past, is_far, echo) {
        (false, false, Echo::OfThisHost) => ResetClock::Peer,
        (true, _, _) | (_, _, Echo::OfNobody) => ResetClock::Other,
        _ => ResetClock::Unknown,
    })
}

/// How far a clock of 1,000 Hz can have come since the peer's latest timestamp.
fn most_ahead_ms(record: &Record) -> u64 {
    let seconds = u32::try_from(record.event.ktime_ns / 1_000_000_000).unwrap_or(u32::MAX);
    let since = seconds.saturating_sub(record.incoming.ts_recent_stamp);
    u64::from(since) * 1_050 + SLACK_MS
}

/// What the echoed timestamp is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    /// This host's clock had it while the connection existed.
    OfThisHost,
    /// It fits microseconds, which this host may count in (`tcp_usec_ts`, since 6.7).
    Perhaps,
    /// This host did not send it on this connection.
    OfNobody,
}

/// This host's timestamps are `tcp_mstamp` in milliseconds (`tcp_time_stamp_ms`; before 6.7
/// `tcp_time_stamp`).
fn echo(record: &Record, age: Option<Age>) -> Echo {
    let now_us = record.tcp.tcp_mstamp;
    let echoed = record.incoming.rcv_tsecr;
    let longest_ms = match age {
        Some(Age {
            ms,
            kind: AgeKind::Exact,
        }) => whole_ms(ms),
        _ => u64::from(u32::MAX) / 2,
    } + SLACK_MS;
    let low = |count: u64| u32::try_from(count & u64::from(u32::MAX)).unwrap_or(0);
    let ago = |now: u64| u64::from(low(now).wrapping_sub(echoed));
    if ago(now_us / 1_000) <= longest_ms {
        Echo::OfThisHost
    } else if ago(now_us) <= longest_ms.saturating_mul(1_000) {
        Echo::Perhaps
    } else {
        Echo::OfNobody
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an age in milliseconds"
)]
const fn whole_ms(ms: f64) -> u64 {
    ms.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    /// The connection is 60 s old, and the peer was last heard from 10 s ago.
    fn reset(tsval: u32, tsecr: u32) -> Option<ResetClock> {
        let mut record = Record::new_zeroed();
        record.event.kind = kind::RESET_RECEIVED;
        record.event.ktime_ns = 100_000_000_000;
        record.tcp.present = tcp_present::FLIGHT | tcp_present::TIMESTAMPS;
        (record.tcp.tstamp_ok, record.tcp.saw_tstamp) = (1, 1);
        record.tcp.tcp_mstamp = 100_000_000;
        record.incoming.present = incoming_present::CLOCK;
        record.incoming.ts_recent = u32::MAX - 100;
        record.incoming.ts_recent_stamp = 90;
        (record.incoming.rcv_tsval, record.incoming.rcv_tsecr) = (tsval, tsecr);
        let age = Age {
            ms: 60_000.0,
            kind: AgeKind::Exact,
        };
        of_reset(&record, Some(age))
    }

    #[test]
    fn the_peers_clock_goes_on_and_echoes_this_hosts() {
        let after = |ms: u32| (u32::MAX - 100).wrapping_add(ms);
        assert_eq!(reset(after(10_000), 89_000), Some(ResetClock::Peer));
        assert_eq!(reset(after(0), 99_900), Some(ResetClock::Peer), "at once");
        assert_eq!(
            reset(after(1_000), 89_000),
            Some(ResetClock::Peer),
            "100 Hz"
        );
        assert_eq!(reset(after(10_000_000), 89_000), Some(ResetClock::Unknown));
        assert_eq!(
            reset(after(10_000), 20_000),
            Some(ResetClock::Other),
            "older"
        );
        assert_eq!(
            reset(after(10_000), 100_500),
            Some(ResetClock::Other),
            "ahead"
        );
        assert_eq!(
            reset(after(u32::MAX), 89_000),
            Some(ResetClock::Other),
            "back"
        );
    }
}
