//! The rows of the view: findings counted by culprit, client, broker and why. Pure.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use jiff::{SignedDuration, Timestamp};

use crate::event::{
    Cause, Culprit, Endpoint, Event, Finding, Incident, Message, Process, Role, Summary, Verdict,
    Watched,
};

/// Rows that are kept; what is older is counted in the header alone.
const ROWS: usize = 4_096;
/// Silences of a row that its histogram is made of.
const SILENCES: usize = 512;
/// Columns of the sparklines, a second each.
pub(super) const SECONDS: usize = 120;

/// How rows are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Group {
    /// By culprit, client, broker and why.
    #[default]
    Each,
    /// By client alone.
    Client,
    /// By broker alone.
    Broker,
}

/// What the findings of a row have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    verdict: Option<Verdict>,
    cause: Option<Cause>,
    client: Option<IpAddr>,
    broker: Option<Endpoint>,
}

impl Key {
    fn of(finding: &Finding, group: Group) -> Self {
        let each = group == Group::Each;
        Self {
            verdict: Some(finding.verdict).filter(|_| each),
            cause: finding.cause.filter(|_| each),
            client: Some(finding.client.address).filter(|_| group != Group::Broker),
            broker: Some(finding.broker).filter(|_| group != Group::Client),
        }
    }
}

/// Findings of one kind.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) count: u64,
    /// The latest finding.
    pub(super) latest: Finding,
    first: Timestamp,
    silences_ms: VecDeque<f64>,
}

impl Row {
    /// Findings a minute, over the time in which they came.
    pub(super) fn rate(&self) -> f64 {
        let span = self.latest.time.0.duration_since(self.first).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let count = self.count as f64;
        count / (span / 60.0).max(1.0)
    }

    /// The median silence, ms.
    pub(super) fn median_ms(&self) -> Option<f64> {
        let mut all: Vec<f64> = self.silences_ms.iter().copied().collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    }

    /// How many of the silences lie in each of `parts` of their range, and that range, ms.
    pub(super) fn histogram(&self, parts: usize) -> (Vec<u64>, f64, f64) {
        let all = self.silences_ms.iter().copied();
        let low = all.clone().fold(f64::INFINITY, f64::min);
        let high = all.clone().fold(0.0, f64::max);
        let mut counts = vec![0; parts.max(1)];
        let many = f64::from(u32::try_from(parts.max(1)).unwrap_or(u32::MAX));
        let width = ((high - low) / many).max(f64::MIN_POSITIVE);
        for silence in all {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an index, which is bounded below"
            )]
            let at = ((silence - low) / width) as usize;
            counts[at.min(parts.max(1) - 1)] += 1;
        }
        (counts, low, high)
    }

    /// Whether one of the words that are shown has `text` in it.
    fn has(&self, text: &str) -> bool {
        if text.is_empty() {
            return true;
        }
        let finding = &self.latest;
        let program = |role| {
            let process = finding.process_of(role);
            process.and_then(Process::program).unwrap_or_default()
        };
        let shown = format!(
            "{} {} {} {} {} {} {} {} {}",
            finding.culprit(),
            finding.deed(),
            finding.client.address,
            finding.broker.address,
            finding.verdict,
            program(Role::Client),
            program(Role::Broker),
            finding.client.id.as_deref().unwrap_or_default(),
            finding.client.software.as_deref().unwrap_or_default(),
        );
        shown.to_lowercase().contains(&text.to_lowercase())
    }
}

/// Findings of each culprit in the latest seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    /// The second of the last column.
    until: i64,
    columns: HashMap<Culprit, VecDeque<u64>>,
}

impl Recent {
    fn add(&mut self, culprit: Culprit, second: i64) {
        self.advance(second);
        let columns = self.columns.entry(culprit).or_default();
        columns.resize(SECONDS, 0);
        let back = usize::try_from(self.until - second).unwrap_or(SECONDS);
        if let Some(column) = columns.iter_mut().rev().nth(back) {
            *column += 1;
        }
    }

    /// Moves the columns on, so that the last one is of `second`.
    pub(super) fn advance(&mut self, second: i64) {
        if self.until == 0 {
            self.until = second;
        }
        let steps = usize::try_from(second - self.until).unwrap_or(0);
        if steps == 0 {
            return;
        }
        for columns in self.columns.values_mut() {
            for _ in 0..steps.min(SECONDS) {
                columns.pop_front();
                columns.push_back(0);
            }
        }
        self.until = second;
    }

