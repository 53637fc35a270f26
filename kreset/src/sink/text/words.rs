//! What a finding says, in the words of its block.

use std::fmt;

use super::fold::Fold;
use crate::{
    event::{Cause, Finding, Loss, Path, ProvokedBy, Role},
    util::{
        escape::Escaped,
        units::{count, percent, precise, rough},
    },
};

/// Whose connection to whom.
pub(super) fn ends(finding: &Finding, fold: &Fold, with_netns: bool) -> String {
    let broker = super::socket(finding.broker);
    let clients = fold.clients();
    let whose = if clients > 1 {
        format!("{clients} clients, last {}", super::socket(finding.client))
    } else if fold.count > 1 {
        finding.client.address.to_string()
    } else {
        super::socket(finding.client).to_string()
    };
    let here = owner(finding, with_netns);
    match finding.role {
        Role::Client => format!("{whose}{here} -> broker {broker}"),
        Role::Broker => format!("{whose} -> broker {broker}{here}"),
    }
}

/// The owner of this host's socket, in brackets, with a space before them.
fn owner(finding: &Finding, with_netns: bool) -> String {
    let process = &finding.process;
    let mut facts: Vec<String> = Vec::new();
    facts.extend(process.name.as_ref().map(ToString::to_string));
    if let Some(pod) = process.pod_name.as_ref().or(process.pod_uid.as_ref()) {
        let namespace = process.pod_namespace.as_ref();
        facts.push(match namespace {
            Some(namespace) => format!("pod {namespace}/{pod}"),
            None => format!("pod {pod}"),
        });
    } else if let Some(id) = &process.container_id {
        facts.push(format!("container {}", id.get(..12).unwrap_or(id)));
    } else if let Some(unit) = &process.systemd_unit {
        facts.push(unit.to_string());
    } else if let Some(pid) = process.pid {
        facts.push(format!("pid {pid}"));
    }
    if let Some(netns) = process.netns.filter(|_| with_netns) {
        facts.push(format!("netns {netns}"));
    }
    if facts.is_empty() {
        return String::new();
    }
    format!(" ({})", Escaped(&facts.join(", ")))
}

/// What was measured, as far as it bears on the cause.
pub(super) fn facts(finding: &Finding, fold: &Fold) -> String {
    let mut facts = Vec::new();
    if finding.cause.is_none() {
        let shares: Vec<_> = finding
            .candidates
            .iter()
            .map(|it| format!("{} {}", it.verdict, percent(it.share)))
            .collect();
        facts.push(shares.join(", "));
    }
    let is_of_idle = matches!(
        finding.cause,
        Some(Cause::ResetOnSend | Cause::ResetOnTimer | Cause::Blackholed | Cause::IdleClose)
    );
    // Of repeats that have nothing to do with silence it says nothing.
    let idle_ms = fold.idle_ms.filter(|_| is_of_idle || fold.count == 1);
    if let Some((low, high)) = idle_ms {
        let (low, high) = (precise(low), precise(high));
        facts.push(if low == high {
            format!("idle {low}")
        } else {
            format!("idle {low} to {high}")
        });
    }
    if is_of_idle {
        facts.extend(silences(&finding.path));
    } else if let (Some(age), 1) = (finding.connection.age_ms, fold.count) {
        facts.push(format!("age {}", rough(age)));
    }
    if let Some(reason) = &finding.reset.kernel_reason {
        facts.push(format!("kernel: {}", Escaped(reason)));
    }
    if finding.connection.provoked_by == Some(ProvokedBy::Close) {
        facts.push("only answered this host's close".to_owned());
    }
    facts.join("; ")
}

/// The silences that a path has come through and died of.
pub(super) fn silences(path: &Path) -> Vec<String> {
    let mut facts = Vec::new();
    let (survived, fatal) = (path.survived_idle_ms, path.fatal_idle_ms);
    facts.extend(match (survived.map(precise), fatal.map(precise)) {
        (Some(survived), Some(fatal)) => Some(format!("the path survived {survived}, not {fatal}")),
        (Some(survived), None) => Some(format!("the path survived {survived}")),
        (None, Some(fatal)) => Some(format!("the path died after {fatal}")),
        (None, None) => None,
    });
    if !path.devices.is_empty() {
        facts.push(format!("fits {}", Escaped(&path.devices.join(", "))));
    }
    facts
}

/// What was lost and where, in one clause.
pub(in crate::sink) struct Lost<'a>(pub(in crate::sink) &'a Loss);

impl fmt::Display for Lost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = self.0.lost;
        match self.0.source.as_str() {
            "kernel_skipped" => write!(f, "up to {} skipped by the kernel", count(lost, "call")),
            "kernel_untracked" => {
                write!(
                    f,
                    "{} not remembered in the kernel",
                    count(lost, "connection")
                )
            }
            source => write!(f, "{} lost in {}", count(lost, "record"), Escaped(source)),
        }
    }
}
