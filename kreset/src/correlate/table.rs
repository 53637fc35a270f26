//! What two hosts' views of one connection's end prove together.

use smol_str::SmolStr;

use super::{
    agents::Watch,
    line::{EndKind, Ended},
};
use crate::event::{Cause, Direction, Missing, PairProof, ProvokedBy, Role, Saw, SentBy, Verdict};

/// A silence this long may have outlived an idle timer: devices' timers are far longer, and
/// pauses in use are shorter.
const IDLE_MS: f64 = 1_000.0;
/// The confidence of what is proven, where the cause is certain too.
const PROVEN: f64 = 0.99;
/// With this confidence of the sender's own host its cause is certain.
const SURE: f64 = 0.9;

/// The widest window of a receiver, bytes (RFC 7323, 2.3): what is beyond it is not questioned.
const WIDEST_WINDOW: u32 = 65_535 << 14;

/// With this share of either, whether a device's idle timer ran out is as good as known: after
/// minutes of silence it mostly is, after seconds it is not.
const SURE_OF_KIND: f64 = 0.95;
/// The most that a finding is sure of a cause which is not known.
const UNSURE: f64 = 0.89;

/// What either host reported of one end of a connection, and whether it would have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    /// What the client's host reported.
    pub(super) client: Option<&'a Ended>,
    /// What the broker's host reported.
    pub(super) broker: Option<&'a Ended>,
    /// Whether the client's host would have reported a RST that it sent.
    pub(super) client_watch: &'a Watch,
    /// Whether the broker's host would have.
    pub(super) broker_watch: &'a Watch,
    /// The event of the host that sent a RST is not later than that of the other one, as far as
    /// their clocks are known, and at most some seconds earlier.
    pub(super) is_sent_just_before: bool,
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Conclusion {
    pub(super) verdict: Verdict,
    pub(super) cause: Option<Cause>,
    pub(super) confidence: f64,
    pub(super) proof: PairProof,
    pub(super) missing: Vec<Missing>,
    pub(super) conflict: Option<SmolStr>,
    pub(super) sent_by: Option<SentBy>,
    /// The end whose event the finding reports.
    pub(super) of: Role,
}

/// What a host saw of the end of a connection. A RST by which a host's kernel gives up after
/// unanswered keepalives is no cause but a consequence.
pub(super) fn saw(ended: &Ended) -> Saw {
    let gave_up = ended.kernel_reason.as_deref() == Some("TCP_KEEPALIVE_TIMEOUT")
        || ended.verdict == Verdict::MiddleboxIdleDrop;
    match (ended.kind, ended.direction) {
        (EndKind::Timeout, _) => Saw::Timeout,
        (EndKind::Close, _) => Saw::Closed,
        (EndKind::Reset, Direction::Received) => Saw::Received,
        (EndKind::Reset, Direction::Sent) if gave_up => Saw::Timeout,
        (EndKind::Reset, Direction::Sent) => Saw::Sent,
    }
}

/// Whether a RST that was sent and one that was received may be the same: after a FIN two
/// numbers are accepted (kernel: `tcp_reset_check`, 4.14 to 7.3).
pub(super) const fn may_be_same(sent: &Ended, received: &Ended) -> bool {
    match (sent.sequence, received.sequence) {
        (Some(sent), Some(received)) => {
            let ahead = sent.wrapping_sub(received).wrapping_add(1);
            ahead <= 2
        }
        _ => true,
    }
}

/// Whether the RST that came is the answer to a challenge: one that is ahead of what the receiver
/// expects is questioned, and the sender, whose socket is gone by then, answers with the number
/// that was asked for (kernel: `tcp_validate_incoming`; RFC 5961, 3.2).
fn may_answer_a_challenge(sent: &Ended, received: &Ended) -> bool {
    let (Some(first), Some(came)) = (sent.sequence, received.sequence) else {
        return false;
    };
    let ahead = first.wrapping_sub(came);
    sent.flow.is_some() && sent.flow == received.flow && ahead > 0 && ahead < WIDEST_WINDOW
}

