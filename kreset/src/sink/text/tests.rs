use std::net::IpAddr;

use proptest::prelude::*;
use smol_str::SmolStr;

use super::{wrap::width_of, *};
use crate::{
    event::{
        Culprit, Degraded, HostNames, Id, Incident, IncidentKind, Loss, NamedHost, SinkCoverage,
        Watched, samples,
    },
    util::{escape::is_plain, golden::golden},
};

fn of_size(layout: Layout, verbosity: u8, columns: usize, rows: usize) -> Text {
    let options = TextOptions {
        verbosity,
        layout,
        ..TextOptions::default()
    };
    let size = Size { columns, rows };
    Text::in_zone(options, Box::new(move || size), TimeZone::UTC)
}

fn blocks(verbosity: u8, columns: usize) -> Text {
    of_size(Layout::Blocks(Update::AtEnd), verbosity, columns, 24)
}

fn lines(verbosity: u8) -> Text {
    of_size(Layout::Lines, verbosity, Size::UNBOUNDED.columns, 24)
}

fn add(text: &mut Text, events: &[Event], out: &mut Vec<u8>) {
    for event in events {
        text.encode(&samples::message(event.clone(), 0), out)
            .unwrap();
    }
}

fn encode(text: &mut Text, events: &[Event]) -> String {
    let mut out = Vec::new();
    add(text, events, &mut out);
    text.finish(&mut out);
    String::from_utf8(out).unwrap()
}

fn reset(change: impl FnOnce(&mut Finding)) -> Event {
    let mut finding = samples::finding();
    change(&mut finding);
    Event::Reset(Box::new(finding))
}

#[test]
fn a_run_reads_like_this() {
    for columns in [80, 120, 200] {
        let out = encode(&mut blocks(0, columns), &samples::all());
        golden(&format!("text-{columns}.txt"), &out);
    }
    golden("text-pipe.txt", &encode(&mut lines(0), &samples::all()));
}

#[test]
fn a_verbose_run_reads_like_this() {
    for (verbosity, name) in [(1, "text-v-80.txt"), (2, "text-vv-120.txt")] {
        let columns = if verbosity == 1 { 80 } else { 120 };
        let out = encode(&mut blocks(verbosity, columns), &samples::all());
        golden(name, &out);
    }
    golden("text-pipe-v.txt", &encode(&mut lines(1), &samples::all()));
}

#[test]
fn every_kind_of_finding_reads_like_this() {
    for columns in [80, 120, 200] {
        let out = encode(&mut blocks(0, columns), &samples::every_kind());
        golden(&format!("findings-{columns}.txt"), &out);
        for line in out.lines() {
            // Only what is there to be pasted may be longer.
            assert!(
                width_of(line) <= columns || line.trim_start().starts_with("sudo "),
                "{line}"
            );
        }
    }
    golden(
        "findings-pipe.txt",
        &encode(&mut lines(0), &samples::every_kind()),
    );
}

#[test]
fn the_first_line_of_a_block_stands_alone_in_80_columns() {
    for event in samples::every_kind() {
        let events = vec![event; 1_500];
        let out = encode(&mut blocks(0, 80), &events);
        let mut first = out.lines().filter(|line| !line.starts_with("---"));
        let first = first.next().unwrap();
        let culprit = events[0].finding().unwrap().culprit().as_str();
        assert!(first[10..].starts_with(culprit), "{first}");
        assert!(width_of(first) <= 80, "{first}");
        assert!(first.contains("x1500"), "{first}");
    }
}

#[test]
fn a_line_of_a_pipe_has_its_fields_in_a_fixed_order() {
    let out = encode(&mut lines(0), &samples::every_kind());
    assert_eq!(out.lines().count(), samples::every_kind().len());
    for (line, event) in out.lines().zip(samples::every_kind()) {
        let finding = event.finding().unwrap();
        let fields: Vec<_> = line.split(' ').collect();
        assert_eq!(fields[0], "2026-11-23T14:22:07.123Z");
        assert_eq!(fields[1], event.kind().as_str());
        assert_eq!(fields[2], finding.culprit().as_str());
        assert!(fields[3].starts_with(finding.verdict.as_str()));
        assert!(fields[4] == "-" || fields[4].ends_with('%'), "{line}");
        assert_eq!(fields[5], finding.socket_of(Role::Client));
        assert_eq!(fields[6], finding.socket_of(Role::Broker));
        assert!(fields[9].ends_with(':'), "{line}");
    }
    // What is about the run has as many.
    for line in encode(&mut lines(0), &samples::all()).lines() {
        if !line.contains(" PROBE ") && line.starts_with("2026") {
            assert!(line.split(' ').nth(9).unwrap().ends_with(':'), "{line}");
        }
    }
}

