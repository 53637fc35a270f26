//! The socket was freed, and the kernel had run no program when it went to CLOSE: a RST, an
//! end in silence or an orderly one, which its process has read from the socket by then.

use super::Observation;
use crate::{classify::case::Case, facts::Kind};

pub(in crate::classify) fn rule(case: &Case<'_>) -> Option<Observation> {
    (case.facts.kind == Kind::Unobserved).then(|| {
        Observation::new(
            "unobserved",
            "the socket was freed, and the kernel ran no program at its end",
        )
    })
}
