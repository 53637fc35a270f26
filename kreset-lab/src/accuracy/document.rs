//! The table of a run, as text and as the page in `docs/`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, iter,
    time::Duration,
};

use super::{
    matrix::Findings,
    observation::{Observation, Outcome, SURE},
    orderly::Orderly,
    score::{BARS, Score, percent, share},
};
use crate::{case::USED, util::table::Table};

/// What may go unsaid, and is a flaw.
const SILENT_DROPS: &str = "\
Silent drops may be missed while other work keeps the machine busy, three of 192 in a run beside a \
soak: for their sockets the tracepoint `inet_sock_set_state` did not fire when they went to CLOSE \
(Linux 6.18), for ftrace and bpftrace neither. Why is not known.";

/// What is not as it is in the field.
const SCALED: &str = "\
Silences are scaled: a device that forgets after 350 s stands here with 1 to 20 s. Where one host \
cannot decide (a bare answer from as far away as the other host, or from an unknown distance), the \
truth is drawn with the odds that the weights claim: one device in eight copies the other host's TTL; \
for each host that lost a connection, 0.9 devices fail in mid-use, and the timers of 1.6 run out \
within ten seconds, of 4.5 later. There are no such figures from the field: there, the calibration \
shows that what is stated follows from what is assumed.";

/// The columns of the last table.
const COLUMNS: &str = "\
Each label is in one column. *Alike*: one host cannot decide, and it named, without being sure, \
another cause that leaves it the same evidence. *Unreported*: nothing was said, and nothing had to be, \
because the end is harmless and this host's own application knows of it, or because no reset came \
and the first exchange was not observed.";

/// What stands at the head of the page.
#[derive(Clone, Debug)]
pub struct Head {
    /// The command that repeats the run.
    pub command: String,
    /// The day, as `2026-11-23`.
    pub date: String,
    /// The kernel's release.
    pub kernel: String,
    /// How long the matrix took.
    pub took: Duration,
    /// The seed of the cases that weights may be set by.
    pub used_seed: Option<u64>,
    /// The seed of those held out.
    pub held_out_seed: Option<u64>,
}

/// A whole run.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Where and when.
    pub head: &'a Head,
    /// The matrix.
    pub findings: &'a Findings,
    /// The orderly connections, if they were part of the run.
    pub orderly: Option<&'a Orderly>,
}

