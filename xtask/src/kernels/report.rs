//! The results of one guest, and the table of all guests.

use std::collections::{BTreeMap, BTreeSet};

use super::debian::LARGE_PAGES;

/// One staged reset and its verdict.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) source: String,
    pub(crate) scenario: String,
    /// `ok`, `less` where the source of packet evidence does not allow more, or what is wrong.
    pub(crate) outcome: String,
    pub(crate) answer: String,
    pub(crate) confidence: String,
    pub(crate) idle_ms: String,
    pub(crate) headers: String,
}

impl Verdict {
    /// Right, or less than that where the packets are not seen.
    fn is_right(&self) -> bool {
        matches!(self.outcome.as_str(), "ok" | "less")
    }

    /// The RST itself was looked at.
    fn has_headers(&self) -> bool {
        self.headers.starts_with("flags ") && !self.headers.starts_with("flags -")
    }
}

/// They agree, but for the TTL of the handshake, which function entries did not see.
fn is_without_handshake(packets: &Verdict, entries: &Verdict) -> bool {
    let parts = |verdict: &Verdict| {
        let (rst, rest) = verdict.headers.split_once(" handshake ")?;
        let (handshake, window) = rest.split_once(' ')?;
        Some((format!("{rst} {window}"), handshake.to_owned()))
    };
    match (parts(packets), parts(entries)) {
        (Some((packets, seen)), Some((entries, missed))) => {
            packets == entries && seen != "-" && missed == "-"
        }
        _ => false,
    }
}

/// Something that a guest lacks, and what the tracer did.
#[derive(Debug, Default)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) outcome: String,
    pub(crate) details: String,
}

/// All results of one guest.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// As `uname -r` says it.
    pub(crate) version: String,
    /// As `uname -v` says it.
    build: String,
    /// Size of a page, bytes, and ticks a second.
    pub(crate) page_and_hz: Option<(String, String)>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) limits: Vec<Limit>,
    /// Source asked for, to the one in use.
    pub(crate) sources: BTreeMap<String, String>,
    /// Source asked for, to calls that the tracer reported as skipped.
    pub(crate) reported: BTreeMap<String, usize>,
    /// Source asked for, scenario and host, to whether the flow id is right, or unknown.
    pub(crate) flows: BTreeMap<(String, String), String>,
    /// Program, to instructions that the verifier processed and bytes that it made of them.
    pub(crate) costs: BTreeMap<String, (String, String)>,
    rest: Vec<String>,
    failures: usize,
}

impl Report {
    /// Reads a guest's lines.
    pub(crate) fn parse(version: &str, said: &[String]) -> Self {
        let mut report = Self {
            version: version.to_owned(),
            ..Self::default()
        };
        for line in said {
            let fields: Vec<&str> = line.split('\t').collect();
            let field = |at: usize| fields.get(at).copied().unwrap_or_default().to_owned();
            match fields.first().copied() {
                Some("kernel") => {
                    report.build = field(1);
                    report.page_and_hz = Some((field(2), field(3)));
                    report.rest.push(format!(
                        "{}, pages of {} bytes, {} ticks a second",
                        field(1),
                        field(2),
                        field(3)
                    ));
                }
                Some("verdict") => report.verdicts.push(Verdict {
                    source: field(1),
                    scenario: field(2),
                    outcome: field(3),
                    answer: field(4),
                    confidence: field(5),
                    idle_ms: field(6),
                    headers: field(7),
                }),
                Some("limit") => report.limits.push(Limit {
                    name: field(1),
                    outcome: field(2),
                    details: field(3),
                }),
                Some("flow") => {
                    // Of several events of one host the worst counts.
                    let flow = report
                        .flows
                        .entry((field(1), field(2)))
                        .or_insert_with(|| field(3));
                    if field(3) == "WRONG" || (field(3) == "null" && flow == "ok") {
                        *flow = field(3);
                    }
                }
                Some("source") => {
                    report.rest.push(format!(
                        "packet evidence {}: {} in use, {} seeded, attached in {} ms",
                        field(1),
                        field(2),
                        field(3),
                        field(4)
                    ));
                    report.sources.insert(field(1), field(2));
                }
                Some("cost") => {
                    report.costs.insert(field(2), (field(3), field(4)));
                }
                Some("misses") => report.rest.push(format!(
                    "packet evidence {}: the kernel skipped a whole hook {} times at most; {}",
                    field(1),
                    field(2),
                    field(3)
                )),
                Some("reported") => {
                    report.rest.push(format!(
                        "packet evidence {}: {} reported as skipped",
                        field(1),
                        field(2)
                    ));
                    let reported = field(2).parse().unwrap_or(0);
                    report.reported.insert(field(1), reported);
                }
                Some("degraded" | "detail") => report.rest.push(fields.join("  ")),
                Some("failed") => {
                    report.failures += 1;
                    report.rest.push(fields.join("  "));
                }
                _ => {}
            }
        }
        report
    }

