//! What each host should report of every connection that ended on its wire.
//!
//! Real clients open connections as they like, so the truth is not written down beforehand but read
//! off the wire afterwards; the scenario only says why.

use std::time::Duration;

use crate::{
    Side, event,
    judge::{Answer, Claim, Claims, Measured, Truth},
    net::packet::{Flags, Segment},
    trace::{
        ending::{Ending, What},
        wire::{Sighting, Wire},
    },
};

/// Of resets this close to each other the host may take any: a closing socket and what answers the
/// peer's FIN send one each, on two processors, and the wire has them in an order of its own.
const AT_ONCE: Duration = Duration::from_millis(5);

/// What a host should say of the end of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Ruling {
    /// One of these, and it has to.
    Must(Vec<Answer>),
    /// One of these, or nothing.
    May(Vec<Answer>),
    /// Nothing.
    Nothing,
}

/// What `host` should say, with `rule` for each connection that ended.
pub(crate) fn claims(wire: &Wire, host: Side, rule: impl Fn(&Ending) -> Ruling) -> Claims {
    let endings = Ending::all(wire, host);
    let claims = endings.iter().map(|ending| ending.claim(&rule(ending)));
    Claims::from(claims.flatten().collect::<Vec<_>>())
}

impl Ending {
    /// The headers of the reset that came in; of each one that may be it.
    pub(super) fn headers(&self) -> Vec<event::Reset> {
        if self.what != What::Received {
            return Vec::new();
        }
        let first = self.last().at;
        self.packets[self.at..]
            .iter()
            .filter(|seen| seen.leaving && seen.has(Flags::RST))
            .filter(|seen| seen.at.since(first) <= AT_ONCE)
            .map(|Sighting { segment, .. }| event::Reset {
                sequence: Some(segment.sequence),
                flags: Some(segment.flags.to_string()),
                timestamps: Some(segment.timestamps),
                ttl: Some(segment.ttl),
                handshake_ttl: self.handshake_ttl(),
                ip_id: segment.ip_id,
                window: Some(segment.window),
            })
            .collect()
    }

    /// The TTL of the peer's handshake.
    fn handshake_ttl(&self) -> Option<u8> {
        let mut packets = self.packets.iter();
        let greeting = packets.find(|seen| seen.leaving && seen.has(Flags::SYN))?;
        Some(greeting.segment.ttl)
    }

    /// The number of the reset that went out, unless there was more than one.
    fn sent_reset(&self) -> Option<event::Reset> {
        (self.what == What::Sent && self.resets() == 1).then(|| event::Reset {
            sequence: Some(self.last().segment.sequence),
            handshake_ttl: self.handshake_ttl(),
            ..event::Reset::default()
        })
    }

    /// The first sequence number of the client's data and of the broker's, as `flow_id` has them.
    pub(crate) fn flow(&self) -> Option<String> {
        let first = |acknowledges| {
            let mut packets = self.packets.iter().map(|seen| &seen.segment);
            let is_first = |segment: &&Segment| {
                segment.has(Flags::SYN) && segment.has(Flags::ACK) == acknowledges
            };
            packets.find(is_first).map(|it| it.sequence.wrapping_add(1))
        };
        Some(format!("{:08x}-{:08x}", first(false)?, first(true)?))
    }

    pub(super) fn truth(&self, kind: &'static str, answers: &[Answer]) -> Truth {
        let direction = match self.what {
            What::Received => Some("received"),
            What::Sent => Some("sent"),
            What::Closed | What::Left | What::TimedOut => None,
        };
        // What the router did is about silence; what the ends did is not.
        let is_about_silence =
            self.what == What::TimedOut || self.is_forged() && !self.is_refusal();
        let silence = is_about_silence.then(|| self.silence()).flatten();
        Truth {
            kind,
            direction: direction.filter(|_| kind == "reset"),
            role: self.host,
            answers: answers.to_vec(),
            unsure: None,
            state: None,
            provoked_by: None,
            idle: silence.map(|silence| Measured::Known(silence.data)),
            wire_idle: silence.map(|silence| Measured::Known(silence.wire)),
            reset: self.sent_reset(),
            age: None,
            flow: self.flow(),
            client: self.client,
            broker: self.broker,
        }
    }