    /// The latest `width` columns of a culprit, oldest first.
    pub(super) fn columns(&self, culprit: Culprit, width: usize) -> Vec<u64> {
        let all = self.columns.get(&culprit);
        let skip = SECONDS.saturating_sub(width);
        all.map_or_else(Vec::new, |all| all.iter().skip(skip).copied().collect())
    }

    /// Findings of the last minute.
    pub(super) fn last_minute(&self) -> u64 {
        let all = self.columns.values();
        all.map(|columns| columns.iter().rev().take(60).sum::<u64>())
            .sum()
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
    places: HashMap<Key, usize>,
    group: Group,
    /// Events in all.
    pub(super) taken: u64,
    /// Findings in all.
    pub(super) findings: u64,
    pub(super) lost: u64,
    pub(super) watched: Option<Watched>,
    pub(super) recent: Recent,
    /// The time of the first and the latest event.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// What was said last of each incident, the latest last.
    incidents: VecDeque<Incident>,
    /// The latest messages of findings, for a report.
    pub(super) kept: VecDeque<Message>,
}

/// Incidents that are kept.
const INCIDENTS: usize = 64;
/// One that is over is shown for so long.
const ENDED_FOR: SignedDuration = SignedDuration::from_mins(1);

/// Findings that are kept for a report.
const KEPT: usize = 4_096;

impl Table {
    /// Takes an event in.
    pub(super) fn add(&mut self, message: Message) {
        self.taken += 1;
        let time = message.event.time().0;
        let (first, _) = self.span.unwrap_or((time, time));
        self.span = Some((first, time));
        match &message.event {
            Event::Start(start) => self.watched = start.watched.or(self.watched),
            Event::Loss(loss) => self.lost += loss.lost,
            Event::Summary(summary) => self.watch(summary),
            Event::Incident(incident) => self.add_incident(incident),
            Event::Reset(_) | Event::Close(_) | Event::Timeout(_) => {
                if let Some(finding) = message.event.finding().filter(|it| !it.is_noise()) {
                    self.findings += 1;
                    self.recent.add(finding.culprit(), time.as_second());
                    count(&mut self.rows, &mut self.places, finding, self.group);
                }
                if self.kept.len() == KEPT {
                    self.kept.pop_front();
                }
                self.kept.push_back(message);
            }
            _ => {}
        }
    }

    /// Keeps what was said last of each incident, the latest last.
    fn add_incident(&mut self, incident: &Incident) {
        self.incidents
            .retain(|it| it.incident_id != incident.incident_id);
        if self.incidents.len() == INCIDENTS {
            self.incidents.pop_front();
        }
        self.incidents.push_back(incident.clone());
    }

    /// The incidents that go on, and those that have just ended; the latest first.
    pub(super) fn incidents(&self) -> impl Iterator<Item = &Incident> {
        let now = self.span.map(|(_, latest)| latest);
        let is_recent = move |it: &&Incident| {
            let since = now.map_or(SignedDuration::ZERO, |now| now.duration_since(it.time.0));
            it.phase == "begin" || since < ENDED_FOR
        };
        self.incidents.iter().rev().filter(is_recent)
    }

    fn watch(&mut self, summary: &Summary) {
        self.watched = summary.coverage.watched.or(self.watched);
    }

    /// Groups by `group`, or by everything if it is that already. What is older than the
    /// findings that are kept begins anew.
    pub(super) fn group_by(&mut self, group: Group) {
        self.group = if self.group == group {
            Group::Each
        } else {
            group
        };
        self.rows.clear();
        self.places.clear();
        for message in &self.kept {
            if let Some(finding) = message.event.finding().filter(|it| !it.is_noise()) {
                count(&mut self.rows, &mut self.places, finding, self.group);
            }
        }
    }

    pub(super) const fn group(&self) -> Group {
        self.group
    }

    /// The rows that have `filter` in them, the most frequent first.
    pub(super) fn rows(&self, filter: &str) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().filter(|row| row.has(filter)).collect();
        rows.sort_by(|a, b| {
            let more = b.count.cmp(&a.count);
            more.then_with(|| b.latest.time.cmp(&a.latest.time))
        });
        rows
    }
}

