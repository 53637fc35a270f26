use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const LIMIT: u64 = LEAST_BYTES;

/// A spool that is empty, and its directory.
fn empty() -> (TempDir, Spool) {
    let directory = TempDir::new().unwrap();
    let spool = open(&directory);
    (directory, spool)
}

/// The same spool after a restart.
fn reopened(directory: &TempDir, spool: Spool) -> Spool {
    drop(spool);
    open(directory)
}

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
    files(directory, |name| segment::number(name).is_some())
}

fn damaged(directory: &TempDir) -> Vec<PathBuf> {
    files(directory, |name| name.ends_with(DAMAGED))
}

fn files(directory: &TempDir, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.path()).unwrap();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| wanted(path.file_name().unwrap().to_str().unwrap()))
        .collect();
    paths.sort();
    paths
}

fn segment_path(directory: &TempDir, first: u64) -> PathBuf {
    directory.path().join(segment::name(first))
}

/// Flips a bit of the byte at `offset`.
fn flip(path: &Path, offset: u64) {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    byte[0] ^= 0x10;
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&byte).unwrap();
}

/// A spool of three segments, two records each.
fn three_segments() -> (TempDir, Spool) {
    let (directory, mut spool) = empty();
    append_six(&mut spool);
    assert_eq!(segments(&directory).len(), 3, "two records a segment");
    (directory, spool)
}

/// Three segments' worth, each of which begins with its number.
fn append_six(spool: &mut Spool) {
    let large = "x".repeat(30_000);
    for number in 0..6 {
        append(spool, &[&format!("{number}{large}")]);
    }
}

/// The first byte of each record.
fn firsts(texts: &[String]) -> String {
    texts.iter().map(|text| &text[..1]).collect()
}

#[test]
fn records_come_out_in_order_and_once() {
    let (_directory, mut spool) = empty();
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
    let (directory, mut spool) = empty();
    append(&mut spool, &["a", "b", "c"]);
    let entries = read(&mut spool, 3);
    spool.done(entries[0].end);
    let mut spool = reopened(&directory, spool);
    assert_eq!(spool.depth(), 2);
    append(&mut spool, &["d"]);
    assert_eq!(drain(&mut spool), ["b", "c", "d"]);
    drop(spool);
    assert_eq!(open(&directory).depth(), 0);
}

#[test]
fn a_record_that_was_being_written_is_taken_off() {
    for cut in 1..20 {
        let (directory, mut spool) = empty();
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
fn damage_costs_the_record_that_it_is_in_and_is_counted_once() {
    let (directory, mut spool) = three_segments();
    flip(&segments(&directory)[1], HEADER + 100);
    let first = read(&mut spool, 2);
    let second = read(&mut spool, 2);
    assert_eq!((first.len(), second.len()), (2, 1));
    assert_eq!(&second[0].payload[..1], b"3");
    assert_eq!(spool.take_lost(), 1);
    spool.rewind();
    assert_eq!(firsts(&drain(&mut spool)), "01345");
    assert_eq!((spool.depth(), spool.take_lost()), (0, 0));
    let notes = spool.take_notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with("skipped 1 events"), "{notes:?}");
    assert_eq!(damaged(&directory).len(), 1, "the file is kept");
}

/// What happened to 3,000 events: the end of the last segment was cut off at the
/// damage, under `lost: 0`.
#[test]
fn a_flipped_bit_in_the_last_segment_costs_one_record_after_a_restart() {
    let (directory, mut spool) = empty();
    for number in 0..3_000 {
        append(&mut spool, &[&format!("{number}")]);
    }
    drop(spool);
    flip(&segments(&directory)[0], HEADER + 10);
    let mut spool = open(&directory);
    append(&mut spool, &["3000"]);
    let left = drain(&mut spool);
    assert_eq!(left.len(), 3_000);
    assert_eq!((left[0].as_str(), left[2_999].as_str()), ("1", "3000"));
    assert_eq!((spool.take_lost(), spool.depth()), (1, 0));
}

#[test]
fn a_damaged_header_costs_nothing() {
    let directory = TempDir::new().unwrap();
    for offset in [0, 7, 8, 17] {
        let mut spool = open(&directory);
        append(&mut spool, &["a", "b"]);
        drop(spool);
        flip(segments(&directory).last().unwrap(), offset);
        let mut spool = open(&directory);
        append(&mut spool, &["c"]);
        assert_eq!(drain(&mut spool), ["a", "b", "c"], "byte {offset}");
        assert_eq!(spool.take_lost(), 0);
    }
}

#[test]
fn a_damaged_last_record_is_counted_at_the_next_start() {
    let (directory, mut spool) = empty();
    append(&mut spool, &["a", "b"]);
    drop(spool);
    let path = segments(&directory).remove(0);
    flip(&path, fs::metadata(&path).unwrap().size() - 1);
    let mut spool = open(&directory);
    assert_eq!((spool.take_lost(), spool.depth()), (1, 1));
    append(&mut spool, &["c"]);
    assert_eq!(drain(&mut spool), ["a", "c"]);
    assert_eq!((spool.take_lost(), spool.depth()), (0, 0));
}

#[test]
fn a_segment_that_cannot_be_opened_is_kept_and_counted() {
    for at in 0..3 {
        for restart in [false, true] {
            let (directory, mut spool) = three_segments();
            // Root may open any file: a link is refused to everybody.
            let path = segments(&directory).remove(at);
            let aside = directory.path().join("aside");
            fs::rename(&path, &aside).unwrap();
            symlink(&aside, &path).unwrap();
            if restart {
                spool = reopened(&directory, spool);
            }
            let left = firsts(&drain(&mut spool));
            let lost = spool.take_lost();
            if at == 2 && !restart {
                // The last one is open.
                assert_eq!((left.as_str(), lost), ("012345", 0));
                continue;
            }
            let expected = ["2345", "0145", "0123"][at];
            assert_eq!((left.as_str(), lost), (expected, 2), "restart {restart}");
            assert_eq!(spool.depth(), 0);
            append(&mut spool, &["6"]);
            assert_eq!(drain(&mut spool), ["6"]);
            assert_eq!(
                damaged(&directory).len(),
                1,
                "segment {at}, restart {restart}"
            );
            drop(spool);
            assert_eq!(
                open(&directory).take_lost(),
                2,
                "no event has reported them"
            );
        }
    }
}

#[test]
fn without_descriptors_nothing_is_given_up() {
    let (_directory, mut spool) = three_segments();
    for code in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EINTR] {
        assert!(is_passing(&io::Error::from_raw_os_error(code)));
    }
    for code in [libc::EACCES, libc::EIO, libc::ENOENT, libc::ELOOP] {
        assert!(!is_passing(&io::Error::from_raw_os_error(code)));
    }
    assert_eq!(firsts(&drain(&mut spool)), "012345");
}