impl Page<'_> {
    /// What both hosts together prove.
    fn pairs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = &self.findings.pairs;
        if pairs.is_empty() {
            return Ok(());
        }
        let score = Score::of(pairs.iter());
        let proven = pairs.iter().filter(|one| one.is_proven());
        let is_wrong = |one: &&Observation| {
            matches!(
                one.outcome,
                Outcome::Wrong | Outcome::Overconfident | Outcome::Noise
            )
        };
        let wrong = proven.clone().filter(is_wrong).count();
        let undecidable = score.count(Outcome::Honest) + score.count(Outcome::Overconfident);
        writeln!(f, "## Both hosts together\n")?;
        writeln!(
            f,
            "`kreset-trace correlate` is given what both hosts said alone, and judged by the same \
             labels; that one host could not decide is no excuse. Two things remain that two hosts \
             know no more of than one, {undecidable} endings: why a first exchange ended where \
             neither saw what was said, and that a host sent nothing where its agent, run without `--all`, left \
             something out. Of {} \
             other labelled endings {} are right ({}), {} abstained, {} wrong, {} missed; {} wrong \
             at a confidence of {SURE} or more. {} findings are proven, {wrong} of these wrongly.\n",
            score.decidable(),
            score.count(Outcome::Right),
            percent(share(score.count(Outcome::Right), score.decidable())),
            score.count(Outcome::Abstained),
            score.count(Outcome::Wrong),
            score.count(Outcome::Missed),
            score.wrong_and_sure,
            proven.count(),
        )
    }

    /// What `read` makes of each host's packets alone.
    fn captures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let captured = &self.findings.captured;
        if captured.is_empty() {
            return Ok(());
        }
        let score = Score::of(captured.iter());
        writeln!(f, "## From a capture alone\n")?;
        writeln!(
            f,
            "`kreset-trace read` is given the packets of each host, of all cases but those whose \
             tracers begin late, and judged by the same labels. Of {} labelled endings that a host's \
             tracer can decide, {} are right ({} of the decided), {} abstained ({}), {} wrong, {} \
             missed; {} wrong at a confidence of {SURE} or more. Events where there should be none: \
             {}. What a capture [does not show](read.md#what-a-capture-does-not-show) is why it says \
             less than a tracer.\n",
            score.decidable(),
            score.count(Outcome::Right),
            percent(score.right()),
            score.count(Outcome::Abstained),
            percent(score.abstained()),
            score.count(Outcome::Wrong),
            score.count(Outcome::Missed),
            score.wrong_and_sure,
            score.count(Outcome::Noise),
        )?;
        let differs = |truth: &str| {
            captured
                .iter()
                .any(|one| one.truth == truth && one.decidable && one.outcome != Outcome::Right)
        };
        let mut some = captured
            .iter()
            .filter(|one| one.decidable && differs(&one.truth))
            .peekable();
        if some.peek().is_none() {
            return Ok(());
        }
        writeln!(
            f,
            "By cause, where it differs from the label:\n\n{}",
            causes(some)
        )
    }

    /// Which bars are missed, in words; empty if none is.
    pub fn missed(&self) -> Vec<String> {
        let held_out = self.score(|one| one.held_out);
        let mut missed = held_out.missed(BARS);
        let noise = self.score(|one| !one.held_out).count(Outcome::Noise);
        if noise > 0 {
            missed.push(format!("{noise} more under the used seed"));
        }
        if let Some(orderly) = self.orderly
            && (!orderly.events.is_empty() || orderly.lost > 0)
        {
            missed.push(format!(
                "{} events and {} lost of {} orderly connections",
                orderly.events.len(),
                orderly.lost,
                orderly.connections
            ));
        }
        if self.findings.lost > 0 {
            missed.push(format!("{} events lost", self.findings.lost));
        }
        let garbage = self.findings.garbage.len();
        if garbage > 0 {
            missed.push(format!("{garbage} lines that are not of the contract"));
        }
        let failed = self.findings.not_staged.len();
        if failed > 0 {
            missed.push(format!("{failed} cases were not played as they should be"));
        }
        missed
    }

    fn score(&self, counts: impl Fn(&Observation) -> bool) -> Score {
        Score::of(self.findings.observations.iter().filter(|one| counts(one)))
    }
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Head {
            command,
            date,
            kernel,
            took,
            used_seed,
            held_out_seed,
        } = self.head;
        let observations = &self.findings.observations;
        let labelled = observations.iter().filter(|one| one.truth != "nothing");
        let cases: BTreeSet<_> = observations.iter().map(|one| &one.case).collect();
        writeln!(f, "# Accuracy\n")?;
        writeln!(
            f,
            "`{command}` plays {} cases in network namespaces, has one `kreset-trace` watch each \
             host alone, and compares what they say with what was done. Measured on {date}, Linux \
             {kernel}, in {:.0} s: {} labelled endings, {} connections of which nothing is to be \
             said.\n",
            cases.len(),
            took.as_secs_f64(),
            labelled.count(),
            observations
                .iter()
                .filter(|one| one.truth == "nothing" && one.outcome != Outcome::Noise)
                .count(),
        )?;
        let seed = |seed: &Option<u64>| seed.map_or_else(|| "none".to_owned(), |it| it.to_string());
        writeln!(
            f,
            "Silences, devices' timers, distances, sizes, counts, API keys, orders and kinds of \
             traffic are drawn from a seed. Weights may be set by the seeds {} only; held out \
             is a seed that was never run before, and every fourth combination of cause and variant \
             (`unseen`) is run under such seeds alone. Used here: {}; held out: **{}**. \
             `{command} -- --seed N` draws another one.\n",
            USED.map(|seed| seed.to_string()).join(", "),
            seed(used_seed),
            seed(held_out_seed),
        )?;
        writeln!(f, "{SILENT_DROPS}\n")?;
        writeln!(f, "{SCALED}\n")?;
        writeln!(f, "{}", self.scores())?;
        writeln!(
            f,
            "## Stated and observed confidence\n\nOver everything that named a cause, cases that one \
             host cannot decide included. Less is stated than observed: each verdict keeps [a \
             part](evidence.md#what-the-table-does-not-have) for causes that this matrix does not \
             have. What that part has to cover shows outside the matrix, \
             [below](#outside-the-matrix).\n\n{}",
            self.confidence()
        )?;
        writeln!(
            f,
            "## Confusion\n\nTruth down, what was said across; all seeds, both hosts.\n\n{}",
            self.confusion()
        )?;
        writeln!(f, "## By cause\n\n{COLUMNS}\n\n{}", causes(observations))?;
        writeln!(f, "## Outside the matrix\n\n{OUTSIDE}\n\n{}\n", outside())?;
        self.pairs(f)?;
        self.captures(f)?;
        if let Some(orderly) = self.orderly {
            writeln!(f, "## Orderly connections\n")?;
            writeln!(
                f,
                "{} connections opened, used and closed in {:.0} s before both tracers, with \
                 everything shown: {} events, {} lost.\n",
                orderly.connections,
                orderly.took.as_secs_f64(),
                orderly.events.len(),
                orderly.lost
            )?;
        }
        Ok(())
    }
}