fn count(rows: &mut Vec<Row>, places: &mut HashMap<Key, usize>, finding: &Finding, group: Group) {
    let key = Key::of(finding, group);
    let at = match places.get(&key) {
        Some(at) => *at,
        None if rows.len() == ROWS => return,
        None => {
            rows.push(Row {
                count: 0,
                latest: finding.clone(),
                first: finding.time.0,
                silences_ms: VecDeque::new(),
            });
            places.insert(key, rows.len() - 1);
            rows.len() - 1
        }
    };
    let row = &mut rows[at];
    row.count += 1;
    if row.silences_ms.len() == SILENCES {
        row.silences_ms.pop_front();
    }
    row.silences_ms.extend(finding.connection.idle_ms);
    row.latest.clone_from(finding);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    fn table(count: u64) -> Table {
        let mut table = Table::default();
        for number in 0..count {
            let mut finding = samples::finding();
            finding.client.address = IpAddr::from([10, 0, 1, u8::try_from(number % 4).unwrap()]);
            finding.connection.idle_ms =
                Some(10.0_f64.mul_add(f64::from(u32::try_from(number % 11).unwrap()), 1_000.0));
            table.add(samples::message(Event::Reset(Box::new(finding)), number));
        }
        table
    }

    #[test]
    fn rows_are_counted_by_culprit_client_broker_and_why() {
        let mut table = table(10);
        let counts = |table: &Table| {
            table
                .rows("")
                .iter()
                .map(|row| row.count)
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(&table), [3, 3, 2, 2]);
        assert_eq!(table.rows("10.0.1.3").len(), 1);
        assert_eq!(table.rows("DEVICE reset").len(), 4);
        assert!(table.rows("nobody").is_empty());
        table.group_by(Group::Broker);
        assert_eq!(counts(&table), [10]);
        table.group_by(Group::Broker);
        assert_eq!(counts(&table).len(), 4);
        assert_eq!(table.recent.last_minute(), 10);
    }

    #[test]
    fn an_incident_is_shown_until_a_minute_after_its_end() {
        let mut table = Table::default();
        let incident = |phase: &str, second: i64| {
            let samples = samples::all();
            let found = samples.into_iter().find_map(|event| match event {
                Event::Incident(incident) => Some(incident),
                _ => None,
            });
            let mut incident = found.unwrap();
            incident.phase = phase.into();
            incident.time.0 = Timestamp::from_second(second).unwrap();
            samples::message(Event::Incident(incident), 0)
        };
        let shown = |table: &Table| -> Vec<_> {
            let all = table.incidents();
            all.map(|it| it.phase.to_string()).collect()
        };
        table.add(incident("begin", 1_000));
        table.add(at(2_000));
        assert_eq!(shown(&table), ["begin"]);
        table.add(incident("end", 2_000));
        table.add(at(2_059));
        assert_eq!(shown(&table), ["end"]);
        table.add(at(2_060));
        assert_eq!(shown(&table), [""; 0]);
    }

    /// A finding of this second.
    fn at(second: i64) -> Message {
        let mut finding = samples::finding();
        finding.time.0 = Timestamp::from_second(second).unwrap();
        samples::message(Event::Reset(Box::new(finding)), 0)
    }

    #[test]
    fn silences_have_a_median_and_a_histogram() {
        let mut table = table(44);
        table.group_by(Group::Broker);
        let rows = table.rows("");
        assert_eq!(rows[0].median_ms(), Some(1_050.0));
        let (counts, low, high) = rows[0].histogram(5);
        assert_eq!((low, high), (1_000.0, 1_100.0));
        assert_eq!(counts.iter().sum::<u64>(), 44);
        assert!(counts.iter().all(|count| *count >= 8), "{counts:?}");
    }

    #[test]
    fn columns_move_on_with_the_clock() {
        let mut recent = Recent::default();
        recent.add(Culprit::Device, 1_000);
        recent.add(Culprit::Device, 1_002);
        recent.add(Culprit::Device, 1_001);
        assert_eq!(recent.columns(Culprit::Device, 4), [0, 1, 1, 1]);
        recent.advance(1_062);
        assert_eq!(recent.last_minute(), 0);
        assert!(recent.columns(Culprit::Broker, 4).is_empty());
    }

    #[test]
    fn noise_and_more_kinds_than_there_is_room_for_are_not_rows() {
        let mut table = Table::default();
        for event in samples::all() {
            table.add(samples::message(event, 0));
        }
        assert_eq!((table.findings, table.lost), (4, 3));
        assert_eq!(table.watched.map(|it| it.connections), Some(214));
    }
}
