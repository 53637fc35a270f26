//! What the verifier spends on each program. It is on record, so that a change
//! which makes a program expensive is seen before an old kernel refuses it.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{debian::LARGE_PAGES, report::Report};
use crate::arch::Architecture;

/// Kernel, program, instructions processed.
type Costs = BTreeMap<(String, String), u32>;

/// More than this share above the recorded cost fails.
const TOLERANCE: f64 = 0.10;
/// The verifier gives up at a million (`BPF_COMPLEXITY_LIMIT_INSNS`, 5.10 to
/// 7.3); before that, loading takes long.
const LIMIT: u32 = 200_000;

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("verifier-cost.tsv")
}

/// Compares with the costs on record, or records them.
pub(crate) fn settle(architecture: Architecture, reports: &[Report], bless: bool) -> Result<()> {
    let measured = measured(architecture, reports);
    let kept = parse(&fs::read_to_string(file()).unwrap_or_default())?;
    if bless {
        let mut all = kept;
        let versions: Vec<&String> = measured.keys().map(|(version, _)| version).collect();
        all.retain(|(version, _), _| !versions.contains(&version));
        all.extend(measured);
        return fs::write(file(), show(&all)).context("cannot write verifier-cost.tsv");
    }
    let dear = compare(&kept, &measured);
    if !dear.is_empty() {
        bail!(
            "the verifier's costs changed (`cargo xtask kernels --bless` records them):\n{}",
            dear.join("\n")
        );
    }
    Ok(())
}

fn measured(architecture: Architecture, reports: &[Report]) -> Costs {
    let mut costs = Costs::new();
    for report in reports {
        let version = short(architecture, &report.version);
        for (program, (instructions, _)) in &report.costs {
            // Linux reports them since 5.16.
            if let Ok(instructions) = instructions.parse() {
                costs.insert((version.clone(), program.clone()), instructions);
            }
        }
    }
    costs
}

/// `6.12` of `6.12.117+deb12-cloud-amd64`, `6.12-arm64` of a kernel for arm64, and
/// `7.3-arm64-16k` of one with large pages.
fn short(architecture: Architecture, version: &str) -> String {
    let short = version.split('.').take(2).collect::<Vec<_>>().join(".");
    let pages = version
        .strip_suffix(LARGE_PAGES)
        .map_or("", |_| LARGE_PAGES);
    match architecture {
        Architecture::X86 => short,
        Architecture::Arm => format!("{short}-{}{pages}", architecture.debian()),
    }
}

fn compare(kept: &Costs, measured: &Costs) -> Vec<String> {
    measured
        .iter()
        .filter_map(|((version, program), now)| {
            let before = kept.get(&(version.clone(), program.clone()));
            let allowed =
                before.map(|before| f64::from(*before).mul_add(TOLERANCE, f64::from(*before)));
            let change = match (before, allowed) {
                _ if *now > LIMIT => format!("far too many: {now}"),
                (Some(before), Some(allowed)) if f64::from(*now) > allowed => {
                    format!("{before}, now {now}")
                }
                (None, _) => format!("not on record, now {now}"),
                _ => return None,
            };
            Some(format!("  {version} {program}: {change}"))
        })
        .collect()
}

fn show(costs: &Costs) -> String {
    let mut text = String::from(
        "# Instructions that the verifier processed; `cargo xtask kernels --bless` writes this.\n",
    );
    for ((version, program), instructions) in costs {
        // Writing to a string does not fail.
        let _written = writeln!(text, "{version}\t{program}\t{instructions}");
    }
    text
}

fn parse(text: &str) -> Result<Costs> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let mut fields = line.split('\t');
            let (Some(version), Some(program), Some(count)) =
                (fields.next(), fields.next(), fields.next())
            else {
                bail!("invalid line {line:?} in verifier-cost.tsv: expected version, program and count");
            };
            Ok(((version.to_owned(), program.to_owned()), count.parse()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_whole_and_far_from_the_limit() {
        let kept = parse(&fs::read_to_string(file()).unwrap()).unwrap();
        assert_eq!(parse(&show(&kept)).unwrap(), kept);
        for version in ["6.1", "6.12", "6.18", "7.3"] {
            for program in [
                "receive_reset",
                "set_state",
                "packets_in",
                "packets_out",
                "seed",
            ] {
                let cost = kept.get(&(version.to_owned(), program.to_owned()));
                assert!(
                    cost.is_some_and(|cost| *cost < LIMIT),
                    "{version} {program}: {cost:?}"
                );
            }
        }
    }

    #[test]
    fn each_kind_of_kernel_has_costs_of_its_own() {
        for (architecture, version, name) in [
            (Architecture::X86, "6.12.117+deb12-cloud-amd64", "6.12"),
            (
                Architecture::Arm,
                "6.12.117+deb12-cloud-arm64",
                "6.12-arm64",
            ),
            (Architecture::Arm, "7.3.4+deb13-arm64-16k", "7.3-arm64-16k"),
        ] {
            assert_eq!(short(architecture, version), name);
        }
    }

    #[test]
    fn growth_is_seen_and_noise_is_not() {
        let costs = |count| Costs::from([(("6.1".to_owned(), "seed".to_owned()), count)]);
        assert_eq!(compare(&costs(1000), &costs(1099)), Vec::<String>::new());
        assert_eq!(compare(&costs(1000), &costs(900)), Vec::<String>::new());
        assert_eq!(
            compare(&costs(1000), &costs(1101)),
            ["  6.1 seed: 1000, now 1101"]
        );
        assert_eq!(
            compare(&Costs::new(), &costs(5)),
            ["  6.1 seed: not on record, now 5"]
        );
        assert!(compare(&costs(LIMIT), &costs(LIMIT + 1))[0].contains("far too many"));
    }
}
