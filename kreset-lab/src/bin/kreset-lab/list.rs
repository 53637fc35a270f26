//! `kreset-lab list`: the scenarios by group, for people and for programs; and the nearest
//! names of one that is mistyped.

use std::fmt::Write as _;

use clap::Args;
use kreset_lab::case::{Group, Scenario};
use serde_json::{Value, json};

/// Names that are suggested, at most.
const SUGGESTIONS: usize = 3;

/// Arguments of `list`.
#[derive(Args)]
pub(crate) struct Options {
    /// Print a JSON array, with the name, group and description of each scenario
    #[arg(long)]
    json: bool,
}

/// The list, as it is printed.
pub(crate) fn list(options: &Options, all: &[Scenario]) -> String {
    if options.json {
        let scenarios: Vec<Value> = all
            .iter()
            .map(|it| json!({ "name": it.name(), "group": it.group().name(), "about": it.about() }))
            .collect();
        return format!("{:#}", Value::from(scenarios));
    }
    let rows = rows(all);
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for group in Group::ALL {
        let _written = writeln!(out, "{}: {}\n", group.name(), group.about());
        for row in rows.iter().filter(|row| row.group == group) {
            let variants = match row.variants.as_slice() {
                [] => String::new(),
                all => format!(" [{}]", all.join(", ")),
            };
            let _written = writeln!(out, "  {:<width$}  {}{variants}", row.name, row.about);
        }
        out.push('\n');
    }
    out.push_str(
        "`kreset-lab run NAME` runs a scenario with all that is in brackets, `run NAME.java` with one,\n\
         `run GROUP` a group.",
    );
    out
}

/// A scenario with its variants.
struct Row<'a> {
    group: Group,
    name: &'a str,
    variants: Vec<&'a str>,
    about: &'a str,
}

fn rows(all: &[Scenario]) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for scenario in all {
        let (name, variant) = split(scenario.name());
        match rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.variants.extend(variant),
            None => rows.push(Row {
                group: scenario.group(),
                name,
                variants: variant.into_iter().collect(),
                about: scenario.about(),
            }),
        }
    }
    rows
}

fn split(name: &str) -> (&str, Option<&str>) {
    name.rsplit_once('.')
        .map_or((name, None), |(name, variant)| (name, Some(variant)))
}

/// What to say of a name that means no scenario.
pub(crate) fn unknown(wanted: &str, all: &[Scenario]) -> String {
    let near = nearest(wanted, all);
    if near.is_empty() {
        return format!("unknown scenario {wanted:?}; `kreset-lab list` shows all names");
    }
    let near: Vec<_> = near.iter().map(|name| format!("{name:?}")).collect();
    format!(
        "unknown scenario {wanted:?}; did you mean {}? `kreset-lab list` shows all names",
        near.join(" or ")
    )
}

/// The names that take the fewest changes to become `wanted`, or that have it within them.
fn nearest<'a>(wanted: &str, all: &'a [Scenario]) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase().replace(' ', "-");
    let mut names: Vec<&str> = Vec::new();
    for scenario in all {
        names.push(scenario.name());
        names.push(split(scenario.name()).0);
    }
    names.extend(Group::ALL.iter().map(|group| group.name()));
    names.sort_unstable();
    names.dedup();
    // Two letters that changed places are two changes.
    let most = (wanted.len() / 3).max(2);
    let mut near: Vec<(usize, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let changes = changes(&alike(&wanted), &alike(name));
            let within = wanted.len() >= 4 && alike(name).contains(&alike(&wanted));
            if changes <= most {
                Some((changes, name))
            } else {
                within.then_some((most + name.len(), name))
            }
        })
        .collect();
    near.sort_unstable();
    near.truncate(SUGGESTIONS);
    near.into_iter().map(|(_, name)| name).collect()
}

/// Names of both kinds are written with hyphens or with underscores.
fn alike(name: &str) -> String {
    name.replace('_', "-")
}

/// Letters to insert, remove or replace to make `a` out of `b` (Levenshtein).
fn changes(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, letter) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use kreset_lab::case;

    use super::*;

    #[test]
    fn a_mistyped_name_has_its_neighbours() {
        let all = case::scenarios();
        for (wanted, near) in [
            ("device.aws-nbl", "device.aws-nlb"),
            ("idle-reset-on-send", "idle_reset_on_send"),
            ("Refused", "refused"),
            ("kafak", "kafka"),
            ("aws-nlb", "device.aws-nlb"),
            ("plaintext-to-tls.jav", "plaintext-to-tls.java"),
        ] {
            let found = nearest(wanted, &all);
            assert!(found.contains(&near), "{wanted}: {found:?}");
            let sentence = unknown(wanted, &all);
            assert!(sentence.contains("did you mean"), "{sentence}");
        }
        assert!(nearest("qqqqqqqqqq", &all).is_empty());
        assert!(!unknown("qqqqqqqqqq", &all).contains("did you mean"));
    }

    #[test]
    fn every_scenario_is_in_its_group() {
        let all = case::scenarios();
        let text = list(&Options { json: false }, &all);
        for group in Group::ALL {
            assert!(text.contains(&format!("{}: ", group.name())), "{text}");
        }
        for scenario in &all {
            assert!(text.contains(split(scenario.name()).0), "{scenario:?}");
        }
        let json: Value = serde_json::from_str(&list(&Options { json: true }, &all)).unwrap();
        let listed = json.as_array().unwrap();
        assert_eq!(listed.len(), all.len());
        for (row, scenario) in listed.iter().zip(&all) {
            assert_eq!(row["name"], scenario.name());
            assert_eq!(row["group"], scenario.group().name());
            assert!(row["about"].as_str().is_some_and(|about| !about.is_empty()));
        }
    }

    #[test]
    fn changes_are_counted() {
        for (a, b, count) in [
            ("", "", 0),
            ("abc", "", 3),
            ("nbl", "nlb", 2),
            ("a", "ab", 1),
        ] {
            assert_eq!((changes(a, b), changes(b, a)), (count, count), "{a} {b}");
        }
    }
}
