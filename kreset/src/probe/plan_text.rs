//! What a probe is going to do to the broker: printed before it starts.

use std::{fmt::Write as _, time::Duration};

use super::{
    hold::Hold,
    measure::seconds,
    options::{Task, Work},
    round::Trigger,
};

/// A handshake, a keepalive probe with its answer, and an orderly end: nine or ten
/// segments of 40 to 80 bytes with their IP headers.
const BYTES: u64 = 640;

/// A keepalive probe and its answer.
const PROBE_BYTES: u64 = 140;

/// What fits most terminals, and mail.
const WIDTH: usize = 78;

/// A request and the broker's answer to it.
const REQUEST_BYTES: u64 = 900;

/// Describes it.
#[must_use]
pub(super) fn describe(work: &Work) -> String {
    let mut text = String::new();
    for task in &work.tasks {
        // A `String` takes everything.
        let _written = write!(text, "{}", wrapped(&one(&work.target.to_string(), task)));
    }
    text
}

/// Breaks a paragraph into lines that fit a terminal, the further ones indented.
fn wrapped(text: &str) -> String {
    const INDENT: &str = "  ";
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.trim().is_empty() {
            if line.len() + 1 + word.len() > WIDTH {
                lines.push_str(&line);
                lines.push('\n');
                INDENT.clone_into(&mut line);
            } else {
                line.push(' ');
            }
        }
        line.push_str(word);
    }
    format!("{lines}{line}\n")
}

fn one(target: &str, task: &Task) -> String {
    let Task {
        plan,
        measure,
        hold,
    } = task;
    let remote = plan.remote;
    let mut text = if target == remote.to_string() {
        format!("{remote}: ")
    } else {
        format!("{target} ({remote}): ")
    };
    if *measure {
        let silences = plan.first_round();
        let (first, last) = (
            silences.first().copied().unwrap_or_default(),
            silences.last().copied().unwrap_or_default(),
        );
        let rounds = 2;
        let bytes = silences.len() as u64 * rounds * of_one(plan.trigger) / 1_000 + 1;
        let _written = write!(
            text,
            "opens {} connections, {} a second, keeps them silent for {} to {}, and uses each once, \
             by {}; where one dies, about as many again to narrow it down{}. At most {} connections \
             at once, about {bytes} kB and {} in all. Connections that a device forgets stay open \
             at the broker until it closes idle ones itself.",
            silences.len(),
            plan.rate,
            seconds(first),
            seconds(last),
            match plan.trigger {
                Trigger::Keepalive =>
                    "a TCP keepalive probe, which the broker's application does not see",
                Trigger::Request => "an ApiVersions request",
            },
            if plan.locate {
                ", and some to find the hop"
            } else {
                ""
            },
            plan.connections + hold.map_or(0, |it| it.kept + it.silent),
            minutes(last),
        );
    }
    if let Some(hold) = hold {
        let _written = write!(
            text,
            "{}opens {} connections with {} and {} without, for {}: about {} kB.",
            if *measure { " Beside them it " } else { "" },
            hold.kept,
            hold.keeping,
            hold.silent,
            span(hold.span),
            of_hold(hold, plan.trigger) / 1_000 + 1,
        );
    }
    text
}

const fn of_one(trigger: Trigger) -> u64 {
    match trigger {
        Trigger::Keepalive => BYTES,
        Trigger::Request => BYTES + 2 * REQUEST_BYTES,
    }
}

/// What connections that are held take: each keepalive probe that is answered is followed by
/// another after the same silence.
fn of_hold(hold: &Hold, trigger: Trigger) -> u64 {
    let probes = hold.keeping.keepalive.map_or(0, |times| {
        hold.span.as_secs() / times.time.as_secs().max(1) * hold.kept as u64
    });
    (hold.kept + hold.silent) as u64 * of_one(trigger) + probes * PROBE_BYTES
}

/// One time the longest silence if nothing is found, a little more than twice the
/// timer if something is.
fn minutes(last: Duration) -> String {
    if last < MINUTES {
        format!("{} to {}", seconds(last), seconds(last * 2))
    } else {
        let minutes = |time: Duration| time.as_secs_f64() / 60.0;
        format!("{:.0} to {:.0} minutes", minutes(last), minutes(last * 2))
    }
}

/// From here on people count in minutes.
const MINUTES: Duration = Duration::from_mins(2);

fn span(time: Duration) -> String {
    if time < MINUTES {
        seconds(time)
    } else {
        format!("{:.0} minutes", time.as_secs_f64() / 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{clients::HostKeepalive, options::Options};

    #[test]
    fn it_says_connections_bytes_and_minutes() {
        let options = Options::usual("127.0.0.1:9094");
        let text = describe(&options.work(HostKeepalive::DEFAULT).unwrap());
        for part in [
            "127.0.0.1:9094: opens 24 connections, 10 a second",
            "10.0 s to 1218 s",
            "At most 24 connections at once, about 31 kB and 20 to 41 minutes in all",
        ] {
            let unwrapped = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(unwrapped.contains(part), "{part}: {text}");
        }
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
    }

    #[test]
    fn a_setting_to_prove_has_its_bytes_and_minutes_too() {
        let mut options = Options::usual("127.0.0.1:9094");
        options.settings.keepalive = Some(Duration::from_secs(100));
        let text = describe(&options.work(HostKeepalive::DEFAULT).unwrap());
        let unwrapped = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // Six connections, and twelve probes on each of four.
        assert!(
            unwrapped.contains("and 2 without, for 20 minutes: about 11 kB."),
            "{text}"
        );
    }
}