    /// The number of wrong results.
    pub(crate) fn wrong(&self) -> usize {
        let verdicts = self
            .verdicts
            .iter()
            .filter(|verdict| !verdict.is_right())
            .count();
        let limits = self
            .limits
            .iter()
            .filter(|limit| limit.outcome != "ok")
            .count();
        let flows = self.flows.values().filter(|flow| *flow == "WRONG").count();
        verdicts + limits + flows + self.differences().len() + self.unreported() + self.failures
    }

    /// What packet programs and function entries read of the same RSTs: each pair of both.
    fn read_twice(&self) -> impl Iterator<Item = (&Verdict, &Verdict)> {
        let of = |source: &'static str| {
            self.verdicts
                .iter()
                .filter(move |verdict| verdict.source == source && verdict.has_headers())
        };
        of("cgroup_skb").flat_map(move |packets| {
            of("fentry")
                .filter(|entries| entries.scenario == packets.scenario)
                .map(move |entries| (packets, entries))
        })
    }

    /// Where these two read different values. Of a handshake whose function entry the kernel
    /// skipped, function entries read nothing.
    fn differences(&self) -> Vec<String> {
        self.read_twice()
            .filter(|(packets, entries)| {
                packets.headers != entries.headers && !is_without_handshake(packets, entries)
            })
            .map(|(packets, entries)| {
                format!(
                    "{}: packet programs read {}, function entries {}",
                    packets.scenario, packets.headers, entries.headers
                )
            })
            .collect()
    }

    /// How many RSTs both read, and of how many they read the same.
    pub(crate) fn agreement(&self) -> String {
        match self.read_twice().count() {
            0 => "-".to_owned(),
            twice => format!("{} of {twice}", twice - self.differences().len()),
        }
    }

    /// Handshakes that function entries missed and the tracer did not report as skipped.
    fn unreported(&self) -> usize {
        let missed = self
            .read_twice()
            .filter(|(packets, entries)| is_without_handshake(packets, entries))
            .count();
        missed.saturating_sub(self.reported.get("fentry").copied().unwrap_or(0))
    }

    /// Shows it in full.
    pub(crate) fn print(&self) {
        for line in &self.rest {
            println!("  {line}");
        }
        for verdict in &self.verdicts {
            let Verdict {
                source,
                scenario,
                outcome,
                answer,
                confidence,
                idle_ms,
                headers,
            } = verdict;
            println!(
                "  {source:<10} {scenario:<18} {outcome:<7} {answer:<36} {confidence:<4} idle {idle_ms:<5} {headers}"
            );
        }
        let (twice, differences) = (self.read_twice().count(), self.differences());
        println!(
            "  {twice} RSTs read by packet programs and function entries, {} differently; \
             {} handshakes missed by function entries and not reported as skipped",
            differences.len(),
            self.unreported()
        );
        for difference in &differences {
            println!("  {difference}");
        }
        for ((source, name), outcome) in &self.flows {
            println!("  flow id: {source:<10} {name:<28} {outcome}");
        }
        for Limit {
            name,
            outcome,
            details,
        } in &self.limits
        {
            println!("  {name:<28} {outcome:<7} {details}");
        }
        for (program, (instructions, bytes)) in &self.costs {
            println!(
                "  verifier: {program:<16} {instructions:>7} instructions, {bytes:>6} bytes made"
            );
        }
    }

    /// The release, without what Debian adds. Packages of 5.10 and 6.1 have it in the build alone:
    /// `uname -r` has a count there.
    pub(crate) fn release(&self) -> String {
        let built = self.build.split_once("Debian ");
        let release = built.map_or(self.version.as_str(), |(_, package)| package);
        let release = release.split(['-', '+']).next().unwrap_or_default();
        let pages = self.version.strip_suffix(LARGE_PAGES);
        format!("{release}{}", pages.map_or("", |_| LARGE_PAGES))
    }

    /// The confidence of a right verdict, or what is wrong with it.
    pub(crate) fn cell(&self, source: &str, scenario: &str) -> String {
        self.verdicts
            .iter()
            .find(|verdict| verdict.source == source && verdict.scenario == scenario)
            .map_or_else(
                || "-".to_owned(),
                |verdict| {
                    if verdict.outcome == "ok" {
                        verdict.confidence.clone()
                    } else if verdict.is_right() {
                        "less".to_owned()
                    } else {
                        format!("{} {}", verdict.outcome, verdict.answer)
                    }
                },
            )
    }
}

