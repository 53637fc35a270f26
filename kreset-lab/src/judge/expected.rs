//! What each host alone should say of one connection, as a case knows it from what it did.

use super::Answer;
use crate::{Side, device::Ttl};

/// What is expected of one connection: of the tracer on each host, and of the wire.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// The client's port, by which events and packets are found.
    pub(crate) port: u16,
    client: OnHost,
    broker: OnHost,
    /// Resets that must have been on the wire, by the host that got them, and their TTL;
    /// `None` if the case is not about any.
    pub(crate) resets: Option<Vec<(Side, Ttl)>>,
    /// The state in which the reset found the host that got it, where the case is about it.
    pub(super) state: Option<&'static str>,
    /// What drew the reset, where that is not open to interpretation.
    pub(super) provoked_by: Option<&'static str>,
    /// A host to which not every packet of the other end leaves a trace.
    pub(super) without_wire_idle: Option<Side>,
    /// Whether times and headers are left out: one of thousands of connections.
    pub(crate) is_coarse: bool,
    /// Whether both hosts together know no more of it than one.
    is_open: bool,
}

/// What the tracer on one host should say of one connection.
#[derive(Clone, Debug)]
pub(crate) enum OnHost {
    /// Nothing: nothing happened that this host can see, or nothing but routine closes.
    Nothing,
    /// One event.
    Required(Wanted),
    /// One event or none: it is harmless, and plain to this host's own application.
    Optional(Wanted),
}

impl OnHost {
    /// One of these answers, unless `alike` is as good; nothing if there is none. What settles it
    /// may be known.
    pub(super) fn of(right: Vec<Answer>, alike: Vec<Answer>, required: bool) -> Self {
        let wanted = Wanted {
            right,
            alike,
            settled: true,
        };
        match required {
            _ if wanted.right.is_empty() => Self::Nothing,
            true => Self::Required(wanted),
            false => Self::Optional(wanted),
        }
    }

    /// The event, if there may be one.
    pub(crate) const fn wanted(&self) -> Option<&Wanted> {
        match self {
            Self::Nothing => None,
            Self::Required(wanted) | Self::Optional(wanted) => Some(wanted),
        }
    }
}

/// An event that is expected.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The right answers; more than one where either is true.
    pub(crate) right: Vec<Answer>,
    /// What leaves this host the same evidence: as good as abstaining, unless it is said with
    /// confidence. Empty where one host can decide.
    pub(crate) alike: Vec<Answer>,
    /// Whether other evidence settles it after all, for a tracer that makes use of it.
    pub(crate) settled: bool,
}

impl Wanted {
    /// Whether one host can decide.
    pub(crate) const fn is_decidable(&self) -> bool {
        self.alike.is_empty()
    }
}

fn wanted(right: &[Answer], alike: &[Answer]) -> Wanted {
    Wanted {
        right: right.to_vec(),
        alike: alike.to_vec(),
        settled: false,
    }
}

impl Expected {
    /// A connection of which neither host should say anything.
    pub(crate) const fn new(port: u16) -> Self {
        Self {
            port,
            client: OnHost::Nothing,
            broker: OnHost::Nothing,
            resets: None,
            state: None,
            provoked_by: None,
            without_wire_idle: None,
            is_coarse: false,
            is_open: false,
        }
    }

    /// A reset that one host itself sent to `victim`: both hosts should say the same.
    pub(crate) fn sent_to(victim: Side, port: u16, right: Answer) -> Self {
        Self::new(port)
            .reported(Side::Client, &[right])
            .reported(Side::Broker, &[right])
            .genuine(victim)
    }

    /// The host that should report it, and the right answers.
    pub(crate) fn reported(mut self, side: Side, right: &[Answer]) -> Self {
        *self.host(side) = OnHost::Required(wanted(right, &[]));
        self
    }

    /// The same, but to one host `alike` looks the same.
    pub(crate) fn undecidable(mut self, side: Side, right: &[Answer], alike: &[Answer]) -> Self {
        *self.host(side) = OnHost::Required(wanted(right, alike));
        self
    }

