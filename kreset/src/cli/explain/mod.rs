//! `kreset-trace explain`: what a verdict, a cause, a piece of evidence or an exit code
//! means, and the commands to check it with.
//!
//! What verdicts and causes mean is read from `docs/verdicts.md`, evidence from
//! `docs/evidence.md`, and incidents from `docs/incidents.md`: the pages that people read are
//! the source of all.

mod checks;
mod page;

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;
use thiserror::Error;

use super::{
    arguments::ViewArguments,
    show::{self, ShowError},
};
use crate::{
    delivery::SinkError,
    event::{Cause, Finding, IncidentKind, Message, Verdict, evidence_names, evidence_words},
    sink::{View, with_commands, wrap},
    util::{escape::Escaped, exit::Exit},
};

/// The pages that explain.
const VERDICTS: &str = include_str!("../../../../docs/verdicts.md");
const EVIDENCE: &str = include_str!("../../../../docs/evidence.md");
const INCIDENTS: &str = include_str!("../../../../docs/incidents.md");

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A verdict, a cause, verdict/cause, a piece of evidence, an incident, or an exit code
    ///
    /// Without it, all names are listed.
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Explain the last finding in this file of JSON events, with its own values
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    event: Option<PathBuf>,

    #[command(flatten)]
    view: ViewArguments,
}

impl Arguments {
    pub(super) fn into_explain(self) -> Explain {
        Explain {
            name: self.name,
            event: self.event,
            view: self.view.into_view(),
        }
    }
}

/// What is to be explained.
#[derive(Clone, Debug)]
pub struct Explain {
    name: Option<String>,
    event: Option<PathBuf>,
    view: View,
}

/// Why nothing is explained.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// There is no such name.
    #[error("unknown name \"{name}\"{nearest}; kreset-trace explain lists all names")]
    Unknown {
        /// The name.
        name: String,
        /// The nearest one, if one is near.
        nearest: String,
    },
    /// The file has no finding.
    #[error("{}: no reset, close or timeout in it", .0.display())]
    NoFinding(PathBuf),
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ShowError),
}

impl ExplainError {
    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Unknown { .. } => Exit::Usage,
            Self::NoFinding(_) | Self::Read(_) => Exit::Failed,
        }
    }
}

/// The explanation, as text for standard output.
///
/// # Errors
/// When there is no such name, or the file cannot be read or has no finding.
pub fn explain(wanted: &Explain) -> Result<String, ExplainError> {
    let width = wanted.view.width().min(100);
    if let Some(path) = &wanted.event {
        let mut last = None;
        show::read(path, |message: Message| {
            if message.event.finding().is_some() {
                last = Some(message);
            }
            Ok(())
        })?;
        let last = last.ok_or_else(|| ExplainError::NoFinding(path.clone()))?;
        let finding = last.event.finding();
        return Ok(finding.map_or_else(String::new, |finding| of_finding(finding, width)));
    }
    match &wanted.name {
        None => Ok(list(width)),
        Some(name) => of_name(name, width),
    }
}

/// What each class means, as `verdict/cause` and a sentence.
pub fn meanings() -> impl Iterator<Item = (String, String)> {
    page::classes(VERDICTS)
        .into_iter()
        .map(|row| (row.class, row.means))
}

/// All names, by what they are.
fn list(width: usize) -> String {
    let mut out = String::new();
    for (title, names) in [
        ("verdicts", words(Verdict::ALL, Verdict::as_str)),
        ("causes", words(Cause::ALL, Cause::as_str)),
        ("evidence", evidence_names().collect::<Vec<_>>().join(" ")),
        ("incidents", words(IncidentKind::ALL, IncidentKind::as_str)),
        (
            "exit codes",
            Exit::ALL
                .iter()
                .map(|exit| exit.code().to_string())
                .collect::<Vec<_>>()
                .join(" "),
        ),
    ] {
        let first = format!("{title:<10}  ");
        push(&mut out, &first, &" ".repeat(first.len()), &names, width);
    }
    out
}

fn words<T: Copy>(all: &[T], word: impl Fn(T) -> &'static str) -> String {
    all.iter().map(|it| word(*it)).collect::<Vec<_>>().join(" ")
}

fn push(out: &mut String, first: &str, rest: &str, text: &str, width: usize) {
    for line in wrap(first, rest, text, width) {
        out.push_str(&line);
        out.push('\n');
    }
}

fn of_name(name: &str, width: usize) -> Result<String, ExplainError> {
    let mut classes = page::classes(VERDICTS);
    classes.retain(|row| row.is_named(name));
    let mut out = String::new();
    if let Ok(verdict) = name.parse::<Verdict>() {
        verdict_page(&mut out, verdict, width);
    }
    for row in classes {
        class_page(&mut out, &row, None, width);
    }
    // One name is that of a cause and of a piece of evidence.
    if evidence_names().any(|it| it == name) {
        evidence_page(&mut out, name, width);
    }
    if let Ok(incident) = name.replace('-', "_").parse::<IncidentKind>() {
        incident_page(&mut out, incident, width);
    }
    if let Some(exit) = Exit::ALL.iter().find(|it| it.code().to_string() == name) {
        push(
            &mut out,
            &format!("exit code {name}: "),
            "  ",
            exit.meaning(),
            width,
        );
    }
    if out.is_empty() {
        return Err(ExplainError::Unknown {
            name: name.to_owned(),
            nearest: nearest(name),
        });
    }
    Ok(out)
}

