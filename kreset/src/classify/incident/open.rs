//! An incident that has been recognised.

use smol_str::SmolStr;

use super::{
    AT_ONCE_NS, ATTEMPTS_NS, End, IDLE_NS, Place, SECOND_NS,
    clients::{Client, ClientHash, Clients},
    end::Key,
    outage::Outages,
    rolls::InRoll,
};
use crate::{
    classify::class::Class,
    event::{Cause, IncidentKind, Role, Verdict},
};

/// Brokers listed.
pub(super) const BROKERS: usize = 16;
/// A broker that accepts again has clients that come back, and some that are late.
const BACK_NS: u64 = AT_ONCE_NS;
/// What comes at intervals is over after so many of the longest of them.
const GAPS: u64 = 3;

#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) number: u64,
    pub(super) key: Key,
    pub(super) kind: IncidentKind,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    pub(super) clients: Clients,
    pub(super) places: Vec<Place>,
    pub(super) roll: Option<InRoll>,
    pub(super) earlier: Vec<u64>,
    pub(super) is_announced: bool,
    role: Role,
    connections: u64,
    refusals: u64,
    silence_ms: Option<(f64, f64)>,
    /// Events of each class.
    classes: [u64; Class::ALL.len()],
    longest_gap_ns: u64,
    ended_by: Option<SmolStr>,
}

/// What is known of an incident at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Its number.
    pub number: u64,
    /// Whether it is over, rather than just recognised.
    pub is_end: bool,
    /// What it is.
    pub kind: IncidentKind,
    /// The end that this host is.
    pub role: Role,
    /// Who is responsible.
    pub verdict: Verdict,
    /// The cause that most of its events have.
    pub cause: Option<Cause>,
    /// The first brokers.
    pub places: Vec<Place>,
    /// Connections that ended.
    pub connections: u64,
    /// Connections that were refused.
    pub refusals: u64,
    /// Different clients.
    pub clients: usize,
    /// The first clients, each with how long it took to come back, ns.
    pub who: Vec<(Client, Option<u64>)>,
    /// How many came back, and the shortest and the longest time that it took, ns; `None`
    /// where this host does not see that.
    pub back: Option<(usize, Option<(u64, u64)>)>,
    /// When the first connection ended; monotonic ns.
    pub first_ns: u64,
    /// When the last one did.
    pub last_ns: u64,
    /// The shortest and the longest silence before an end, ms.
    pub silence_ms: Option<(f64, f64)>,
    /// When the port began to refuse, for how long it did, and whether it was seen to accept
    /// again; ns.
    pub refused: Option<(u64, u64, bool)>,
    /// The roll that it is part of.
    pub roll: Option<InRoll>,
    /// What ended the broker's process, or kept it from answering, in a sentence without its full
    /// stop; `None` where this host did not see that.
    pub ended_by: Option<SmolStr>,
    /// The numbers of the events that made it an incident.
    pub earlier: Vec<u64>,
    /// It is not over, but is not followed any longer.
    pub still_open: bool,
}

impl Open {
    pub(super) fn new(number: u64, key: Key, kind: IncidentKind) -> Self {
        Self {
            number,
            key,
            kind,
            first_ns: u64::MAX,
            last_ns: 0,
            clients: Clients::default(),
            places: Vec::new(),
            roll: None,
            earlier: Vec::new(),
            is_announced: false,
            role: Role::Client,
            connections: 0,
            refusals: 0,
            silence_ms: None,
            classes: [0; Class::ALL.len()],
            longest_gap_ns: 0,
            ended_by: None,
        }
    }

    /// The same incident, as more is known of it.
    pub(super) fn turned_into(self, key: Key, kind: IncidentKind) -> Self {
        Self { key, kind, ..self }
    }

    pub(super) fn add(&mut self, end: &End, hash: ClientHash) {
        if self.last_ns > 0 {
            let gap_ns = end.at_ns.saturating_sub(self.last_ns);
            self.longest_gap_ns = self.longest_gap_ns.max(gap_ns);
        }
        self.turn(end);
        self.first_ns = self.first_ns.min(end.at_ns);
        self.last_ns = self.last_ns.max(end.at_ns);
        if end.is_refusal {
            self.refusals += 1;
        } else if !end.is_again {
            self.connections += 1;
        }
        if let Some(slot) = end
            .class
            .and_then(|class| self.classes.get_mut(class as usize))
        {
            *slot += 1;
        }
        if let Some(ms) = end.silence_ms {
            let (least, most) = self.silence_ms.unwrap_or((ms, ms));
            self.silence_ms = Some((least.min(ms), most.max(ms)));
        }
        if end.role == Role::Broker {
            self.role = Role::Broker;
        }
        // The latest knows most: what asked it to end came first.
        if let Some(by) = &end.ended_by {
            self.ended_by = Some(by.clone());
        }
        if self.places.len() < BROKERS && !self.places.contains(&end.place) {
            self.places.push(end.place);
        }
        self.clients.add(hash, &end.client, end.at_ns);
    }