/// Judges one end of a connection.
pub(super) fn conclude(pair: &Pair<'_>) -> Conclusion {
    let (client, broker) = (pair.client, pair.broker);
    match (client.map(saw), broker.map(saw)) {
        (Some(Saw::Received), Some(Saw::Sent)) => pair.met(Role::Client),
        (Some(Saw::Sent), Some(Saw::Received)) => pair.met(Role::Broker),
        (Some(Saw::Received), Some(Saw::Received)) => pair.both_received(),
        (Some(Saw::Received), _) => pair.silent(Role::Client),
        (_, Some(Saw::Received)) => pair.silent(Role::Broker),
        (Some(Saw::Sent), Some(Saw::Sent)) => pair.both_sent(),
        (_, Some(Saw::Sent)) => pair.by_sender(Role::Broker),
        (Some(Saw::Sent), _) => pair.by_sender(Role::Client),
        (Some(Saw::Timeout), _) => pair.dropped(Role::Client),
        (_, Some(Saw::Timeout)) => pair.dropped(Role::Broker),
        (Some(Saw::Closed), Some(Saw::Closed)) => pair.closed(),
        (Some(_), _) => pair.one_host(Role::Client, Vec::new()),
        (None, _) => pair.one_host(Role::Broker, Vec::new()),
    }
}

impl<'a> Pair<'a> {
    const fn of(&self, role: Role) -> Option<&'a Ended> {
        match role {
            Role::Client => self.client,
            Role::Broker => self.broker,
        }
    }

    const fn watch(&self, role: Role) -> &'a Watch {
        match role {
            Role::Client => self.client_watch,
            Role::Broker => self.broker_watch,
        }
    }

    /// `victim` received a RST, and the other host sent one.
    fn met(&self, victim: Role) -> Conclusion {
        let same = match (self.of(victim.other()), self.of(victim)) {
            (Some(sent), Some(received)) => {
                may_be_same(sent, received)
                    || (self.is_sent_just_before && may_answer_a_challenge(sent, received))
            }
            _ => false,
        };
        if same {
            self.by_sender(victim.other())
        } else {
            self.one_host(victim, vec![Missing::AnotherReset])
        }
    }

    /// The host at `sender` says that it sent the RST, and why.
    fn by_sender(&self, sender: Role) -> Conclusion {
        let Some(ended) = self.of(sender) else {
            return self.one_host(sender, Vec::new());
        };
        let victim = self.of(sender.other());
        let is_seen_twice = victim.is_some();
        let (verdict, cause) = victim
            .and_then(|victim| moved_by_silence(ended, victim))
            .unwrap_or((ended.verdict, ended.cause));
        let confidence = if is_seen_twice && ended.confidence >= SURE {
            ended.confidence.max(PROVEN)
        } else {
            ended.confidence
        };
        Conclusion {
            verdict,
            cause,
            confidence,
            proof: PairProof::SenderSeen,
            missing: Vec::new(),
            conflict: None,
            sent_by: Some(party(sender)),
            of: if is_seen_twice {
                sender.other()
            } else {
                sender
            },
        }
    }

    /// `victim` received a RST that the other host does not report.
    fn silent(&self, victim: Role) -> Conclusion {
        let closer = self.of(victim.other()).filter(|it| saw(it) == Saw::Closed);
        if closer.is_some_and(|it| it.direction == Direction::Sent) {
            // An agent that reported its host's close does not report the RSTs that answer what
            // comes after it.
            return self.by_sender(victim.other());
        }
        let watch = self.watch(victim.other());
        if !watch.is_whole() {
            return self.one_host(victim, watch.missing.clone());
        }
        self.by_device(victim, PairProof::NobodySent)
    }

    fn both_received(&self) -> Conclusion {
        let first = self.drawn_by_data();
        let mut missing = self.client_watch.missing.clone();
        for lack in &self.broker_watch.missing {
            if !missing.contains(lack) {
                missing.push(*lack);
            }
        }
        if self.client_watch.is_whole() && self.broker_watch.is_whole() {
            self.by_device(first, PairProof::BothReceived)
        } else {
            self.one_host(first, missing)
        }
    }

    /// Of two victims the one whose packet drew the RST, if there is one.
    fn drawn_by_data(&self) -> Role {
        let drew = |role| {
            let drawn = self.of(role).and_then(|it| it.provoked_by);
            matches!(drawn, Some(ProvokedBy::Data | ProvokedBy::Keepalive))
        };
        if !drew(Role::Client) && drew(Role::Broker) {
            Role::Broker
        } else {
            Role::Client
        }
    }

    /// Something between the hosts made the RST that `victim` received.
    fn by_device(&self, victim: Role, proof: PairProof) -> Conclusion {
        let alone = self.one_host(victim, Vec::new());
        let Some(ended) = self.of(victim) else {
            return alone;
        };
        // A device that refuses a connection refuses it all the same.
        let is_named = matches!(
            ended.verdict,
            Verdict::MiddleboxIdleReset | Verdict::MiddleboxReset
        ) || ended.cause == Some(Cause::Refused);
        let (verdict, cause, confidence) = if is_named {
            (ended.verdict, ended.cause, ended.confidence.max(PROVEN))
        } else {
            by_silence(ended)
        };
        Conclusion {
            verdict,
            cause,
            confidence,
            proof,
            sent_by: Some(SentBy::Device),
            ..alone
        }
    }

    /// `victim` gave up: what it sent was never answered.
    fn dropped(&self, victim: Role) -> Conclusion {
        let watch = self.watch(victim.other());
        let alone = self.one_host(victim, Vec::new());
        if !watch.is_whole() {
            return self.one_host(victim, watch.missing.clone());
        }
        if alone.verdict != Verdict::MiddleboxIdleDrop {
            return alone;
        }
        Conclusion {
            confidence: alone.confidence.max(PROVEN),
            proof: PairProof::NobodySent,
            sent_by: None,
            ..alone
        }
    }

    /// The connection was closed during its first exchange; the host that closed it knows why.
    fn closed(&self) -> Conclusion {
        let closer = [Role::Client, Role::Broker].into_iter().find(|role| {
            self.of(*role)
                .is_some_and(|it| it.direction == Direction::Sent)
        });
        match closer {
            Some(closer) => self.by_sender(closer),
            None => self.one_host(Role::Client, Vec::new()),
        }
    }

    fn both_sent(&self) -> Conclusion {
        let by_broker = self.by_sender(Role::Broker);
        let by_client = self.by_sender(Role::Client);
        let same = (by_broker.verdict, by_broker.cause) == (by_client.verdict, by_client.cause);
        let surer = if by_client.confidence > by_broker.confidence {
            by_client
        } else {
            by_broker
        };
        if same {
            return surer;
        }
        Conclusion {
            verdict: Verdict::Indeterminate,
            cause: None,
            confidence: surer.confidence.min(0.5),
            proof: PairProof::OneHost,
            conflict: Some("both hosts sent a RST, and each names another cause".into()),
            sent_by: Some(SentBy::Unknown),
            ..surer
        }
    }

    /// What the host at `role` reported alone.
    fn one_host(&self, role: Role, missing: Vec<Missing>) -> Conclusion {
        let ended = self.of(role);
        let verdict = ended.map_or(Verdict::Indeterminate, |it| it.verdict);
        Conclusion {
            verdict,
            cause: ended.and_then(|it| it.cause),
            confidence: ended.map_or(0.0, |it| it.confidence),
            proof: PairProof::OneHost,
            missing,
            conflict: None,
            sent_by: ended.and_then(|it| sender_alone(it, role)),
            of: role,
        }
    }
}

