use std::{num::NonZeroU64, time::Duration};

use clap::CommandFactory as _;
use proptest::prelude::*;

use super::*;
use crate::{
    event::{Role, Verdict, filter::Filter},
    kernel::{
        feature::Feature,
        plan::{PacketChoice, PacketEvidence},
    },
    run::options::Output,
    sink::ColorChoice,
    util::exit::Exit,
};

fn options(arguments: &[&str]) -> Options {
    match parse(std::iter::once(&"kreset-trace").chain(arguments)) {
        Ok(Command::Run(options)) => *options,
        other => panic!("{arguments:?}: {other:?}"),
    }
}

fn refusal(arguments: &[&str]) -> String {
    parse(std::iter::once(&"kreset-trace").chain(arguments))
        .unwrap_err()
        .to_string()
}

fn printed(arguments: &[&str]) -> String {
    match parse(std::iter::once(&"kreset-trace").chain(arguments)) {
        Ok(Command::Print(text)) => text,
        other => panic!("{arguments:?}: {other:?}"),
    }
}

#[test]
fn clap_accepts_the_definition() {
    CommandLine::command().debug_assert();
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let options = options(&[]);
    assert_eq!(options.ports.to_string(), "9092");
    assert_eq!(options.format, Format::Text);
    assert_eq!(options.output, Output::Stdout);
    assert_eq!((options.duration, options.count), (None, None));
    assert_eq!(options.filter, Filter::default());
    assert_eq!(options.netns, None);
    assert_eq!(options.broker_max_idle, Duration::from_mins(10));
    assert_eq!(options.packet_evidence, PacketChoice::Auto);
    assert!(options.require.is_empty());
    assert_eq!(options.summary_interval, None);
    assert_eq!(options.view, View::default());
}

#[test]
fn every_flag_is_read() {
    let options = options(&[
        "--port=9092,9094-9096",
        "--port=19092",
        "--format=json",
        "--output=/tmp/kreset.json",
        "--duration=1h30m",
        "--count=3",
        "--role=broker",
        "--netns=lab-client",
        "--broker-max-idle=5m",
        "--packet-evidence=cgroup_skb",
        "--require=packet-evidence",
        "--require=seeding",
        "--summary=10s",
        "--all",
        "--verdict=middlebox_idle_reset,indeterminate",
        "--client=10.0.1.0/24",
        "--broker=10.0.2.7:9092",
        "--every-event",
        "--quiet",
        "--color=never",
        "-vv",
    ]);
    assert_eq!(options.ports.to_string(), "9092,9094-9096,19092");
    assert_eq!(options.format, Format::Json);
    assert_eq!(options.output, Output::File("/tmp/kreset.json".into()));
    assert_eq!(options.duration, Some(Duration::from_mins(90)));
    assert_eq!(options.count.map(NonZeroU64::get), Some(3));
    assert_eq!(
        options.filter,
        Filter {
            role: Some(Role::Broker),
            all: true,
            verdicts: vec![Verdict::MiddleboxIdleReset, Verdict::Indeterminate],
            clients: vec!["10.0.1.0/24".parse().unwrap()],
            brokers: vec!["10.0.2.7:9092".parse().unwrap()],
        }
    );
    assert_eq!(options.netns, Some("lab-client".to_owned()));
    assert_eq!(options.broker_max_idle, Duration::from_mins(5));
    assert_eq!(
        options.packet_evidence,
        PacketChoice::Exactly(PacketEvidence::CgroupSkb)
    );
    assert_eq!(options.require, [Feature::PacketEvidence, Feature::Seeding]);
    assert_eq!(options.summary_interval, Some(Duration::from_secs(10)));
    assert_eq!(
        options.view,
        View {
            verbosity: 2,
            color: ColorChoice::Never,
            every_event: true,
            quiet: true,
        }
    );
}

#[test]
fn a_dash_is_standard_output() {
    assert_eq!(options(&["--output", "-"]).output, Output::Stdout);
}

#[test]
fn refusals_are_one_sentence_that_names_the_value_and_what_is_valid() {
    for (arguments, expected) in [
        (
            ["--port", "0"].as_slice(),
            "invalid value '0' for '--port <LIST>': invalid port 0: expected 1 to 65535",
        ),
        (
            &["--duration", "30"],
            "invalid value '30' for '--duration <TIME>': missing unit after 30: use 30s, 30m or 30h",
        ),
        (
            &["--count", "0"],
            "invalid value '0' for '--count <N>': expected a whole number of 1 or more",
        ),
        (
            &["--format", "xml"],
            "invalid value 'xml' for '--format <FORMAT>' [possible values: text, json, ecs]",
        ),
        (
            &["--role", "server"],
            "invalid value 'server' for '--role <ROLE>' [possible values: client, broker, any]",
        ),
        (
            &["--packet-evidence", "pcap"],
            "invalid value 'pcap' for '--packet-evidence <SOURCE>': \
             unknown packet evidence \"pcap\"; expected one of auto, fentry, cgroup_skb, off",
        ),
        (
            &["--prot", "9092"],
            "unexpected argument '--prot' found; a similar argument exists: '--port'",
        ),
        (
            &["--colour=never"],
            "unexpected argument '--colour' found; a similar argument exists: '--color'",
        ),
        (
            &["--client", "shop"],
            "invalid value 'shop' for '--client <LIST>': invalid address \"shop\": expected an IP \
             address, such as 10.0.1.5, 10.0.1.0/24, 10.0.1.5:9092 or [2001:db8::1]:9092",
        ),
        (
            &["--port"],
            "a value is required for '--port <LIST>' but none was supplied",
        ),
        (&["9092"], "unrecognized subcommand '9092'"),
        (
            &["--count", "1", "--count", "2"],
            "the argument '--count <N>' cannot be used multiple times",
        ),
    ] {
        assert_eq!(
            refusal(arguments),
            format!("{expected} (see kreset-trace --help)")
        );
    }
}

#[test]
fn long_help_documents_what_short_help_leaves_out() {
    let (short, long) = (printed(&["-h"]), printed(&["--help"]));
    for text in ["Exit codes:", "Examples:"] {
        assert!(long.contains(text) && !short.contains(text), "{text}");
    }
    for argument in CommandLine::command().get_arguments() {
        let flag = format!("--{}", argument.get_long().unwrap());
        let in_short = !argument.is_hide_short_help_set();
        assert_eq!(
            (short.contains(&flag), long.contains(&flag)),
            (in_short, true),
            "{flag}"
        );
    }
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for exit in Exit::ALL {
        assert!(words(&long).contains(exit.meaning()), "{exit:?}");
        assert!(long.contains(&format!("\n  {}  ", exit.code())), "{exit:?}");
    }
    assert!(printed(&["--version"]).starts_with("kreset-trace "));
}

proptest! {
    #[test]
    fn every_refusal_is_one_line(value in "\\PC{0,20}") {
        for flag in ["--port", "--duration", "--count", "--format", "--netns", "--summary"] {
            if let Err(error) = parse(["kreset-trace", &format!("{flag}={value}")]) {
                prop_assert_eq!(error.to_string().lines().count(), 1);
            }
        }
    }
}