    /// As [`Self::undecidable`], but what the path went through before may settle it.
    pub(crate) fn learnable(mut self, side: Side, right: &[Answer], alike: &[Answer]) -> Self {
        *self.host(side) = OnHost::Required(Wanted {
            settled: true,
            ..wanted(right, alike)
        });
        self
    }

    /// What leaves both hosts the same evidence: neither knows more than the other.
    pub(crate) fn alike_on_both(mut self, alike: &[Answer]) -> Self {
        self.is_open = true;
        for host in [&mut self.client, &mut self.broker] {
            if let OnHost::Required(wanted) | OnHost::Optional(wanted) = host {
                wanted.alike = alike.to_vec();
            }
        }
        self
    }

    /// The host that may report it.
    pub(crate) fn optional(mut self, side: Side, right: &[Answer]) -> Self {
        *self.host(side) = OnHost::Optional(wanted(right, &[]));
        self
    }

    /// No host can be sure of an end in a handshake whose packets were not seen: any cause of that
    /// phase leaves a socket the same, and so does a broker that ends a connection in use. Where no
    /// reset came, such an end need not be noticed. It may be `settled` by how much was said.
    pub(crate) fn unseen_handshake(mut self, settled: bool) -> Self {
        self.is_open = true;
        let reset = self.resets.as_ref().is_some_and(|all| !all.is_empty());
        for host in [&mut self.client, &mut self.broker] {
            if let OnHost::Required(wanted) | OnHost::Optional(wanted) = host {
                let mut wanted = wanted.clone();
                wanted.alike = ANY_EARLY_END.to_vec();
                wanted.settled = settled;
                *host = if reset {
                    OnHost::Required(wanted)
                } else {
                    OnHost::Optional(wanted)
                };
            }
        }
        self
    }

    /// A reset that `victim` got from a device.
    pub(crate) fn forged(mut self, victim: Side, ttl: Ttl) -> Self {
        self.resets.get_or_insert_default().push((victim, ttl));
        self
    }

    /// A reset that `victim` got from the other host: the router takes one off its TTL.
    pub(crate) fn genuine(self, victim: Side) -> Self {
        self.forged(victim, Ttl::Copied)
    }

    /// A connection that ends without a reset.
    pub(crate) fn without_reset(mut self) -> Self {
        self.resets = Some(Vec::new());
        self
    }

    /// The state of the connection on the host that gets the reset.
    pub(crate) const fn in_state(mut self, state: &'static str) -> Self {
        self.state = Some(state);
        self
    }

    /// What drew the reset.
    pub(crate) const fn provoked_by(mut self, what: &'static str) -> Self {
        self.provoked_by = Some(what);
        self
    }

    /// A host to which not every packet of the other end leaves a trace.
    pub(crate) const fn without_wire_idle(mut self, side: Side) -> Self {
        self.without_wire_idle = Some(side);
        self
    }

    /// One of thousands: only kind, direction, role and answer of its event are looked at.
    pub(crate) const fn coarse(mut self) -> Self {
        self.is_coarse = true;
        self
    }

    /// Whether both hosts together know no more of it than one.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// By host.
    pub(crate) const fn on(&self, side: Side) -> &OnHost {
        match side {
            Side::Client => &self.client,
            Side::Broker => &self.broker,
        }
    }

    const fn host(&mut self, side: Side) -> &mut OnHost {
        match side {
            Side::Client => &mut self.client,
            Side::Broker => &mut self.broker,
        }
    }
}

/// What may have ended a connection that ended early.
const ANY_EARLY_END: &[Answer] = &[
    Answer::one(
        "handshake_phase",
        &[
            "plaintext_to_tls",
            "tls_to_plaintext",
            "not_kafka",
            "tls_alert",
            "authentication",
            "closed_by_broker",
        ],
    ),
    Answer::one("broker_originated", &["aborted", "shutdown"]),
    Answer::one("client_originated", &["aborted", "late_data"]),
];