/// Scenario by kernel: the confidence of each right verdict, or what was wrong.
pub(crate) fn print_table(reports: &[Report]) {
    let sources: BTreeSet<&String> = reports
        .iter()
        .flat_map(|report| report.sources.keys())
        .collect();
    for source in sources {
        println!("packet evidence {source}");
        print!("  {:<18}", "");
        for report in reports {
            print!(" {:<10}", report.release());
        }
        print!("\n  {:<18}", "in use");
        for report in reports {
            print!(
                " {:<10}",
                report.sources.get(source).map_or("-", String::as_str)
            );
        }
        println!();
        let mut shown = BTreeSet::new();
        for verdict in reports.iter().flat_map(|report| &report.verdicts) {
            if verdict.source != *source || !shown.insert(&verdict.scenario) {
                continue;
            }
            print!("  {:<18}", verdict.scenario);
            for report in reports {
                print!(" {:<10}", report.cell(source, &verdict.scenario));
            }
            println!();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn what_two_sources_read_of_one_rst_is_compared() {
        let said: Vec<String> = [
            "verdict\tcgroup_skb\tabort\tok\tx\t1\t0\tflags RA ttl 61 handshake 61 window 512",
            "verdict\tfentry\tabort\tok\tx\t1\t0\tflags RA ttl 61 handshake 61 window 512",
            "verdict\tcgroup_skb\trefused\tok\tx\t1\t0\tflags R ttl 64 handshake - window 0",
            "verdict\tfentry\trefused\tok\tx\t1\t0\tflags R ttl 63 handshake - window 0",
            "verdict\tcgroup_skb\tsilent\tok\tx\t1\t0\tflags - ttl - handshake - window -",
            "verdict\tfentry\tsilent\tok\tx\t1\t0\tflags R ttl 64 handshake - window 0",
        ]
        .map(str::to_owned)
        .to_vec();
        let report = Report::parse("6.1", &said);
        assert_eq!(report.read_twice().count(), 2);
        assert_eq!(report.wrong(), 1);
        assert!(report.differences()[0].starts_with("refused: "));
    }

    #[test]
    fn a_handshake_that_the_kernel_skipped_is_told() {
        let said = |reported: &str| {
            let lines = [
                "verdict\tcgroup_skb\tabort\tok\tx\t1\t0\tflags RA ttl 61 handshake 61 window 512",
                "verdict\tfentry\tabort\tless\tx\t1\t0\tflags RA ttl 61 handshake - window 512",
                reported,
            ];
            Report::parse("7.3", &lines.map(str::to_owned))
        };
        assert_eq!(said("reported\tfentry\t1").wrong(), 0);
        assert_eq!(said("reported\tfentry\t0").wrong(), 1);
        assert_eq!(said("reported\tcgroup_skb\t1").wrong(), 1, "another run's");
    }

    #[test]
    fn a_kernel_is_called_what_it_is() {
        for (version, build, release) in [
            (
                "6.1.0-57-cloud-arm64",
                "#1 SMP Debian 6.1.193-1 (2026-11-01)",
                "6.1.193",
            ),
            (
                "7.3.4+deb13-arm64-16k",
                "#1 SMP Debian 7.3.4-1~bpo13+1",
                "7.3.4-16k",
            ),
            // Another distribution's.
            ("6.18.44", "#2 SMP PREEMPT_DYNAMIC", "6.18.44"),
        ] {
            let said = [format!("kernel\t{build}\t4096\t250")];
            assert_eq!(Report::parse(version, &said).release(), release);
        }
    }

    #[test]
    fn a_guests_lines_are_read() {
        let said: Vec<String> = [
            "kernel\t#1 SMP Debian 5.10.223-1 (2024-08-10)\t4096\t250",
            "source\tauto\tcgroup_skb\t2\t12.5",
            "cost\tauto\tseed\t1200\t800",
            "flow\tauto\tabort, client\tok",
            "flow\tauto\tabort, broker\tnull",
            "flow\tauto\tabort, broker\tWRONG",
            "flow\tauto\tabort, broker\tok",
            "verdict\tauto\trefused\tok\thandshake_phase/refused\t0.99\t-\tflags R",
            "verdict\tauto\tabort\tWRONG\tindeterminate\t0.40\t0\tflags RA",
            "limit\tno_btf\tok\texit 3",
            "end",
        ]
        .map(str::to_owned)
        .to_vec();
        let report = Report::parse("5.10.0-32-cloud-arm64", &said);
        assert_eq!(report.wrong(), 2);
        assert_eq!(report.release(), "5.10.223");
        assert_eq!(
            report.page_and_hz,
            Some(("4096".to_owned(), "250".to_owned()))
        );
        let flow = |host: &str| &report.flows[&("auto".to_owned(), format!("abort, {host}"))];
        assert_eq!(
            (flow("client").as_str(), flow("broker").as_str()),
            ("ok", "WRONG")
        );
        assert_eq!(report.cell("auto", "refused"), "0.99");
        assert_eq!(report.cell("auto", "abort"), "WRONG indeterminate");
        assert_eq!(report.cell("off", "abort"), "-");
        assert_eq!(report.costs["seed"].0, "1200");
        assert_eq!(report.sources["auto"], "cgroup_skb");
    }
}