/// `; the nearest is "..."`, if one is near.
fn nearest(name: &str) -> String {
    let names = Verdict::ALL
        .iter()
        .map(|it| it.as_str())
        .chain(Cause::ALL.iter().map(|it| it.as_str()))
        .chain(evidence_names())
        .chain(IncidentKind::ALL.iter().map(|it| it.as_str()));
    let wanted = name.replace('-', "_");
    names
        .map(|it| (common(it, &wanted), it))
        .max_by_key(|(common, _)| *common)
        .filter(|(common, _)| common * 2 > wanted.len())
        .map_or_else(String::new, |(_, it)| format!("; the nearest is \"{it}\""))
}

/// Pairs of letters that two words have in common.
fn common(a: &str, b: &str) -> usize {
    let pairs = |text: &str| {
        let bytes = text.as_bytes().to_vec();
        bytes
            .windows(2)
            .map(|it| [it[0], it[1]])
            .collect::<Vec<_>>()
    };
    let others = pairs(b);
    pairs(a).iter().filter(|it| others.contains(it)).count()
}

fn verdict_page(out: &mut String, verdict: Verdict, width: usize) {
    let Some(section) = page::section(VERDICTS, &format!("`{verdict}`")) else {
        return;
    };
    let _written = writeln!(out, "{verdict}\n");
    for paragraph in page::paragraphs(section) {
        push(out, "  ", "  ", &paragraph, width);
        out.push('\n');
    }
    for row in page::classes(VERDICTS) {
        if row.verdict() == verdict.as_str() {
            class_page(out, &row, None, width);
        }
    }
}

/// A class, and how to check it; with the values of `finding`.
fn class_page(out: &mut String, row: &page::Row, finding: Option<&Finding>, width: usize) {
    let _written = writeln!(out, "{}\n", row.class);
    for (label, text) in [
        ("means", &row.means),
        ("decided by", &row.decides),
        ("client shows", &row.shows),
    ] {
        let first = format!("  {label:<12}  ");
        push(out, &first, &" ".repeat(first.len()), text, width);
    }
    let checks = checks::of(&row.class, &checks::Values::of(finding));
    if !checks.is_empty() {
        out.push_str("\n  check it with:\n");
    }
    for (what, command) in checks {
        push(out, "    ", "    ", &format!("{what}:"), width);
        // Never broken: it is there to be pasted.
        let _written = writeln!(out, "      {command}");
    }
    out.push('\n');
}

fn evidence_page(out: &mut String, name: &str, width: usize) {
    let _written = writeln!(out, "{name}: {}\n", evidence_words(name));
    let Some(cells) = page::evidence(EVIDENCE, name) else {
        return;
    };
    let labels = ["value", "from", "applies when", "weighs"];
    for (label, text) in labels.iter().zip(cells) {
        let first = format!("  {label:<12}  ");
        push(out, &first, &" ".repeat(first.len()), &text, width);
    }
}

fn incident_page(out: &mut String, incident: IncidentKind, width: usize) {
    let _written = writeln!(out, "{incident}\n");
    let Some((means, recognised)) = page::incident(INCIDENTS, incident.as_str()) else {
        return;
    };
    for (label, text) in [
        ("means", means.as_str()),
        ("three of", recognised.as_str()),
        ("to do", incident.advice()),
    ] {
        let first = format!("  {label:<12}  ");
        push(out, &first, &" ".repeat(first.len()), text, width);
    }
}

/// A finding, with its own values.
pub(super) fn of_finding(finding: &Finding, width: usize) -> String {
    let mut out = String::new();
    push(&mut out, "", "  ", &shown(&finding.summary), width);
    for line in with_commands("-> ", "   ", &shown(&finding.advice), width) {
        out.push_str(&line);
        out.push('\n');
    }
    out.push('\n');
    let class = finding
        .cause
        .map(|cause| format!("{}/{cause}", finding.verdict));
    let rows = page::classes(VERDICTS);
    match class.and_then(|class| rows.into_iter().find(|row| row.class == class)) {
        Some(row) => class_page(&mut out, &row, Some(finding), width),
        None => verdict_page(&mut out, finding.verdict, width),
    }
    out.push_str("  evidence:\n");
    for it in &finding.evidence {
        let text = format!("{}: {}", shown(evidence_words(&it.name)), shown(&it.value));
        push(&mut out, "    ", "      ", &text, width);
    }
    out
}

/// A text of a file, which anybody may have written.
fn shown(text: &str) -> String {
    Escaped(text).to_string()
}

/// Writes the explanation.
///
/// # Errors
/// As [`explain`], or when standard output fails.
pub fn run(wanted: &Explain) -> Result<(), ExplainError> {
    let text = explain(wanted)?;
    match Write::write_all(&mut io::stdout(), text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let error = SinkError::write("standard output", error);
            Err(ShowError::Output(error).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