    /// What is known now may show that it is something else.
    const fn turn(&mut self, end: &End) {
        let is_near = end.at_ns.abs_diff(self.first_ns) <= AT_ONCE_NS;
        match self.kind {
            // The FIN that went before is judged later.
            IncidentKind::Refusals if !end.is_refusal && end.may_begin() && is_near => {
                self.kind = IncidentKind::BrokerEnded;
            }
            IncidentKind::ListenerDrained if end.is_refusal => {
                self.kind = IncidentKind::BrokerEnded;
            }
            _ => {}
        }
    }

    pub(super) fn is_over(&self, outages: &Outages, now_ns: u64) -> bool {
        let accepted_ns = self.outage(outages).and_then(|it| it.accepted_ns);
        let quiet_ns = match self.kind {
            IncidentKind::BrokerEnded | IncidentKind::Refusals if accepted_ns.is_some() => BACK_NS,
            IncidentKind::BrokerEnded | IncidentKind::Refusals => ATTEMPTS_NS,
            IncidentKind::ListenerDrained | IncidentKind::DeviceFailover => BACK_NS,
            IncidentKind::DeviceIdleTimer
            | IncidentKind::TurnedAway
            | IncidentKind::Unresponsive
            | IncidentKind::FailedLogins
            | IncidentKind::FailedHandshakes => {
                let gaps_ns = self.longest_gap_ns.saturating_mul(GAPS);
                gaps_ns.clamp(60 * SECOND_NS, IDLE_NS)
            }
        };
        let latest_ns = self.last_ns.max(accepted_ns.unwrap_or(0));
        now_ns.saturating_sub(latest_ns) > quiet_ns
    }

    fn outage(&self, outages: &Outages) -> Option<super::outage::Outage> {
        let Key::Broker(place) = &self.key else {
            return None;
        };
        // One that was over before this began is another's.
        let outage = outages.of(*place)?;
        let began_ns = self.first_ns.saturating_sub(AT_ONCE_NS);
        (outage.first_ns? >= began_ns).then_some(outage)
    }

    /// What most of its connections were judged to be; refusals only follow, where anything
    /// went before.
    fn class(&self) -> Option<Class> {
        let classes = Class::ALL.iter().zip(self.classes);
        let counted = classes.filter(|(class, count)| {
            *count > 0 && (**class != Class::Refused || self.kind == IncidentKind::Refusals)
        });
        counted
            .max_by_key(|(_, count)| *count)
            .map(|(class, _)| *class)
    }

    pub(super) fn snapshot(&self, outages: &Outages, still_open: bool) -> Snapshot {
        let class = self.class();
        let outage = self.outage(outages);
        Snapshot {
            number: self.number,
            is_end: false,
            kind: self.kind,
            role: self.role,
            // Devices that drop do nothing else.
            verdict: match (self.kind, class) {
                (IncidentKind::DeviceIdleTimer, Some(class)) => class.verdict(),
                (kind, _) => kind.verdict(),
            },
            cause: class.map(Class::cause),
            places: self.places.clone(),
            connections: self.connections,
            refusals: self.refusals,
            clients: self.clients.len(),
            who: self
                .clients
                .listed()
                .map(|(client, after_ns)| (client.clone(), after_ns))
                .collect(),
            back: (self.role == Role::Client).then(|| self.clients.returns()),
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            silence_ms: self
                .silence_ms
                .filter(|_| self.kind == IncidentKind::DeviceIdleTimer),
            refused: outage.and_then(|outage| {
                let (since, ns) = outage.span()?;
                Some((since, ns, outage.accepted_ns.is_some()))
            }),
            roll: self.roll,
            ended_by: self.ended_by.clone(),
            earlier: self.earlier.clone(),
            still_open,
        }
    }
}
