//! From what was gathered to the document.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use jiff::Timestamp;

use super::{
    data::{Class, Data, PathRow, Row, is_idle},
    document::{Block, Cell, Document, Section, Table, grouped},
    line::{Full, Line},
    plots,
};
use crate::{
    classify::devices,
    event::{Culprit, Verdict, class_name, deed},
    util::units::{percent, precise, rough},
};

/// Bins of the plot over time.
const BINS: usize = 72;
/// Causes with a colour of their own; the rest is one.
const CAUSES: usize = 7;
/// Rows of a table that has as many as there are connections.
const ROWS: usize = 200;
/// Rows of the table of events.
const EVENTS: usize = 2_000;
/// Paths in the plot of idle timers.
const PATHS: usize = 20;
/// Clients and brokers in the heat map.
const CLIENTS: usize = 24;
const BROKERS: usize = 8;
/// Events shown in full.
const TELLING: usize = 10;
/// Endings of one broker that make an incident, and how near each other they are.
const INCIDENT: usize = 5;
const INCIDENT_SECONDS: i64 = 10;

/// `1 reset`, `1,204 resets`.
fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(count))
}

/// What happened, as on text output.
pub(super) fn name(class: Class) -> String {
    let culprit = Culprit::of(class.0).as_str();
    format!("{culprit} {}", deed(class.0, class.1))
}

/// The word that all rows of a class have.
fn word(class: Class) -> String {
    class_name(class.0, class.1)
}

/// Puts a report together.
pub(super) fn document(data: &mut Data) -> Document {
    data.rows.sort_by_key(|row| row.second);
    let classes = classes(data);
    let mut sections = vec![
        incidents(data),
        over_time(data, &classes),
        timers(data),
        who(data),
        spreads(data),
        advice(data),
        coverage(data),
        telling(data, &classes),
        events(data),
    ];
    for section in &mut sections {
        let is_empty =
            |block: &Block| matches!(block, Block::Table(table) if table.rows.is_empty());
        section.blocks.retain(|block| !is_empty(block));
        if section.blocks.is_empty() {
            section.blocks.push(Block::text("No connection was reset."));
        }
    }
    Document {
        title: "Kafka connections that were reset".to_owned(),
        headline: headline(data, &classes),
        sections,
    }
}

/// Classes by how often they occurred.
fn classes(data: &Data) -> Vec<(Class, u64)> {
    let mut counts: BTreeMap<Class, u64> = BTreeMap::new();
    for row in &data.rows {
        *counts.entry(row.class).or_default() += 1;
    }
    let mut all: Vec<_> = counts.into_iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    all
}

fn headline(data: &Data, classes: &[(Class, u64)]) -> String {
    let all = data.rows.len() as u64;
    let (Some((class, count)), Some(first), Some(last)) =
        (classes.first(), data.rows.first(), data.rows.last())
    else {
        let lost: u64 = data
            .hosts
            .values()
            .flat_map(|host| host.lost.values())
            .sum();
        return if lost > 0 {
            format!(
                "No connection was reset in what was seen; {} records were lost.",
                grouped(lost)
            )
        } else if data.hosts.is_empty() {
            "There are no events in these files.".to_owned()
        } else {
            "No connection was reset.".to_owned()
        };
    };
    let span = rough(plots::to_f64(last.second.abs_diff(first.second)) * 1_000.0);
    let share = percent(plots::to_f64(*count) / plots::to_f64(all));
    let hosts = data.hosts.values().filter(|host| host.findings > 0).count();
    let hosts = counted(hosts as u64, "host");
    let mut text = if all == 1 {
        format!("One reset, seen on {hosts}: {}", name(*class))
    } else {
        format!(
            "{} of {} resets ({share}) within {span}, seen on {hosts}: {}",
            grouped(*count),
            grouped(all),
            name(*class),
        )
    };
    let rows = || data.rows.iter().filter(|row| row.class == *class);
    if let Some((broker, most)) = most_of(rows().map(|row| row.broker))
        && most * 2 > *count
    {
        let broker = data.names.name(broker);
        let _written = if all == 1 {
            write!(text, ", on the way to {broker}")
        } else {
            write!(text, ", {} of them on the way to {broker}", grouped(most))
        };
    }
    if is_idle(*class)
        && let Some((path, _)) = most_of(rows().map(|row| row.path))
        && let Some(path) = data.paths.get(&path)
        && let Some(fatal_ms) = path.fatal_ms
    {
        let _written = write!(text, ", after {} of silence or more", precise(fatal_ms));
    }
    text.push('.');
    text
}

