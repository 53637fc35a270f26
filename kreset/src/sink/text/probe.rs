//! What a measurement on purpose found.

use std::{fmt, net::SocketAddr, time::Duration};

use anstyle::Style;

use super::{
    Text,
    block::{INDENT, Row},
    palette::Palette,
    socket,
    wrap::wrap,
};
use crate::{
    event::{
        Cause, Probe, ProbeHeld, ProbeHold, ProbeLocation, ProbeResult, ProbeTrigger, RungOutcome,
    },
    util::{
        escape::Escaped,
        units::{count, precise, rough},
    },
};

/// Width of the widest word that begins a line.
const LABEL: usize = "librdkafka".len();

impl Text {
    pub(super) fn probe(&mut self, probe: &Probe) -> Vec<Row> {
        let clock = self.clock(probe.time);
        let mut report = Report {
            rows: Vec::new(),
            palette: self.palette,
            width: self.width(),
        };
        let found = match probe.result {
            Some(ProbeResult::Device | ProbeResult::Closed) => self.palette.alarm,
            Some(ProbeResult::Unmeasured) => self.palette.warning,
            _ => self.palette.bold,
        };
        let headline = format!(
            "PROBE {}: {}",
            Named(&probe.target, socket(probe.broker)),
            Headline(probe)
        );
        report.rows = self.headed(&clock, &headline, found);
        report.write(probe, self.options.verbosity > 0);
        report.rows
    }
}

/// The lines under what was found.
struct Report {
    rows: Vec<Row>,
    palette: Palette,
    width: usize,
}

impl Report {
    fn write(&mut self, probe: &Probe, with_rungs: bool) {
        if let Some(survivors) = probe.survivors {
            self.line(
                "paths",
                &format!(
                    "only some connections pass it: {survivors} came through silences that killed \
                     others",
                ),
            );
        }
        if let Some(location) = &probe.location {
            self.location(location);
        } else if probe.behavior == Some(Cause::ResetOnTimer) {
            self.line(
                "where",
                "not found: it resets by itself, and leaves nothing to walk with; with \
                 CAP_NET_RAW, the TTL of its resets says how far away it is",
            );
        }
        if !probe.devices.is_empty() {
            let devices = probe.devices.join(", ");
            self.line("fits", &Escaped(&devices).to_string());
        } else if matches!(
            probe.result,
            Some(ProbeResult::Device | ProbeResult::Closed)
        ) {
            self.line("fits", "no known device by its default timer");
        }
        self.settings(probe);
        if let Some(hold) = &probe.hold {
            self.hold(hold);
        }
        if (probe.result == Some(ProbeResult::BrokerTimer) || probe.hold.is_some())
            && !probe.advice.is_empty()
        {
            let lines = wrap(
                &format!("{INDENT}-> "),
                &format!("{INDENT}   "),
                &Escaped(&probe.advice).to_string(),
                self.width,
            );
            let style = self.palette.advice;
            self.rows
                .extend(lines.into_iter().map(|line| Row::styled(line, style)));
        }
        if with_rungs {
            self.rungs(probe);
        }
        let connections = probe.rungs.len() as u64;
        let took = rough(Duration::from_millis(probe.duration_ms).as_secs_f64() * 1e3);
        self.line(
            "took",
            &format!(
                "{took}; {} used{}{}",
                count(connections, "silent connection"),
                match probe.trigger {
                    ProbeTrigger::Keepalive => ", by keepalive probes",
                    ProbeTrigger::Request => ", by ApiVersions",
                },
                if probe.complete {
                    ""
                } else {
                    "; stopped before the end: this is what was known then"
                },
            ),
        );
    }

    fn line(&mut self, label: &str, text: &str) {
        self.styled_line(label, text, Style::new());
    }

    fn styled_line(&mut self, label: &str, text: &str, style: Style) {
        let first = format!("{INDENT}{label:<LABEL$}  ");
        let rest = " ".repeat(first.len());
        for line in wrap(&first, &rest, text, self.width) {
            self.rows.push(Row::styled_from(first.len(), line, style));
        }
    }

