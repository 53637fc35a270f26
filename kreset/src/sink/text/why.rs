//! Why, and why not: the evidence that separates the leading class from the likeliest of
//! another culprit, in words, the strongest first (`-v`).

use std::collections::BTreeMap;

use crate::{
    event::{Culprit, Evidence, Finding, Verdict, evidence_words},
    util::escape::Escaped,
};

/// Evidence that separates two classes by less is no reason.
const LEAST: f64 = 0.5;
/// Reasons that are given on each side.
const MOST: usize = 5;

/// The reasons, each with what it is one for: `why`, `not` or `but`.
pub(super) fn lines(finding: &Finding) -> Vec<(&'static str, String)> {
    let sums = sums(finding);
    let Some(leader) = leader(finding, &sums) else {
        return Vec::new();
    };
    let other = sums
        .iter()
        .filter(|(class, _)| culprit_of(class) != culprit_of(leader))
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(class, _)| *class);
    let mut apart: Vec<(f64, &Evidence)> = finding
        .evidence
        .iter()
        .map(|it| {
            (
                weight(it, leader) - other.map_or(0.0, |it_| weight(it, it_)),
                it,
            )
        })
        .filter(|(apart, _)| apart.abs() >= LEAST)
        .collect();
    apart.sort_by(|(a, _), (b, _)| b.abs().total_cmp(&a.abs()));
    let side = |for_it: bool| {
        apart
            .iter()
            .filter(move |(apart, _)| (*apart > 0.0) == for_it)
            .take(MOST)
            .map(|(_, it)| it)
    };
    let mut lines = Vec::new();
    for (it, first) in side(true).zip(std::iter::once("why").chain(std::iter::repeat(""))) {
        lines.push((first, said(it)));
    }
    if let Some(other) = other {
        let excludes = |it: &&&Evidence| weight(it, other) <= -2.0;
        for it in side(true).filter(excludes).take(2) {
            lines.push(("not", format!("{}: {}", Escaped(other), said(it))));
        }
        for it in side(false) {
            lines.push(("but", format!("for {}: {}", Escaped(other), said(it))));
        }
    }
    lines
}

fn said(it: &Evidence) -> String {
    format!(
        "{}: {}",
        Escaped(evidence_words(&it.name)),
        Escaped(&it.value)
    )
}

/// The sum of the weights of each class.
fn sums(finding: &Finding) -> BTreeMap<&str, f64> {
    let mut sums = BTreeMap::new();
    for it in finding.evidence.iter().flat_map(|it| it.weights.iter()) {
        *sums.entry(it.class.as_str()).or_default() += it.weight;
    }
    sums
}

/// The class that was named, or the heaviest.
fn leader<'a>(finding: &Finding, sums: &BTreeMap<&'a str, f64>) -> Option<&'a str> {
    let named = finding
        .cause
        .map(|cause| format!("{}/{cause}", finding.verdict));
    let named = named.and_then(|named| sums.keys().find(|class| ***class == named).copied());
    named.or_else(|| {
        let heaviest = sums.iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
        heaviest.map(|(class, _)| *class)
    })
}

/// Whom a class names: `None` for one of another version.
fn culprit_of(class: &str) -> Option<Culprit> {
    let verdict = class.split_once('/').map_or(class, |(verdict, _)| verdict);
    verdict.parse::<Verdict>().ok().map(Culprit::of)
}

fn weight(evidence: &Evidence, class: &str) -> f64 {
    let mut weights = evidence.weights.iter();
    weights
        .find(|it| it.class == class)
        .map_or(0.0, |it| it.weight)
}
