//! Evidence: one kind a file. A rule looks at a case and, if it has something
//! to say, names a fact, gives its value and what it weighs.

mod beginning;
pub(super) mod broker_fin;
mod broker_log;
mod client_log;
mod concurrent;
mod cut_off;
mod failover;
pub(super) mod first_bytes;
mod had;
mod hidden_exchange;
mod kernel_reason;
mod known_timers;
mod listener;
mod load;
mod other_end;
mod phase;
mod process_end;
mod provoked_by;
pub(super) mod refused_by;
mod repeats;
mod reset_delay;
mod reset_shape;
mod same_host;
pub(super) mod sasl;
mod silence;
mod state;
pub(super) mod timeout;
mod tls_alert;
mod ttl;
pub(super) mod unobserved;

use smallvec::SmallVec;
use smol_str::SmolStr;

use super::{
    case::Case,
    class::Class,
    weights::{UNKNOWN_ABSENCE, UNKNOWN_NAMED, UNKNOWN_SHOWN},
};
use crate::event::{Evidence, Proof};

/// A rule.
pub type Rule = fn(&Case<'_>) -> Option<Observation>;

/// All rules. Their order is the order in which evidence is listed.
pub const RULES: &[Rule] = &[
    state::rule,
    refused_by::rule,
    kernel_reason::rule,
    other_end::rule,
    had::rule,
    listener::rule,
    process_end::rule,
    phase::rule,
    beginning::rule,
    hidden_exchange::rule,
    first_bytes::rule,
    tls_alert::rule,
    sasl::rule,
    broker_log::rule,
    client_log::rule,
    broker_fin::rule,
    broker_fin::reset_after,
    cut_off::rule,
    timeout::rule,
    reset_shape::rule,
    ttl::rule,
    same_host::rule,
    provoked_by::rule,
    reset_delay::rule,
    failover::rule,
    silence::rule,
    silence::outlived,
    silence::longest,
    known_timers::rule,
    repeats::rule,
    concurrent::together,
    concurrent::reconnect,
    unobserved::rule,
    load::rule,
];

/// How well a fact shows who ended the connection, weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// Something is missing, or fits: other causes leave the same trace.
    #[default]
    Absence,
    /// Something was there that the class puts on the wire or does.
    Shown,
    /// This host's kernel names the sender, or the bytes on the wire do.
    Named,
}

impl Basis {
    /// The share kept for causes that no class stands for.
    #[must_use]
    pub const fn reserve(self) -> f64 {
        match self {
            Self::Absence => UNKNOWN_ABSENCE,
            Self::Shown => UNKNOWN_SHOWN,
            Self::Named => UNKNOWN_NAMED,
        }
    }
}

/// Facts that packets alone show.
const OF_PACKETS: &[&str] = &[
    "phase",
    "first_bytes",
    "tls_alert",
    "last_api_key",
    "hidden_exchange",
    "cut_off",
    "ttl",
    "reset_shape",
    "longest_silence",
];

/// One observed fact.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Name, stable.
    pub name: &'static str,
    /// Value, for people and machines.
    pub value: SmolStr,
    /// What it weighs.
    pub weights: SmallVec<[(Class, f64); 8]>,
    /// How well it shows what it speaks for.
    pub basis: Basis,
    /// Whether a stranger could have made it up.
    pub proof: Proof,
}

impl Observation {
    /// A fact that weighs nothing yet.
    #[must_use]
    pub fn new(name: &'static str, value: impl Into<SmolStr>) -> Self {
        Self {
            name,
            value: value.into(),
            weights: SmallVec::new(),
            basis: Basis::Absence,
            proof: Proof::Proven,
        }
    }

    /// Whoever knows both ends of the connection could have made it up, if `forgeable`.
    #[must_use]
    pub const fn forgeable_if(mut self, forgeable: bool) -> Self {
        if forgeable {
            self.proof = Proof::Forgeable;
        }
        self
    }

    /// Forgeable if it is of packets and the kernel may not have accepted these.
    #[must_use]
    pub fn as_proven_as(self, case: &Case<'_>) -> Self {
        let packets = case.facts.packets.as_ref();
        let doubtful = packets.is_some_and(|packets| packets.doubtful);
        let of_packets = OF_PACKETS.contains(&self.name);
        self.forgeable_if(doubtful && of_packets)
    }

    /// Sets how well it shows the classes that it speaks for.
    #[must_use]
    pub const fn on(mut self, basis: Basis) -> Self {
        self.basis = basis;
        self
    }

    /// Whether it weighs for `class`.
    #[must_use]
    pub fn speaks_for(&self, class: Class) -> bool {
        let weights = self.weights.iter();
        weights
            .filter(|(it, _)| *it == class)
            .any(|(_, weight)| *weight > 0.0)
    }

    /// Adds `weight` to each of `classes`.
    #[must_use]
    pub fn weigh(mut self, weight: f64, classes: &[Class]) -> Self {
        self.weights
            .extend(classes.iter().map(|class| (*class, weight)));
        self
    }

    /// As the event contract has it.
    #[must_use]
    pub fn into_evidence(self) -> Evidence {
        let by_name = |(class, weight): (Class, f64)| (class.as_str(), weight);
        Evidence {
            name: SmolStr::new_static(self.name),
            value: self.value,
            proof: self.proof,
            weights: self.weights.into_iter().map(by_name).collect(),
        }
    }
}

/// All ways in which a device's idle timer leads to a reset.
const IDLE: &[Class] = &[Class::IdleOnSend, Class::IdleOnTimer, Class::Rebound];
/// Everything that something between the ends may have sent.
const FORGED: &[Class] = &[Class::IdleOnSend, Class::IdleOnTimer, Class::NotIdle];
/// Everything that a live socket of the peer may have sent.
const LIVE: &[Class] = &[
    Class::BrokerAborted,
    Class::BrokerShutdown,
    Class::ClientAborted,
];
/// Everything that a host may have sent without a socket: the peer's, or another that
/// the flow was moved to.
const LOST: &[Class] = &[
    Class::BrokerLost,
    Class::ClientLost,
    Class::Moved,
    Class::Rebound,
];