    fn location(&mut self, location: &ProbeLocation) {
        let place = Place(location).to_string();
        self.line("where", &place);
        if location.resets.len() > 1 {
            let answers: Vec<_> = location
                .resets
                .iter()
                .map(|it| format!("TTL {} on {}", it.ttl, count(it.flows, "flow")))
                .collect();
            self.line(
                "",
                &format!(
                    "the least TTL that drew a RST differs ({}): several paths",
                    answers.join(", ")
                ),
            );
        }
        if let (Some(ttl), Some(distance)) = (location.reset_ttl, location.reset_distance) {
            let broker = location.handshake_ttl.map_or_else(String::new, |ttl| {
                format!("; the broker's packets have {ttl}")
            });
            self.line(
                "",
                &format!(
                    "the resets came with TTL {ttl}: from {} away, if they began with 64, 128 or \
                     255{broker}",
                    count(distance.into(), "hop")
                ),
            );
        }
    }

    fn settings(&mut self, probe: &Probe) {
        let mut clients: Vec<&str> = probe.settings.iter().map(|it| it.client.as_str()).collect();
        clients.dedup();
        for client in clients {
            let mut all = String::new();
            for it in probe.settings.iter().filter(|it| it.client == client) {
                if !all.is_empty() {
                    // That one alone does, where the client closes by itself.
                    let alone = it.name == "connections.max.idle.ms";
                    all.push_str(if alone { ", or " } else { ", " });
                }
                let one = match it.name.split_once(": ") {
                    // A call in the client's own language.
                    Some((what, call)) => format!("{what} with {call}({})", it.value),
                    None => format!("{}={}", it.name, it.value),
                };
                all.push_str(&one);
            }
            self.line(client, &Escaped(&all).to_string());
        }
    }

    fn hold(&mut self, hold: &ProbeHold) {
        let kept = Lived(&hold.kept).to_string();
        let with = match (hold.keepalive_ms, hold.interval_ms) {
            (Some(time), Some(interval)) => format!(
                "keepalive after {} s, then every {} s",
                time / 1_000,
                interval / 1_000
            ),
            _ => "no keepalive".to_owned(),
        };
        let like = hold
            .like
            .as_ref()
            .map_or_else(String::new, |like| format!("like {like}, "));
        let style = if hold.holds {
            self.palette.advice
        } else {
            self.palette.alarm
        };
        let span = rough(Duration::from_millis(hold.span_ms).as_secs_f64() * 1e3);
        self.styled_line(
            "kept alive",
            &format!("{kept} after {span} ({like}{with})"),
            style,
        );
        if hold.silent.is_empty() {
            return;
        }
        let silent = Lived(&hold.silent).to_string();
        self.line("silent", &silent);
    }

    fn rungs(&mut self, probe: &Probe) {
        for rung in &probe.rungs {
            let answer = rung
                .answer_ms
                .map_or_else(String::new, |ms| format!(" after {ms:.1} ms"));
            let disturbed = if rung.disturbed {
                "; packets had come in before"
            } else {
                ""
            };
            let (round, port) = (rung.round, rung.local_port);
            self.line(
                "",
                &format!(
                    "round {round}, port {port}: silent for {:.2} s, {}{answer}{disturbed}",
                    rung.silent_ms / 1e3,
                    rung.outcome
                ),
            );
        }
    }
}

/// A broker as it was given, and its address.
pub(in crate::sink) struct Named<'a>(pub(in crate::sink) &'a str, pub(in crate::sink) SocketAddr);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.1.to_string();
        if self.0 == address {
            f.write_str(&address)
        } else {
            write!(f, "{} ({address})", Escaped(self.0))
        }
    }
}

/// What was found, in one clause.
pub(in crate::sink) struct Headline<'a>(pub(in crate::sink) &'a Probe);

