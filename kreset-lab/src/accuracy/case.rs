//! A case: what is done to one connection (or to several of one broker), and what each host alone
//! should say of it.

use std::fmt;

use super::{draw::hash, stage::Scene};
use crate::{Family, Side, device::Ttl, error::Result, judge::Answer};

/// Acts a case out.
type Script = dyn Fn(&Scene<'_>) -> Result<Vec<Label>> + Send + Sync;

/// Which lab a case needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Tracers that were there first, showing what an operator sees.
    Usual,
    /// The same, and the brokers' `connections.max.idle.ms` is longer.
    Patient,
    /// Tracers that begin once the connections are there and silent.
    Late,
    /// Tracers that show everyday noise as well.
    ShowAll,
    /// The client's kernel gives up after a few retransmissions.
    GivesUp,
    /// Tracers without packet evidence.
    Blind,
    /// Kernels that negotiate no TCP timestamps.
    Bare,
}

impl Room {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Usual,
        Self::Patient,
        Self::Late,
        Self::ShowAll,
        Self::GivesUp,
        Self::Blind,
        Self::Bare,
    ];

    /// A word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Patient => "patient",
            Self::Late => "late",
            Self::ShowAll => "show_all",
            Self::GivesUp => "gives_up",
            Self::Blind => "blind",
            Self::Bare => "bare",
        }
    }
}

/// One labelled case.
pub struct Case {
    /// Cause, variant and family.
    pub id: String,
    /// Where it is acted out.
    pub room: Room,
    /// The kind of sockets.
    pub family: Family,
    /// Acts it out.
    pub(super) script: Box<Script>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("id", &self.id)
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

impl Case {
    /// The same case over each kind of socket.
    pub(super) fn each_family(
        room: Room,
        id: &str,
        script: impl Fn(&Scene<'_>) -> Result<Vec<Label>> + Clone + Send + Sync + 'static,
    ) -> impl Iterator<Item = Self> {
        [Family::Ipv4, Family::Ipv6, Family::Mapped]
            .into_iter()
            .map(move |family| Self {
                id: format!("{id}.{}", family.name()),
                room,
                family,
                script: Box::new(script.clone()),
            })
    }

    /// Whether weights may never be set by it, whatever is drawn: every fourth combination of cause
    /// and variant, in all families, is run under held-out seeds alone.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        let (combination, _) = self.id.rsplit_once('.').unwrap_or((&self.id, ""));
        is_unseen(combination)
    }
}

fn is_unseen(combination: &str) -> bool {
    // The low bits of FNV-1a are its weak ones.
    (hash(combination) >> 32).count_ones() & 3 == 3
}

/// What the tracer on one host should say of one connection.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Nothing: there is nothing to tell, or nothing but everyday noise.
    Nothing,
    /// One event.
    Told(Told),
    /// One event or none: it hurts nobody and is plain to this host's own application.
    IfTold(Told),
}

/// An event that is wanted.
#[derive(Clone, Debug)]
pub struct Told {
    /// The right answers; more than one where either is true.
    pub right: Vec<Answer>,
    /// What evidence this host has cannot be told from: as good as abstaining, unless it is said
    /// with confidence. Empty where one host can decide.
    pub alike: Vec<Answer>,
    /// Whether other evidence settles it after all, for a tracer that makes use of it.
    pub settled: bool,
}

impl Told {
    /// Whether one host can decide.
    #[must_use]
    pub const fn is_decidable(&self) -> bool {
        self.alike.is_empty()
    }
}

/// The truth about one connection.
#[derive(Clone, Debug)]
pub struct Label {
    /// The client's port, by which events are found.
    pub port: u16,
    /// On the client's host.
    pub client: Wanted,
    /// On the broker's host.
    pub broker: Wanted,
    /// Resets that must have been on the wire, by whom they reached and the TTL with which;
    /// `None` if the case is not about any.
    pub resets: Option<Vec<(Side, Ttl)>>,
}

impl Label {
    /// A connection of which nobody should say anything.
    pub(super) const fn new(port: u16) -> Self {
        Self {
            port,
            client: Wanted::Nothing,
            broker: Wanted::Nothing,
            resets: None,
        }
    }

    /// A reset by the broker's host itself: both hosts should tell the same.
    pub(super) fn broker_reset(port: u16, right: Answer) -> Self {
        Self::new(port)
            .told(Side::Client, &[right])
            .told(Side::Broker, &[right])
            .genuine(Side::Client)
    }

    /// The host that should tell, and the right answers.
    pub(super) fn told(mut self, side: Side, right: &[Answer]) -> Self {
        *self.wanted(side) = Wanted::Told(told(right, &[]));
        self
    }

    /// The same, but one host cannot tell it from `alike`.
    pub(super) fn undecidable(mut self, side: Side, right: &[Answer], alike: &[Answer]) -> Self {
        *self.wanted(side) = Wanted::Told(told(right, alike));
        self
    }

    /// As [`Self::undecidable`], but what the path went through before may settle it.
    pub(super) fn learnable(mut self, side: Side, right: &[Answer], alike: &[Answer]) -> Self {
        *self.wanted(side) = Wanted::Told(Told {
            settled: true,
            ..told(right, alike)
        });
        self
    }

    /// Nobody can be sure of an end in the handshake whose packets were not seen: any cause of that
    /// phase leaves a socket the same, and so does a broker that ends a connection in use. Where no
    /// reset came, such an end need not be noticed. It may be `settled` by how much was said.
    pub(super) fn unseen_handshake(mut self, settled: bool) -> Self {
        let reset = self.resets.as_ref().is_some_and(|all| !all.is_empty());
        for wanted in [&mut self.client, &mut self.broker] {
            if let Wanted::Told(told) | Wanted::IfTold(told) = wanted {
                let mut told = told.clone();
                told.alike = ANY_EARLY_END.to_vec();
                told.settled = settled;
                *wanted = if reset {
                    Wanted::Told(told)
                } else {
                    Wanted::IfTold(told)
                };
            }
        }
        self
    }

    /// The host that may tell.
    pub(super) fn if_told(mut self, side: Side, right: &[Answer]) -> Self {
        *self.wanted(side) = Wanted::IfTold(told(right, &[]));
        self
    }

    /// A reset that `victim` got from a device.
    pub(super) fn forged(mut self, victim: Side, ttl: Ttl) -> Self {
        self.resets.get_or_insert_default().push((victim, ttl));
        self
    }

    /// A reset that `victim` got from the other host: the router takes one off its 64.
    pub(super) fn genuine(self, victim: Side) -> Self {
        self.forged(victim, Ttl::Copied)
    }

    /// A connection that ends without a reset.
    pub(super) fn without_reset(mut self) -> Self {
        self.resets = Some(Vec::new());
        self
    }

    /// By host.
    #[must_use]
    pub const fn on(&self, side: Side) -> &Wanted {
        match side {
            Side::Client => &self.client,
            Side::Broker => &self.broker,
        }
    }

    const fn wanted(&mut self, side: Side) -> &mut Wanted {
        match side {
            Side::Client => &mut self.client,
            Side::Broker => &mut self.broker,
        }
    }
}

/// What a connection that ended early may have ended of.
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

fn told(right: &[Answer], alike: &[Answer]) -> Told {
    Told {
        right: right.to_vec(),
        alike: alike.to_vec(),
        settled: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_combinations_is_never_used() {
        let unseen = (0..1000)
            .filter(|number| is_unseen(&format!("idle_on_send.plain.{number}")))
            .count();
        assert!((180..320).contains(&unseen), "{unseen}");
    }
}
