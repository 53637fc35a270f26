//! Ends of connections that have one cause: one event when they are recognised, and one
//! when they are over.

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, SmolStrBuilder};

use super::{
    AgeKind, Cause, Culprit, Endpoint, Host, Id, Role, Source, Time, Verdict, socket,
    verdict::words,
};
use crate::util::{
    escape::Escaped,
    units::{count, precise, rough},
};

words! {
    /// What an incident is.
    IncidentKind {
        /// A broker, its process or its host ended.
        BrokerEnded = "broker_ended",
        /// A listener, or a worker of a proxy, closed its connections at once, and nothing
        /// shows that the broker ended.
        ListenerDrained = "listener_drained",
        /// A device reset or moved connections in use: it fails over, or its table was
        /// cleared.
        DeviceFailover = "device_failover",
        /// The idle timer of a device is at work.
        DeviceIdleTimer = "device_idle_timer",
        /// New connections are refused, and no end of the broker was seen.
        Refusals = "refusals",
        /// A broker accepts connections and drops them before any answer.
        TurnedAway = "turned_away",
        /// A broker does not answer, and its clients give up: it is suspended, overloaded, or
        /// does not accept their connections.
        Unresponsive = "unresponsive",
        /// One client fails to log in again and again.
        FailedLogins = "failed_logins",
        /// The TLS or first exchange of one client fails again and again.
        FailedHandshakes = "failed_handshakes",
    }
}

impl IncidentKind {
    /// The verdict that its connections have in common.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::BrokerEnded | Self::ListenerDrained | Self::Unresponsive => {
                Verdict::BrokerOriginated
            }
            Self::DeviceFailover => Verdict::MiddleboxReset,
            Self::DeviceIdleTimer => Verdict::MiddleboxIdleReset,
            Self::Refusals | Self::TurnedAway | Self::FailedLogins | Self::FailedHandshakes => {
                Verdict::HandshakePhase
            }
        }
    }

    /// Who is responsible, as the first word of text output.
    #[must_use]
    pub const fn culprit(self) -> Culprit {
        Culprit::of(self.verdict())
    }

    /// What the culprit did; follows the word of [`IncidentKind::culprit`].
    #[must_use]
    pub const fn deed(self) -> &'static str {
        match self {
            Self::BrokerEnded => "shut down or restarted",
            Self::ListenerDrained => "closed its connections at once",
            Self::DeviceFailover => "reset connections in use at once",
            Self::DeviceIdleTimer => "forgets idle connections",
            Self::Refusals => "refused",
            Self::TurnedAway => "dropped before any answer",
            Self::Unresponsive => "does not answer",
            Self::FailedLogins => "failed: authentication",
            Self::FailedHandshakes => "failed",
        }
    }

    /// What to do, in one sentence.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::BrokerEnded => {
                "Find out why the broker ended: a deploy, its log, the out-of-memory killer, the \
                 orchestrator."
            }
            Self::ListenerDrained => {
                "Find out who drained or reloaded the listener, the proxy or the broker: nothing shows \
                 that it ended."
            }
            Self::DeviceFailover => {
                "Look at the log of the devices on the path for a failover, a restart or a \
                 cleared table at this time."
            }
            Self::DeviceIdleTimer => {
                "Send keepalives more often than the device's timer, or close idle connections \
                 before it does: connections.max.idle.ms."
            }
            Self::Refusals => "Check that the broker runs and listens at this address and port.",
            Self::TurnedAway => {
                "Compare the broker's limits with its connections: max.connections, \
                 max.connections.per.ip, open files, and its accept queue."
            }
            Self::Unresponsive => {
                "Look for what keeps the broker from answering: a suspended process, a frozen \
                 container, a long pause, a full disk, connections that it does not accept \
                 (max.connections, open files)."
            }
            Self::FailedLogins => "Check this client's credentials and mechanism.",
            Self::FailedHandshakes => {
                "Check this client's security.protocol and certificates against the listener's."
            }
        }
    }
}