/// About situations that are in no row of the catalogue.
const OUTSIDE: &str = "\
The rules were made with the cases above, so that these say nothing of what a verdict is worth where \
something else happened. For that, situations from public reports are acted out by hand, each judged \
before any rule is changed for it: [field.md](field.md) has them all, and from there:";

/// The figures of the situations from public reports: a part of their page.
fn outside() -> &'static str {
    const PAGE: &str = include_str!("../../../docs/field.md");
    let (_, after) = PAGE.split_once("<!-- figures -->\n").unwrap_or_default();
    let (figures, _) = after
        .split_once("<!-- end of figures -->")
        .unwrap_or_default();
    figures.trim()
}

impl Page<'_> {
    fn scores(&self) -> String {
        let captured = self.findings.captured.iter();
        let parts = [
            self.score(|one| one.held_out),
            self.score(|one| one.held_out && one.unseen),
            self.score(|one| !one.held_out),
            Score::of(captured.filter(|one| one.held_out)),
        ];
        let heads = [
            "",
            "held out",
            "of it unseen",
            "used",
            "held out, by `read`",
        ];
        let mut table = Table::new(&heads).figures(1..5);
        let mut row = |name: &str, value: &dyn Fn(&Score) -> String| {
            table.row(iter::once(name.to_owned()).chain(parts.iter().map(value)));
        };
        row("one host can decide", &|it| it.decidable().to_string());
        for (outcome, name) in [
            (Outcome::Right, "right"),
            (Outcome::Abstained, "abstained"),
            (Outcome::Wrong, "wrong"),
            (Outcome::Missed, "missed"),
        ] {
            row(name, &|it| it.count(outcome).to_string());
        }
        row("right of decided", &|it| percent(it.right()));
        row("wrong at 0.9 or more", &|it| it.wrong_and_sure.to_string());
        row("stated more than observed", &|it| {
            format!("{:.3}", it.calibration.overconfidence())
        });
        row("calibration error, either way", &|it| {
            format!("{:.3}", it.calibration.error())
        });
        row("the same, of what one host can decide", &|it| {
            format!("{:.3}", it.of_decidable.error())
        });
        for (outcome, name) in [
            (Outcome::Honest, "one host cannot decide, and it said so"),
            (
                Outcome::Overconfident,
                "one host cannot decide, and it was sure",
            ),
            (Outcome::Quiet, "nothing said, and nothing had to be"),
            (Outcome::Noise, "events where there should be none"),
        ] {
            row(name, &|it| it.count(outcome).to_string());
        }
        table.markdown()
    }

    fn confidence(&self) -> String {
        let heads = [
            "", "stated", "observed", "held out", "stated", "observed", "used",
        ];
        let mut table = Table::new(&heads).figures(1..7);
        let (held_out, used) = (
            self.score(|one| one.held_out),
            self.score(|one| !one.held_out),
        );
        let used = used.calibration.buckets();
        for ((bound, held_out), (_, used)) in held_out.calibration.buckets().zip(used) {
            if held_out.count + used.count == 0 {
                continue;
            }
            let cells = [held_out, used].into_iter().flat_map(|bucket| {
                let mean = |value: f64| match bucket.count {
                    0 => String::new(),
                    _ => format!("{value:.3}"),
                };
                let count = bucket.count.to_string();
                [mean(bucket.stated()), mean(bucket.observed()), count]
            });
            table.row(iter::once(format!("from {bound}")).chain(cells));
        }
        table.markdown()
    }

    /// By verdict: truth down, what was said across.
    fn confusion(&self) -> String {
        const SILENCE: &str = "nothing";
        let verdict = |answer: &str| {
            let name = answer.split('/').next().unwrap_or(answer);
            name.to_owned()
        };
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        for one in &self.findings.observations {
            let said = one.said.as_deref().unwrap_or(SILENCE);
            *counts
                .entry((verdict(&one.truth), verdict(said)))
                .or_default() += 1;
        }
        let said: BTreeSet<_> = counts.keys().map(|(_, said)| said.clone()).collect();
        let truths: BTreeSet<_> = counts.keys().map(|(truth, _)| truth.clone()).collect();
        let heads: Vec<_> = iter::once("")
            .chain(said.iter().map(String::as_str))
            .collect();
        let mut table = Table::new(&heads).figures(1..heads.len());
        for truth in truths {
            let cells = said.iter().map(|said| {
                let count = counts.get(&(truth.clone(), said.clone()));
                count.map_or_else(String::new, usize::to_string)
            });
            table.row(iter::once(truth.clone()).chain(cells));
        }
        table.markdown()
    }
}

