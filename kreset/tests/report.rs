//! Reports of what the lab's tracers said, in every format.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use kreset::{
    report::{Format, Options, run},
    run::options::Options as RunOptions,
};

/// The report of captures of both hosts, and of lines of JSON.
fn report(files: Vec<PathBuf>, format: Format) -> String {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("report");
    run(&Options {
        files,
        output: Some(output.clone()),
        format,
        run: RunOptions::of_files("9092".parse().unwrap(), Duration::from_mins(10)),
        seen_from: None,
    })
    .unwrap();
    fs::read_to_string(output).unwrap()
}

fn captured(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/captured")
        .join(format!("{name}.pcap"))
}

const FILES: [&str; 4] = [
    "idle_reset_on_timer.ipv4.client",
    "idle_reset_on_timer.ipv4.broker",
    "client_abort.client",
    "refused.ipv6.client",
];

fn of_captures(format: Format) -> String {
    report(FILES.iter().map(|name| captured(name)).collect(), format)
}

/// Of an incident that is over the end is shown, and it alone.
#[test]
fn incidents_of_hosts_are_in_a_table() {
    let directory = tempfile::tempdir().unwrap();
    let events = directory.path().join("events.jsonl");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/events.jsonl");
    fs::copy(golden, &events).unwrap();
    let text = report(vec![events], Format::Text);
    assert_eq!(text.matches("broker_ended").count(), 1, "{text}");
    let words: Vec<_> = text.split_whitespace().collect();
    let text = words.join(" ");
    assert!(text.contains("120 refusals of 20 clients"), "{text}");
}

/// The sections, in the order in which they are read.
const SECTIONS: [&str; 8] = [
    "Incidents",
    "Resets over time",
    "Idle timers of paths",
    "Clients and brokers",
    "Ages and silences",
    "What to change",
    "Coverage and open questions",
    "The most telling events",
];

#[test]
fn every_format_has_the_sections_in_order() {
    for format in [Format::Text, Format::Markdown, Format::Html] {
        let text = of_captures(format);
        let mut rest = text.as_str();
        if format == Format::Html {
            rest = &rest[rest.find("<main>").unwrap()..];
        }
        for section in SECTIONS {
            let at = rest.find(section);
            assert!(at.is_some(), "{format:?} lacks {section}");
            rest = &rest[at.unwrap()..];
        }
        assert!(text.contains("2 of 4 resets (50%)"), "{format:?}: {text}");
        assert!(text.contains("DEVICE reset an idle connection by timer"));
    }
}

#[test]
fn the_page_loads_nothing_and_each_plot_is_in_words() {
    let page = of_captures(Format::Html);
    for loads in ["src=", "@import", "url(", "<iframe", "<object", "fetch("] {
        assert!(!page.contains(loads), "{loads}");
    }
    let links = page.matches("href=\"").count();
    let own = page.matches("href=\"#").count() + page.matches("href=\"data:").count();
    assert_eq!(links, own);
    let plots = page.matches("<svg ").count();
    assert!(plots >= 4, "{plots}");
    assert_eq!(
        page.matches("<svg role=\"img\" aria-label=\"").count(),
        plots
    );
}

#[test]
fn an_event_that_came_twice_counts_once_and_names_are_only_text() {
    let directory = tempfile::tempdir().unwrap();
    let events =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/events.jsonl"))
            .unwrap();
    let path = directory.path().join("events.json");
    let hostile = events.replace("\"name\":\"", "\"name\":\"<script>alert(1)</script>");
    fs::write(&path, format!("{hostile}{hostile}not an event\n")).unwrap();
    let page = report(vec![path], Format::Html);
    assert!(!page.contains("<script>alert"), "a name is HTML");
    let twice = events.lines().count();
    assert!(page.contains(&format!("{twice} events were there twice")));
    assert!(page.contains("1 lines were no events"));
}

#[test]
fn no_table_is_empty_and_one_reset_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let events =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/events.jsonl"))
            .unwrap();
    let write = |name: &str, kinds: &[&str]| {
        let path = directory.path().join(name);
        let of = |kind: &str| {
            let mark = format!("\"type\":\"{kind}\"");
            let mut lines = events.lines();
            lines.find(|line| line.contains(&mark)).unwrap().to_owned()
        };
        let lines: Vec<_> = kinds.iter().map(|kind| of(kind)).collect();
        fs::write(&path, lines.join("\n")).unwrap();
        path
    };
    let none = report(
        vec![write("none.json", &["start", "summary"])],
        Format::Text,
    );
    assert!(none.contains("No connection was reset."), "{none}");
    assert!(
        !none.contains("verdict and cause"),
        "an empty table:\n{none}"
    );
    let one = report(vec![write("one.json", &["start", "reset"])], Format::Text);
    assert!(one.contains("One reset, seen on 1 host: "), "{one}");
    assert!(
        !one.contains("1 resets") && !one.contains("1 pairs"),
        "{one}"
    );
}