/// Ends of connections that have one cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Incident {
    /// Of `begin`: when the first connection ended. Of `end`: when it was found to be over.
    pub time: Time,
    /// Where it was seen.
    pub host: Host,
    /// Where its events come from.
    pub source: Source,
    /// What its events carry as `incident_id`: the `id` of its `begin`.
    pub incident_id: Id,
    /// `begin` or `end`.
    pub phase: SmolStr,
    /// What it is. `begin` says what it looks like; `end` has the last word.
    pub incident: IncidentKind,
    /// Who is responsible.
    pub verdict: Verdict,
    /// The cause that most of its events have; `null` where they have none.
    pub cause: Option<Cause>,
    /// One sentence: what happened to how many.
    pub summary: SmolStr,
    /// Which end of its connections this host is.
    pub role: Role,
    /// The brokers of its connections, at most 16.
    pub brokers: Vec<Endpoint>,
    /// Connections that ended, those without an event of their own included.
    pub ended: u64,
    /// New connections that were refused.
    pub refusals: u64,
    /// Different clients: by address and process on the clients' host, by address and
    /// `client.id` on the broker's; at most 1,024 are distinguished.
    pub clients: u64,
    /// When the first connection ended, or was refused.
    pub first: Time,
    /// When the last one was.
    pub last: Time,
    /// The shortest and the longest silence before the ends, ms; `null` where silence has
    /// nothing to do with it.
    pub idle_ms: Option<Spread>,
    /// How long the port refused; `null` where no refusal was seen.
    pub refused: Option<RefusedSpan>,
    /// The clients, at most 32, those that were met first.
    pub who: Vec<IncidentClient>,
    /// What the operator calls the hosts of these brokers and clients (`--hosts`); empty where
    /// none has a name.
    pub named_hosts: Vec<NamedHost>,
    /// How many clients were seen to connect again; `null` where this host does not see
    /// that: a broker's. A client's host sees it for 15 seconds after each refusal or RST.
    pub back: Option<u64>,
    /// After how long they did, ms from the first end of a connection of theirs.
    pub back_ms: Option<Spread>,
    /// The roll that the restart is part of; `null` for what is no broker's end.
    pub roll: Option<Roll>,
    /// What ended the broker, or keeps it from answering; `null` where that is not known.
    pub ended_by: Option<SmolStr>,
    /// The ids of its events that were written before it was recognised: they carry no
    /// `incident_id`.
    pub earlier: Vec<Id>,
    /// Of `end`: the run ended, or made room for others, before the incident was over.
    pub still_open: bool,
    /// One sentence: what to do.
    pub advice: SmolStr,
}

/// The least and the most of something.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

/// A time in which a port refused connections.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RefusedSpan {
    /// The last FIN or RST that ended a connection before, or the first refusal where there
    /// was none.
    pub since: Time,
    /// The next connection that was accepted, or on the broker's host the next socket that
    /// listened; `null` where none was seen.
    pub until: Option<Time>,
    /// Milliseconds between these, or to the last refusal.
    pub ms: f64,
    /// Whether `ms` is exact.
    pub ms_kind: AgeKind,
}

/// A client of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IncidentClient {
    /// Its address.
    pub address: IpAddr,
    /// Its `client.id`, or its program where it is on this host.
    pub name: Option<SmolStr>,
    /// Its process, where it is on this host.
    pub pid: Option<u32>,
    /// Milliseconds from the first end of a connection of its to its next connection; `null`
    /// where none was seen.
    pub back_after_ms: Option<f64>,
}

/// The name of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NamedHost {
    /// The address.
    pub address: IpAddr,
    /// Its name, from a file of the operator's.
    pub name: SmolStr,
}

/// Brokers of one cluster that end one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Roll {
    /// The `incident_id` of its first broker's end.
    pub id: Id,
    /// Which of its brokers this is, from 1. A roll of one is a single restart so far.
    pub number: u64,
}

impl Incident {
    /// Whether it begins, rather than ends.
    #[must_use]
    pub fn begins(&self) -> bool {
        self.phase == "begin"
    }

    /// The broker, where there is only one.
    #[must_use]
    pub fn broker(&self) -> Option<Endpoint> {
        match self.brokers.as_slice() {
            [broker] => Some(*broker),
            _ => None,
        }
    }

