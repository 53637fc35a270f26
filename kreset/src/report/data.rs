//! What a report keeps of events: little of each, as there may be a million.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    hash::{BuildHasher as _, RandomState},
};

use jiff::Timestamp;

use super::line::Line;
use crate::event::{Cause, Verdict};

/// Texts by number: most repeat.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<String, u32>,
    all: Vec<String>,
}

impl Names {
    pub(super) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.numbers.insert(name.to_owned(), number);
        self.all.push(name.to_owned());
        number
    }

    pub(super) fn name(&self, number: u32) -> &str {
        usize::try_from(number)
            .ok()
            .and_then(|number| self.all.get(number))
            .map_or("", String::as_str)
    }
}

/// A verdict and its cause.
pub(super) type Class = (Verdict, Option<Cause>);

/// One finding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Seconds since the Unix epoch.
    pub(super) second: i64,
    pub(super) class: Class,
    pub(super) host: u32,
    /// The client's address.
    pub(super) client: u32,
    pub(super) client_port: u16,
    /// The broker's address and port.
    pub(super) broker: u32,
    pub(super) path: u32,
    pub(super) advice: u32,
    pub(super) confidence: f32,
    /// NaN where unknown, as the next.
    pub(super) idle_ms: f32,
    pub(super) age_ms: f32,
}

/// What is known of one path.
#[derive(Clone, Debug, Default)]
pub(super) struct PathRow {
    pub(super) survived_ms: Option<f64>,
    pub(super) fatal_ms: Option<f64>,
    pub(super) devices: BTreeSet<String>,
    /// The fatal silences, as many as are kept.
    pub(super) deaths_ms: Vec<f32>,
    pub(super) deaths: u64,
}

/// Fatal silences kept of a path.
const DEATHS: usize = 200;
/// Findings that may still be corrected: a correction follows within seconds.
const LATEST: usize = 65_536;
/// Events of one class that may be shown in full.
const TELLING: usize = 3;

/// An alert.
#[derive(Clone, Debug)]
pub(super) struct AlertRow {
    pub(super) second: i64,
    pub(super) host: u32,
    pub(super) phase: String,
    pub(super) pattern: String,
    pub(super) broker: u32,
    pub(super) class: Class,
    pub(super) count: u64,
}

/// An incident, as it was said last.
#[derive(Clone, Debug)]
pub(super) struct IncidentRow {
    pub(super) second: i64,
    pub(super) host: u32,
    pub(super) is_over: bool,
    pub(super) kind: String,
    pub(super) summary: String,
}

/// What a host covered.
#[derive(Clone, Debug, Default)]
pub(super) struct HostRow {
    pub(super) findings: u64,
    pub(super) lost: BTreeMap<String, u64>,
    pub(super) observed_ms: u64,
    pub(super) evidence: BTreeSet<String>,
    pub(super) sources: BTreeSet<String>,
}

/// Everything that a report rests on.
#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) names: Names,
    pub(super) rows: Vec<Row>,
    pub(super) paths: BTreeMap<u32, PathRow>,
    pub(super) alerts: Vec<AlertRow>,
    /// By their ids.
    pub(super) incidents: HashMap<String, IncidentRow>,
    pub(super) hosts: BTreeMap<u32, HostRow>,
    pub(super) noise: BTreeMap<String, u64>,
    /// What did not work, and on which hosts.
    pub(super) degraded: BTreeMap<(String, String, String), BTreeSet<u32>>,
    /// Other types of events.
    pub(super) others: BTreeMap<String, u64>,
    /// Lines that are no events.
    pub(super) unreadable: u64,
    /// Candidates for the events that are shown in full, by class.
    pub(super) telling: HashMap<Class, Vec<(f64, String)>>,
    /// Events that were there already.
    pub(super) repeats: u64,
    ids: HashSet<u64>,
    /// The latest findings, by the hash of their id, and where their rows are.
    latest: VecDeque<(u64, usize)>,
    hash: RandomState,
}

