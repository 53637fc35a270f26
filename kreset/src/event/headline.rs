//! A finding in a few words: who ended the connection, and what they did.

use std::fmt::{self, Write as _};

use smol_str::{SmolStr, SmolStrBuilder};

use super::{Cause, Ended, Finding, PROBE_PROCESS, Role, Verdict, is_unclear};
use crate::util::{
    escape::Escaped,
    named::named,
    units::{percent, precise},
};

named! {
    /// Who is responsible, as the first word of text output; in the order in which they are shown.
    Culprit,
    /// The word.
    as_str {
        /// Something between the ends.
        Device = "DEVICE",
        /// The broker, its process or its host.
        Broker = "BROKER",
        /// The client, its process or its host.
        Client = "CLIENT",
        /// The first exchange failed.
        Handshake = "HANDSHAKE",
        /// The evidence is below the bar.
        Unsure = "UNSURE",
    }
}

impl Culprit {
    /// Whom a verdict names.
    #[must_use]
    pub const fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::MiddleboxIdleReset | Verdict::MiddleboxIdleDrop | Verdict::MiddleboxReset => {
                Self::Device
            }
            Verdict::BrokerOriginated => Self::Broker,
            Verdict::ClientOriginated => Self::Client,
            Verdict::HandshakePhase => Self::Handshake,
            Verdict::Indeterminate => Self::Unsure,
        }
    }

    pub(crate) const fn subject(self) -> &'static str {
        match self {
            Self::Device => "A device",
            Self::Broker => "The broker",
            Self::Client => "The client",
            Self::Handshake => "The handshake",
            Self::Unsure => "Unsure",
        }
    }
}

/// What the culprit of a verdict and cause did; follows [`Culprit::as_str`].
#[must_use]
pub const fn deed(verdict: Verdict, cause: Option<Cause>) -> &'static str {
    let Some(cause) = cause else {
        return "who ended the connection";
    };
    match cause {
        Cause::ResetOnSend => "reset an idle connection",
        Cause::ResetOnTimer => "reset an idle connection by timer",
        Cause::Rebound => "moved an idle connection",
        Cause::Blackholed => "drops an idle connection's packets",
        Cause::NotIdle => "reset a connection in use",
        Cause::Moved => "moved a connection in use",
        Cause::IdleClose => "closed an idle connection",
        Cause::Shutdown => "shut down or restarted",
        Cause::Closed => "closed this connection alone",
        Cause::ConnectionLost => "host lost the connection",
        Cause::Aborted => "aborted the connection",
        Cause::Refused => "refused",
        Cause::PlaintextToTls => "failed: plaintext to a TLS port",
        Cause::TlsToPlaintext => "failed: TLS to a plaintext port",
        Cause::NotKafka if matches!(verdict, Verdict::HandshakePhase) => "failed: not Kafka",
        Cause::NotKafka => "does not speak Kafka",
        Cause::TlsAlert => "failed: TLS",
        Cause::Authentication => "failed: authentication",
        Cause::ClosedByBroker => "dropped before any answer",
        Cause::Probe => "only probed the port",
        Cause::LateData => "closed before the last data came",
    }
}

impl Finding {
    /// Who is responsible.
    #[must_use]
    pub const fn culprit(&self) -> Culprit {
        Culprit::of(self.verdict)
    }