#[test]
fn a_colored_run_is_the_same_run() {
    let colored = |layout| {
        let options = TextOptions {
            color: true,
            layout,
            ..TextOptions::default()
        };
        Text::in_zone(options, Box::new(|| Size::DEFAULT), TimeZone::UTC)
    };
    for layout in [Layout::Lines, Layout::Blocks(Update::AtEnd)] {
        let out = encode(&mut colored(layout), &samples::all());
        assert!(out.contains("\x1b[1m\x1b[31mDEVICE\x1b[0m"), "{out:?}");
        let mut stripped = String::new();
        let mut rest = out.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            stripped.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        stripped.push_str(rest);
        let plain = encode(&mut of_size(layout, 0, 80, 24), &samples::all());
        assert_eq!(stripped, plain);
    }
}

#[test]
fn times_are_local_and_a_new_day_is_named() {
    let zone = TimeZone::fixed(jiff::tz::offset(10));
    let options = TextOptions {
        layout: Layout::Blocks(Update::AtEnd),
        ..TextOptions::default()
    };
    let mut text = Text::in_zone(options, Box::new(|| Size::DEFAULT), zone);
    let loss = |time: &str| {
        let host = crate::event::Host { name: "h".into() };
        Event::Loss(Loss {
            time: samples::time(time),
            host,
            source: "kernel".to_owned(),
            lost: 1,
            total: 1,
            by_broker: Vec::new(),
        })
    };
    let out = encode(
        &mut text,
        &[
            loss("2026-11-23T13:59:59.999999999Z"),
            loss("2026-11-23T14:00:00Z"),
            loss("2026-11-23T14:00:00.5Z"),
        ],
    );
    let lines: Vec<_> = out
        .lines()
        .map(|line| line.split("  ").next().unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            "--- 2026-11-23, UTC+10 ---",
            "23:59:59",
            "--- 2026-11-24, UTC+10 ---",
            "00:00:00",
            "00:00:00",
        ],
    );
}

#[test]
fn advice_is_given_once_for_each_cause() {
    let event = |advice: &str| reset(|it| it.advice = advice.into());
    let options = TextOptions {
        every_event: true,
        layout: Layout::Blocks(Update::AtEnd),
        ..TextOptions::default()
    };
    let mut text = Text::in_zone(options, Box::new(|| Size::DEFAULT), TimeZone::UTC);
    let events = [event("a"), event("a"), event(""), event("b"), event("a")];
    let out = encode(&mut text, &events);
    let advice: Vec<_> = out
        .lines()
        .filter_map(|line| line.trim().strip_prefix("-> "))
        .collect();
    assert_eq!(advice, ["a", "b"]);
    assert_eq!(out.matches("DEVICE").count(), events.len());
}

/// Forty clients of three brokers that stop: each is reset, and then refused until the
/// brokers are back.
fn outage() -> Vec<Event> {
    let mut events = Vec::new();
    for number in 0..942_u32 {
        let broker = samples::endpoint(&format!("10.77.2.{}", 2 + number % 3), 9092);
        let client = samples::endpoint(
            &format!("10.77.1.{}", 2 + number % 40),
            u16::try_from(30_000 + number).unwrap(),
        );
        events.push(reset(|it| {
            (it.client, it.broker) = (client.into(), broker);
            it.time = Time(it.time.0 + jiff::SignedDuration::from_millis(i64::from(number) * 60));
            (it.verdict, it.cause) = if number < 120 {
                (
                    crate::event::Verdict::BrokerOriginated,
                    Some(Cause::Shutdown),
                )
            } else {
                (crate::event::Verdict::HandshakePhase, Some(Cause::Refused))
            };
            it.advice = if number < 120 {
                "The broker ended: expected during a deploy; otherwise look for its exit in its \
                 own log, the out-of-memory killer or the orchestrator."
                    .into()
            } else {
                format!(
                    "Nothing listens at {}: check that the broker runs.",
                    socket(broker)
                )
                .into()
            };
        }));
    }
    events
}