impl Data {
    /// Takes one line of JSON.
    pub(super) fn take(&mut self, text: &str) {
        let Ok(line) = serde_json::from_str::<Line<'_>>(text) else {
            self.unreadable += 1;
            return;
        };
        // Delivery is at least once: an event may be there twice.
        if let Some(id) = &line.id
            && !self.ids.insert(self.hash.hash_one(&**id))
        {
            self.repeats += 1;
            return;
        }
        let host = line.host.as_ref().map_or("unknown", |host| &*host.name);
        let host = self.names.number(host);
        let second = line.time.as_deref().and_then(second);
        if line.is_finding() {
            if let Some(second) = second {
                self.finding(&line, text, host, second);
            } else {
                self.unreadable += 1;
            }
            return;
        }
        match &*line.kind {
            "start" => {
                let row = self.hosts.entry(host).or_default();
                row.evidence
                    .extend(line.packet_evidence.iter().map(ToString::to_string));
                for it in &line.degraded {
                    let what = (
                        it.feature.to_string(),
                        it.reason.to_string(),
                        it.remedy.to_string(),
                    );
                    self.degraded.entry(what).or_default().insert(host);
                }
            }
            "loss" => {
                let source = line.source.as_deref().unwrap_or("unknown").to_owned();
                let row = self.hosts.entry(host).or_default();
                *row.lost.entry(source).or_default() += line.lost.unwrap_or(0);
            }
            "summary" => {
                if line.end == Some(true) {
                    let row = self.hosts.entry(host).or_default();
                    row.observed_ms += line.duration_ms.unwrap_or(0);
                }
            }
            "alert" => {
                let class = class(&line);
                if let (Some(second), Some(broker), Some(class)) = (second, &line.broker, class) {
                    let broker = format!("{}:{}", braced(&broker.address), broker.port);
                    self.alerts.push(AlertRow {
                        second,
                        host,
                        phase: line.phase.as_deref().unwrap_or_default().to_owned(),
                        pattern: line.pattern.as_deref().unwrap_or_default().to_owned(),
                        broker: self.names.number(&broker),
                        class,
                        count: line.count.unwrap_or(0),
                    });
                }
            }
            "incident" => self.incident(&line, host, second),
            "correction" if self.correct(&line) => {}
            other => *self.others.entry(other.to_owned()).or_default() += 1,
        }
    }

    /// What its end says takes the place of what its beginning said.
    fn incident(&mut self, line: &Line<'_>, host: u32, second: Option<i64>) {
        let (Some(id), Some(kind), Some(second)) = (&line.incident_id, &line.incident, second)
        else {
            self.unreadable += 1;
            return;
        };
        let is_over = line.phase.as_deref() == Some("end");
        let before = self.incidents.get(&**id);
        let row = IncidentRow {
            second: before.map_or(second, |before| before.second.min(second)),
            host,
            is_over,
            kind: kind.to_string(),
            summary: line.summary.as_deref().unwrap_or_default().to_owned(),
        };
        if is_over || before.is_none() {
            self.incidents.insert(id.to_string(), row);
        }
    }

    fn finding(&mut self, line: &Line<'_>, text: &str, host: u32, second: i64) {
        let (Some(class), Some(client), Some(broker)) = (class(line), &line.client, &line.broker)
        else {
            self.unreadable += 1;
            return;
        };
        if let Some(noise) = noise(line, class) {
            *self.noise.entry(noise.to_owned()).or_default() += 1;
            return;
        }
        let connection = line.connection.as_ref();
        let idle = connection.and_then(|it| it.wire_idle_ms.or(it.idle_ms));
        let broker_name = format!("{}:{}", braced(&broker.address), broker.port);
        let is_client = line.role.as_deref() == Some("client");
        let path = if is_client {
            format!("{} to {broker_name}", self.names.name(host))
        } else {
            format!("{} to {broker_name}", client.address)
        };
        let path = self.names.number(&path);
        let confidence = line.confidence.unwrap_or(0.0);
        #[expect(clippy::cast_possible_truncation, reason = "enough for a plot")]
        let short = |value: Option<f64>| value.map_or(f32::NAN, |value| value as f32);
        let row = Row {
            second,
            class,
            host,
            client: self.names.number(&client.address),
            client_port: client.port,
            broker: self.names.number(&broker_name),
            path,
            advice: self
                .names
                .number(line.advice.as_deref().unwrap_or_default()),
            confidence: short(Some(confidence)),
            idle_ms: short(idle),
            age_ms: short(connection.and_then(|it| it.age_ms)),
        };
        self.rows.push(row);
        self.remember(line);
        let host = self.hosts.entry(host).or_default();
        host.findings += 1;
        host.sources
            .extend(line.source.iter().map(ToString::to_string));
        if let Some(known) = &line.path {
            self.path(path, known, class, row.idle_ms);
        }
        let telling = self.telling.entry(class).or_default();
        if telling.len() < TELLING || telling.iter().any(|(least, _)| *least < confidence) {
            telling.push((confidence, text.to_owned()));
            telling.sort_by(|a, b| b.0.total_cmp(&a.0));
            telling.truncate(TELLING);
        }
    }

    /// The row of `line` is the last one.
    fn remember(&mut self, line: &Line<'_>) {
        if let (Some(id), Some(row)) = (&line.id, self.rows.len().checked_sub(1)) {
            if self.latest.len() == LATEST {
                self.latest.pop_front();
            }
            self.latest.push_back((self.hash.hash_one(&**id), row));
        }
    }

    /// Puts what is said now of an event in the place of what was said before; `false` where
    /// that event is not known.
    fn correct(&mut self, line: &Line<'_>) -> bool {
        let (Some(id), Some(class)) = (&line.corrects, class(line)) else {
            return false;
        };
        let hash = self.hash.hash_one(&**id);
        let known = self.latest.iter().rev().find(|(it, _)| *it == hash);
        let advice = line.advice.as_deref().unwrap_or_default();
        let advice = self.names.number(advice);
        let Some(row) = known.and_then(|(_, row)| self.rows.get_mut(*row)) else {
            return false;
        };
        #[expect(clippy::cast_possible_truncation, reason = "enough for a plot")]
        let confidence = line.confidence.unwrap_or(0.0) as f32;
        (row.class, row.advice, row.confidence) = (class, advice, confidence);
        true
    }

    fn path(&mut self, path: u32, known: &super::line::Path<'_>, class: Class, idle_ms: f32) {
        let row = self.paths.entry(path).or_default();
        if let Some(ms) = known.survived_idle_ms {
            row.survived_ms = Some(row.survived_ms.map_or(ms, |other| other.max(ms)));
        }
        if let Some(ms) = known.fatal_idle_ms {
            row.fatal_ms = Some(row.fatal_ms.map_or(ms, |other| other.min(ms)));
        }
        row.devices
            .extend(known.devices.iter().map(ToString::to_string));
        if is_idle(class) && idle_ms > 0.0 {
            row.deaths += 1;
            if row.deaths_ms.len() < DEATHS {
                row.deaths_ms.push(idle_ms);
            }
        }
    }
}

