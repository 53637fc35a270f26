//! What happened, in a clause.

use std::fmt;

use super::Count;
use crate::{
    event::{Cause, Finding, Loss, Path, ProvokedBy, Verdict, is_unclear},
    util::{
        escape::Escaped,
        units::{percent, precise},
    },
};

/// Below this confidence a cause is not stated as a fact.
const LIKELY: f64 = 0.7;

/// What a finding says, in one clause.
pub(in crate::sink) struct What<'a>(pub(in crate::sink) &'a Finding);

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finding = self.0;
        if let Some(cause) = finding.cause {
            if is_unclear(finding.verdict, finding.confidence) {
                f.write_str("the first exchange failed; its cause is unclear")?;
            } else {
                if finding.confidence < LIKELY {
                    f.write_str("probably: ")?;
                }
                f.write_str(clause(finding.verdict, cause))?;
            }
        } else {
            f.write_str("cannot tell")?;
            for (i, candidate) in finding.candidates.iter().enumerate() {
                let before = if i == 0 { ": " } else { ", " };
                write!(
                    f,
                    "{before}{} {}",
                    candidate.verdict,
                    percent(candidate.share)
                )?;
            }
        }
        if let Some(reason) = &finding.reset.kernel_reason {
            write!(f, " ({})", Escaped(reason))?;
        }
        if finding.connection.provoked_by == Some(ProvokedBy::Close) {
            f.write_str("; it only answered our close")?;
        }
        match (&finding.process.name, finding.process.pid) {
            (Some(name), Some(pid)) => write!(f, " [{} {pid}]", Escaped(name)),
            (Some(name), None) => write!(f, " [{}]", Escaped(name)),
            (None, Some(pid)) => write!(f, " [pid {pid}]"),
            (None, None) => Ok(()),
        }
    }
}

/// What was lost and where, in one clause.
pub(in crate::sink) struct Lost<'a>(pub(in crate::sink) &'a Loss);

impl fmt::Display for Lost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = self.0.lost;
        match self.0.source.as_str() {
            "kernel_skipped" => write!(f, "up to {} skipped by the kernel", Count(lost, "call")),
            "kernel_untracked" => {
                write!(
                    f,
                    "{} not remembered in the kernel",
                    Count(lost, "connection")
                )
            }
            source => write!(f, "{} lost in {}", Count(lost, "record"), Escaped(source)),
        }
    }
}

const fn clause(verdict: Verdict, cause: Cause) -> &'static str {
    match cause {
        Cause::ResetOnSend => "a device between had forgotten the idle flow and reset it on use",
        Cause::ResetOnTimer => "a device between reset the flow when its idle timer ran out",
        Cause::Rebound => "the flow came back changed after a silence: its sender never had it",
        Cause::Blackholed => "a device between had forgotten the idle flow and drops its packets",
        Cause::NotIdle => "a device between reset a flow that was in use",
        Cause::Moved => "the flow in use was moved: the RST's sender never had it",
        Cause::IdleClose => "the broker had closed the idle connection; a late write drew the RST",
        Cause::Shutdown => "the broker ended, or closed many connections at once",
        Cause::Closed => "the broker closed this connection and goes on; a late write drew the RST",
        Cause::ConnectionLost => match verdict {
            Verdict::ClientOriginated => {
                "the client's host no longer knows the connection: restarted, crashed or moved"
            }
            _ => "the broker's host no longer knows the connection: restarted, crashed or moved",
        },
        Cause::Aborted => match verdict {
            Verdict::BrokerOriginated => "the broker's live socket aborted it",
            Verdict::ClientOriginated => "the client's live socket aborted it",
            _ => "a live socket aborted it",
        },
        Cause::Refused => "nothing listens there: refused, not reset",
        Cause::PlaintextToTls => "a client without TLS spoke to a TLS listener",
        Cause::TlsToPlaintext => "a TLS client spoke to a listener without TLS",
        Cause::NotKafka => "the client does not speak Kafka",
        Cause::TlsAlert => "the TLS handshake failed",
        Cause::Authentication => "the SASL exchange failed",
        Cause::ClosedByBroker => "accepted, then dropped before any answer",
        Cause::Probe => "opened and reset before a byte went either way",
        Cause::LateData => "the client had closed; data still under way met no socket",
    }
}

/// The silences a path has come through and died of.
pub(super) struct Silences<'a>(pub(super) &'a Path);

impl fmt::Display for Silences<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(survived) = self.0.survived_idle_ms {
            write!(f, "; survived {} of silence", precise(survived))?;
        }
        if let Some(fatal) = self.0.fatal_idle_ms {
            write!(f, "; died after {}", precise(fatal))?;
        }
        if !self.0.devices.is_empty() {
            write!(f, "; fits {}", Escaped(&self.0.devices.join(", ")))?;
        }
        Ok(())
    }
}
