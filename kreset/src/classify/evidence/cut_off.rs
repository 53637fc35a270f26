//! The broker's FIN in the middle of a request: an end that hurts, though no RST came.

use super::{Basis, Observation};
use crate::classify::{case::Case, class::Class, weights::HARD};

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    let fin = case.facts.fin.filter(|_| case.is_cut_off())?;
    let value = format!("closed {:.0} ms after a request", fin.silence_ms);
    Some(
        Observation::new("cut_off", value)
            // Whatever a timer of a proxy's was set to: the connection was not idle.
            .weigh(HARD, &[Class::BrokerShutdown, Class::BrokerClosed])
            .on(Basis::Shown),
    )
}
