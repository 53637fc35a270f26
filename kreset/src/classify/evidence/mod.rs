//! Evidence: one kind a file. A rule looks at a case and, if it has something
//! to say, names a fact, gives its value and what it weighs.

mod beginning;
mod broker_fin;
mod company;
mod first_bytes;
mod hidden_exchange;
mod kernel_reason;
mod known_timers;
mod listener;
mod phase;
mod provoked_by;
pub(super) mod refused_by;
mod repeats;
mod reset_delay;
mod reset_shape;
mod same_host;
pub(super) mod sasl;
mod silence;
mod state;
mod timeout;
mod tls_alert;
mod ttl;

use smallvec::SmallVec;
use smol_str::SmolStr;

use super::{case::Case, class::Class};
use crate::event::Evidence;

/// A rule.
pub type Rule = fn(&Case<'_>) -> Option<Observation>;

/// All rules. Their order is the order in which evidence is told.
pub const RULES: &[Rule] = &[
    state::rule,
    refused_by::rule,
    kernel_reason::rule,
    listener::rule,
    phase::rule,
    beginning::rule,
    hidden_exchange::rule,
    first_bytes::rule,
    tls_alert::rule,
    sasl::rule,
    broker_fin::rule,
    broker_fin::reset_after,
    timeout::rule,
    reset_shape::rule,
    ttl::rule,
    same_host::rule,
    provoked_by::rule,
    reset_delay::rule,
    silence::rule,
    silence::outlived,
    silence::longest,
    known_timers::rule,
    repeats::rule,
    company::together,
    company::reconnect,
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
}

impl Observation {
    /// A fact that weighs nothing yet.
    #[must_use]
    pub fn new(name: &'static str, value: impl Into<SmolStr>) -> Self {
        Self {
            name,
            value: value.into(),
            weights: SmallVec::new(),
        }
    }

    /// Adds `weight` to each of `classes`.
    #[must_use]
    pub fn weigh(mut self, weight: f64, classes: &[Class]) -> Self {
        self.weights
            .extend(classes.iter().map(|class| (*class, weight)));
        self
    }

    /// As it is told.
    #[must_use]
    pub fn tell(self) -> Evidence {
        let by_name = |(class, weight): (Class, f64)| (class.as_str(), weight);
        Evidence {
            name: self.name,
            value: self.value,
            weights: self.weights.into_iter().map(by_name).collect(),
        }
    }
}

/// Both ways in which a device's idle timer resets.
const IDLE: &[Class] = &[Class::IdleOnSend, Class::IdleOnTimer];
/// Everything that something between the ends may have sent.
const FORGED: &[Class] = &[Class::IdleOnSend, Class::IdleOnTimer, Class::NotIdle];
/// Everything that a live socket of the peer may have sent.
const LIVE: &[Class] = &[
    Class::BrokerAborted,
    Class::BrokerShutdown,
    Class::ClientAborted,
];
/// Everything that the peer's host may have sent without a socket.
const LOST: &[Class] = &[Class::BrokerLost, Class::ClientLost];
