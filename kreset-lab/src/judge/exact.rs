//! What is expected of a connection, with all that the wire says of it: every figure of an event
//! can be checked.

use std::collections::BTreeMap;

use super::{Age, Answer, Claim, Claims, Expected, Measured, OnHost, Truth, Wanted};
use crate::{
    Moment, Side,
    error::{Error, Result},
    net::packet::Flags,
    trace::{
        ending::{Ending, What},
        wire::Wire,
    },
};

/// The confidence that must not be reached where one host cannot decide.
const UNSURE: f64 = 0.9;

/// What the tracer on `host` should say of each connection; it was `attached` only then.
pub(crate) fn claims(
    wire: &Wire,
    host: Side,
    expected: &[Expected],
    attached: Moment,
) -> Result<Claims> {
    let mut endings: BTreeMap<u16, Ending> = BTreeMap::new();
    for ending in Ending::all(wire, host) {
        // What has the port after it is not what the case is about.
        endings.entry(ending.client.port()).or_insert(ending);
    }
    let mut claims = Claims::default();
    for one in expected {
        claims.may_lose |= one.is_coarse;
        let Some(wanted) = one.on(host).wanted() else {
            continue;
        };
        let ending = endings.get(&one.port).ok_or_else(|| {
            let port = one.port;
            Error::Staging(format!("the connection from port {port} did not end"))
        })?;
        claims.all.push(Claim {
            truths: vec![ending.exact(one, wanted, attached)],
            required: matches!(one.on(host), OnHost::Required(_)),
            most: 1,
        });
    }
    Ok(claims)
}

impl Ending {
    fn exact(&self, expected: &Expected, wanted: &Wanted, attached: Moment) -> Truth {
        let mut answers = wanted.right.clone();
        if !wanted.is_decidable() {
            answers.extend(&wanted.alike);
            answers.push(Answer::INDETERMINATE);
        }
        let kind = match self.what {
            What::Received | What::Sent => "reset",
            What::Closed | What::Left => "close",
            What::TimedOut => "timeout",
        };
        let truth = Truth {
            state: None,
            unsure: (!wanted.is_decidable() && !wanted.settled).then_some(UNSURE),
            ..self.truth(kind, &answers)
        };
        if expected.is_coarse {
            return Truth {
                idle: None,
                wire_idle: None,
                ..truth
            };
        }
        // The socket may be gone by the time of the reset: the host need not remember the times,
        // but must not make them up.
        let by_no_socket =
            self.what == What::Sent && (self.is_refusal() || self.last().segment.answers());
        let measured = |time| {
            if by_no_socket {
                Measured::IfSaid(time)
            } else {
                Measured::Known(time)
            }
        };
        // What was refused, or was reset before a byte was sent, has no silence.
        let silence = self.silence_before(self.trigger(expected));
        let silence = silence.filter(|_| !self.is_refusal() && !self.is_probe(&answers));
        let wire = silence.filter(|_| expected.without_wire_idle != Some(self.host));
        let got = self.what == What::Received;
        Truth {
            state: expected.state.filter(|_| got),
            provoked_by: expected
                .provoked_by
                .filter(|_| got || self.what == What::TimedOut),
            idle: silence.map(|silence| measured(silence.data)),
            wire_idle: wire.map(|silence| measured(silence.wire)),
            reset: self.headers().into_iter().next().or(truth.reset),
            age: self.age(attached).map(|age| match age {
                Age::Exact(age) => Age::Exact(measured(age.truth())),
                Age::AtLeast { .. } => age,
            }),
            ..truth
        }
    }

    fn is_probe(&self, answers: &[Answer]) -> bool {
        answers.contains(&Answer::PROBE) && self.bytes_from(Side::Client) == 0
    }

    /// The age at the end, or the part of it that a tracer could see that came later. A timeout
    /// leaves no packet to measure the age by.
    fn age(&self, attached: Moment) -> Option<Age> {
        let (began, ended) = (self.packets.first()?.at, self.last().at);
        let truth = ended.since(began);
        match self.what {
            What::TimedOut => None,
            _ if began < attached => Some(Age::AtLeast {
                seen: ended.since(attached),
                truth,
            }),
            _ => Some(Age::Exact(Measured::Known(truth))),
        }
    }

    /// Which packet drew the reset: the first one that fits after the last word of the end that
    /// answered, or the reset itself if nothing drew it.
    fn trigger(&self, expected: &Expected) -> usize {
        let victim = match self.what {
            What::Sent | What::Left => self.host.other(),
            What::Received | What::Closed | What::TimedOut => self.host,
        };
        let since = self
            .before()
            .iter()
            .rposition(|seen| self.sender(seen) != victim && !seen.has(Flags::RST))
            .map_or(0, |last| last + 1);
        let end = if self.what == What::TimedOut {
            self.packets.len()
        } else {
            self.at
        };
        let mut after = since..end;
        let fits: fn(&_) -> bool = match expected.provoked_by {
            Some("data") => |seen: &crate::trace::wire::Sighting| seen.segment.payload > 0,
            Some("close") => |seen| seen.has(Flags::FIN),
            Some("keepalive") => return self.at.saturating_sub(1),
            _ => return self.at,
        };
        after
            .find(|packet| fits(&self.packets[*packet]))
            .unwrap_or(self.at)
    }
}
