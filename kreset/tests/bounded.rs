//! What is remembered of connections and incidents is bounded, however many paths there are.

mod replay;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
};

use kreset::{
    classify::{
        Classifier, Config,
        incident::{End, Incidents},
    },
    facts::{Facts, Kind},
};

const PATHS: u32 = 1_000_000;
/// After so many, all that is remembered is full.
const FULL: u32 = 100_000;

/// Resident memory of this process, bytes (proc(5): pages of 4 KiB on the machines that CI has).
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").expect("procfs");
    let pages = pages.split(' ').nth(1).expect("a second field");
    pages.parse::<u64>().expect("a number") * 4_096
}

fn of_path(recorded: &Facts, number: u32) -> Facts {
    let mut facts = recorded.clone();
    facts.remote.address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
    facts.at_ns += u64::from(number) * 1_000_000;
    facts
}

#[test]
fn a_million_paths_take_no_more_memory_than_the_first_that_fit() {
    let recorded: Vec<Facts> = replay::facts("idle_reset_on_send.ipv4.client")
        .into_iter()
        .filter(|facts| facts.kind == Kind::ResetReceived)
        .collect();
    let recorded = recorded.first().expect("a reset");
    let mut classifier = Classifier::new(Config::default());
    let mut incidents = Incidents::default();
    let mut when_full = 0;
    let at_first = resident();
    for number in 0..PATHS {
        let facts = of_path(recorded, number);
        classifier.observe(&facts);
        incidents.observe(&facts);
        if number <= FULL || number % 8 == 0 {
            let judged = classifier.judge(&facts);
            let (judgement, _) = judged.unwrap_or_else(|| panic!("path {number}"));
            incidents.take(&End::of(&facts, Some(&judgement), Some("orders".into())));
            // As the pipeline does between two turns.
            drop((incidents.take_begun(), incidents.take_grown()));
            drop(incidents.take_over(facts.at_ns));
        }
        if [4_000, 8_000, 16_000, 40_000].contains(&number) {
            let kib = resident().saturating_sub(at_first) / 1_024;
            println!("{kib} KiB with {number} paths");
        }
        if number == FULL {
            when_full = resident();
        }
    }
    let grown = resident().saturating_sub(when_full);
    println!("{when_full} bytes with {FULL} paths, {grown} more with {PATHS}");
    assert!(grown < 4 << 20, "{grown} bytes more than {when_full}");
    assert!(classifier.evicted() > u64::from(PATHS) / 2);
}