#[test]
fn three_brokers_under_forty_clients_take_a_screen() {
    for width in [80, 120, 200] {
        let out = encode(&mut blocks(0, width), &outage());
        golden(&format!("outage-{width}.txt"), &out);
        assert!(out.lines().count() <= 30, "{out}");
        for count in ["x40 in", "x274 in"] {
            assert_eq!(out.matches(count).count(), 3, "{count}: {out}");
        }
        assert!(out.contains("40 clients"), "{out}");
    }
    assert_eq!(encode(&mut lines(0), &outage()).lines().count(), 942);
}

/// The same, as it is now: an incident for each broker.
fn incidents() -> Vec<Event> {
    let mut events = Vec::new();
    for (number, mut event) in outage().into_iter().enumerate() {
        let finding = event.finding_mut().unwrap();
        let id = format!("1-1-{}", number % 3);
        finding.incident_id = Some(Id::from(&id).unwrap());
        finding.path.pattern = None;
        let (time, broker) = (finding.time, finding.broker);
        let mut incident = if number < 3 {
            samples::incident()
        } else {
            samples::incident_end()
        };
        incident.incident_id = Id::from(&id).unwrap();
        (incident.time, incident.brokers) = (time, vec![broker]);
        incident.earlier.clear();
        if number < 3 {
            events.push(Event::Incident(Box::new(incident)));
            events.push(event);
        } else if number >= 939 {
            events.push(event);
            events.push(Event::Incident(Box::new(incident)));
        } else {
            events.push(event);
        }
    }
    events
}

/// It was "over", and "not over when the run ended".
#[test]
fn an_incident_that_outlasts_the_run_is_not_over() {
    let incident = Incident {
        still_open: true,
        ..samples::incident_end()
    };
    let out = encode(&mut lines(0), &[Event::Incident(Box::new(incident))]);
    assert!(out.contains("INCIDENT so far: BROKER shut down"), "{out}");
    assert!(!out.contains("INCIDENT over"), "{out}");
}

/// The summary itself waited for the terminal, so that each run ended with a line on it.
#[test]
fn what_waits_for_the_terminal_is_no_news_there() {
    let sink = |name: &str| {
        let coverage = SinkCoverage {
            delivered: 5,
            waiting: 3,
            lost: 0,
        };
        (name.to_owned(), coverage)
    };
    let mut events = samples::all();
    events.retain(|event| matches!(event, Event::Summary(_)));
    for event in &mut events {
        if let Event::Summary(summary) = event {
            summary.coverage.sinks = ["stdout", "siem"].map(sink).into();
        }
    }
    let out = encode(&mut lines(0), &events);
    assert!(
        out.contains("sink siem: 5 delivered, 3 waiting, 0 lost"),
        "{out}"
    );
    assert!(!out.contains("sink stdout"), "{out}");
}

#[test]
fn of_an_incident_its_lines_are_shown_and_three_members() {
    let out = encode(&mut lines(0), &incidents());
    let with = |word: &str| out.lines().filter(|line| line.contains(word)).count();
    assert_eq!((with("INCIDENT begins"), with("INCIDENT over")), (3, 3));
    assert_eq!(out.lines().count(), 3 * (2 + 3), "{out}");
    assert_eq!(with(" -> Find out why"), 1, "said once: {out}");
    let out = encode(&mut lines(1), &incidents());
    assert_eq!(out.lines().count(), 942 + 6);
    let out = encode(&mut blocks(0, 80), &incidents());
    golden("incidents-80.txt", &out);
    assert_eq!(
        out.matches("x40 in").count(),
        3,
        "counted all the same: {out}"
    );
    assert!(!out.contains("HANDSHAKE"), "{out}");
    for line in out.lines() {
        assert!(width_of(line) <= 80, "{line}");
    }
    let out = encode(&mut blocks(1, 80), &incidents());
    assert_eq!(out.matches("HANDSHAKE").count(), 3, "{out}");
}

