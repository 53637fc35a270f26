//! One sentence about an event, for receivers that show a line of it.

use std::net::SocketAddr;

use super::text::{
    probe::{Headline, Named},
    words::Lost,
};
use crate::{
    event::{Cause, Endpoint, Event, Finding, Incident},
    util::units::percent,
};

/// The sentence, without time and host, which receivers have.
pub(super) fn sentence(event: &Event) -> String {
    match event {
        Event::Start(start) => format!(
            "kreset-trace {} watches ports {} (packet evidence {})",
            start.version,
            start.ports.join(","),
            start.packet_evidence
        ),
        Event::Reset(finding) | Event::Close(finding) | Event::Timeout(finding) => {
            finding_sentence(finding)
        }
        Event::Alert(alert) => format!(
            "{} of {} {} with broker {}: {} events",
            alert.phase,
            alert.pattern,
            cause(alert.verdict.as_str(), alert.cause.map(Cause::as_str)),
            socket(alert.broker),
            alert.count,
        ),
        Event::Incident(incident) => incident_sentence(incident),
        Event::Correction(it) => format!(
            "corrected, it was {} {}: {}",
            cause(it.was.verdict.as_str(), it.was.cause.map(Cause::as_str)),
            percent(it.was.confidence),
            finding_sentence(&it.finding),
        ),
        Event::Loss(loss) => {
            format!("{}, {} since the start", Lost(loss), loss.total)
        }
        Event::Summary(summary) => {
            let events: u64 = summary.events.values().sum();
            format!("{events} events and {} lost since the start", summary.lost)
        }
        Event::Finding(pair) => pair.summary.to_string(),
        Event::Probe(probe) => format!(
            "{}: {}",
            Named(&probe.target, socket(probe.broker)),
            Headline(probe)
        ),
    }
}

fn incident_sentence(incident: &Incident) -> String {
    let Incident {
        phase,
        summary,
        advice,
        ..
    } = incident;
    if incident.begins() {
        format!("{phase} of an incident: {summary} -> {advice}")
    } else {
        format!("{phase} of an incident: {summary}")
    }
}

fn finding_sentence(finding: &Finding) -> String {
    let arrow = if finding.advice.is_empty() {
        ""
    } else {
        " -> "
    };
    format!("{}{arrow}{}", finding.summary, finding.advice)
}

fn cause(verdict: &str, cause: Option<&str>) -> String {
    cause.map_or_else(|| verdict.to_owned(), |cause| format!("{verdict}/{cause}"))
}

/// As IP:PORT.
pub(super) const fn socket(endpoint: Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.address, endpoint.port)
}