#[test]
fn a_later_version_is_refused_and_left_alone() {
    let (directory, spool) = three_segments();
    drop(spool);
    let path = segments(&directory).remove(1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[7] = b'3';
    let checksum = crc32fast::hash(&bytes[..16]).to_le_bytes();
    bytes[16..20].copy_from_slice(&checksum);
    fs::write(&path, &bytes).unwrap();
    let before = contents(&directory);
    let error = Spool::open(directory.path(), LIMIT).unwrap_err();
    assert!(
        matches!(error, SpoolError::Newer { version: '3', .. }),
        "{error}"
    );
    assert_eq!(contents(&directory), before);
}

fn contents(directory: &TempDir) -> BTreeMap<PathBuf, Vec<u8>> {
    files(directory, |name| name != "lock")
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path).unwrap();
            (path, bytes)
        })
        .collect()
}

#[test]
fn a_directory_that_is_removed_is_made_again() {
    for moved in [false, true] {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("sink");
        let mut spool = Spool::open(&path, LIMIT).unwrap();
        append_six(&mut spool);
        if moved {
            fs::rename(&path, directory.path().join("aside")).unwrap();
            spool.keep_in_place().unwrap();
        } else {
            fs::remove_dir_all(&path).unwrap();
        }
        append(&mut spool, &["6", "7"]);
        assert!(path.join("ledger").exists());
        // Those of the segment that was open.
        assert_eq!(firsts(&drain(&mut spool)), "4567");
        assert_eq!((spool.take_lost(), spool.depth()), (4, 0));
        append(&mut spool, &["8"]);
        drop(spool);
        let mut spool = Spool::open(&path, LIMIT).unwrap();
        assert_eq!(drain(&mut spool), ["8"]);
        assert_eq!(spool.take_lost(), 4, "no event has reported them");
    }
}

#[test]
fn a_segment_that_is_removed_is_made_again_under_the_same_lock() {
    let (directory, mut spool) = empty();
    append(&mut spool, &["a"]);
    fs::remove_file(&segments(&directory)[0]).unwrap();
    append(&mut spool, &["b"]);
    assert!(matches!(
        Spool::open(directory.path(), LIMIT),
        Err(SpoolError::Locked { .. })
    ));
    assert_eq!(drain(&mut spool), ["a", "b"]);
}

