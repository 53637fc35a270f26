//! The documents match the code: classes, evidence, weights, features, exit codes
//! and the two worked cases.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has to fail"
)]

mod replay;

use std::{fs, path::PathBuf, process::Command};

use kreset::{
    classify::{Judgement, class::Class},
    event::{Noise, Verdict, class_name},
    facts::Kind,
    kernel::feature::Feature,
    util::exit::Exit,
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn document(name: &str) -> String {
    let path = root().join("docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The source of the weights and of all evidence.
fn sources() -> Vec<String> {
    let classify = root().join("kreset/src/classify");
    let mut texts = vec![fs::read_to_string(classify.join("weights.rs")).unwrap()];
    for entry in fs::read_dir(classify.join("evidence")).unwrap() {
        texts.push(fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    texts
}

/// What stands between each `before` and the next `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    text.split(before)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(after)?.0.trim()))
        .collect()
}

fn check(name: &str, wanted: impl IntoIterator<Item = String>) {
    check_in(&document(name), name, wanted);
}

fn check_in(text: &str, name: &str, wanted: impl IntoIterator<Item = String>) {
    let missing: Vec<String> = wanted
        .into_iter()
        .filter(|wanted| !text.contains(wanted.as_str()))
        .collect();
    assert!(missing.is_empty(), "{name} lacks {missing:#?}");
}

#[test]
fn every_verdict_and_cause_is_explained() {
    let rows = Class::ALL
        .iter()
        .map(|class| format!("| `{}` | ", class.as_str()));
    check("verdicts.md", rows);
    let headings = Verdict::ALL
        .iter()
        .map(|verdict| format!("\n## `{verdict}`\n"));
    check("verdicts.md", headings);
    check(
        "verdicts.md",
        Noise::ALL.iter().map(|noise| format!("| `{noise}` | ")),
    );
}

#[test]
fn every_piece_of_evidence_is_explained() {
    let sources = sources();
    let names: Vec<&str> = sources
        .iter()
        .flat_map(|text| between(text, "Observation::new(", ","))
        .map(|name| name.trim_matches('"'))
        .collect();
    assert!(
        names.len() >= 20,
        "the source is not what it was: {names:?}"
    );
    for shape in ["\n| `NAME` | ", "\n#### `NAME`\n"] {
        let of_each = names.iter().map(|name| shape.replace("NAME", name));
        check("evidence.md", of_each);
    }
}

/// What the rules of a file weigh, and for which classes, is named in their
/// sections or in those that these refer to.
#[test]
fn every_rule_names_its_weights_and_classes() {
    let page = document("evidence.md");
    for source in &sources()[1..] {
        let documented: String = between(source, "Observation::new(", ",")
            .into_iter()
            .map(|name| its_sections(&page, name.trim_matches('"')))
            .collect();
        if documented.is_empty() {
            continue;
        }
        let weights = between(source, ".weigh(", ",")
            .into_iter()
            .map(|weight| weight.trim_start_matches('-').to_owned())
            .filter(|weight| weight.starts_with(|letter: char| letter.is_ascii_uppercase()));
        let classes = Class::ALL.iter().filter_map(|class| {
            let name = format!("Class::{class:?}");
            let mut after = source.split(&name).skip(1);
            let is_whole = |rest: &str| !rest.starts_with(char::is_alphanumeric);
            after.any(is_whole).then(|| class.cause().to_string())
        });
        for wanted in weights.chain(classes) {
            assert!(
                documented.contains(&format!("`{wanted}`")),
                "{wanted}: {documented}"
            );
        }
    }
}

/// The section of a piece of evidence, and those that it refers to.
fn its_sections(page: &str, name: &str) -> String {
    let start = format!("\n#### `{name}`\n");
    let section = page.split_once(&start).map(|(_, rest)| rest);
    let section = section.and_then(|rest| rest.split("\n#").next());
    let mut documented = section.unwrap_or_default().to_owned();
    for anchor in between(&documented.clone(), "](#", ")") {
        let section = page.split("\n#").find(|section| {
            let heading = section.lines().next().unwrap_or_default();
            let heading = heading.trim_start_matches(['#', ' ']).to_lowercase();
            heading.replace(' ', "-") == anchor
        });
        documented.push_str(section.unwrap_or_else(|| panic!("no section {anchor}")));
    }
    documented
}

#[test]
fn every_weight_has_its_value() {
    let sources = sources();
    let values: Vec<(&str, f64)> = sources
        .iter()
        .flat_map(|text| text.split("const ").skip(1))
        .filter_map(|rest| {
            let (name, rest) = rest.split_once(": f64 = ")?;
            let value = rest.split_once(';')?.0.parse().ok()?;
            Some((name, value))
        })
        .collect();
    let value_of = |wanted: &str| values.iter().find(|(name, _)| *name == wanted);
    let of_table = between(&sources[0], "pub const ", ": f64").into_iter();
    let of_rules = sources
        .iter()
        .flat_map(|text| between(text, ".weigh(", ","))
        .map(|weight| weight.trim_start_matches('-'))
        .filter(|weight| weight.starts_with(|letter: char| letter.is_ascii_uppercase()));
    let rows = of_table
        .chain(of_rules)
        .filter(|name| *name != "BAR" && !name.starts_with("UNKNOWN_"))
        .map(|name| {
            let (_, value) = value_of(name).unwrap_or_else(|| panic!("{name} has no value"));
            let sign = if *value < 0.0 { '−' } else { '+' };
            format!("\n| `{name}` | {sign}{} | ", value.abs())
        });
    check("evidence.md", rows);
    let reserves = values
        .iter()
        .filter(|(name, _)| name.starts_with("UNKNOWN_"));
    check(
        "evidence.md",
        reserves.map(|(name, value)| format!("(`{name}`) | {value} | {} | ", 1.0 - value)),
    );
    let (_, bar) = value_of("BAR").unwrap();
    check("evidence.md", [format!("share of {bar} (`BAR`)")]);
    check("verdicts.md", [format!("**{bar}**, the bar")]);
}

#[test]
fn every_feature_and_exit_code_is_explained() {
    let features = Feature::ALL
        .iter()
        .map(|feature| format!("\n| `{feature}` | "));
    check("kernels.md", features);
    let codes = Exit::ALL
        .iter()
        .map(|exit| format!("\n| {} | ", exit.code()));
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    check_in(&readme, "README.md", codes);
}

/// The judgements of the recordings of two scenarios are those on the pages.
#[test]
fn the_worked_cases_are_judged_as_documented() {
    for (name, recording) in [
        ("case-middlebox-idle.md", "idle_reset_on_send.ipv4.client"),
        ("case-connection-lost.md", "connection_lost.client"),
    ] {
        let (_, judgement) = replay::replay(recording)
            .into_iter()
            .find(|(facts, _)| facts.kind == Kind::ResetReceived)
            .unwrap();
        // Lines are broken between words.
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let page = words(&document(name));
        check_in(&page, name, shown(&judgement).iter().map(|it| words(it)));
    }
}

/// Every configuration on the pages about fleets and sinks is valid, and each sink
/// has one.
#[test]
fn the_examples_of_sinks_are_valid() {
    let text = ["fleet.md", "sinks.md"].map(document).concat();
    let examples = between(&text, "```toml\n", "```");
    for kind in ["stdout", "file", "syslog", "otlp", "kafka", "prometheus"] {
        let example = format!("type = \"{kind}\"");
        assert!(examples.iter().any(|it| it.contains(&example)), "{kind}");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kreset.toml");
    for example in examples {
        fs::write(&path, example).unwrap();
        let checked = Command::new(env!("CARGO_BIN_EXE_kreset-trace"))
            .args(["check", "--config"])
            .arg(&path)
            .output()
            .unwrap();
        let (said, error) = (
            String::from_utf8_lossy(&checked.stdout),
            String::from_utf8_lossy(&checked.stderr),
        );
        // Its certificates are not on this host, and this user may not trace: those
        // are checked after the configuration.
        let is_valid = said.contains("kreset.toml: valid\n");
        let needs_feature = error.contains("this build has no kafka sink");
        assert!(
            is_valid || (needs_feature && !cfg!(feature = "kafka")),
            "{example}\n{said}{error}"
        );
    }
}

/// What a page shows of a judgement: its class and confidence, the shares, and
/// each weight.
fn shown(judgement: &Judgement) -> Vec<String> {
    let class = class_name(judgement.verdict, judgement.cause);
    let mut shown = vec![class, format!("{:.0}%", judgement.confidence * 100.0)];
    let shares: Vec<String> = judgement
        .candidates
        .iter()
        .map(|candidate| format!("{} {:.0}%", candidate.verdict, candidate.share * 100.0))
        .collect();
    shown.push(shares.join(", "));
    for seen in &judgement.evidence {
        let evidence = seen.clone().into_evidence();
        let weights: Vec<String> = evidence
            .weights
            .iter()
            .map(|it| format!("{:+.1} {}", it.weight, it.class))
            .collect();
        shown.push(weights.join("  "));
    }
    shown
}
