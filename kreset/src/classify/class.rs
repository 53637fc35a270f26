//! The classes that evidence speaks for: each verdict with each of its causes.

use std::array;

use crate::event::{Candidate, Candidates, Cause, Verdict};

macro_rules! classes {
    ($($class:ident = $verdict:ident / $cause:ident, $name:literal;)+) => {
        /// A verdict with its cause.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "named after verdict and cause, which are documented")]
        pub enum Class { $($class),+ }

        impl Class {
            /// Every class.
            pub const ALL: &[Self] = &[$(Self::$class),+];

            /// Its verdict.
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$class => Verdict::$verdict),+ }
            }

            /// Its cause.
            #[must_use]
            pub const fn cause(self) -> Cause {
                match self { $(Self::$class => Cause::$cause),+ }
            }

            /// `verdict/cause`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$class => $name),+ }
            }
        }
    };
}

classes! {
    IdleOnSend = MiddleboxIdleReset / ResetOnSend, "middlebox_idle_reset/reset_on_send";
    IdleOnTimer = MiddleboxIdleReset / ResetOnTimer, "middlebox_idle_reset/reset_on_timer";
    Rebound = MiddleboxIdleReset / Rebound, "middlebox_idle_reset/rebound";
    Blackholed = MiddleboxIdleDrop / Blackholed, "middlebox_idle_drop/blackholed";
    NotIdle = MiddleboxReset / NotIdle, "middlebox_reset/not_idle";
    Moved = MiddleboxReset / Moved, "middlebox_reset/moved";
    BrokerIdleClose = BrokerOriginated / IdleClose, "broker_originated/idle_close";
    BrokerShutdown = BrokerOriginated / Shutdown, "broker_originated/shutdown";
    BrokerClosed = BrokerOriginated / Closed, "broker_originated/closed";
    BrokerLost = BrokerOriginated / ConnectionLost, "broker_originated/connection_lost";
    BrokerAborted = BrokerOriginated / Aborted, "broker_originated/aborted";
    Refused = HandshakePhase / Refused, "handshake_phase/refused";
    PlaintextToTls = HandshakePhase / PlaintextToTls, "handshake_phase/plaintext_to_tls";
    TlsToPlaintext = HandshakePhase / TlsToPlaintext, "handshake_phase/tls_to_plaintext";
    NotKafka = HandshakePhase / NotKafka, "handshake_phase/not_kafka";
    TlsAlert = HandshakePhase / TlsAlert, "handshake_phase/tls_alert";
    Authentication = HandshakePhase / Authentication, "handshake_phase/authentication";
    ClosedByBroker = HandshakePhase / ClosedByBroker, "handshake_phase/closed_by_broker";
    ClientAborted = ClientOriginated / Aborted, "client_originated/aborted";
    ClientLost = ClientOriginated / ConnectionLost, "client_originated/connection_lost";
    Probe = ClientOriginated / Probe, "client_originated/probe";
    LateData = ClientOriginated / LateData, "client_originated/late_data";
}

const CLASSES: usize = Class::ALL.len();

/// Log-odds of every class, as evidence adds up.
#[derive(Clone, Debug, PartialEq)]
pub struct Belief([f64; CLASSES]);

impl Default for Belief {
    fn default() -> Self {
        Self([0.0; CLASSES])
    }
}

impl Belief {
    /// Adds `weight` to `class`.
    pub fn add(&mut self, class: Class, weight: f64) {
        if let Some(slot) = self.0.get_mut(class as usize) {
            *slot += weight;
        }
    }

    /// Shares of belief of every class: softmax of the log-odds.
    #[must_use]
    pub fn shares(&self) -> [(Class, f64); CLASSES] {
        let most = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Most classes are not spoken of: theirs are all the same.
        let silent = (-most).exp();
        let odds = self.0.map(|log| {
            if log == 0.0 {
                silent
            } else {
                (log - most).exp()
            }
        });
        let total: f64 = odds.iter().sum();
        array::from_fn(|at| (Class::ALL[at], odds[at] / total))
    }

    /// The share of one class.
    #[must_use]
    pub fn share(&self, class: Class) -> f64 {
        let shares = self.shares();
        let found = shares.iter().find(|(it, _)| *it == class);
        found.map_or(0.0, |(_, share)| *share)
    }

