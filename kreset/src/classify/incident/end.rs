//! The end of one connection, as incidents see it.

use smol_str::SmolStr;

use super::{
    AT_ONCE_NS, ATTEMPTS_NS, Client, IDLE_NS, SILENT_NS,
    silent::{self, Shown},
};
use crate::{
    classify::{Judgement, class::Class, class_of},
    event::{AgeKind, Ended, Endpoint, IncidentKind, ProcessEnd, Role, is_unclear},
    facts::{Facts, Kind, State, Trigger},
};

/// A broker. On loopback each network namespace has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Its address and port.
    pub broker: Endpoint,
    /// The network namespace, on loopback; else 0.
    pub(super) netns: u32,
}

impl Place {
    /// A broker, as a network namespace knows it.
    #[must_use]
    pub const fn new(broker: Endpoint, netns: u32) -> Self {
        let netns = if broker.address.is_loopback() {
            netns
        } else {
            0
        };
        Self { broker, netns }
    }

    /// The broker of a connection.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        Self::new(facts.broker(), facts.netns.unwrap_or(0))
    }
}

/// What ends have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// The broker that ended, or refuses.
    Broker(Place),
    /// A device, by the end that this host is: connections in use.
    DeviceFast(Role),
    /// The same: idle ones.
    DeviceIdle(Role),
    /// The broker that drops new connections.
    TurnedAway(Place),
    /// The broker that does not answer.
    Silent(Place),
    /// The client whose attempts fail.
    Client(
        IncidentKind,
        (std::net::IpAddr, Option<SmolStr>, Option<u32>),
    ),
    /// All further clients.
    Clients(IncidentKind),
}

impl Key {
    /// Ends further apart have nothing to do with each other.
    pub(super) const fn window_ns(&self) -> u64 {
        match self {
            Self::DeviceFast(_) => AT_ONCE_NS,
            Self::DeviceIdle(_) => IDLE_NS,
            Self::Silent(_) => SILENT_NS,
            // Of ends other than refusals only the latest count.
            Self::Broker(_) | Self::TurnedAway(_) | Self::Client(..) | Self::Clients(_) => {
                ATTEMPTS_NS
            }
        }
    }
}

/// The end of one connection.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// When; monotonic ns.
    pub at_ns: u64,
    /// The broker.
    pub place: Place,
    /// The end that this host is; the broker's, where both are on this host.
    pub role: Role,
    /// The client.
    pub client: Client,
    /// What it was judged to be; `None` where nothing was decided.
    pub class: Option<Class>,
    /// Whether it is an event, rather than routine.
    pub is_event: bool,
    /// It never became a connection: it was refused.
    pub is_refusal: bool,
    /// The silence before it, ms, where that has to do with it.
    pub silence_ms: Option<f64>,
    /// What ended the broker's process on this host, or keeps it from answering, in a sentence
    /// without its full stop.
    pub ended_by: Option<SmolStr>,
    /// The first exchange failed, and why is unclear.
    pub(super) is_unclear: bool,
    /// It ended with the broker's process.
    pub(super) exited: bool,
    /// It ended with a worker process of the broker's host.
    pub(super) worker: bool,
    /// Whether a socket listened on the broker's port.
    pub(super) listened: Option<bool>,
    /// This host answered for a connection without having a socket: anybody can make it do
    /// so.
    pub(super) is_answer: bool,
    /// The broker closed it by FIN.
    pub(super) is_fin: bool,
    /// The silence before that FIN, ms.
    pub(super) fin_silence_ms: Option<f64>,
    /// The age of the connection, ms, where it is known.
    pub(super) age_ms: Option<f64>,
    /// The broker's FIN went before, and was taken in.
    pub(super) is_again: bool,
    /// The client gave up waiting for an answer, and what that shows.
    pub(super) gave_up: Option<Shown>,
}

/// So long after a FIN, it is taken in by itself, ms: it is held for as long.
const FIN_WAIT_MS: f64 = 1_000.0;

