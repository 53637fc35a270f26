use std::{io::Write as _, os::unix::fs::MetadataExt as _};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const LIMIT: u64 = LEAST_BYTES;

fn open(directory: &TempDir) -> Spool {
    Spool::open(directory.path(), LIMIT).unwrap()
}

fn append(spool: &mut Spool, payloads: &[&str]) {
    spool.append(payloads).unwrap();
}

fn read(spool: &mut Spool, count: usize) -> Vec<Entry> {
    spool.read(count, usize::MAX).unwrap()
}

fn texts(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|it| String::from_utf8(it.payload.clone()).unwrap())
        .collect()
}

/// Reads to the end.
fn drain(spool: &mut Spool) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let entries = read(spool, 7);
        let Some(last) = entries.last() else {
            return all;
        };
        spool.done(last.end);
        all.extend(texts(&entries));
    }
}

fn segments(directory: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries
        .filter(|path| segment::number(path).is_some())
        .collect();
    paths.sort();
    paths
}

#[test]
fn records_come_out_in_order_and_once() {
    let directory = TempDir::new().unwrap();
    let mut spool = open(&directory);
    append(&mut spool, &["a", "b"]);
    append(&mut spool, &["", "d"]);
    assert_eq!(spool.depth(), 4);
    let entries = read(&mut spool, 3);
    assert_eq!(texts(&entries), ["a", "b", ""]);
    spool.done(entries[1].end);
    assert_eq!(spool.depth(), 2);
    assert_eq!(texts(&read(&mut spool, 3)), ["d"]);
    assert!(read(&mut spool, 3).is_empty() && !spool.is_readable());
    spool.rewind();
    assert_eq!(drain(&mut spool), ["", "d"]);
    assert_eq!((spool.depth(), spool.take_lost()), (0, 0));
}

#[test]
fn what_is_not_done_is_there_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let mut spool = open(&directory);
    append(&mut spool, &["a", "b", "c"]);
    let entries = read(&mut spool, 3);
    spool.done(entries[0].end);
    drop(spool);
    let mut spool = open(&directory);
    assert_eq!(spool.depth(), 2);
    append(&mut spool, &["d"]);
    assert_eq!(drain(&mut spool), ["b", "c", "d"]);
    drop(spool);
    assert_eq!(open(&directory).depth(), 0);
}

#[test]
fn a_record_that_was_being_written_is_taken_off() {
    for cut in 1..20 {
        let directory = TempDir::new().unwrap();
        let mut spool = open(&directory);
        append(&mut spool, &["whole", "torn by the end"]);
        drop(spool);
        let path = segments(&directory).remove(0);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() - cut).unwrap();
        let mut spool = open(&directory);
        append(&mut spool, &["next"]);
        assert_eq!(drain(&mut spool), ["whole", "next"], "{cut} bytes cut");
    }
}

#[test]
fn damage_costs_the_rest_of_its_segment_and_is_counted_once() {
    let directory = TempDir::new().unwrap();
    let mut spool = open(&directory);
    let large = "x".repeat(30_000);
    for number in 0..6 {
        append(&mut spool, &[&format!("{number}{large}")]);
    }
    let paths = segments(&directory);
    assert_eq!(paths.len(), 3, "two records a segment");
    let file = OpenOptions::new().write(true).open(&paths[1]).unwrap();
    file.write_all_at(b"y", HEADER + 100).unwrap();
    let first = read(&mut spool, 2);
    let second = read(&mut spool, 2);
    assert_eq!((first.len(), &second[0].payload[..1]), (2, b"4".as_slice()));
    assert_eq!(spool.take_lost(), 2);
    spool.rewind();
    assert_eq!(drain(&mut spool).len(), 4);
    assert_eq!((spool.depth(), spool.take_lost()), (0, 0));
}

#[test]
fn a_full_spool_gives_up_the_oldest_and_counts_them() {
    let directory = TempDir::new().unwrap();
    let mut spool = open(&directory);
    let large = "x".repeat(1_000);
    for number in 0..5_000 {
        append(&mut spool, &[&format!("{number:04}{large}")]);
    }
    let on_disk: u64 = segments(&directory)
        .iter()
        .map(|path| fs::metadata(path).unwrap().size())
        .sum();
    assert!(on_disk <= LIMIT && on_disk == spool.bytes(), "{on_disk}");
    let lost = spool.take_lost();
    let left = drain(&mut spool);
    assert_eq!(lost + left.len() as u64, 5_000);
    assert_eq!(left[0][..4], format!("{lost:04}"));
    assert!(left[left.len() - 1].starts_with("4999"));
}

#[test]
fn what_was_under_way_when_it_was_given_up_is_lost_only_if_it_did_not_arrive() {
    for arrives in [true, false] {
        let directory = TempDir::new().unwrap();
        let mut spool = open(&directory);
        let large = "x".repeat(1_000);
        let put = |spool: &mut Spool, range: Range<u64>| {
            for number in range {
                append(spool, &[&format!("{number:04}{large}")]);
            }
        };
        put(&mut spool, 0..500);
        let under_way = read(&mut spool, 10);
        put(&mut spool, 500..3_000);
        let after_a_gap = read(&mut spool, 5);
        put(&mut spool, 3_000..6_000);
        if arrives {
            spool.done(under_way[9].end);
            spool.done(after_a_gap[4].end);
        }
        spool.rewind();
        let lost = spool.take_lost();
        let left = drain(&mut spool).len() as u64;
        assert_eq!(lost + left + if arrives { 15 } else { 0 }, 6_000);
        assert_eq!(spool.take_lost(), 0);
    }
}

