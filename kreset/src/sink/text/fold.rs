//! Repeats: one count for each culprit, broker and cause.

use std::{collections::BTreeSet, net::IpAddr};

use jiff::Timestamp;

use crate::{
    event::{Cause, Endpoint, Finding, Role, Verdict},
    util::units::rough,
};

/// After this long without a repeat, the next one begins a new block.
const GAP_S: i64 = 600;
/// Clients and namespaces that are distinguished.
const CLIENTS: usize = 1_024;

/// What repeats have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) verdict: Verdict,
    pub(super) cause: Option<Cause>,
    pub(super) broker: Endpoint,
    is_noise: bool,
}

impl Key {
    pub(super) const fn of(finding: &Finding) -> Self {
        Self {
            verdict: finding.verdict,
            cause: finding.cause,
            broker: finding.broker,
            is_noise: finding.is_noise(),
        }
    }
}

/// Repeats of one kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fold {
    /// How many.
    pub(super) count: u64,
    /// When the first was.
    pub(super) first: Timestamp,
    /// When the latest was.
    pub(super) latest: Timestamp,
    /// The least confidence of all.
    pub(super) confidence: f64,
    /// The shortest and longest silence, ms.
    pub(super) idle_ms: Option<(f64, f64)>,
    /// Hosts of clients, with their process where it is known.
    clients: BTreeSet<(IpAddr, Option<u32>)>,
    /// How they come.
    pub(super) pattern: Option<&'static str>,
}

impl Fold {
    pub(super) fn new(finding: &Finding) -> Self {
        let mut fold = Self {
            count: 0,
            first: finding.time.0,
            latest: finding.time.0,
            confidence: finding.confidence,
            idle_ms: None,
            clients: BTreeSet::new(),
            pattern: None,
        };
        fold.add(finding);
        fold
    }

    /// Whether `finding` comes too late to be a repeat.
    pub(super) fn is_over(&self, finding: &Finding) -> bool {
        finding.time.0.duration_since(self.latest).as_secs() > GAP_S
    }

    pub(super) fn add(&mut self, finding: &Finding) {
        self.count += 1;
        self.latest = self.latest.max(finding.time.0);
        self.confidence = self.confidence.min(finding.confidence);
        if let Some(idle_ms) = finding.connection.idle_ms {
            let (low, high) = self.idle_ms.unwrap_or((idle_ms, idle_ms));
            self.idle_ms = Some((low.min(idle_ms), high.max(idle_ms)));
        }
        if self.clients.len() < CLIENTS {
            let pid = finding.process_of(Role::Client).and_then(|it| it.pid);
            self.clients.insert((finding.client.address, pid));
        }
        self.pattern = match finding.path.pattern.as_deref() {
            Some("sustained") => Some("lasting"),
            Some("periodic") => Some("periodic"),
            _ => self.pattern,
        };
    }

    /// Different clients.
    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// How often and since when, such as `x37 in 4m10s, lasting`; empty for one.
    pub(super) fn count(&self) -> String {
        if self.count < 2 {
            return String::new();
        }
        let span_ms = self.latest.duration_since(self.first).as_millis();
        let mut text = format!("x{}", self.count);
        #[expect(clippy::cast_precision_loss, reason = "shown with two units")]
        if span_ms >= 1_000 {
            text += " in ";
            text += &rough(span_ms as f64);
        }
        if let Some(pattern) = self.pattern {
            text += ", ";
            text += pattern;
        }
        text
    }
}