    /// What the culprit did; follows the word of [`Finding::culprit`].
    #[must_use]
    pub fn deed(&self) -> &'static str {
        if is_unclear(self.verdict, self.confidence) {
            "failed: cause unclear"
        } else {
            self.end_of_process()
                .unwrap_or_else(|| deed(self.verdict, self.cause))
        }
    }

    /// How the broker's process ended, where that is what ended the connection.
    fn end_of_process(&self) -> Option<&'static str> {
        if (self.verdict, self.cause) != (Verdict::BrokerOriginated, Some(Cause::Shutdown)) {
            return None;
        }
        match self.process_end.as_ref()?.what {
            Ended::OutOfMemory => Some("was killed: out of memory"),
            Ended::Killed => Some("was killed"),
            Ended::Crashed => Some("crashed"),
            Ended::Stopped | Ended::Asked => Some("was asked to stop"),
            Ended::Exited => Some("exited by itself"),
            Ended::Suspended => None,
        }
    }

    /// The name of the client: its `client.id`, or that of its program where it is on this
    /// host or has said so.
    #[must_use]
    pub fn client_name(&self) -> Option<&str> {
        let id = self.client.id.as_deref();
        id.or_else(|| self.process_of(Role::Client)?.program())
            .or_else(|| self.kreset_probe.map(|_| PROBE_PROCESS))
    }

    /// [`Finding::summary`], from the rest.
    pub(crate) fn summarize(&self) -> SmolStr {
        let mut summary = SmolStrBuilder::new();
        // Writing to memory does not fail.
        let _written = self.write_summary(&mut summary);
        summary.finish()
    }

    fn write_summary(&self, out: &mut SmolStrBuilder) -> fmt::Result {
        write!(
            out,
            "{} {} ({}",
            self.culprit().subject(),
            self.deed(),
            self.socket_of(Role::Client)
        )?;
        if let Some(name) = self.client_name() {
            write!(out, " {}", Escaped(name))?;
        }
        write!(out, " to broker {}", self.socket_of(Role::Broker))?;
        if let Some(idle_ms) = self.connection.idle_ms {
            write!(out, ", idle for {}", precise(idle_ms))?;
        }
        out.write_char(')')?;
        if self.cause.is_some() {
            return write!(out, "; {} sure", percent(self.confidence));
        }
        for (at, it) in self.candidates.iter().enumerate() {
            let before = if at == 0 { ": " } else { ", " };
            write!(out, "{before}{} {}", it.verdict, percent(it.share))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ProcessEnd, samples};

    #[test]
    fn the_summary_says_who_what_and_how_sure() {
        assert_eq!(
            samples::finding().summarize(),
            "A device reset an idle connection (10.0.1.5:43210 orders-api to broker 10.0.2.7:9092, idle \
             for 350.2 s); 97% sure"
        );
        assert_eq!(
            samples::unknown().summarize(),
            "Unsure who ended the connection ([2001:db8::17]:50000 to broker \
             [2001:db8:0:1::9]:9094): middlebox_reset 48%, broker_originated 41%"
        );
    }

    #[test]
    fn an_unclear_handshake_names_no_cause() {
        let finding = Finding {
            verdict: Verdict::HandshakePhase,
            cause: Some(Cause::Authentication),
            confidence: 0.4,
            ..samples::finding()
        };
        assert_eq!(finding.deed(), "failed: cause unclear");
    }

    #[test]
    fn a_broker_that_ended_did_so_in_its_own_way() {
        let ended = |what| Finding {
            verdict: Verdict::BrokerOriginated,
            cause: Some(Cause::Shutdown),
            process_end: Some(Box::new(ProcessEnd {
                what,
                ..samples::process_end()
            })),
            ..samples::finding()
        };
        assert_eq!(
            ended(Ended::OutOfMemory).deed(),
            "was killed: out of memory"
        );
        let plain = deed(Verdict::BrokerOriginated, Some(Cause::Shutdown));
        assert_eq!(ended(Ended::Suspended).deed(), plain);
        for what in Ended::ALL {
            let finding = ended(*what);
            assert!(finding.culprit().as_str().len() + 1 + finding.deed().len() <= 44);
            // What ended this one is another thing.
            let other = Finding {
                cause: Some(Cause::IdleClose),
                ..finding
            };
            assert_eq!(other.deed(), deed(other.verdict, other.cause));
        }
    }

    #[test]
    fn every_headline_leaves_room_on_a_line() {
        for verdict in Verdict::ALL {
            for cause in Cause::ALL.iter().map(|it| Some(*it)).chain([None]) {
                let width = Culprit::of(*verdict).as_str().len() + 1 + deed(*verdict, cause).len();
                assert!(width <= 44, "{verdict} {cause:?}: {width}");
            }
        }
    }
}