#[test]
fn disk_space_is_given_back() {
    let directory = TempDir::new().unwrap();
    let mut spool = open(&directory);
    let large = "x".repeat(10_000);
    for _ in 0..50 {
        append(&mut spool, &[&large]);
    }
    assert!(segments(&directory).len() > 5);
    drain(&mut spool);
    assert_eq!(segments(&directory).len(), 1);
}

#[test]
fn two_processes_do_not_share_a_spool() {
    let directory = TempDir::new().unwrap();
    let spool = open(&directory);
    let error = Spool::open(directory.path(), LIMIT).unwrap_err();
    assert!(matches!(error, SpoolError::Locked { .. }), "{error}");
    drop(spool);
    open(&directory);
}

#[test]
fn an_unreadable_note_of_what_is_done_repeats_and_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let mut spool = open(&directory);
    append(&mut spool, &["a", "b"]);
    assert_eq!(drain(&mut spool), ["a", "b"]);
    drop(spool);
    fs::write(directory.path().join("done"), b"\x01\0\0\0\0\0\0\0torn").unwrap();
    assert_eq!(drain(&mut open(&directory)), ["a", "b"]);
}

#[test]
fn numbers_are_not_used_again_after_the_host_lost_what_was_not_synced() {
    let directory = TempDir::new().unwrap();
    let mut spool = open(&directory);
    append(&mut spool, &["a", "b", "c"]);
    assert_eq!(drain(&mut spool).len(), 3);
    drop(spool);
    let path = segments(&directory).remove(0);
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(HEADER)
        .unwrap();
    let mut spool = open(&directory);
    append(&mut spool, &["d"]);
    drop(spool);
    let mut spool = open(&directory);
    assert_eq!(drain(&mut spool), ["d"]);
    assert_eq!(spool.take_lost(), 0);
}

#[test]
fn files_that_are_no_segments_are_left_alone_or_removed() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("README"), "mine").unwrap();
    File::create(segment::path(directory.path(), 7))
        .unwrap()
        .write_all(b"KRSP")
        .unwrap();
    let mut spool = open(&directory);
    append(&mut spool, &["a"]);
    assert_eq!(drain(&mut spool), ["a"]);
    assert!(directory.path().join("README").exists());
    assert!(!segment::path(directory.path(), 7).exists());
}

#[test]
fn syncing_is_due_only_for_what_is_not_delivered() {
    let directory = TempDir::new().unwrap();
    let mut spool = open(&directory);
    append(&mut spool, &["a"]);
    assert!(spool.unsynced().is_some());
    assert!(spool.unsynced().is_none());
    append(&mut spool, &["b"]);
    drain(&mut spool);
    assert!(spool.unsynced().is_none());
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Vec<u8>>),
    Read(usize),
    DoneAll,
    Rewind,
    Kill { tear: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let payload = prop::collection::vec(any::<u8>(), 0..2_000);
    prop_oneof![
        4 => prop::collection::vec(payload, 1..20).prop_map(Step::Append),
        3 => (1_usize..20).prop_map(Step::Read),
        3 => Just(Step::DoneAll),
        1 => Just(Step::Rewind),
        1 => any::<bool>().prop_map(|tear| Step::Kill { tear }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Against a queue in memory: whatever happens, what is not done is
    /// there, in order, and nothing else.
    #[test]
    fn a_spool_is_a_queue_that_survives(steps in prop::collection::vec(step(), 1..60)) {
        let directory = TempDir::new().unwrap();
        let mut spool = open(&directory);
        let mut waiting: VecDeque<Vec<u8>> = VecDeque::new();
        let mut under_way: Vec<Entry> = Vec::new();
        for step in steps {
            match step {
                Step::Append(payloads) => {
                    spool.append(&payloads).unwrap();
                    waiting.extend(payloads);
                }
                Step::Read(count) => {
                    let entries = read(&mut spool, count);
                    for entry in &entries {
                        prop_assert_eq!(Some(&entry.payload), waiting.get(under_way.len()));
                        under_way.push(entry.clone());
                    }
                }
                Step::DoneAll => {
                    if let Some(last) = under_way.last() {
                        spool.done(last.end);
                        waiting.drain(..under_way.len());
                        under_way.clear();
                    }
                }
                Step::Rewind => {
                    spool.rewind();
                    under_way.clear();
                }
                Step::Kill { tear } => {
                    drop(spool);
                    under_way.clear();
                    if tear {
                        let path = segments(&directory).pop().unwrap();
                        let mut file = OpenOptions::new().append(true).open(path).unwrap();
                        file.write_all(b"\x09\0\0\0torn").unwrap();
                    }
                    spool = open(&directory);
                }
            }
            prop_assert_eq!(spool.depth(), waiting.len() as u64);
        }
        prop_assert_eq!(spool.take_lost(), 0);
    }
}
