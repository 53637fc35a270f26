//! What two hosts together prove.

use std::fmt::Write as _;

use super::{
    Text,
    block::{INDENT, Row},
    line::seconds,
    socket,
    wrap::wrap,
};
use crate::{
    event::{Culprit, Id, PairFinding, PairHost, PairProof, Role, class_name},
    util::{escape::Escaped, units::percent},
};

/// The fields of a line, as in that of one host's finding; the proof stands for the process.
pub(super) fn line(text: &Text, line: &mut String, it: &PairFinding) {
    let culprit = Culprit::of(it.verdict);
    let style = text.palette.culprit(culprit);
    let class = class_name(it.verdict, it.cause);
    // Writing to memory does not fail.
    let _written = write!(
        line,
        " {style}{culprit}{style:#} {class} {} {} {} {} - {}: {}",
        percent(it.confidence),
        socket(it.client),
        socket(it.broker),
        it.wire_idle_ms.map_or_else(|| "-".to_owned(), seconds),
        it.proof,
        Escaped(&it.summary),
    );
    for wrote in written(it) {
        let _written = write!(line, "; {wrote}");
    }
    if text.options.verbosity > 0 {
        for detail in details(it) {
            let _written = write!(line, "; {detail}");
        }
    }
    if !it.advice.is_empty() {
        let _written = write!(line, " -> {}", Escaped(&it.advice));
    }
}

impl Text {
    pub(super) fn pair(&mut self, it: &PairFinding) -> Vec<Row> {
        let clock = self.clock(it.time);
        let style = if it.proof == PairProof::OneHost {
            self.palette.bold
        } else {
            self.palette.culprit(Culprit::of(it.verdict))
        };
        let headline = format!(
            "{} {} to {}: {}",
            if it.proof == PairProof::OneHost {
                "UNPROVEN"
            } else {
                "PROVEN"
            },
            socket(it.client),
            socket(it.broker),
            Escaped(&it.summary)
        );
        let mut rows = self.headed(&clock, &headline, style);
        let mut more: Vec<String> = written(it).collect();
        if self.options.verbosity > 0 {
            more.extend(details(it));
        }
        if !it.advice.is_empty() {
            more.push(format!("-> {}", Escaped(&it.advice)));
        }
        for text in more {
            let lines = wrap(INDENT, INDENT, &text, self.width());
            rows.extend(lines.into_iter().map(Row::plain));
        }
        rows
    }
}

/// What either host reported alone, and what names the connection.
fn details(it: &PairFinding) -> Vec<String> {
    let mut details = Vec::new();
    for (role, host) in [
        (Role::Client, &it.client_host),
        (Role::Broker, &it.broker_host),
    ] {
        details.extend(host.as_ref().map(|host| alone(role, host)));
    }
    if let Some(flow) = it.flow_id {
        details.push(format!("flow {flow}, community id {}", it.community_id));
    }
    if let Some(skew_ms) = it.skew_ms {
        details.push(format!(
            "clock of the broker's host ahead by {skew_ms:.3} ms"
        ));
    }
    let ids: Vec<&str> = it.event_ids.iter().map(Id::as_str).collect();
    details.push(format!("events {}", Escaped(&ids.join(", "))));
    details
}

/// What the applications of both hosts wrote about it.
fn written(it: &PairFinding) -> impl Iterator<Item = String> {
    let hosts = [
        (Role::Client, &it.client_host),
        (Role::Broker, &it.broker_host),
    ];
    hosts.into_iter().filter_map(|(role, host)| {
        let wrote = host.as_ref()?.wrote.as_ref()?;
        Some(format!("{role} wrote: {}", Escaped(wrote)))
    })
}

fn alone(role: Role, host: &PairHost) -> String {
    let name = Escaped(&host.name);
    let Some((verdict, confidence)) = host.verdict.zip(host.confidence) else {
        return format!("{role} {name} reported nothing");
    };
    let cause = host.cause.map_or_else(String::new, |it| format!("/{it}"));
    format!(
        "{role} {name} alone: {verdict}{cause}, {} sure",
        percent(confidence)
    )
}