/// An idle timer ended it.
pub(super) const fn is_idle(class: Class) -> bool {
    matches!(
        class.0,
        Verdict::MiddleboxIdleReset | Verdict::MiddleboxIdleDrop
    )
}

/// The verdict and cause of an event that has them.
pub(super) fn class(line: &Line<'_>) -> Option<Class> {
    let verdict = line.verdict.as_deref()?;
    let verdict = Verdict::ALL.iter().find(|it| it.as_str() == verdict)?;
    let cause = match line.cause.as_deref() {
        Some(cause) => Some(*Cause::ALL.iter().find(|it| it.as_str() == cause)?),
        None => None,
    };
    Some((*verdict, cause))
}

/// The kind of routine close, as `Finding::noise` tells it.
fn noise(line: &Line<'_>, class: Class) -> Option<&'static str> {
    if line.kreset_probe.is_some() {
        return Some("kreset_probe");
    }
    match class {
        (Verdict::ClientOriginated, Some(Cause::Probe)) => return Some("probe"),
        (Verdict::ClientOriginated, Some(Cause::LateData)) => return Some("late_data"),
        (Verdict::HandshakePhase, _) => return None,
        _ => {}
    }
    let provoked = line.connection.as_ref()?.provoked_by.as_deref();
    (provoked == Some("close")).then_some("close")
}

fn second(time: &str) -> Option<i64> {
    let time: Timestamp = time.parse().ok()?;
    Some(time.as_second())
}

fn braced(address: &str) -> String {
    if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    }
}