#[test]
fn a_loss_is_reported_until_an_event_has() {
    let (directory, mut spool) = three_segments();
    fs::remove_file(&segments(&directory)[0]).unwrap();
    assert_eq!(firsts(&drain(&mut spool)), "2345");
    assert_eq!(spool.take_lost(), 2);
    let mut spool = reopened(&directory, spool);
    assert_eq!(spool.take_lost(), 2, "the run ended before it was reported");
    spool.losses_are_reported();
    drop(spool);
    assert_eq!(open(&directory).take_lost(), 0);
}

#[test]
fn a_rejected_record_is_lost_and_kept_in_a_file() {
    let (directory, mut spool) = empty();
    append(&mut spool, &["a", "bad", "c"]);
    let entries = read(&mut spool, 3);
    spool.reject(&entries[1]);
    spool.done(entries[2].end);
    assert_eq!((spool.take_lost(), spool.depth()), (1, 0));
    let kept = fs::read(directory.path().join(REJECTED)).unwrap();
    let kept = &kept[segment::PREFIX..];
    assert_eq!(kept, b"bad");
    spool.losses_are_reported();
    let mut spool = reopened(&directory, spool);
    assert_eq!((spool.take_lost(), spool.depth()), (0, 0));
}

#[test]
fn files_that_are_kept_are_within_the_limit() {
    let (directory, mut spool) = empty();
    let large = "x".repeat(10_000);
    for round in 0..30_u64 {
        for _ in 0..10 {
            append(&mut spool, &[&large]);
        }
        let last = segments(&directory).pop().unwrap();
        flip(&last, HEADER + 100);
        while let [entry] = read(&mut spool, 1).as_slice() {
            spool.reject(entry);
            spool.done(entry.end);
        }
        assert!(spool.bytes() <= LIMIT, "round {round}: {}", spool.bytes());
    }
    let kept = damaged(&directory);
    assert!((1..=DAMAGED_FILES).contains(&kept.len()), "{kept:?}");
    let on_disk: u64 = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().size())
        .sum();
    assert!(on_disk <= LIMIT + 16_384, "{on_disk}");
    assert_eq!(spool.depth(), 0);
}

#[test]
fn only_its_user_reads_it_and_no_link_is_followed() {
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let victim = TempDir::new().unwrap();
    let precious = victim.path().join("precious");
    fs::write(&precious, "text").unwrap();
    symlink(&precious, directory.path().join("lock")).unwrap();
    let error = Spool::open(directory.path(), LIMIT).unwrap_err();
    assert!(matches!(error, SpoolError::Io { .. }), "{error}");
    assert_eq!(fs::read(&precious).unwrap(), b"text");
    fs::remove_file(directory.path().join("lock")).unwrap();
    append(&mut open(&directory), &["a"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.path()), 0o700);
    for path in files(&directory, |_| true) {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_full_spool_gives_up_the_oldest_and_counts_them() {
    let (directory, mut spool) = empty();
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
        let (_directory, mut spool) = empty();
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
    let (directory, mut spool) = empty();
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
    let (directory, spool) = empty();
    let error = Spool::open(directory.path(), LIMIT).unwrap_err();
    assert!(matches!(error, SpoolError::Locked { .. }), "{error}");
    drop(spool);
    open(&directory);
}

#[test]
fn an_unreadable_ledger_repeats_and_loses_nothing() {
    let (directory, mut spool) = empty();
    append(&mut spool, &["a", "b"]);
    assert_eq!(drain(&mut spool), ["a", "b"]);
    drop(spool);
    fs::write(directory.path().join("ledger"), [1; 9_000]).unwrap();
    assert_eq!(drain(&mut open(&directory)), ["a", "b"]);
}

#[test]
fn numbers_are_not_used_again_after_the_host_lost_what_was_not_synced() {
    let (directory, mut spool) = empty();
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
    let mut spool = reopened(&directory, spool);
    assert_eq!(drain(&mut spool), ["d"]);
    assert_eq!(spool.take_lost(), 0);
}

#[test]
fn files_that_are_no_segments_are_left_alone_or_removed() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("README"), "mine").unwrap();
    File::create(segment_path(&directory, 7))
        .unwrap()
        .write_all(b"KRSP")
        .unwrap();
    let mut spool = open(&directory);
    append(&mut spool, &["a"]);
    assert_eq!(drain(&mut spool), ["a"]);
    assert!(directory.path().join("README").exists());
    assert!(!segment_path(&directory, 7).exists());
}

#[test]
fn syncing_is_due_only_for_what_is_not_delivered() {
    let (_directory, mut spool) = empty();
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
    Kill { torn: bool },
    Flip(prop::sample::Index, prop::sample::Index),
    RemoveFile(prop::sample::Index),
    GiveUp,
    Reject,
}