/// A reset of a named client, and an incident of it, at a broker with a long name.
fn named() -> Vec<Event> {
    let broker = "kafka-7.rack-12.eu-central-1.brokers.example.internal";
    let named = |address: IpAddr, name: &str| NamedHost {
        address,
        name: name.into(),
    };
    let mut finding = samples::finding();
    finding.host_names = Some(Box::new(HostNames {
        client: Some("orders-1".into()),
        broker: Some(broker.into()),
    }));
    let mut events = vec![Event::Reset(Box::new(finding))];
    for mut incident in [samples::incident(), samples::incident_end()] {
        incident.named_hosts = vec![
            named(incident.brokers[0].address, broker),
            named(incident.who[0].address, "orders-1"),
        ];
        events.push(Event::Incident(Box::new(incident.clone())));
        incident.incident = IncidentKind::FailedLogins;
        incident.who.truncate(1);
        events.push(Event::Incident(Box::new(incident)));
    }
    events
}

#[test]
fn names_of_hosts_stand_in_place_of_their_addresses() {
    let on_terminal = encode(&mut blocks(0, 80), &named());
    let in_pipe = encode(&mut lines(0), &named());
    for out in [&on_terminal, &in_pipe] {
        assert!(
            !out.contains("10.0.1.5") && !out.contains("10.0.2.7"),
            "{out}"
        );
    }
    for line in on_terminal.lines() {
        assert!(width_of(line) <= 80, "{line}");
    }
    golden("named-80.txt", &on_terminal);
    golden("named-pipe.txt", &in_pipe);
}

/// Those that were written before the incident was recognised are shown already.
#[test]
fn what_was_shown_before_counts_as_shown() {
    let mut events = incidents();
    let Event::Incident(first) = &mut events[0] else {
        panic!("no incident");
    };
    first.earlier = vec![Id::new(), Id::new()];
    let out = encode(&mut lines(0), &events);
    assert_eq!(out.lines().count(), 3 * (2 + 3) - 2, "{out}");
}

/// A shutdown is held until a refused reconnect shows it, and is judged after that.
#[test]
fn blocks_are_in_the_order_of_what_happened() {
    let refused = reset(|it| {
        it.time = Time(it.time.0 + jiff::SignedDuration::from_millis(50));
        (it.verdict, it.cause) = (crate::event::Verdict::HandshakePhase, Some(Cause::Refused));
    });
    let out = encode(&mut blocks(0, 80), &[refused, reset(|_| {})]);
    let at = |text: &str| out.find(text).unwrap();
    assert!(at("DEVICE") < at("HANDSHAKE"), "{out}");
}

#[test]
fn repeats_begin_a_new_block_after_a_pause() {
    let after = |seconds: i64| {
        reset(|it| it.time = Time(it.time.0 + jiff::SignedDuration::from_secs(seconds)))
    };
    let out = encode(
        &mut blocks(0, 80),
        &[after(0), after(600), after(1_201), after(1_202)],
    );
    assert_eq!(out.matches("DEVICE").count(), 2, "{out}");
    assert!(
        out.contains("x2 in 10m00s") && out.contains("x2 in 1.0 s"),
        "{out}"
    );
}

#[test]
fn without_a_cursor_counts_are_written_once_a_minute() {
    let mut text = of_size(Layout::Blocks(Update::EachMinute), 0, 80, 24);
    let after = |seconds: i64| {
        reset(|it| it.time = Time(it.time.0 + jiff::SignedDuration::from_secs(seconds)))
    };
    let events: Vec<_> = (0..125).map(after).collect();
    let out = encode(&mut text, &events);
    assert!(!out.contains('\x1b'));
    let heads: Vec<_> = out.lines().filter(|line| line.contains("DEVICE")).collect();
    // The block, twice a count, and the last one.
    assert_eq!(heads.len(), 4, "{out}");
    assert!(
        heads[1].contains("x61 in 1m00s") && heads[3].contains("x125"),
        "{out}"
    );
    assert_eq!(
        out.matches("-> ").count(),
        2,
        "an arrow to the broker and advice: {out}"
    );
}