/// By cause, with every answer that is not right.
fn causes<'a, I: IntoIterator<Item = &'a Observation>>(observations: I) -> String {
    let mut causes: BTreeMap<(bool, &str), Vec<&Observation>> = BTreeMap::new();
    for one in observations {
        if one.truth != "nothing" {
            let key = (!one.decidable, one.truth.as_str());
            causes.entry(key).or_default().push(one);
        }
    }
    let mut heads = vec!["truth", "labels"];
    heads.extend(Column::ALL.map(Column::name));
    heads.push("said instead");
    let mut table = Table::new(&heads).figures(1..heads.len() - 1);
    for ((hidden, truth), all) in causes {
        let mut instead: BTreeMap<&str, usize> = BTreeMap::new();
        for one in all.iter().filter(|one| !one.right) {
            if let Some(said) = &one.said {
                *instead.entry(said).or_default() += 1;
            }
        }
        let instead = instead
            .iter()
            .map(|(said, count)| format!("{count} x {said}"));
        let note = if hidden {
            " (one host cannot decide)"
        } else {
            ""
        };
        let mut row = vec![
            format!("{}{note}", truth.replace('|', " or ")),
            all.len().to_string(),
        ];
        row.extend(Column::ALL.map(|column| {
            let of_it = all.iter().filter(|one| Column::of(one) == column);
            of_it.count().to_string()
        }));
        row.push(instead.collect::<Vec<_>>().join("; "));
        table.row(row);
    }
    table.markdown()
}

named_enum! {
    /// Where a label is counted in the table of causes: each once.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Column all {
        Right = "right",
        Alike = "alike",
        Abstained = "abstained",
        Wrong = "wrong",
        Missed = "missed",
        Unreported = "unreported",
    }
}

