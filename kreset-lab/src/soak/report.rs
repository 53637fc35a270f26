//! What a run came to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use aya::programs::loaded_programs;

use super::{
    Settings,
    acts::Journal,
    attack,
    delivery::{self, Balance, Keeps},
    faults::{Destinations, Tally},
    level::{self, Trends},
    reconcile::{self, End, Fate, Reconciliation},
    traffic,
    watch::Left,
};
use crate::{Lab, Side, Stop, trace::follow::Connection};

/// The kernel frees programs a little after their last holder is gone.
const FREED: Duration = Duration::from_secs(20);

/// What one host's tracers and sinks came to.
#[derive(Debug)]
pub struct Host {
    watch: Left,
    faults: Tally,
    balances: Vec<(&'static str, Balance, u64)>,
    torn: Vec<String>,
}

impl Host {
    pub(super) fn new(watch: Left, destinations: &Destinations, faults: Tally) -> Self {
        let heard = &watch.heard;
        let full = destinations.disk.full();
        let received = [
            ("file", destinations.disk.received(), Keeps::Memory),
            ("syslog", destinations.syslog.received(), Keeps::Spool),
            ("otlp", destinations.otlp.received(), Keeps::Spool),
        ];
        let balances = received.into_iter().map(|(sink, received, keeps)| {
            let lost = heard.lost.get(&format!("sink {sink}"));
            let lost = lost.copied().unwrap_or_default();
            let full = match keeps {
                Keeps::Memory => full.as_slice(),
                Keeps::Spool => &[],
            };
            let (sent, lives) = (&heard.sent, &watch.lives);
            let balance = delivery::balance(sent, &received.ids, lives, keeps, full, lost);
            (sink, balance, received.repeats)
        });
        Self {
            balances: balances.collect(),
            torn: destinations.disk.torn(),
            watch,
            faults,
        }
    }

    fn killed(&self) -> usize {
        let lives = self.watch.lives.iter();
        lives.filter(|life| life.how == End::Killed).count()
    }

    fn trends(&self) -> impl Iterator<Item = Trends> {
        self.watch.samples.iter().filter_map(|it| level::trends(it))
    }

    fn complaints(&self) -> Vec<String> {
        let host = self.watch.host;
        let mut all = self.watch.problems.clone();
        all.extend(level::complaint_of_start(self.watch.start));
        all.extend(self.trends().filter_map(level::complaint));
        for (sink, balance, _) in &self.balances {
            all.extend(some(&balance.missing, &format!("the {sink} never got")));
        }
        all.extend(some(&self.torn, "the file holds no event in"));
        all.extend(some(
            &self.watch.heard.garbage,
            "standard output holds no event in",
        ));
        all.into_iter()
            .map(|it| format!("the {host}'s host: {it}"))
            .collect()
    }
}

/// The first few of many, for people.
fn some(all: &[String], what: &str) -> Vec<String> {
    const SHOWN: usize = 10;
    let mut shown: Vec<_> = all
        .iter()
        .take(SHOWN)
        .map(|it| format!("{what} {it}"))
        .collect();
    if all.len() > SHOWN {
        shown.push(format!("{what} {} more", all.len() - SHOWN));
    }
    shown
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    seed: u64,
    time: Duration,
    cut_short: Option<Duration>,
    journal: Journal,
    traffic: traffic::Tally,
    attack: Option<attack::Tally>,
    hosts: Vec<Host>,
    reconciliation: Reconciliation,
    unseen: Vec<String>,
    missed: u64,
    attached: BTreeSet<u32>,
    left: BTreeSet<u32>,
}

impl Report {
    pub(super) fn new(
        settings: &Settings,
        cut_short: Option<Duration>,
        lab: &Lab,
        connections: &[Connection],
        journal: Journal,
        traffic: traffic::Tally,
        hosts: Vec<Host>,
    ) -> Self {
        let mut reported = Vec::new();
        let mut lives = Vec::new();
        let mut lost: BTreeMap<Side, u64> = BTreeMap::new();
        let mut attached = BTreeSet::new();
        for host in &hosts {
            reported.extend(host.watch.heard.reported.iter().cloned());
            lives.extend(host.watch.lives.iter().cloned());
            let sources = host.watch.heard.lost.iter();
            *lost.entry(host.watch.host).or_default() += sources
                .filter(|(source, _)| !source.starts_with("sink "))
                .map(|(_, count)| count)
                .sum::<u64>();
            attached.extend(&host.watch.programs);
        }
        Self {
            seed: settings.seed,
            time: settings.time,
            cut_short,
            unseen: journal.unseen(connections),
            reconciliation: reconcile::reconcile(connections, &reported, &lives, &lost),
            journal,
            traffic,
            attack: None,
            missed: lab.wire().missed(),
            left: left_of(&attached),
            attached,
            hosts,
        }
    }

    /// The same, with what an attacker did.
    pub(super) fn with_attack(self, attack: Option<attack::Tally>) -> Self {
        Self { attack, ..self }
    }