/// Whose packet it was, as far as the host at `role` can say.
fn sender_alone(ended: &Ended, role: Role) -> Option<SentBy> {
    match (saw(ended), ended.verdict) {
        (Saw::Timeout, _) => None,
        (Saw::Sent, _) => Some(party(role)),
        (_, Verdict::MiddleboxIdleReset | Verdict::MiddleboxReset) => Some(SentBy::Device),
        (_, Verdict::BrokerOriginated) => Some(SentBy::Broker),
        (_, Verdict::ClientOriginated) => Some(SentBy::Client),
        _ => Some(SentBy::Unknown),
    }
}

/// What a device did, of which is known that it made the RST: what that host held likelier of
/// the two, or by the silence if it held neither possible. Less sure where both were likely.
fn by_silence(ended: &Ended) -> (Verdict, Option<Cause>, f64) {
    let was_silent = ended.wire_idle_ms.is_some_and(|ms| ms >= IDLE_MS);
    let idle = if was_silent {
        ended.idle_share.unwrap_or(1.0)
    } else {
        0.0
    };
    let share = idle.max(1.0 - idle);
    let confidence = if share >= SURE_OF_KIND {
        PROVEN
    } else {
        share.min(UNSURE)
    };
    if idle < 0.5 {
        return (Verdict::MiddleboxReset, Some(Cause::NotIdle), confidence);
    }
    let cause = match ended.provoked_by {
        Some(ProvokedBy::Nothing) => Cause::ResetOnTimer,
        _ => Cause::ResetOnSend,
    };
    (Verdict::MiddleboxIdleReset, Some(cause), confidence)
}

/// A host that never had the connection cannot say how long it was silent: `victim` can.
fn moved_by_silence(ended: &Ended, victim: &Ended) -> Option<(Verdict, Option<Cause>)> {
    if !matches!(ended.cause, Some(Cause::Moved | Cause::Rebound)) {
        return None;
    }
    Some(if victim.wire_idle_ms? < IDLE_MS {
        (Verdict::MiddleboxReset, Some(Cause::Moved))
    } else {
        (Verdict::MiddleboxIdleReset, Some(Cause::Rebound))
    })
}

const fn party(role: Role) -> SentBy {
    match role {
        Role::Client => SentBy::Client,
        Role::Broker => SentBy::Broker,
    }
}
