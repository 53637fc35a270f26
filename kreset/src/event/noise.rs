//! Which findings are noise: routine closes.

use super::{Cause, Finding, Noise, ProvokedBy, Verdict};

impl Noise {
    /// The kind of routine close that a verdict and its cause name, if they name one.
    #[must_use]
    pub const fn of(verdict: Verdict, cause: Option<Cause>) -> Option<Self> {
        match (verdict, cause) {
            (Verdict::ClientOriginated, Some(Cause::Probe)) => Some(Self::Probe),
            (Verdict::ClientOriginated, Some(Cause::LateData)) => Some(Self::LateData),
            _ => None,
        }
    }
}

impl Finding {
    /// The kind of noise that this finding is, if it is any.
    #[must_use]
    pub const fn noise(&self) -> Option<Noise> {
        if self.kreset_probe.is_some() {
            return Some(Noise::KresetProbe);
        }
        let named = Noise::of(self.verdict, self.cause);
        // A handshake that failed is no routine close, whoever closed first.
        if named.is_some() || matches!(self.verdict, Verdict::HandshakePhase) {
            return named;
        }
        // Whoever sent it, it met a connection that its owner had given up.
        match self.connection.provoked_by {
            Some(ProvokedBy::Close) => Some(Noise::Close),
            _ => None,
        }
    }

    /// Whether this is noise: counted, but shown with `--all` only.
    #[must_use]
    pub const fn is_noise(&self) -> bool {
        self.noise().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{KresetProbe, samples};

    #[test]
    fn a_connection_of_the_probe_is_noise() {
        for by in KresetProbe::ALL {
            let mut finding = samples::finding();
            finding.kreset_probe = Some(*by);
            assert_eq!(finding.noise(), Some(Noise::KresetProbe));
        }
    }

    #[test]
    fn only_the_three_kinds_are_noise() {
        for verdict in Verdict::ALL {
            for cause in Cause::ALL {
                let mut finding = samples::finding();
                (finding.verdict, finding.cause) = (*verdict, Some(*cause));
                let expected = match (verdict, cause) {
                    (Verdict::ClientOriginated, Cause::Probe) => Some(Noise::Probe),
                    (Verdict::ClientOriginated, Cause::LateData) => Some(Noise::LateData),
                    _ => None,
                };
                assert_eq!(finding.noise(), expected, "{verdict}/{cause}");
                finding.connection.provoked_by = Some(ProvokedBy::Close);
                let handshake = *verdict == Verdict::HandshakePhase;
                assert_eq!(
                    finding.noise(),
                    expected.or_else(|| (!handshake).then_some(Noise::Close)),
                    "{verdict}/{cause}"
                );
            }
        }
    }
}
