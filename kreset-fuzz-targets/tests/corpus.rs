//! The fuzz targets over their corpus and over mutations of it: bounded, the
//! same on each run, and without a nightly compiler.

use std::{fs, path::Path};

use kreset_fuzz_targets as targets;

/// Mutations of each file.
const MUTATIONS: u32 = 2_000;
/// The same where each takes files, or buffers, of its own.
const FEWER_MUTATIONS: u32 = 100;

/// xorshift64: the same numbers everywhere.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % (limit.max(1) as u64)) as usize
    }
}

fn run(target: fn(&[u8]), name: &str) {
    run_mutations(target, name, MUTATIONS);
}

fn run_mutations(target: fn(&[u8]), name: &str, mutations: u32) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(name);
    let mut files = 0;
    for entry in fs::read_dir(&corpus).expect("a corpus") {
        let seed = fs::read(entry.expect("an entry").path()).expect("a file");
        target(&seed);
        files += 1;
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        for _ in 0..mutations {
            let mut bytes = seed.clone();
            for _ in 0..=numbers.below(4) {
                mutate(&mut bytes, &mut numbers);
            }
            target(&bytes);
        }
    }
    assert!(files >= 2, "{} has {files} files", corpus.display());
}

fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'-', b'9', b'\n'];
    let at = numbers.below(bytes.len());
    match numbers.below(5) {
        0 if !bytes.is_empty() => bytes[at] = numbers.below(256) as u8,
        1 if !bytes.is_empty() => bytes[at] = EDGES[numbers.below(EDGES.len())],
        2 => bytes.truncate(at),
        3 => bytes.insert(at, EDGES[numbers.below(EDGES.len())]),
        _ => {
            let end = (at + numbers.below(9)).min(bytes.len());
            let copied = bytes[at..end].to_vec();
            bytes.splice(at..at, copied);
        }
    }
}

#[test]
fn records_of_any_bytes() {
    run(targets::record, "record");
}

#[test]
fn types_of_any_bytes() {
    run(targets::btf, "btf");
}

#[test]
fn arguments_of_any_bytes() {
    run(targets::arguments, "arguments");
}

#[test]
fn recordings_of_any_bytes() {
    run(targets::recording, "recording");
}

#[test]
fn configurations_of_any_bytes() {
    run(targets::config, "config");
}

#[test]
fn spools_of_any_bytes() {
    run_mutations(targets::spool, "spool", FEWER_MUTATIONS);
}

#[test]
fn packets_of_any_bytes() {
    run(targets::packet, "packet");
}

#[test]
fn captures_of_any_bytes() {
    run_mutations(targets::capture, "capture", FEWER_MUTATIONS);
}

#[test]
fn clients_of_any_bytes() {
    run(targets::client, "client");
}

#[test]
fn logs_of_any_bytes() {
    run(targets::logs, "logs");
}

#[test]
fn events_of_any_bytes() {
    run_mutations(targets::correlate, "correlate", FEWER_MUTATIONS);
}
