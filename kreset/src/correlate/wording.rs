//! A finding of two hosts in a sentence that names its proof.

use std::fmt::{self, Write as _};

use smol_str::SmolStr;

use super::line::Ended;
use crate::{
    event::{Culprit, Missing, PairFinding, PairHost, PairProof, Role, Saw, SentBy, deed},
    util::{
        escape::Escaped,
        units::{percent, precise},
    },
};

/// Bytes that a sentence seldom exceeds.
const USUAL: usize = 512;

/// [`PairFinding::summary`], from the rest.
pub(super) fn sentence(finding: &PairFinding) -> SmolStr {
    let mut out = String::with_capacity(USUAL);
    // Writing to memory does not fail.
    let _written = write_sentence(finding, &mut out);
    out.into()
}

fn write_sentence(it: &PairFinding, out: &mut String) -> fmt::Result {
    out.push_str(Culprit::of(it.verdict).subject());
    out.push(' ');
    out.push_str(deed(it.verdict, it.cause));
    if let Some(idle_ms) = it.wire_idle_ms.filter(|_| it.verdict.is_idle()) {
        out.push_str(" after ");
        out.push_str(&precise(idle_ms));
    }
    match (&it.conflict, it.proof) {
        (Some(conflict), _) => write!(out, ", unproven: {conflict}")?,
        (None, proof) => {
            out.push_str(match proof {
                PairProof::OneHost => ", unproven (",
                _ => ", proven (",
            });
            out.push_str(&percent(it.confidence));
            out.push_str(" sure)");
        }
    }
    for (role, host) in [
        (Role::Client, &it.client_host),
        (Role::Broker, &it.broker_host),
    ] {
        if let Some(host) = host {
            out.push_str("; ");
            write_host(it, role, host, out)?;
        }
    }
    for (at, missing) in it.missing.iter().enumerate() {
        out.push_str(if at == 0 { "; missing: " } else { ", " });
        out.push_str(explain(*missing));
    }
    if it.kreset_probe.is_some() {
        out.push_str("; a connection of kreset-trace probe");
    }
    Ok(())
}

/// `broker-1 sent none, watching from 14:22:00.000Z to 14:22:10.000Z`
fn write_host(it: &PairFinding, role: Role, host: &PairHost, out: &mut String) -> fmt::Result {
    write!(out, "{}", Escaped(&host.name))?;
    out.push_str(match role {
        Role::Client => " (client) ",
        Role::Broker => " (broker) ",
    });
    out.push_str(match host.saw {
        Saw::Received => "received a RST",
        Saw::Sent => "sent a RST",
        Saw::Timeout => "gave up unanswered",
        Saw::Closed => "saw it closed by FIN",
        Saw::Nothing => "sent no RST and received none",
    });
    if let Some(time) = host.time {
        out.push_str(" at ");
        out.push_str(&time.text(3));
    }
    if let Some(reason) = &host.kernel_reason {
        write!(out, " ({})", Escaped(reason))?;
    }
    if let (Some(from), Some(until)) = (host.watched_from, host.watched_until)
        && is_absence_proof(it, role)
    {
        out.push_str(", watching without loss from ");
        out.push_str(&from.text(3));
        out.push_str(" to ");
        out.push_str(&until.text(3));
    }
    let (client, broker) = (host.client, host.broker);
    if let Some((client, broker)) = client.zip(broker)
        && (client, broker) != (it.client, it.broker)
    {
        write!(
            out,
            ", where NAT makes it {}:{} to {}:{}",
            client.address, client.port, broker.address, broker.port
        )?;
    }
    Ok(())
}

/// The finding rests on what the host at `role` did not report.
fn is_absence_proof(it: &PairFinding, role: Role) -> bool {
    let host = match role {
        Role::Client => &it.client_host,
        Role::Broker => &it.broker_host,
    };
    let saw = host.as_ref().map(|host| host.saw);
    match it.proof {
        PairProof::NobodySent => saw != Some(Saw::Received),
        PairProof::BothReceived => true,
        PairProof::SenderSeen => saw == Some(Saw::Nothing),
        PairProof::OneHost => false,
    }
}

/// What is missing, for people.
pub(super) const fn explain(missing: Missing) -> &'static str {
    match missing {
        Missing::NoAgent => "an agent on the other host",
        Missing::NotAttachedYet => "its agent had not started yet",
        Missing::Ended => "its agent had ended, or its summary has not come",
        Missing::Lost => "its agent lost records at that time",
        Missing::Unshown => "its agent left events out at that time (run it with --all)",
        Missing::Degraded => "its kernel does not show every RST that it sends",
        Missing::Port => "its agent does not trace that port",
        Missing::Address => "a host that alone has that address",
        Missing::ConnectionUnknown => "a path that no proxy ends",
        Missing::AnotherReset => "it sent another RST than the one that came",
        Missing::Ambiguous => "several of its events fit",
        Missing::Late => "the event came too late to be joined (raise --window)",
    }
}

/// One sentence: what to change. That of the host whose verdict it is, where one named it.
pub(super) fn advice(finding: &PairFinding, ends: &[Option<&Ended>; 2]) -> SmolStr {
    let named = |it: &&Ended| (it.verdict, it.cause) == (finding.verdict, finding.cause);
    if let Some(ended) = ends.iter().copied().flatten().find(named) {
        return ended.advice.clone();
    }
    match (finding.sent_by, finding.conflict.is_some()) {
        (_, true) => "Compare packet captures of both hosts.".into(),
        (Some(SentBy::Device), _) => {
            "Take this to whoever runs the network between the two hosts: \
                                      something between them made the RST."
                .into()
        }
        _ => SmolStr::default(),
    }
}
