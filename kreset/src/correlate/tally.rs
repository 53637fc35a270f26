//! What was found in all, and what would have to be watched to prove more.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use foldhash::HashMap;
use smol_str::SmolStr;

use super::{milliseconds, wording::explain};
use crate::{
    event::{Cause, Missing, PairFinding, PairProof, Role, Saw, Verdict, class_name},
    util::escape::Escaped,
};

/// Addresses that are counted at most.
const ADDRESSES: usize = 100_000;
/// Addresses that are shown, and pairs of clocks.
const SHOWN: usize = 10;

/// Counts of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Events that were read.
    pub events: u64,
    /// Of these, events that had been read before.
    pub repeated: u64,
    /// Of these, events that came after their window: judged alone.
    pub late: u64,
    /// Findings by verdict, cause and proof.
    pub findings: BTreeMap<(Verdict, Option<Cause>, PairProof), u64>,
    /// Ends of connections of `kreset-trace probe`, which are no findings.
    pub probe: u64,
    /// Findings of routine closes, which were not asked for.
    pub routine: u64,
    /// Connections that one host alone reported.
    pub alone: u64,
    /// What was missing for a proof, and how often.
    pub missing: BTreeMap<Missing, u64>,
    /// Ends that no agent reports from, and how often each would have been needed.
    pub unwatched: HashMap<IpAddr, u64>,
    /// Two hosts, how many nanoseconds the clock of the second is ahead, and of how many RSTs.
    pub skews: Vec<(SmolStr, SmolStr, i64, u64)>,
}

impl Tally {
    pub(super) fn count(&mut self, finding: &PairFinding) {
        let kind = (finding.verdict, finding.cause, finding.proof);
        *self.findings.entry(kind).or_default() += 1;
        let reports = [&finding.client_host, &finding.broker_host];
        let reported = |it: &&&Option<crate::event::PairHost>| {
            it.as_ref().is_some_and(|host| host.saw != Saw::Nothing)
        };
        if reports.iter().filter(reported).count() < 2 {
            self.alone += 1;
        }
        for missing in &finding.missing {
            *self.missing.entry(*missing).or_default() += 1;
        }
        if finding.missing.contains(&Missing::NoAgent) {
            let absent = if finding.client_host.is_some() {
                Role::Broker
            } else {
                Role::Client
            };
            let address = match absent {
                Role::Client => finding.client.address,
                Role::Broker => finding.broker.address,
            };
            if self.unwatched.len() < ADDRESSES || self.unwatched.contains_key(&address) {
                *self.unwatched.entry(address).or_default() += 1;
            }
        }
    }

    /// The addresses whose hosts would prove most, likeliest first.
    #[must_use]
    pub fn to_watch(&self) -> Vec<(IpAddr, u64)> {
        let mut all: Vec<_> = self.unwatched.iter().map(|(at, n)| (*at, *n)).collect();
        all.sort_by_key(|(address, count)| (u64::MAX - count, *address));
        all.truncate(SHOWN);
        all
    }
}

impl Tally {
    /// Findings by `VERDICT/CAUSE` and proof, in that order.
    fn by_name(&self) -> BTreeMap<(String, PairProof), u64> {
        let findings = self.findings.iter();
        findings
            .map(|((verdict, cause, proof), count)| {
                ((class_name(*verdict, *cause), *proof), *count)
            })
            .collect()
    }

    /// The clocks that are farthest apart, first.
    fn farthest_apart(&self) -> Vec<&(SmolStr, SmolStr, i64, u64)> {
        let mut all: Vec<_> = self.skews.iter().collect();
        all.sort_by_key(|(first, second, ahead_ns, _)| {
            (u64::MAX - ahead_ns.unsigned_abs(), first, second)
        });
        all.truncate(SHOWN);
        all
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let findings: u64 = self.findings.values().sum();
        writeln!(
            f,
            "{findings} finding{} from {} events, {} of connections that one host alone reported",
            if findings == 1 { "" } else { "s" },
            self.events,
            self.alone
        )?;
        for ((name, proof), count) in self.by_name() {
            writeln!(f, "{count:>9}  {name}, {proof}")?;
        }
        for (missing, count) in &self.missing {
            writeln!(f, "{count:>9}  unproven: {}", explain(*missing))?;
        }
        for (address, count) in self.to_watch() {
            writeln!(f, "{count:>9}  would need an agent at {address}")?;
        }
        for (first, second, ahead_ns, samples) in self.farthest_apart() {
            writeln!(
                f,
                "{:>9}  the clock of {} is {:.3} ms ahead of that of {} ({samples} RSTs)",
                "",
                Escaped(second),
                milliseconds(*ahead_ns),
                Escaped(first),
            )?;
        }
        if self.probe > 0 {
            writeln!(
                f,
                "{:>9}  more are of connections of kreset-trace probe: --all shows them",
                self.probe
            )?;
        }
        if self.routine > 0 {
            writeln!(
                f,
                "{:>9}  more are routine closes: --all shows them",
                self.routine
            )?;
        }
        if self.repeated > 0 {
            writeln!(f, "{:>9}  events came more than once", self.repeated)?;
        }
        if self.late > 0 {
            writeln!(
                f,
                "{:>9}  events came too late to be joined: raise --window",
                self.late
            )?;
        }
        Ok(())
    }
}
