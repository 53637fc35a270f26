//! What a guest said, and the table of all.

use std::collections::{BTreeMap, BTreeSet};

/// One staged reset and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) source: String,
    pub(crate) scenario: String,
    /// `ok`, `less` where the source of packet evidence cannot tell more, or what is wrong.
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
}

/// Something taken away, and how the tracer took it.
#[derive(Debug, Default)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) outcome: String,
    pub(crate) details: String,
}

/// Everything that one guest said.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) version: String,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) limits: Vec<Limit>,
    /// Source asked for, to the one in use.
    pub(crate) sources: BTreeMap<String, String>,
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

    /// How much is not as it should be.
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
        verdicts + limits + self.failures
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

    fn cell(&self, source: &str, scenario: &str) -> String {
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
            print!(
                " {:<10}",
                report.version.split(['-', '+']).next().unwrap_or_default()
            );
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
    fn a_guests_lines_are_read() {
        let said: Vec<String> = [
            "kernel\t5.10.0",
            "source\tauto\tcgroup_skb\t2\t12.5",
            "cost\tauto\tseed\t1200\t800",
            "verdict\tauto\trefused\tok\thandshake_phase/refused\t0.99\t-\tflags R",
            "verdict\tauto\tabort\tWRONG\tindeterminate\t0.40\t0\tflags RA",
            "limit\tno_btf\tok\texit 3",
            "end",
        ]
        .map(str::to_owned)
        .to_vec();
        let report = Report::parse("5.10", &said);
        assert_eq!(report.wrong(), 1);
        assert_eq!(report.cell("auto", "refused"), "0.99");
        assert_eq!(report.cell("auto", "abort"), "WRONG indeterminate");
        assert_eq!(report.cell("off", "abort"), "-");
        assert_eq!(report.costs["seed"].0, "1200");
        assert_eq!(report.sources["auto"], "cgroup_skb");
    }
}