fn step() -> impl Strategy<Value = Step> {
    let payload = prop::collection::vec(any::<u8>(), 0..2_000);
    prop_oneof![
        4 => prop::collection::vec(payload, 1..20).prop_map(Step::Append),
        3 => (1_usize..20).prop_map(Step::Read),
        3 => Just(Step::DoneAll),
        1 => Just(Step::Rewind),
        1 => any::<bool>().prop_map(|torn| Step::Kill { torn }),
    ]
}

fn harm() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => step(),
        1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(|(file, at)| Step::Flip(file, at)),
        1 => any::<prop::sample::Index>().prop_map(Step::RemoveFile),
        1 => Just(Step::GiveUp),
        1 => Just(Step::Reject),
    ]
}

/// Kills the process, in the middle of a record if `torn`.
fn killed(directory: &TempDir, spool: Spool, torn: bool) -> Spool {
    drop(spool);
    if torn {
        let path = segments(directory).pop().unwrap();
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"\xf5\xc0\xfe\xc1\x09\0\0\0torn").unwrap();
    }
    open(directory)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Against a queue in memory: whatever happens, what is not done is
    /// there, in order, and nothing else.
    #[test]
    fn a_spool_is_a_queue_that_survives(steps in prop::collection::vec(step(), 1..60)) {
        let (directory, mut spool) = empty();
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
                Step::Kill { torn } => {
                    under_way.clear();
                    spool = killed(&directory, spool, torn);
                }
                harm => prop_assert!(false, "{harm:?}"),
            }
            prop_assert_eq!(spool.depth(), waiting.len() as u64);
        }
        prop_assert_eq!(spool.take_lost(), 0);
    }

    /// Whatever is done to its files and however often it is killed: each record that
    /// was appended is delivered, or counted as lost, and nothing else is delivered.
    #[test]
    fn appended_is_delivered_and_lost_and_waiting(
        steps in prop::collection::vec(harm(), 1..60),
    ) {
        let (directory, mut spool) = empty();
        let mut appended: Vec<Vec<u8>> = Vec::new();
        let (mut delivered, mut lost) = (0, 0);
        let mut under_way: Vec<Entry> = Vec::new();
        let mut behind = 0;
        for step in steps.into_iter().chain([Step::Rewind]) {
            match step {
                Step::Append(payloads) => {
                    spool.append(&payloads).unwrap();
                    appended.extend(payloads);
                }
                Step::Read(count) => under_way.extend(read(&mut spool, count)),
                Step::DoneAll => {
                    if let Some(last) = under_way.last() {
                        spool.done(last.end);
                        behind = last.end.number;
                        delivered += under_way.len() as u64;
                        under_way.clear();
                    }
                }
                Step::Reject => {
                    if let Some(entry) = under_way.pop() {
                        spool.reject(&entry);
                        // As the sender does: what is in front of it is sent first.
                        spool.done(entry.end);
                        behind = entry.end.number;
                        delivered += under_way.len() as u64;
                        under_way.clear();
                    }
                }
                Step::Rewind => {
                    spool.rewind();
                    under_way.clear();
                }
                Step::GiveUp => {
                    spool.give_up_oldest();
                }
                Step::Flip(file, at) => {
                    let files = segments(&directory);
                    let path = &files[file.index(files.len())];
                    let length = fs::metadata(path).unwrap().size();
                    flip(path, at.index(length as usize) as u64);
                }
                Step::RemoveFile(file) => {
                    let files = segments(&directory);
                    fs::remove_file(&files[file.index(files.len())]).unwrap();
                    // The open one is there again, or the next segment is appended to.
                    spool.keep_in_place().unwrap();
                }
                Step::Kill { torn } => {
                    lost += spool.take_lost();
                    spool.losses_are_reported();
                    under_way.clear();
                    spool = killed(&directory, spool, torn);
                }
            }
            lost += spool.take_lost();
            spool.losses_are_reported();
            let expected = appended.len() as u64 - delivered - lost;
            prop_assert_eq!(spool.depth(), expected);
            for entry in &under_way {
                prop_assert!(entry.end.number > behind);
                prop_assert_eq!(&entry.payload, &appended[entry.end.number as usize - 1]);
            }
        }
        while let entries = read(&mut spool, 7)
            && let Some(last) = entries.last()
        {
            spool.done(last.end);
            delivered += entries.len() as u64;
        }
        lost += spool.take_lost();
        prop_assert_eq!(delivered + lost, appended.len() as u64);
        prop_assert_eq!(spool.depth(), 0);
    }
}