impl Column {
    fn of(one: &Observation) -> Self {
        match one.outcome {
            Outcome::Wrong | Outcome::Overconfident | Outcome::Noise => Self::Wrong,
            Outcome::Missed => Self::Missed,
            Outcome::Quiet => Self::Unreported,
            Outcome::Abstained => Self::Abstained,
            Outcome::Right => Self::Right,
            Outcome::Honest if one.right => Self::Right,
            Outcome::Honest if one.is_named() => Self::Alike,
            Outcome::Honest => Self::Abstained,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: &str = "broker_originated/aborted|shutdown";

    fn observation(said: Option<&str>, outcome: Outcome, decidable: bool) -> Observation {
        Observation {
            case: "a.case".to_owned(),
            port: 40_000,
            host: "client",
            held_out: true,
            unseen: false,
            decidable,
            truth: TRUTH.to_owned(),
            said: said.map(str::to_owned),
            confidence: said.map(|_| 0.8),
            right: said == Some("broker_originated/aborted"),
            outcome,
            event: None,
        }
    }

    fn page(observations: Vec<Observation>) -> String {
        let head = Head {
            command: "cargo xtask accuracy".to_owned(),
            date: "2026-11-23".to_owned(),
            kernel: "6.18".to_owned(),
            took: Duration::from_secs(98),
            used_seed: Some(1),
            held_out_seed: Some(7),
        };
        let findings = Findings {
            observations,
            ..Findings::default()
        };
        let page = Page {
            head: &head,
            findings: &findings,
            orderly: None,
        };
        page.to_string()
    }

    /// The numbers of the row that begins with `truth`.
    fn row(page: &str, truth: &str) -> Vec<usize> {
        let row = page.lines().find(|line| line.starts_with(truth));
        let cells = row.into_iter().flat_map(|row| row.split(" | "));
        cells.filter_map(|cell| cell.parse().ok()).collect()
    }

    #[test]
    fn each_label_is_in_one_column() {
        let right = Some("broker_originated/aborted");
        let other = Some("middlebox_reset/not_idle");
        let abstained = Some("indeterminate");
        let page = page(vec![
            observation(right, Outcome::Right, true),
            observation(abstained, Outcome::Abstained, true),
            observation(other, Outcome::Wrong, true),
            observation(None, Outcome::Missed, true),
            observation(None, Outcome::Quiet, true),
            observation(right, Outcome::Honest, false),
            observation(other, Outcome::Honest, false),
            observation(abstained, Outcome::Honest, false),
            observation(right, Outcome::Overconfident, false),
        ]);
        let truth = "| broker_originated/aborted or shutdown";
        assert_eq!(row(&page, &format!("{truth} |")), [5, 1, 0, 1, 1, 1, 1]);
        assert_eq!(row(&page, &format!("{truth} (")), [4, 1, 1, 1, 1, 0, 0]);
    }

    #[test]
    fn the_page_in_docs_has_what_is_the_same_in_every_run() {
        let committed = include_str!("../../../docs/accuracy.md");
        let generated = page(Vec::new());
        assert!(outside().contains("| 0.9 to 0.99 |"), "{}", outside());
        for constant in [SILENT_DROPS, SCALED, COLUMNS, OUTSIDE, outside()] {
            assert!(generated.contains(constant), "{constant}");
            assert!(committed.contains(constant), "{constant}");
        }
    }

    #[test]
    fn what_a_capture_leaves_open_is_listed_by_cause() {
        let right = Some("broker_originated/aborted");
        let head = Head {
            command: "cargo xtask accuracy".to_owned(),
            date: "2026-11-23".to_owned(),
            kernel: "6.18".to_owned(),
            took: Duration::from_secs(98),
            used_seed: None,
            held_out_seed: Some(7),
        };
        let findings = Findings {
            observations: vec![observation(right, Outcome::Right, true)],
            captured: vec![
                observation(right, Outcome::Right, true),
                observation(Some("indeterminate"), Outcome::Abstained, true),
                observation(right, Outcome::Right, true),
            ],
            ..Findings::default()
        };
        let page = Page {
            head: &head,
            findings: &findings,
            orderly: None,
        };
        let page = page.to_string();
        assert!(page.contains("| right of decided | 100.0% |"), "{page}");
        let (_, captures) = page
            .split_once("## From a capture alone")
            .unwrap_or_default();
        assert!(captures.contains("Of 3 labelled endings"), "{captures}");
        assert!(captures.contains("1 abstained (33.3%)"), "{captures}");
        let truth = "| broker_originated/aborted or shutdown |";
        assert_eq!(row(captures, truth), [3, 2, 0, 1, 0, 0, 0]);
        assert!(missed_nothing(&findings, &head), "no bar of a tracer");
    }

    /// Whether the tracers' bars are all reached, as if the run were whole.
    fn missed_nothing(findings: &Findings, head: &Head) -> bool {
        let page = Page {
            head,
            findings,
            orderly: None,
        };
        page.missed().is_empty()
    }

    #[test]
    fn all_rows_of_a_table_have_as_many_cells() {
        let page = page(vec![
            observation(None, Outcome::Missed, true),
            observation(Some("middlebox_reset/not_idle"), Outcome::Wrong, true),
        ]);
        let mut width = None;
        for line in page.lines() {
            let cells = line.starts_with('|').then(|| line.matches('|').count());
            assert!(
                width.is_none() || cells.is_none() || width == cells,
                "{line}"
            );
            width = cells;
        }
    }
}