impl End {
    /// The end of a connection that was judged, or turned out to be no event. `client_name` is
    /// the client's own name, or its program's.
    #[must_use]
    pub fn of(facts: &Facts, judgement: Option<&Judgement>, client_name: Option<SmolStr>) -> Self {
        // What a device forgot a while ago is no further failover.
        let is_of_earlier =
            |it: &&Judgement| it.evidence.iter().any(|seen| seen.name == "failover");
        let class = judgement.filter(|it| !is_of_earlier(it)).and_then(class_of);
        let ends = || std::iter::once(facts).chain(facts.other_end.as_deref());
        let has_broker = ends().any(|it| it.role == Role::Broker);
        let of_client = ends().find(|it| it.role == Role::Client);
        let is_late = facts.kind != Kind::Fin
            && facts.fin.is_some_and(|fin| {
                fin.by_peer == (facts.role == Role::Client) && fin.ago_ms > FIN_WAIT_MS
            });
        let is_fin = facts.is_close() && is_brokers(facts) && !is_late;
        let is_idle = matches!(
            class,
            Some(Class::IdleOnSend | Class::IdleOnTimer | Class::Rebound | Class::Blackholed)
        );
        Self {
            at_ns: facts.at_ns,
            place: Place::of(facts),
            role: if has_broker {
                Role::Broker
            } else {
                Role::Client
            },
            client: Client {
                address: facts.client().address,
                name: client_name,
                pid: of_client.and_then(|it| it.owner.pid),
            },
            class,
            is_event: judgement.is_some(),
            is_refusal: class == Some(Class::Refused),
            silence_ms: facts.idle.filter(|_| is_idle).map(|idle| idle.wire_ms),
            ended_by: judgement
                .and_then(|it| it.process_end.as_ref())
                .filter(|end| end.what.is_end() && end.what != Ended::Asked)
                .map(|end| end.summary.clone()),
            is_unclear: judgement.is_some_and(|it| is_unclear(it.verdict, it.confidence)),
            exited: ends().any(Facts::broker_exited),
            worker: ends().any(Facts::worker_exited),
            listened: facts.listened,
            is_answer: facts.is_answer(),
            is_fin,
            fin_silence_ms: facts.fin.filter(|_| is_fin).map(|fin| fin.silence_ms),
            age_ms: facts
                .age
                .filter(|age| age.kind == AgeKind::Exact)
                .map(|age| age.ms),
            is_again: is_late,
            gave_up: None,
        }
    }

    /// The end of a connection whose client gave up waiting for an answer. `process` is what
    /// became of the broker's process, where that is on this host.
    #[must_use]
    pub fn gave_up(
        facts: &Facts,
        process: Option<&ProcessEnd>,
        client_name: Option<SmolStr>,
    ) -> Self {
        Self {
            ended_by: silent::why(facts, process),
            gave_up: Some(Shown::of(facts, process)),
            ..Self::of(facts, None, client_name)
        }
    }

    /// What it may have in common with others.
    pub(super) fn key(&self) -> Option<Key> {
        let client = |kind| {
            let Client { address, name, pid } = self.client.clone();
            // A process is one client, whatever it calls itself.
            Key::Client(kind, (address, name.filter(|_| pid.is_none()), pid))
        };
        if self.gave_up.is_some() {
            return Some(Key::Silent(self.place));
        }
        let Some(class) = self.class else {
            let is_end = self.is_event || self.is_fin;
            return is_end.then_some(Key::Broker(self.place));
        };
        Some(match class {
            Class::BrokerShutdown
            | Class::BrokerLost
            | Class::BrokerAborted
            | Class::BrokerClosed
            | Class::Refused => Key::Broker(self.place),
            Class::NotIdle | Class::Moved => Key::DeviceFast(self.role),
            Class::IdleOnSend | Class::IdleOnTimer | Class::Rebound | Class::Blackholed => {
                Key::DeviceIdle(self.role)
            }
            Class::ClosedByBroker => Key::TurnedAway(self.place),
            Class::Authentication if !self.is_unclear => client(IncidentKind::FailedLogins),
            Class::Authentication
            | Class::TlsAlert
            | Class::PlaintextToTls
            | Class::TlsToPlaintext
            | Class::NotKafka => client(IncidentKind::FailedHandshakes),
            Class::BrokerIdleClose
            | Class::ClientAborted
            | Class::ClientLost
            | Class::Probe
            | Class::LateData => return None,
        })
    }

    /// Whether it can make an incident, and not only be part of one.
    pub(super) const fn may_begin(&self) -> bool {
        !self.is_answer
    }

    /// It is an event of which nothing was decided.
    pub(super) const fn is_open_question(&self) -> bool {
        self.is_event && self.class.is_none()
    }

    /// The broker's host no longer knew the connection.
    pub(super) fn is_lost(&self) -> bool {
        self.class == Some(Class::BrokerLost) && !self.is_answer
    }

    /// It shows by itself that the broker ended.
    pub(super) fn shows_shutdown(&self) -> bool {
        let is_gone = self.is_fin && self.listened == Some(false);
        self.exited || self.worker || is_gone || self.class == Some(Class::BrokerShutdown)
    }

    /// It shows that what ended goes on to listen.
    pub(super) fn shows_drain(&self) -> bool {
        !self.exited && (self.worker || self.listened == Some(true))
    }
}

/// The broker ended a connection: by the first FIN, or by a RST of a socket.
pub(super) fn is_brokers(facts: &Facts) -> bool {
    let is_client = facts.role == Role::Client;
    match facts.kind {
        Kind::Fin | Kind::Closed => facts.fin.is_some_and(|fin| fin.by_peer == is_client),
        // What follows a FIN ended nothing.
        Kind::ResetReceived => is_client && facts.fin.is_none(),
        Kind::ResetSent => !is_client && facts.id.is_some() && facts.fin.is_none(),
        _ => false,
    }
}

/// A new connection was refused: this host's, or by this host.
#[must_use]
pub fn is_refusal(facts: &Facts) -> bool {
    match facts.kind {
        Kind::ResetReceived => facts.role == Role::Client && facts.state == Some(State::SynSent),
        Kind::ResetSent => {
            facts.role == Role::Broker
                && facts.id.is_none()
                && facts.trigger.is_some_and(Trigger::is_syn)
        }
        _ => false,
    }
}