    /// What it came to, in clauses, the most telling first.
    #[must_use]
    pub fn facts(&self) -> Vec<String> {
        let mut facts = vec![self.counts()];
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact for 285,000 years of milliseconds"
        )]
        let span_ms = self.last.0.duration_since(self.first.0).as_millis() as f64;
        if span_ms >= 1_000.0 {
            facts.push(format!("within {}", rough(span_ms)));
        }
        if let Some(Spread { least, most }) = self.idle_ms {
            let (least, most) = (precise(least), precise(most));
            facts.push(if least == most {
                format!("idle for {least}")
            } else {
                format!("idle for {least} to {most}")
            });
        }
        if let Some(refused) = &self.refused {
            let more = match refused.ms_kind {
                AgeKind::Exact => "",
                AgeKind::AtLeast => "at least ",
            };
            facts.push(format!(
                "the port refused for {more}{}",
                precise(refused.ms)
            ));
        }
        if !self.begins() {
            facts.extend(self.came_back());
        }
        if let Some(roll) = self.roll.as_ref().filter(|roll| roll.number > 1) {
            facts.push(format!("number {} of a roll", roll.number));
        }
        if let Some(by) = &self.ended_by {
            facts.push(Escaped(by).to_string());
        }
        if self.still_open {
            facts.push("not over yet".to_owned());
        }
        facts
    }

    fn counts(&self) -> String {
        let mut parts = Vec::new();
        if self.ended > 0 {
            parts.push(count(self.ended, "connection"));
        }
        if self.refusals > 0 {
            parts.push(count(self.refusals, "refusal"));
        }
        format!(
            "{} of {}",
            parts.join(" and "),
            count(self.clients, "client")
        )
    }

    fn came_back(&self) -> Option<String> {
        let back = self.back?;
        let missing = self.clients.saturating_sub(back);
        let most = self.back_ms.map_or(0.0, |it| it.most);
        let after = format!("{} back within {}", count(back, "client"), precise(most));
        Some(match (back, missing) {
            (0, missing) => format!("{} not seen again", count(missing, "client")),
            (_, 0) => after,
            (_, missing) => format!("{after}, {missing} not seen again"),
        })
    }

    /// [`Incident::summary`], from the rest.
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
            self.incident.culprit().subject(),
            self.incident.deed(),
            self.brokers()
        )?;
        if let Some(client) = self.one_client() {
            write!(out, ", client {client}")?;
        }
        write!(out, "): {}", self.facts().join("; "))
    }

    /// The client, where the incident is about one alone.
    #[must_use]
    pub(crate) fn one_client(&self) -> Option<OneClient<'_>> {
        match self.who.as_slice() {
            [client] if self.incident.is_of_one_client() => Some(OneClient {
                client,
                host: self.host_of(client.address),
            }),
            _ => None,
        }
    }

    /// What the operator calls the host of an address.
    #[must_use]
    pub fn host_of(&self, address: IpAddr) -> Option<&str> {
        let named = self.named_hosts.iter().find(|it| it.address == address);
        named.map(|it| it.name.as_str())
    }

    /// A broker by its host's name, else its address, and its port.
    #[must_use]
    pub fn socket_of(&self, broker: Endpoint) -> String {
        socket(self.host_of(broker.address), broker)
    }

    /// The one broker, or how many there are.
    pub(crate) fn brokers(&self) -> String {
        match self.brokers.as_slice() {
            [broker] => format!("broker {}", self.socket_of(*broker)),
            brokers => count(brokers.len() as u64, "broker"),
        }
    }
}

impl IncidentKind {
    /// It is about one client, whatever the broker.
    #[must_use]
    pub const fn is_of_one_client(self) -> bool {
        matches!(self, Self::FailedLogins | Self::FailedHandshakes)
    }
}

/// The client of an incident that is about one, and what the operator calls its host.
pub(crate) struct OneClient<'a> {
    client: &'a IncidentClient,
    host: Option<&'a str>,
}

impl fmt::Display for OneClient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Some(name) => write!(f, "{}", Escaped(name))?,
            None => write!(f, "{}", self.client.address)?,
        }
        match (&self.client.name, self.client.pid) {
            (Some(name), Some(pid)) => write!(f, " {} pid {pid}", Escaped(name)),
            (Some(name), None) => write!(f, " {}", Escaped(name)),
            (None, Some(pid)) => write!(f, " pid {pid}"),
            (None, None) => Ok(()),
        }
    }
}