    /// Everything that is wrong.
    pub fn complaints(&self) -> Vec<String> {
        let missing = self.reconciliation.missing.iter().map(|reset| {
            let case = self.journal.case_of(reset.flow.client.port(), reset.at);
            let case = case.map_or_else(String::new, |case| format!("; in {case}"));
            format!("{}{case}", reset.what)
        });
        let mut all = some(&missing.collect::<Vec<_>>(), "not reported:");
        all.extend(some(&self.reconciliation.repeated, "reported too often:"));
        all.extend(some(&self.reconciliation.invented, "never on the wire:"));
        all.extend(some(&self.unseen, "the tap did not see the reset on"));
        if self.missed > 0 {
            all.push(format!(
                "{} segments passed the tap unobserved",
                self.missed
            ));
        }
        if let Some(attack) = &self.attack {
            all.extend(attack.complaints());
        }
        if self.reconciliation.happened() == 0 {
            all.push("no reset happened".to_owned());
        }
        if self.attached.is_empty() {
            all.push("no tracer held a program in the kernel".to_owned());
        }
        if !self.left.is_empty() {
            all.push(format!("programs {:?} are still in the kernel", self.left));
        }
        for host in &self.hosts {
            all.extend(host.complaints());
        }
        all
    }
}

/// Those of `programs` that the kernel still holds.
fn left_of(programs: &BTreeSet<u32>) -> BTreeSet<u32> {
    let mut left = BTreeSet::new();
    let _shown = Stop::default().until_holds("programs to be freed", FREED, || {
        let loaded = loaded_programs().flatten().map(|program| program.id());
        left = programs & &loaded.collect();
        left.is_empty()
    });
    left
}

fn figure(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            time,
            journal,
            traffic,
            reconciliation,
            ..
        } = self;
        write!(f, "seed {seed}, ")?;
        match self.cut_short {
            Some(after) => writeln!(
                f,
                "stopped after {} of {} s",
                after.as_secs(),
                time.as_secs()
            )?,
            None => writeln!(f, "{} s", time.as_secs())?,
        }
        writeln!(
            f,
            "cases run {}, not as they should have been {}; resets that the lab knows it \
             caused {}",
            journal.done,
            journal.failed,
            journal.caused()
        )?;
        writeln!(
            f,
            "Kafka: batches sent {}, polls {}, requests failed {}; brokers killed {}, shut down \
             {}; clients killed {}; connections reset by a device {}",
            figure(&traffic.sent),
            figure(&traffic.polled),
            figure(&traffic.failed),
            figure(&traffic.killed),
            figure(&traffic.shut_down),
            figure(&traffic.clients),
            figure(&traffic.reset),
        )?;
        if let Some(attack) = &self.attack {
            write!(f, "{attack}")?;
        }
        for host in &self.hosts {
            write!(f, "{host}")?;
        }
        let happened = reconciliation.happened();
        writeln!(f, "resets on the two hosts' wires {happened}")?;
        for fate in Fate::ALL {
            writeln!(f, "  {:>7}  {}", reconciliation.count(fate), fate.name())?;
        }
        writeln!(
            f,
            "reported more than once {}, never on the wire {}; segments that the tap missed {}",
            reconciliation.repeated.len(),
            reconciliation.invented.len(),
            self.missed
        )?;
        writeln!(
            f,
            "programs seen in the kernel {}, left there {}",
            self.attached.len(),
            self.left.len()
        )
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            rotations,
            full,
            dead,
            stalled,
            unwilling,
        } = self.faults;
        writeln!(
            f,
            "{}'s host: tracers {}, killed {}; files rotated {rotations}, disks full {full}, \
             receivers dead {dead}, stalled {stalled}, answering 503 {unwilling}",
            self.watch.host,
            self.watch.lives.len(),
            self.killed(),
        )?;
        writeln!(
            f,
            "  events {}, heard after {} ms at most; counted as lost {}; resident at a start at most \
             {} KiB",
            self.watch.heard.sent.len(),
            self.watch.heard.latest.as_millis(),
            self.watch.heard.lost.values().sum::<u64>(),
            self.watch.start
        )?;
        for (sink, balance, repeats) in &self.balances {
            let Balance {
                delivered,
                lost,
                in_memory,
                when_full,
                missing,
            } = balance;
            writeln!(
                f,
                "  {sink}: delivered {delivered}, repeats by id {repeats}, counted as lost {lost}, \
                 held by a killed tracer {in_memory}, ended while full {when_full}, missing {}",
                missing.len()
            )?;
        }
        for Trends {
            resident,
            descriptors,
            events,
            accounted,
        } in self.trends()
        {
            writeln!(
                f,
                "  resident {} to {} KiB, {:+.1} KiB a minute of {accounted:.0} that \
                 {events:.0} events a minute account for; descriptors {} to {}, {:+.2} a minute",
                resident.low,
                resident.high,
                resident.slope,
                descriptors.low,
                descriptors.high,
                descriptors.slope
            )?;
        }
        Ok(())
    }
}