    /// What `ruling` means for this end of a connection.
    pub(crate) fn claim(&self, ruling: &Ruling) -> Option<Claim> {
        let (answers, required) = match ruling {
            Ruling::Must(answers) => (answers, true),
            Ruling::May(answers) => (answers, false),
            Ruling::Nothing => return None,
        };
        let phase = answers.iter().any(|it| it.verdict == "handshake_phase");
        // An application that has closed gets no error, and the tracer may not either. One that
        // got a FIN first may have closed, with its own FIN still behind data.
        let deaf = self.what == What::Received
            && (self.was_closed_by(self.host) || (!phase && self.was_closed_by(self.host.other())));
        // One that was stopped where it was has not closed, and its connection has not ended.
        let unfinished = self.what == What::Closed
            && !self
                .packets
                .iter()
                .any(|seen| !seen.leaving && seen.has(Flags::FIN));
        let required = required && !deaf && !unfinished;
        let mut truths = Vec::new();
        if self.what == What::TimedOut {
            truths.push(self.truth("timeout", answers));
        }
        if self.what == What::Sent {
            truths.push(self.truth("reset", answers));
        }
        truths.extend(self.headers().into_iter().map(|reset| Truth {
            reset: Some(reset),
            ..self.truth("reset", answers)
        }));
        // A connection that never got through may have been reported at its FIN, before the reset.
        let closed = matches!(self.what, What::Closed | What::Left);
        if phase && (closed || self.was_closed_by(self.host.other())) {
            truths.push(self.truth("close", answers));
        }
        // Without a reset there is nothing to say of a connection that was in use.
        (!truths.is_empty()).then_some(Claim {
            truths,
            required,
            // A port that was refused is free again at once: the next attempt may have it too.
            most: if phase && !self.is_refusal() {
                1 + usize::from(self.sent_both())
            } else {
                self.resets().max(1)
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Side = Side::Client;

    fn packet(ms: u64, from: Side, flags: &str, payload: u32, ttl: u8) -> Sighting {
        let segment = Segment {
            ttl,
            // Each flight of the test has a size of its own; 0 answers what acknowledges nothing.
            sequence: payload + 1,
            payload,
            ..Segment::made_up(from, flags)
        };
        Sighting::made_up(ms, HOST, from != HOST, segment)
    }

    /// A connection in use: a request and its answer.
    fn used() -> Vec<Sighting> {
        vec![
            packet(0, Side::Client, "S", 0, 64),
            packet(0, Side::Broker, "SA", 0, 63),
            packet(1, Side::Client, "A", 50, 64),
            packet(2, Side::Broker, "A", 90, 63),
        ]
    }

    /// The end of a connection in use by these packets.
    fn after_use(packets: &[Sighting]) -> Ending {
        ending([used(), packets.to_vec()].concat()).expect("it ended")
    }

    fn ending(packets: Vec<Sighting>) -> Option<Ending> {
        Ending::of(packets[0].flow(), packets)
    }

    #[test]
    fn a_reset_after_a_silence_is_measured_from_what_drew_it() {
        let ending = after_use(&[
            packet(3_500, Side::Client, "A", 200, 64),
            packet(3_501, Side::Broker, "R", 0, 64),
        ]);
        assert_eq!(ending.what, What::Received);
        assert!(ending.is_forged() && !ending.is_refusal());
        let silence = ending.silence().expect("it was silent");
        assert_eq!(silence.data, Duration::from_millis(3_498));
        let claim = ending.claim(&Ruling::Must(vec![Answer::IDLE_ON_SEND]));
        assert!(claim.is_some_and(|claim| claim.required && claim.truths.len() == 1));
    }

    #[test]
    fn of_two_resets_at_once_either_may_be_the_one() {
        let ending = after_use(&[
            packet(10, Side::Broker, "RA", 0, 63),
            packet(11, Side::Broker, "R", 0, 63),
            packet(40, Side::Broker, "R", 0, 63),
        ]);
        let flags = ending.headers().into_iter().map(|reset| reset.flags);
        let expected = ["RA", "R"].map(|flags| Some(flags.to_owned()));
        assert_eq!(flags.collect::<Vec<_>>(), expected);
        let claim = ending.claim(&Ruling::Must(vec![Answer::TLS_TO_PLAINTEXT]));
        assert!(claim.is_some_and(|claim| claim.truths.len() == 2 && claim.most == 1));
    }

    #[test]
    fn two_resets_that_a_host_sent_may_be_two_events() {
        let ending = after_use(&[
            packet(10, Side::Client, "RA", 0, 64),
            packet(10, Side::Client, "R", 0, 64),
        ]);
        let claim = ending.claim(&Ruling::May(vec![Answer::TLS_TO_PLAINTEXT]));
        assert!(claim.is_some_and(|claim| claim.truths.len() == 1 && claim.most == 2));
    }

    #[test]
    fn more_answers_are_no_more_events() {
        for (kinds, most) in [("aa", 1), ("oaa", 2)] {
            let mut packets = used();
            for kind in kinds.chars() {
                let flags = match kind {
                    'o' => "RA",
                    _ => "R",
                };
                packets.push(packet(10, Side::Client, flags, 0, 64));
            }
            let claim = ending(packets)
                .and_then(|ending| ending.claim(&Ruling::May(vec![Answer::TLS_TO_PLAINTEXT])));
            assert_eq!(claim.map(|claim| claim.most), Some(most), "{kinds}");
        }
    }

    #[test]
    fn a_syn_that_is_answered_with_a_reset_is_refused() {
        let packets = vec![
            packet(0, Side::Client, "S", 0, 64),
            packet(0, Side::Broker, "RA", 0, 63),
        ];
        assert!(ending(packets).is_some_and(|ending| ending.is_refusal()));
    }

    #[test]
    fn a_port_that_is_refused_twice_is_two_events() {
        let attempt = |ms| {
            [
                packet(ms, Side::Client, "S", 0, 64),
                packet(ms, Side::Broker, "RA", 0, 63),
            ]
        };
        let ending = ending([attempt(0), attempt(900)].concat()).expect("it ended");
        let claim = ending.claim(&Ruling::Must(vec![Answer::REFUSED]));
        assert!(claim.is_some_and(|claim| claim.most == 2));
    }

    #[test]
    fn an_orderly_close_is_an_event_during_the_handshake_only() {
        let ending = after_use(&[
            packet(9, Side::Broker, "FA", 0, 63),
            packet(9, Side::Client, "FA", 0, 64),
        ]);
        assert_eq!(ending.what, What::Closed);
        let claim = |answer| ending.claim(&Ruling::Must(vec![answer]));
        assert!(claim(Answer::AUTHENTICATION).is_some());
        assert!(claim(Answer::SHUTDOWN).is_none());
    }

    #[test]
    fn who_closes_first_need_not_be_told() {
        let ending = after_use(&[
            packet(9, Side::Client, "FA", 0, 64),
            packet(9, Side::Broker, "FA", 0, 63),
        ]);
        assert_eq!(ending.what, What::Left);
        assert!(ending.claim(&Ruling::May(vec![Answer::SHUTDOWN])).is_none());
    }

    #[test]
    fn data_that_is_never_acknowledged_times_out() {
        let mut packets = used();
        for ms in [3_500, 3_700, 4_100, 4_900] {
            packets.push(packet(ms, Side::Client, "A", 200, 64));
        }
        let ending = ending(packets).expect("it ended");
        assert_eq!(ending.what, What::TimedOut);
        let silence = ending.silence().expect("it was silent");
        assert_eq!(silence.data, Duration::from_millis(3_498));
    }
}
