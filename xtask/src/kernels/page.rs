//! The results of all kernels, as the measured part of `docs/kernels.md`; what they say of flows
//! is that of `docs/two-hosts.md`, too.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::report::{Limit, Report};
use crate::arch::Architecture;

/// Writes them into the pages' parts for this architecture.
pub(crate) fn write(architecture: Architecture, reports: &[Report]) -> Result<()> {
    let mut flows = String::new();
    add_flows(&mut flows, reports);
    for (name, body) in [("kernels.md", markdown(reports)), ("two-hosts.md", flows)] {
        let path = path(name);
        let page = fs::read_to_string(&path).with_context(|| format!("cannot read docs/{name}"))?;
        let page = put(architecture, &page, &body).with_context(|| format!("docs/{name}"))?;
        fs::write(&path, page).with_context(|| format!("cannot write docs/{name}"))?;
    }
    Ok(())
}

fn path(page: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    directory.join("../docs").join(page)
}

fn put(architecture: Architecture, page: &str, body: &str) -> Result<String> {
    let begin = format!("<!-- begin measured {} -->\n", architecture.name());
    let end = format!("<!-- end measured {} -->", architecture.name());
    let parts = page.split_once(&begin).and_then(|(head, rest)| {
        let (_, tail) = rest.split_once(&end)?;
        Some((head, tail))
    });
    let (head, tail) = parts.with_context(|| format!("it lacks {begin:?} or {end:?}"))?;
    Ok(format!("{head}{begin}{body}{end}{tail}"))
}

fn markdown(reports: &[Report]) -> String {
    let mut out = String::new();
    let mut table = Table::new(&mut out, "kernel", reports);
    let known = |value: Option<&String>| value.map_or("-", String::as_str).to_owned();
    table.row("size of a page, bytes", |report| {
        known(report.page_and_hz.as_ref().map(|(page, _)| page))
    });
    table.row("ticks a second", |report| {
        known(report.page_and_hz.as_ref().map(|(_, hz)| hz))
    });
    for (source, title) in [
        ("auto", "`--packet-evidence auto`"),
        ("fentry", "`--packet-evidence fentry`"),
        ("off", "`--packet-evidence off`"),
    ] {
        if !reports.iter().any(|it| it.sources.contains_key(source)) {
            continue;
        }
        let in_use = |report: &Report| {
            let name = report.sources.get(source);
            name.map_or_else(|| "refused".to_owned(), |name| format!("`{name}`"))
        };
        let rows = names(reports, |report| {
            let verdicts = report.verdicts.iter();
            let of_source = verdicts.filter(move |verdict| verdict.source == source);
            of_source.map(|verdict| verdict.scenario.clone()).collect()
        });
        let mut table = Table::new(&mut out, title, reports);
        table.row("in use", in_use);
        if source == "fentry" {
            table.row("RSTs read as `cgroup_skb` reads them", Report::agreement);
        }
        table.row("calls reported as skipped", |report| {
            let reported = report.reported.get(source);
            reported.map_or_else(|| "-".to_owned(), usize::to_string)
        });
        for scenario in rows {
            table.row(&scenario, |report| report.cell(source, &scenario));
        }
    }
    add_flows(&mut out, reports);
    let limits = names(reports, |report| {
        let limits = report.limits.iter().map(|it| it.name.clone());
        // A source that is refused stands with the sources.
        limits
            .filter(|name| !name.starts_with("packet evidence"))
            .collect()
    });
    let mut table = Table::new(&mut out, "what is missing, or happens", reports);
    for name in limits {
        table.row(&name, |report| {
            let limit = report.limits.iter().find(|limit| limit.name == name);
            limit.map_or_else(|| "-".to_owned(), brief)
        });
    }
    let programs = names(reports, |report| report.costs.keys().cloned().collect());
    let mut table = Table::new(&mut out, "instructions verified", reports);
    for program in programs {
        table.row(&program, |report| {
            let cost = report.costs.get(&program);
            cost.map_or_else(|| "-".to_owned(), |(instructions, _)| instructions.clone())
        });
    }
    out
}

/// Whether each end's flow is what its sockets said, where the client's or the broker's host
/// reported it.
fn add_flows(out: &mut String, reports: &[Report]) {
    for source in ["auto", "off"] {
        let rows = names(reports, |report| {
            let flows = report.flows.keys().filter(|(of, _)| of == source);
            flows.map(|(_, name)| name.clone()).collect()
        });
        if rows.is_empty() {
            continue;
        }
        let title = format!("`flow_id`, `--packet-evidence {source}`");
        let mut table = Table::new(out, &title, reports);
        for name in rows {
            table.row(&name, |report| {
                let flow = report.flows.get(&(source.to_owned(), name.clone()));
                flow.map_or("-", |flow| if flow == "ok" { "right" } else { flow })
                    .to_owned()
            });
        }
    }
}