    /// The verdict with the largest share, the largest of its classes, and
    /// all verdicts worth listing, largest first. `reserve` gives the share that is
    /// kept for causes that no class stands for, by the leading class; it is the
    /// last candidate, as `indeterminate`.
    #[must_use]
    pub fn conclude(&self, reserve: impl FnOnce(Class) -> f64) -> Conclusion {
        let shares = self.shares();
        let mut sums = [0.0; Verdict::ALL.len()];
        for (class, share) in &shares {
            if let Some(sum) = sums.get_mut(class.verdict() as usize) {
                *sum += share;
            }
        }
        let leading = Verdict::ALL
            .iter()
            .zip(sums)
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
            .map_or(Verdict::Indeterminate, |(verdict, _)| *verdict);
        let best = shares
            .into_iter()
            .filter(|(class, _)| class.verdict() == leading)
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let unknown = best.map_or(0.0, |(class, _)| reserve(class));
        let known = 1.0 - unknown;
        let mut candidates: Candidates = Verdict::ALL
            .iter()
            .zip(sums)
            .map(|(verdict, share)| (*verdict, share * known))
            .filter(|(_, share)| *share >= WORTH_TELLING)
            .map(|(verdict, share)| Candidate {
                verdict,
                share: round(share),
            })
            .collect();
        candidates.sort_by(|a, b| b.share.total_cmp(&a.share));
        if unknown >= WORTH_TELLING {
            candidates.push(Candidate {
                verdict: Verdict::Indeterminate,
                share: round(unknown),
            });
        }
        Conclusion {
            best: best.map(|(class, share)| (class, share * known)),
            candidates,
            unknown,
        }
    }
}

/// What a belief comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// The class, and its own share: the chance that verdict and cause are
    /// right.
    pub best: Option<(Class, f64)>,
    /// Verdicts with their shares.
    pub candidates: Candidates,
    /// The share kept for causes that no class stands for.
    pub unknown: f64,
}

/// Shares below this are left out of `candidates`.
const WORTH_TELLING: f64 = 0.01;

/// Three decimals: more would be pretence.
pub(super) fn round(share: f64) -> f64 {
    (share * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_belief_without_evidence_spreads_evenly() {
        let shares = Belief::default().shares();
        let even = 1.0 / f64::from(u32::try_from(Class::ALL.len()).unwrap());
        assert!(shares.iter().all(|(_, share)| (share - even).abs() < 1e-12));
    }

    #[test]
    fn the_verdict_is_chosen_before_the_cause() {
        let mut belief = Belief::default();
        // Two causes of one verdict together outweigh one of another.
        belief.add(Class::BrokerLost, 6.0);
        belief.add(Class::BrokerShutdown, 5.9);
        belief.add(Class::NotIdle, 6.1);
        let Conclusion {
            best, candidates, ..
        } = belief.conclude(|_| 0.0);
        assert_eq!(best.unwrap().0, Class::BrokerLost);
        assert_eq!(candidates[0].verdict, Verdict::BrokerOriginated);
        assert!(candidates[0].share > candidates[1].share);
    }

    #[test]
    fn what_is_kept_for_the_unknown_is_the_last_candidate() {
        let mut belief = Belief::default();
        belief.add(Class::BrokerLost, 14.0);
        let Conclusion {
            best, candidates, ..
        } = belief.conclude(|class| {
            assert_eq!(class, Class::BrokerLost);
            0.2
        });
        assert!((best.unwrap().1 - 0.8).abs() < 1e-3);
        let last = candidates.last().unwrap();
        assert_eq!((last.verdict, last.share), (Verdict::Indeterminate, 0.2));
        let sum: f64 = candidates.iter().map(|it| it.share).sum();
        assert!((sum - 1.0).abs() < 0.01, "{candidates:?}");
    }

    #[test]
    fn there_is_a_sample_of_every_class() {
        let samples: Vec<_> = crate::event::samples::KINDS
            .iter()
            .flat_map(|(verdict, causes)| causes.iter().map(move |cause| (*verdict, *cause)))
            .collect();
        let classes: Vec<_> = Class::ALL
            .iter()
            .map(|class| (class.verdict(), class.cause()))
            .collect();
        assert_eq!(samples, classes);
    }

    #[test]
    fn every_name_is_its_verdict_and_its_cause() {
        for class in Class::ALL {
            let name = format!("{}/{}", class.verdict(), class.cause());
            assert_eq!(class.as_str(), name);
        }
    }
}
