//! What a probe is going to do to the broker, said before it starts.

use std::{fmt::Write as _, time::Duration};

use super::{
    measure::seconds,
    options::{Task, Work},
    round::Trigger,
};

/// A handshake, a keepalive probe with its answer, and an orderly end: nine or ten
/// segments of 40 to 80 bytes with their IP headers.
const BYTES: u64 = 640;

/// A request and the broker's answer to it.
const REQUEST_BYTES: u64 = 900;

/// Says it.
#[must_use]
pub(super) fn describe(work: &Work) -> String {
    let mut text = String::new();
    for task in &work.tasks {
        // A `String` takes everything.
        let _written = write!(text, "{}", one(&work.target.to_string(), task));
    }
    text
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
            "{}opens {} connections with {} and {} without, for {}.",
            if *measure { " Beside them it " } else { "" },
            hold.kept,
            hold.keeping,
            hold.silent,
            seconds(hold.span),
        );
    }
    text.push('\n');
    text
}

const fn of_one(trigger: Trigger) -> u64 {
    match trigger {
        Trigger::Keepalive => BYTES,
        Trigger::Request => BYTES + 2 * REQUEST_BYTES,
    }
}

/// One time the longest silence if nothing is found, a little more than twice the
/// timer if something is.
fn minutes(last: Duration) -> String {
    let minutes = |time: Duration| time.as_secs_f64() / 60.0;
    if minutes(last) < 2.0 {
        format!("{} to {}", seconds(last), seconds(last * 2))
    } else {
        format!("{:.0} to {:.0} minutes", minutes(last), minutes(last * 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{
        clients::{HostKeepalive, Settings},
        options::Options,
    };

    #[test]
    fn it_says_connections_bytes_and_minutes() {
        let options = Options {
            target: Some("127.0.0.1:9094".to_owned()),
            from_event: None,
            address: None,
            connections: 24,
            yes_many: false,
            from: Duration::from_secs(10),
            up_to: Duration::from_mins(20),
            precision: Duration::from_secs(2),
            give_up: Duration::from_secs(15),
            rate: 10,
            trigger: Trigger::Keepalive,
            locate: true,
            names: false,
            broker_max_idle: Duration::from_mins(10),
            settings: Settings::default(),
        };
        let text = describe(&options.work(HostKeepalive::DEFAULT).unwrap());
        for part in [
            "127.0.0.1:9094: opens 24 connections, 10 a second",
            "10.0 s to 1218 s",
            "At most 24 connections at once, about 31 kB and 20 to 41 minutes in all",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
