//! Which findings are noise: routine closes.

use super::{Cause, Finding, Noise, ProvokedBy, Verdict};

/// The name of the process while it is `kreset-trace probe`: by it a tracer on
/// the same host knows the probe's connections.
pub const PROBE_PROCESS: &str = "kreset-probe";

impl Finding {
    /// The kind of noise that this finding is, if it is any.
    #[must_use]
    pub fn noise(&self) -> Option<Noise> {
        if self.process.name.as_deref() == Some(PROBE_PROCESS) {
            return Some(Noise::KresetProbe);
        }
        match (self.verdict, self.cause) {
            (Verdict::ClientOriginated, Some(Cause::Probe)) => return Some(Noise::Probe),
            (Verdict::ClientOriginated, Some(Cause::LateData)) => return Some(Noise::LateData),
            // A handshake that failed is no routine close, whoever closed first.
            (Verdict::HandshakePhase, _) => return None,
            _ => {}
        }
        // Whoever sent it, it met a connection that its owner had given up.
        match self.connection.provoked_by {
            Some(ProvokedBy::Close) => Some(Noise::Close),
            _ => None,
        }
    }

    /// Whether this is noise: counted, but shown with `--all` only.
    #[must_use]
    pub fn is_noise(&self) -> bool {
        self.noise().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn what_the_probe_owns_is_noise() {
        let mut finding = samples::finding();
        finding.process.name = Some(PROBE_PROCESS.into());
        assert_eq!(finding.noise(), Some(Noise::KresetProbe));
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