/// A terminal of 80 columns that knows what this program uses: lines, up, erase below.
fn screen(out: &str) -> Vec<String> {
    let mut rows: Vec<String> = vec![String::new()];
    let mut rest = out;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\x1b[") {
            let end = after.find(|c: char| c.is_ascii_alphabetic()).unwrap();
            match &after[end..=end] {
                "A" => rows.truncate(rows.len() - after[..end].parse::<usize>().unwrap()),
                "J" => *rows.last_mut().unwrap() = String::new(),
                _ => {}
            }
            rest = &after[end + 1..];
            continue;
        }
        match c {
            '\n' => rows.push(String::new()),
            '\r' => {}
            c => {
                if rows.last().unwrap().len() == 80 {
                    rows.push(String::new());
                }
                rows.last_mut().unwrap().push(c);
            }
        }
        rest = &rest[c.len_utf8()..];
    }
    assert_eq!(rows.pop().as_deref(), Some(""));
    rows
}

#[test]
fn on_a_terminal_the_count_rises_in_place_above_a_status_line() {
    let mut text = of_size(Layout::Blocks(Update::InPlace), 0, 80, 24);
    let mut out = Vec::new();
    add(&mut text, &[reset(|_| {})], &mut out);
    let glance = |minutes: u64| Glance {
        attached: Duration::from_secs(minutes * 60),
        ports: vec!["9092".into()],
        watched: Some(Watched {
            connections: 214,
            brokers: 3,
        }),
        events: 2,
    };
    text.glance(&glance(12), &mut out);
    add(&mut text, &[reset(|_| {})], &mut out);
    text.glance(&glance(13), &mut out);
    let rows = screen(std::str::from_utf8(&out).unwrap());
    assert_eq!(rows.iter().filter(|row| row.contains("DEVICE")).count(), 1);
    assert!(
        rows.iter().any(|row| row.ends_with("x2, periodic")),
        "{rows:#?}"
    );
    assert_eq!(
        rows.last().unwrap(),
        "watching 214 connections to 3 brokers, port 9092, 2 resets in 13 min"
    );
}

/// One that the terminal has scrolled away can no longer be updated.
#[test]
fn what_is_updated_fits_on_the_terminal_with_the_cursor_below() {
    for rows in 4..40 {
        let mut text = of_size(Layout::Blocks(Update::InPlace), 0, 60, rows);
        // Longer than a line.
        text.live.status =
            "watching 214 connections to 3 brokers, and so on and on, for 12 min".to_owned();
        let mut out = String::new();
        for event in samples::every_kind() {
            out += &encode(&mut text, &[event]);
        }
        for up in out.split("\x1b[").filter_map(|it| it.split_once("A\r")) {
            let up: usize = up.0.parse().unwrap();
            assert!(up < rows, "{up} of {rows}");
        }
    }
}

#[test]
fn more_kinds_than_a_terminal_has_rows_for_leave_it_one_by_one() {
    let mut text = of_size(Layout::Blocks(Update::InPlace), 0, 80, 12);
    let mut out = Vec::new();
    let kinds = samples::every_kind();
    for _ in 0..3 {
        add(&mut text, &kinds, &mut out);
    }
    text.finish(&mut out);
    let rows = screen(std::str::from_utf8(&out).unwrap());
    for event in &kinds {
        let finding = event.finding().unwrap();
        let head = format!("{} {}", finding.culprit(), finding.deed());
        let last = rows.iter().rfind(|row| row.contains(&head)).unwrap();
        assert!(last.contains(" x3"), "{head}: {rows:#?}");
    }
}

#[test]
fn quiet_text_is_of_connections_only() {
    for layout in [Layout::Lines, Layout::Blocks(Update::AtEnd)] {
        let options = TextOptions {
            quiet: true,
            layout,
            ..TextOptions::default()
        };
        let mut text = Text::in_zone(options, Box::new(|| Size::DEFAULT), TimeZone::UTC);
        let out = encode(&mut text, &samples::all());
        assert!(!out.contains("watching"), "{out}");
        assert!(out.contains("DEVICE"), "{out}");
    }
}