/// In alphabetical order, since guests report them as they come.
fn names(reports: &[Report], of: impl Fn(&Report) -> Vec<String>) -> BTreeSet<String> {
    reports.iter().flat_map(of).collect()
}

/// What the tracer did: refused, or started with which packet evidence.
fn brief(limit: &Limit) -> String {
    if limit.outcome != "ok" {
        return format!("{} {}", limit.outcome, limit.details);
    }
    let started = limit.details.strip_prefix("packet evidence ");
    match started.and_then(|rest| rest.split_once(',')) {
        Some((source, _)) => format!("`{source}`"),
        None if limit.details.starts_with("exit 3") => "exit 3".to_owned(),
        None => "right".to_owned(),
    }
}

/// A table with a column for each kernel.
struct Table<'a> {
    out: &'a mut String,
    reports: &'a [Report],
}

impl<'a> Table<'a> {
    fn new(out: &'a mut String, title: &str, reports: &'a [Report]) -> Self {
        let mut table = Self { out, reports };
        if !table.out.is_empty() {
            table.out.push('\n');
        }
        table.row(title, Report::release);
        table.row("---", |_| "---".to_owned());
        table
    }

    fn row(&mut self, name: &str, cell: impl Fn(&Report) -> String) {
        let cells: Vec<String> = self.reports.iter().map(cell).collect();
        // Writing to a string does not fail.
        let _written = writeln!(self.out, "| {name} | {} |", cells.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_replaces_what_was() {
        let page = "# Kernels\n\
            <!-- begin measured x86_64 -->\nold\n<!-- end measured x86_64 -->\nmore\n\
            <!-- begin measured aarch64 -->\nother\n<!-- end measured aarch64 -->\n";
        let new = put(Architecture::X86, page, "new\n").expect("markers");
        assert_eq!(new, page.replace("old", "new"));
        let new = put(Architecture::Arm, page, "new\n").expect("markers");
        assert_eq!(new, page.replace("other", "new"));
        put(Architecture::Arm, "# Kernels\n", "new\n").expect_err("no markers");
    }

    /// The same run is on both.
    #[test]
    fn both_pages_have_the_same_flows() {
        let begin = "<!-- begin measured x86_64 -->\n";
        let measured = |page: &str| {
            let text = fs::read_to_string(path(page)).expect("a page");
            let (_, rest) = text.split_once(begin).expect("a marker");
            let (body, _) = rest
                .split_once("<!-- end measured x86_64 -->")
                .expect("a marker");
            body.to_owned()
        };
        let flows = measured("two-hosts.md");
        assert!(
            flows.starts_with("| `flow_id`, `--packet-evidence auto` |"),
            "{flows}"
        );
        assert!(measured("kernels.md").contains(&flows), "{flows}");
    }

    #[test]
    fn each_kernel_has_a_column() {
        let said = |source: &str, confidence: &str| {
            let lines = [
                "kernel\t#1 SMP Debian 5.10.262-1\t4096\t250".to_owned(),
                format!("source\tauto\t{source}\t2\t12.5"),
                format!("verdict\tauto\trefused\tok\thandshake_phase/refused\t{confidence}\t-\t"),
                "limit\tno BTF\tok\texit 3: why".to_owned(),
                "limit\tpacket evidence fentry\tok\twhy".to_owned(),
                "reported\tauto\t3".to_owned(),
                "limit\tCAP_SYS_ADMIN\tok\tpacket evidence off, without rtt".to_owned(),
            ];
            lines.to_vec()
        };
        let reports = [
            Report::parse("5.10.0-46-cloud", &said("cgroup_skb", "0.99")),
            Report::parse("6.1.0-56-cloud", &said("fentry", "0.98")),
        ];
        let page = markdown(&reports);
        for line in [
            "| kernel | 5.10.262 | 5.10.262 |",
            "| size of a page, bytes | 4096 | 4096 |",
            "| ticks a second | 250 | 250 |",
            "| `--packet-evidence auto` | 5.10.262 | 5.10.262 |",
            "| in use | `cgroup_skb` | `fentry` |",
            "| calls reported as skipped | 3 | 3 |",
            "| refused | 0.99 | 0.98 |",
            "| no BTF | exit 3 | exit 3 |",
            "| CAP_SYS_ADMIN | `off` | `off` |",
        ] {
            assert!(page.lines().any(|it| it == line), "{line}: {page}");
        }
        assert!(!page.contains("| packet evidence fentry |"), "{page}");
    }
}