fn most_of(numbers: impl Iterator<Item = u32>) -> Option<(u32, u64)> {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    for number in numbers {
        *counts.entry(number).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count)
}

fn time(second: i64) -> String {
    let time = Timestamp::from_second(second).unwrap_or_default();
    time.to_string().replace('T', " ").replace('Z', "")
}

fn at(second: i64) -> Cell {
    #[expect(clippy::cast_precision_loss, reason = "an order")]
    let by = second as f64;
    Cell {
        number: false,
        ..Cell::sorted(time(second), by)
    }
}

fn share(value: f32) -> Cell {
    Cell::sorted(percent(f64::from(value)), f64::from(value))
}

fn silence(ms: f32) -> Cell {
    if ms.is_nan() {
        Cell::sorted("-", -1.0)
    } else {
        Cell::sorted(precise(f64::from(ms)), f64::from(ms))
    }
}

fn incidents(data: &Data) -> Section {
    let mut blocks = Vec::new();
    let mut open: BTreeMap<u32, Vec<&Row>> = BTreeMap::new();
    let mut bursts: Vec<Vec<&Row>> = Vec::new();
    for row in &data.rows {
        let burst = open.entry(row.broker).or_default();
        if burst
            .last()
            .is_some_and(|last| row.second - last.second > INCIDENT_SECONDS)
        {
            bursts.push(std::mem::take(burst));
        }
        burst.push(row);
    }
    bursts.extend(open.into_values());
    bursts.retain(|burst| burst.len() >= INCIDENT);
    bursts.sort_by_key(|burst| burst.first().map(|row| row.second));
    let count = bursts.len();
    bursts.truncate(ROWS);
    let rows = bursts.iter().filter_map(|burst| {
        let (first, last) = (burst.first()?, burst.last()?);
        let mut counts: BTreeMap<Class, u64> = BTreeMap::new();
        for row in burst {
            *counts.entry(row.class).or_default() += 1;
        }
        let (class, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        let clients: BTreeSet<_> = burst.iter().map(|row| row.client).collect();
        let broker = data.names.name(first.broker);
        Some(vec![
            at(first.second),
            Cell::text(rough(
                plots::to_f64(last.second.abs_diff(first.second)) * 1_000.0,
            )),
            Cell::text(broker),
            Cell::count(burst.len() as u64, broker),
            Cell::count(clients.len() as u64, broker),
            Cell::text(format!("{} ({})", name(class), grouped(most))),
        ])
    });
    let table = Table {
        id: "incidents-table".to_owned(),
        caption: format!(
            "{} times, {INCIDENT} or more connections of one broker ended within \
             {INCIDENT_SECONDS} s of each other",
            grouped(count as u64)
        ),
        head: vec!["from", "for", "broker", "resets", "clients", "mostly"],
        rows: rows.collect(),
    };
    if table.rows.is_empty() {
        blocks.push(Block::text(format!(
            "No {INCIDENT} connections of one broker ended within {INCIDENT_SECONDS} s of each \
             other."
        )));
    } else {
        blocks.push(Block::Table(table));
    }
    if !data.incidents.is_empty() {
        let mut incidents: Vec<_> = data.incidents.values().collect();
        incidents.sort_by(|a, b| (a.second, &a.summary).cmp(&(b.second, &b.summary)));
        let rows = incidents.iter().take(ROWS).map(|it| {
            vec![
                at(it.second),
                Cell::text(data.names.name(it.host)),
                Cell::text(&it.kind),
                Cell::text(if it.is_over { "over" } else { "open" }),
                Cell::text(&it.summary),
            ]
        });
        blocks.push(Block::Table(Table {
            id: "host-incidents-table".to_owned(),
            caption: "What each host made one incident of".to_owned(),
            head: vec!["time", "host", "what", "state", "in one sentence"],
            rows: rows.collect(),
        }));
    }
    if !data.alerts.is_empty() {
        let rows = data.alerts.iter().take(ROWS).map(|alert| {
            vec![
                at(alert.second),
                Cell::text(&alert.phase),
                Cell::text(data.names.name(alert.host)),
                Cell::text(data.names.name(alert.broker)),
                Cell::text(name(alert.class)),
                Cell::text(&alert.pattern),
                Cell::count(alert.count, word(alert.class)),
            ]
        });
        blocks.push(Block::Table(Table {
            id: "alerts-table".to_owned(),
            caption: "Paths on which a cause turned sustained or periodic".to_owned(),
            head: vec![
                "time", "phase", "host", "broker", "what", "pattern", "resets",
            ],
            rows: rows.collect(),
        }));
    }
    Section::new("incidents", "Incidents", blocks)
}

/// A width of bins that people think in, seconds.
fn width(span: i64) -> i64 {
    const WIDTHS: [i64; 13] = [
        1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400,
    ];
    let least = span / i64::try_from(BINS).unwrap_or(1) + 1;
    let fits = WIDTHS.into_iter().find(|width| *width >= least);
    fits.unwrap_or_else(|| (least / 86_400 + 1) * 86_400)
}

fn over_time(data: &Data, classes: &[(Class, u64)]) -> Section {
    let mut blocks = Vec::new();
    if let (Some(first), Some(last)) = (data.rows.first(), data.rows.last()) {
        let width = width(last.second - first.second);
        let begin = first.second.div_euclid(width) * width;
        let bins = usize::try_from((last.second - begin) / width + 1).unwrap_or(1);
        let shown: Vec<Class> = classes
            .iter()
            .take(CAUSES)
            .map(|(class, _)| *class)
            .collect();
        let mut names: Vec<String> = classes
            .iter()
            .take(CAUSES)
            .map(|(class, count)| format!("{} ({})", name(*class), grouped(*count)))
            .collect();
        if classes.len() > CAUSES {
            let rest: u64 = classes.iter().skip(CAUSES).map(|(_, count)| count).sum();
            names.push(format!("others ({})", grouped(rest)));
        }
        let mut counts = vec![vec![0_u64; names.len()]; bins];
        for row in &data.rows {
            let bin = usize::try_from((row.second - begin) / width).unwrap_or(0);
            let which = shown.iter().position(|class| *class == row.class);
            let which = which.unwrap_or(names.len() - 1);
            if let Some(count) = counts.get_mut(bin).and_then(|bin| bin.get_mut(which)) {
                *count += 1;
            }
        }
        let peak = counts
            .iter()
            .enumerate()
            .max_by_key(|(_, bin)| bin.iter().sum::<u64>());
        let peak = peak.map(|(bin, counts)| {
            let second = begin + i64::try_from(bin).unwrap_or(0) * width;
            format!(
                "Most, {}, from {} UTC.",
                counts.iter().sum::<u64>(),
                time(second)
            )
        });
        let alternative = format!(
            "Resets over time from {} to {} UTC, in steps of {}, stacked by cause: {}. {}",
            time(first.second),
            time(last.second),
            rough(plots::to_f64(width.unsigned_abs()) * 1_000.0),
            names.join(", "),
            peak.unwrap_or_default(),
        );
        let days = last.second - first.second > 86_400;
        blocks.push(Block::Plot(plots::stacked(
            &names,
            &counts,
            |bin| {
                let second = begin + i64::try_from(bin).unwrap_or(0) * width;
                let text = time(second);
                // The year is in the sentence below.
                let from = if days { 5 } else { 11 };
                text.get(from..).unwrap_or_default().to_owned()
            },
            alternative,
        )));
    }
    let all = data.rows.len() as u64;
    let rows = classes.iter().map(|(class, count)| {
        vec![
            Cell::text(name(*class)),
            Cell::text(word(*class)),
            Cell::count(*count, word(*class)),
            share((plots::to_f64(*count) / plots::to_f64(all)) as f32),
        ]
    });
    blocks.push(Block::Table(Table {
        id: "causes-table".to_owned(),
        caption: "Resets by cause".to_owned(),
        head: vec!["what", "verdict and cause", "resets", "share"],
        rows: rows.collect(),
    }));
    if !data.noise.is_empty() {
        let noise: Vec<_> = data
            .noise
            .iter()
            .map(|(kind, count)| format!("{kind} {}", grouped(*count)))
            .collect();
        blocks.push(Block::text(format!(
            "Not counted above are routine closes: {}.",
            noise.join(", ")
        )));
    }
    Section::new("time", "Resets over time", blocks)
}

fn timers(data: &Data) -> Section {
    let mut paths: Vec<_> = data
        .paths
        .iter()
        .filter(|(_, path)| path.fatal_ms.is_some() || path.deaths > 0)
        .collect();
    paths.sort_by_key(|(_, path)| std::cmp::Reverse(path.deaths));
    let count = paths.len();
    let mut blocks = Vec::new();
    if paths.is_empty() {
        blocks.push(Block::text(
            "No connection died of a silence: nothing shows a device with an idle timer.",
        ));
    } else {
        let bands: Vec<_> = paths
            .iter()
            .take(PATHS)
            .map(|(number, path)| plots::Band {
                name: data.names.name(**number).to_owned(),
                survived_ms: path.survived_ms,
                fatal_ms: path.fatal_ms,
                deaths_ms: path.deaths_ms.clone(),
            })
            .collect();
        let marks = marks(&paths);
        let words: Vec<_> = paths
            .iter()
            .take(3)
            .map(|(number, path)| {
                format!(
                    "{}: {}",
                    data.names.name(**number),
                    plots::interval(path.survived_ms, path.fatal_ms)
                )
            })
            .collect();
        let alternative = format!(
            "Idle timers of {} paths on a logarithmic axis. The band of each begins at the longest \
             silence that a connection survived and ends at the shortest that was fatal; points \
             are fatal silences, grey lines the timers of devices that fit. {}.",
            bands.len(),
            words.join("; ")
        );
        blocks.push(Block::Plot(plots::bands(&bands, &marks, alternative)));
        let rows = paths.iter().take(ROWS).map(|(number, path)| {
            let name = data.names.name(**number);
            let bound = |ms: Option<f64>| {
                ms.map_or_else(
                    || Cell::sorted("unknown", -1.0),
                    |ms| Cell::sorted(precise(ms), ms),
                )
            };
            vec![
                Cell::text(name),
                bound(path.survived_ms),
                bound(path.fatal_ms),
                Cell::count(path.deaths, name),
                Cell::text(path.devices.iter().cloned().collect::<Vec<_>>().join(", ")),
            ]
        });
        blocks.push(Block::Table(Table {
            id: "timers-table".to_owned(),
            caption: format!(
                "The timer of each of {} paths lies between the two silences",
                grouped(count as u64)
            ),
            head: vec!["path", "survived", "fatal", "resets", "devices that fit"],
            rows: rows.collect(),
        }));
    }
    Section::new("timers", "Idle timers of paths", blocks)
}

/// Timers of the devices that fit, ms.
fn marks(paths: &[(&u32, &PathRow)]) -> Vec<(String, f64)> {
    let fitting: BTreeSet<&str> = paths
        .iter()
        .take(PATHS)
        .flat_map(|(_, path)| path.devices.iter().map(String::as_str))
        .collect();
    devices::all()
        .iter()
        .filter(|device| fitting.contains(device.name.as_str()))
        .map(|device| (device.name.to_string(), f64::from(device.idle_s) * 1_000.0))
        .collect()
}

fn who(data: &Data) -> Section {
    let mut pairs: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    let (mut clients, mut brokers) = (BTreeMap::new(), BTreeMap::new());
    for row in &data.rows {
        *pairs.entry((row.client, row.broker)).or_default() += 1;
        *clients.entry(row.client).or_insert(0_u64) += 1;
        *brokers.entry(row.broker).or_insert(0_u64) += 1;
    }
    let order = |counts: &BTreeMap<u32, u64>, most: usize| {
        let mut all: Vec<_> = counts.iter().map(|(name, count)| (*name, *count)).collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all.truncate(most);
        all.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let (rows, columns) = (order(&clients, CLIENTS), order(&brokers, BROKERS));
    let mut blocks = Vec::new();
    if !rows.is_empty() {
        let names = |numbers: &[u32]| {
            numbers
                .iter()
                .map(|number| data.names.name(*number).to_owned())
                .collect::<Vec<_>>()
        };
        let counts: Vec<Vec<u64>> = rows
            .iter()
            .map(|client| {
                let of = |broker: &u32| pairs.get(&(*client, *broker)).copied().unwrap_or(0);
                columns.iter().map(of).collect()
            })
            .collect();
        let alternative = format!(
            "Heat map of resets: {} of {} clients by {} of {} brokers, those with the most. The \
             table below has the numbers.",
            rows.len(),
            clients.len(),
            columns.len(),
            brokers.len()
        );
        blocks.push(Block::Plot(plots::heat(
            &names(&rows),
            &names(&columns),
            &counts,
            alternative,
        )));
    }
    let mut all: Vec<_> = pairs.into_iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let count = all.len();
    let table = all.into_iter().take(ROWS).map(|((client, broker), count)| {
        let (client, broker) = (data.names.name(client), data.names.name(broker));
        vec![
            Cell::text(client),
            Cell::text(broker),
            Cell::count(count, format!("{client} {broker}")),
        ]
    });
    blocks.push(Block::Table(Table {
        id: "pairs-table".to_owned(),
        caption: format!(
            "Resets by client and broker; {}",
            counted(count as u64, "pair")
        ),
        head: vec!["client", "broker", "resets"],
        rows: table.collect(),
    }));
    Section::new("who", "Clients and brokers", blocks)
}

/// One figure of an event.
type Figure = fn(&Row) -> f32;

fn spreads(data: &Data) -> Section {
    let mut blocks = Vec::new();
    let figures: [(&str, Figure); 2] = [
        ("age of the connection", |row| row.age_ms),
        ("silence before the end", |row| row.idle_ms),
    ];
    for (what, value) in figures {
        let mut values: Vec<f64> = data
            .rows
            .iter()
            .map(|row| f64::from(value(row)))
            .filter(|value| *value > 0.0)
            .collect();
        if values.is_empty() {
            continue;
        }
        values.sort_by(f64::total_cmp);
        let at = |share: usize| values[(values.len() - 1) * share / 100];
        let alternative = format!(
            "Distribution of the {what} on a logarithmic axis, {}: half are at most {}, nine of \
             ten at most {}, the longest {}.",
            counted(values.len() as u64, "reset"),
            precise(at(50)),
            precise(at(90)),
            precise(at(100)),
        );
        blocks.push(Block::Plot(plots::spread(&values, what, alternative)));
    }
    if blocks.is_empty() {
        blocks.push(Block::text("No age and no silence is known."));
    }
    Section::new("spread", "Ages and silences", blocks)
}

/// Advice without what differs between paths: two that differ in addresses and times
/// alone are one.
fn without_values(advice: &str) -> String {
    let is_value = |word: &&str| word.contains(|letter: char| letter.is_ascii_digit());
    let words = advice.split_whitespace().filter(|word| !is_value(word));
    words.collect::<Vec<_>>().join(" ")
}

/// Advice that is one but for its values.
#[derive(Debug, Default)]
struct Merged {
    resets: u64,
    by_advice: BTreeMap<u32, u64>,
    by_class: BTreeMap<Class, u64>,
}

fn advice(data: &Data) -> Section {
    let mut merged: BTreeMap<String, Merged> = BTreeMap::new();
    let mut keys: BTreeMap<u32, String> = BTreeMap::new();
    for row in data.rows.iter().filter(|row| row.class.1.is_some()) {
        let key = keys
            .entry(row.advice)
            .or_insert_with(|| without_values(data.names.name(row.advice)));
        if key.is_empty() {
            continue;
        }
        let entry = merged.entry(key.clone()).or_default();
        entry.resets += 1;
        *entry.by_advice.entry(row.advice).or_default() += 1;
        *entry.by_class.entry(row.class).or_default() += 1;
    }
    let mut all: Vec<Merged> = merged.into_values().collect();
    all.sort_by_key(|merged| std::cmp::Reverse(merged.resets));
    let rows = all.into_iter().take(ROWS).filter_map(|merged| {
        let (class, _) = merged.by_class.iter().max_by_key(|(_, count)| **count)?;
        let (advice, _) = merged.by_advice.iter().max_by_key(|(_, count)| **count)?;
        let others = match merged.by_advice.len() {
            1 => String::new(),
            all => format!(" (and likewise for {} others)", all - 1),
        };
        Some(vec![
            Cell::count(merged.resets, word(*class)),
            Cell::text(name(*class)),
            Cell::text(format!("{}{others}", data.names.name(*advice))),
        ])
    });
    let blocks = vec![Block::Table(Table {
        id: "advice-table".to_owned(),
        caption: "By the resets that each would have avoided".to_owned(),
        head: vec!["resets", "of", "advice"],
        rows: rows.collect(),
    })];
    Section::new("advice", "What to change", blocks)
}

fn coverage(data: &Data) -> Section {
    let rows = data.hosts.iter().map(|(host, row)| {
        let list = |set: &BTreeSet<String>| {
            if set.is_empty() {
                "unknown".to_owned()
            } else {
                set.iter().cloned().collect::<Vec<_>>().join(", ")
            }
        };
        let lost: u64 = row.lost.values().sum();
        let observed = if row.observed_ms == 0 {
            Cell::sorted("unknown", -1.0)
        } else {
            let ms = plots::to_f64(row.observed_ms);
            Cell::sorted(rough(ms), ms)
        };
        vec![
            Cell::text(data.names.name(*host)),
            Cell::count(row.findings, data.names.name(*host)),
            observed,
            Cell::text(list(&row.sources)),
            Cell::text(list(&row.evidence)),
            Cell::sorted(grouped(lost), plots::to_f64(lost)),
        ]
    });
    let mut blocks = vec![Block::Table(Table {
        id: "hosts-table".to_owned(),
        caption: "Hosts".to_owned(),
        head: vec![
            "host",
            "resets",
            "observed for",
            "source",
            "packet evidence",
            "lost",
        ],
        rows: rows.collect(),
    })];
    if !data.degraded.is_empty() {
        let rows = data
            .degraded
            .iter()
            .map(|((feature, reason, remedy), hosts)| {
                let hosts: Vec<_> = hosts.iter().map(|host| data.names.name(*host)).collect();
                vec![
                    Cell::text(feature),
                    Cell::text(reason),
                    Cell::text(remedy),
                    Cell::text(hosts.join(", ")),
                ]
            });
        blocks.push(Block::Table(Table {
            id: "degraded-table".to_owned(),
            caption: "What did not work".to_owned(),
            head: vec!["feature", "why", "what would enable it", "hosts"],
            rows: rows.collect(),
        }));
    }
    let mut open: BTreeMap<u32, u64> = BTreeMap::new();
    for row in data.rows.iter().filter(|row| row.class.1.is_none()) {
        *open.entry(row.advice).or_default() += 1;
    }
    if open.is_empty() {
        blocks.push(Block::text("Every reset was decided."));
    } else {
        let rows = open.into_iter().map(|(advice, count)| {
            vec![
                Cell::count(count, Verdict::Indeterminate.as_str()),
                Cell::text(data.names.name(advice)),
            ]
        });
        blocks.push(Block::Table(Table {
            id: "open-table".to_owned(),
            caption: "What could not be decided, and what would decide it".to_owned(),
            head: vec!["resets", "what would decide it"],
            rows: rows.collect(),
        }));
    }
    let mut notes = Vec::new();
    if data.repeats > 0 {
        notes.push(format!("{} events were there twice", grouped(data.repeats)));
    }
    if data.unreadable > 0 {
        notes.push(format!(
            "{} lines were no events and were left out",
            grouped(data.unreadable)
        ));
    }
    for (kind, count) in &data.others {
        notes.push(format!(
            "{} events of type {kind} are not shown",
            grouped(*count)
        ));
    }
    if !notes.is_empty() {
        blocks.push(Block::text(format!("{}.", notes.join("; "))));
    }
    Section::new("coverage", "Coverage and open questions", blocks)
}

fn telling(data: &Data, classes: &[(Class, u64)]) -> Section {
    let mut shown: Vec<&str> = Vec::new();
    // The best of each class first, then the second best.
    for round in 0..3 {
        for (class, _) in classes {
            let event = data.telling.get(class).and_then(|all| all.get(round));
            shown.extend(event.map(|(_, text)| text.as_str()));
        }
    }
    shown.truncate(TELLING);
    let mut blocks = Vec::new();
    for text in shown {
        let (Ok(line), Ok(full)) = (
            serde_json::from_str::<Line<'_>>(text),
            serde_json::from_str::<Full<'_>>(text),
        ) else {
            continue;
        };
        let what = line.summary.as_deref().map_or_else(
            || {
                let class = super::data::class(&line).map(name).unwrap_or_default();
                format!("{class}, {} sure", percent(line.confidence.unwrap_or(0.0)))
            },
            str::to_owned,
        );
        let when = line.time.as_deref().unwrap_or_default();
        let host = line.host.as_ref().map_or("", |host| &*host.name);
        let rows = full
            .evidence
            .iter()
            .map(|it| vec![Cell::text(&*it.name), Cell::text(&*it.value)]);
        blocks.push(Block::Table(Table {
            id: format!("telling-{}", blocks.len() + 1),
            caption: format!("{what} ({when}, {host})"),
            head: vec!["evidence", "value"],
            rows: rows.collect(),
        }));
    }
    if blocks.is_empty() {
        blocks.push(Block::text("There are none."));
    }
    Section::new("telling", "The most telling events", blocks)
}

fn events(data: &Data) -> Section {
    let all = data.rows.len();
    // Evenly over time where there are too many.
    let step = all.div_ceil(EVENTS).max(1);
    let rows = data.rows.iter().step_by(step).map(|row| {
        vec![
            at(row.second),
            Cell::text(data.names.name(row.host)),
            Cell::text(format!(
                "{}:{}",
                data.names.name(row.client),
                row.client_port
            )),
            Cell::text(data.names.name(row.broker)),
            Cell::text(word(row.class)),
            share(row.confidence),
            silence(row.idle_ms),
            silence(row.age_ms),
        ]
    });
    let caption = if step == 1 {
        format!("All {} resets, times in UTC", grouped(all as u64))
    } else {
        format!(
            "Every {step}th of {} resets, times in UTC",
            grouped(all as u64)
        )
    };
    let blocks = vec![Block::Table(Table {
        id: "events-table".to_owned(),
        caption,
        head: vec![
            "time",
            "host",
            "client",
            "broker",
            "verdict",
            "confidence",
            "silence",
            "age",
        ],
        rows: rows.collect(),
    })];
    Section::new("events", "Events", blocks)
}