#[test]
fn each_culprit_has_a_kind() {
    let kinds = samples::every_kind();
    for culprit in Culprit::ALL.iter().copied() {
        assert!(
            kinds
                .iter()
                .any(|it| it.finding().unwrap().culprit() == culprit),
            "{culprit}"
        );
    }
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    any::<(IpAddr, u16)>().prop_map(|(address, port)| Endpoint { address, port })
}

fn finding() -> impl Strategy<Value = Finding> {
    (
        (endpoint(), endpoint(), any::<bool>(), 0.0..=1.0),
        prop::option::of(0.0..1e10),
        prop::option::of(0.0..1e10),
        (
            any::<String>(),
            any::<String>(),
            any::<String>(),
            any::<String>(),
        ),
    )
        .prop_map(
            |((client, broker, known, confidence), idle, age, (name, cgroup, value, advice))| {
                let mut finding = if known {
                    samples::finding()
                } else {
                    samples::unknown()
                };
                (finding.client, finding.broker) = (client.into(), broker);
                finding.confidence = confidence;
                finding.client.id = Some(cgroup.as_str().into());
                finding.client.software = Some(value.as_str().into());
                finding.client.version = Some(cgroup.as_str().into());
                finding.process.executable = Some(value.as_str().into());
                finding.connection.idle_ms = idle;
                finding.connection.age_ms = age;
                finding.process.name = Some(name.into());
                finding.process.cgroup = Some(cgroup.as_str().into());
                finding.process.systemd_unit = Some(cgroup.into());
                let value = SmolStr::from(value);
                finding.reset.kernel_reason = Some(value.clone());
                finding.evidence.extend(samples::finding().evidence.pop());
                finding
                    .evidence
                    .iter_mut()
                    .for_each(|it| (it.value, it.name) = (value.clone(), value.clone()));
                finding.advice = advice.into();
                finding
            },
        )
}

proptest! {
    /// Whatever comes from outside, the output is plain characters in lines
    /// that this sink made.
    #[test]
    fn nothing_from_outside_acts_on_a_terminal(
        finding in finding(), other: String, verbosity in 0_u8..3, is_pipe: bool,
    ) {
        let mut events = samples::all();
        for event in &mut events {
            match event {
                Event::Start(start) => {
                    start.kernel.clone_from(&other);
                    start.host.name = other.as_str().into();
                    start.version = other.as_str().into();
                    start.ports.push(other.as_str().into());
                    let feature = other.as_str().into();
                    start.degraded.push(Degraded { feature, reason: other.clone(), remedy: other.clone() });
                }
                Event::Correction(it) => it.finding.advice = other.as_str().into(),
                Event::Loss(loss) => loss.source.clone_from(&other),
                Event::Alert(alert) => {
                    alert.advice = other.as_str().into();
                    alert.phase = other.as_str().into();
                    alert.pattern = other.as_str().into();
                    alert.path.devices.push(other.as_str().into());
                }
                Event::Summary(summary) => {
                    summary.host.name = other.as_str().into();
                    summary.events.insert(other.clone(), 1);
                    summary.noise.insert(other.clone(), 1);
                }
                Event::Probe(probe) => {
                    probe.target = other.as_str().into();
                    probe.advice = other.as_str().into();
                    probe.devices.push(other.as_str().into());
                    if let Some(location) = &mut probe.location {
                        location.hops[2].name = Some(other.as_str().into());
                    }
                }
                Event::Finding(finding) => {
                    finding.summary = other.as_str().into();
                    finding.advice = other.as_str().into();
                    if let Some(host) = &mut finding.broker_host {
                        host.name = other.as_str().into();
                    }
                }
                Event::Incident(incident) => {
                    incident.incident = IncidentKind::FailedLogins;
                    incident.advice = other.as_str().into();
                    incident.ended_by = Some(other.as_str().into());
                    incident.who.truncate(1);
                    incident.who[0].name = Some(other.as_str().into());
                }
                Event::Reset(_) | Event::Close(_) | Event::Timeout(_) => {}
            }
        }
        events.push(Event::Reset(Box::new(finding)));
        let mut text = if is_pipe { lines(verbosity) } else { blocks(verbosity, 100) };
        let out = encode(&mut text, &events);
        prop_assert!(out.chars().all(|c| c == '\n' || is_plain(c)));
        prop_assert!(out.ends_with('\n'));
    }
}