impl fmt::Display for Headline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let probe = self.0;
        let interval = Interval(probe.survived_idle_ms, probe.fatal_idle_ms);
        match (probe.result, probe.behavior) {
            (Some(ProbeResult::Device), Some(Cause::ResetOnTimer)) => {
                write!(f, "a device resets connections after {interval} of silence")
            }
            (Some(ProbeResult::Device), Some(Cause::Blackholed)) => {
                write!(f, "a device drops what is sent after {interval} of silence")
            }
            (Some(ProbeResult::Device), _) => write!(
                f,
                "a device forgets connections after {interval} of silence, and resets them when \
                 they are used"
            ),
            (Some(ProbeResult::BrokerTimer), _) => write!(
                f,
                "the broker closes connections after {interval} of silence, as its \
                 connections.max.idle.ms says; no device is faster"
            ),
            (Some(ProbeResult::Closed), _) => write!(
                f,
                "connections are closed (FIN) after {interval} of silence, by a proxy or by a \
                 broker with another connections.max.idle.ms than --broker-max-idle"
            ),
            (Some(ProbeResult::None), _) => write!(
                f,
                "no device found: connections survive {} of silence",
                rough(probe.survived_idle_ms.unwrap_or(0.0))
            ),
            (Some(ProbeResult::Unmeasured), _) => write!(
                f,
                "could not be measured: {}",
                Escaped(probe.reason.as_deref().unwrap_or_default())
            ),
            (None, _) => match &probe.hold {
                Some(hold) if hold.kept.is_empty() => write!(
                    f,
                    "could not be measured: {}",
                    Escaped(probe.reason.as_deref().unwrap_or_default())
                ),
                Some(hold) if hold.holds => f.write_str("all connections that were held lived"),
                _ => f.write_str("connections that were held died"),
            },
        }
    }
}

/// Both ends of an interval, with the digits that it takes to tell them apart.
struct Interval(Option<f64>, Option<f64>);

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let high = self.1.unwrap_or(0.0) / 1e3;
        let Some(low) = self.0.map(|low| low / 1e3) else {
            return write!(f, "{high:.1} s or less");
        };
        let digits = if high - low < 0.2 {
            2
        } else {
            usize::from(high < 100.0 || high - low < 2.0)
        };
        write!(f, "{low:.digits$} to {high:.digits$} s")
    }
}

/// Where the device is, and out of how many hops.
struct Place<'a>(&'a ProbeLocation);

impl Place<'_> {
    fn address(&self, ttl: u8) -> String {
        let hop = self.0.hops.iter().find(|hop| hop.ttl == ttl);
        let addresses = hop.map_or_else(Vec::new, |hop| {
            hop.addresses.iter().map(ToString::to_string).collect()
        });
        let name = hop.and_then(|hop| hop.name.as_deref());
        match (addresses.is_empty(), name) {
            (true, _) => " (it sends no ICMP)".to_owned(),
            (false, None) => format!(" ({})", addresses.join(" or ")),
            (false, Some(name)) => format!(" ({}, {})", Escaped(name), addresses.join(" or ")),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(from), Some(to)) = (self.0.hop, self.0.hop_at_most) else {
            return f.write_str("hop not found");
        };
        let broker = self.0.broker_ttl;
        let named = |ttl: u8| {
            if broker == Some(ttl) {
                "the broker's own host".to_owned()
            } else {
                format!("hop {ttl}{}", self.address(ttl))
            }
        };
        if from == 0 {
            f.write_str("this host itself")?;
        } else {
            f.write_str(&named(from))?;
        }
        match to.saturating_sub(from) {
            0 => {}
            1 if broker == Some(to) || from == 0 => write!(f, ", or {}", named(to))?,
            1 => f.write_str(", or the next behind it")?,
            _ => write!(f, ", or one behind it up to {}", named(to))?,
        }
        match broker {
            Some(broker) => write!(f, ", of {}", count(u64::from(broker) - 1, "hop")),
            None => f.write_str("; how many hops there are is not known"),
        }
    }
}

/// How many of several connections lived.
struct Lived<'a>(&'a [ProbeHeld]);

impl fmt::Display for Lived<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lived = self
            .0
            .iter()
            .filter(|it| matches!(it.outcome, RungOutcome::Alive | RungOutcome::ClosedHere));
        write!(f, "{} of {} alive", lived.count(), self.0.len())?;
        let died = self
            .0
            .iter()
            .find_map(|it| Some((it.outcome, it.after_ms?)));
        match died {
            Some((outcome, after)) => write!(f, ", {outcome} after {}", precise(after)),
            None => Ok(()),
        }
    }
}
