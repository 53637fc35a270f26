use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::PathBuf,
    process,
    sync::Barrier,
    thread,
};

use tempfile::TempDir;

use super::*;
use crate::event::{Event, Host, Loss, Message, samples};

/// A loss whose `total` is `number`: a distinct event.
fn numbered(number: u64) -> Message {
    let event = Event::Loss(Loss {
        time: samples::time("2026-11-23T14:22:07.123456789Z"),
        host: Host { name: "h".into() },
        source: "kernel".to_owned(),
        lost: 1,
        total: number,
        by_broker: Vec::new(),
    });
    samples::message(event, number)
}

fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["total"]
                .as_u64()
                .unwrap()
        })
        .collect()
}

/// JSON on its way to a writer, as in a sink's queue and its thread.
struct JsonTo<P> {
    writer: P,
    lines: Vec<u8>,
}

impl<P: Writer> JsonTo<P> {
    const fn new(writer: P) -> Self {
        Self {
            writer,
            lines: Vec::new(),
        }
    }

    fn write(&mut self, message: &Message) -> Result<(), SinkError> {
        Json.encode(message, &mut self.lines)
    }

    /// Writes an event, as far as it goes.
    fn put(&mut self, number: u64) {
        self.write(&numbered(number)).unwrap();
        self.flush().unwrap();
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        let written = self.writer.write_lines(&self.lines);
        let stopped = written.err();
        let done = stopped.as_ref().map_or(self.lines.len(), |it| it.written);
        self.lines.drain(..done);
        stopped.map_or(Ok(()), |it| Err(it.error))
    }
}

fn json_to(path: &Path) -> JsonTo<LineFile> {
    JsonTo::new(LineFile::open(path).unwrap())
}

#[test]
fn a_file_is_appended_to() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("out");
    for number in 0..3 {
        let mut sink = json_to(&path);
        sink.put(number);
    }
    assert_eq!(numbers(&path), [0, 1, 2]);
}

#[test]
fn a_torn_line_is_ended_before_the_next() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("out");
    fs::write(&path, "whole\n{\"to").unwrap();
    let mut sink = json_to(&path);
    for number in 0..2 {
        sink.put(number);
    }
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines[0], lines[1], lines.len()), ("whole", "{\"to", 4));
}

#[test]
fn reopen_follows_the_name_and_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let (path, rotated) = (directory.path().join("out"), directory.path().join("out.1"));
    let mut sink = json_to(&path);
    sink.put(0);
    fs::rename(&path, &rotated).unwrap();
    sink.put(1);
    sink.writer.reopen().unwrap();
    sink.put(2);
    assert_eq!(numbers(&rotated), [0, 1]);
    assert_eq!(numbers(&path), [2]);
}

#[test]
fn a_failed_reopen_keeps_the_old_file() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("d").join("out");
    let moved = directory.path().join("moved");
    fs::create_dir(path.parent().unwrap()).unwrap();
    let mut sink = json_to(&path);
    fs::rename(path.parent().unwrap(), &moved).unwrap();
    let error = sink.writer.reopen().unwrap_err();
    assert!(matches!(error, SinkError::Open { .. }), "{error}");
    sink.put(7);
    assert_eq!(numbers(&moved.join("out")), [7]);
}

#[test]
fn a_full_device_is_named_with_what_to_do() {
    let mut sink = json_to(Path::new("/dev/full"));
    sink.write(&numbered(0)).unwrap();
    let error = sink.flush().unwrap_err();
    assert!(matches!(error, SinkError::Full { .. }));
    assert_eq!(
        error.to_string(),
        "cannot write to /dev/full: no space is left; free some or choose another --output",
    );
}

#[test]
fn no_such_directory_is_an_error_with_the_path() {
    let error = LineFile::open(Path::new("/no/such/file")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot open /no/such/file: No such file"),
        "{error}"
    );
}

/// Runs the test `name` again with 64 KiB of disk at `SMALL_DISK`, in a mount
/// namespace of its own, so that nothing is left mounted whatever happens.
/// `None` in that second run, which is where the test is to go on.
fn on_a_small_disk(name: &str) -> Option<process::Output> {
    if std::env::var_os(SMALL_DISK).is_some() {
        return None;
    }
    let directory = TempDir::new().unwrap();
    let script = "mount -t tmpfs -o size=64k kreset-test \"$0\" && exec \"$@\"";
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let again = process::Command::new("unshare")
        // Only root may mount; anyone may be root of a namespace.
        .args((!is_root).then_some("--map-root-user"))
        .args(["--mount", "sh", "-c", script])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(SMALL_DISK, directory.path())
        .output();
    Some(again.unwrap())
}

/// The environment variable that names the small disk.
const SMALL_DISK: &str = "KRESET_TEST_SMALL_DISK";

#[test]
fn a_full_disk_holds_whole_lines_and_nothing_is_lost_or_said_twice() {
    const NAME: &str =
        "sink::tests::a_full_disk_holds_whole_lines_and_nothing_is_lost_or_said_twice";
    if let Some(again) = on_a_small_disk(NAME) {
        assert!(again.status.success(), "{again:#?}");
        return;
    }
    let disk = PathBuf::from(std::env::var_os(SMALL_DISK).unwrap());
    let (path, ballast) = (disk.join("out"), disk.join("ballast"));
    fs::write(&ballast, [0; 8 * 1024]).unwrap();
    let mut sink = json_to(&path);
    let mut taken = 0;
    let error = loop {
        sink.write(&numbered(taken)).unwrap();
        taken += 1;
        if let Err(error) = sink.flush() {
            break error;
        }
    };
    assert!(matches!(error, SinkError::Full { .. }), "{error}");
    assert_eq!(numbers(&path), (0..taken - 1).collect::<Vec<_>>());

    fs::remove_file(&ballast).unwrap();
    sink.put(taken);
    assert_eq!(numbers(&path), (0..=taken).collect::<Vec<_>>());
}

#[test]
fn a_closed_pipe_is_told_from_a_failure() {
    let (reader, writer) = io::pipe().unwrap();
    let mut sink = JsonTo::new(Stdout::on(File::from(OwnedFd::from(writer))));
    sink.put(0);
    sink.writer.check().unwrap();
    drop(reader);
    assert!(sink.writer.check().unwrap_err().is_closed());
    sink.write(&numbered(1)).unwrap();
    assert!(sink.flush().unwrap_err().is_closed());
}

/// As Linux has it on every architecture that it runs eBPF on but MIPS.
const O_NONBLOCK: i32 = 0o4000;

#[test]
fn a_pipe_that_does_not_block_only_slows() {
    let (mut reader, writer) = io::pipe().unwrap();
    let writer = File::from(OwnedFd::from(writer));
    // Opened anew through /proc, so that only this writer does not block.
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let nonblocking = OpenOptions::new()
        .write(true)
        .custom_flags(O_NONBLOCK)
        .open(path)
        .unwrap();
    drop(writer);
    let read = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text.lines().count()
    });
    let mut sink = JsonTo::new(Stdout::on(nonblocking));
    for number in 0..5000 {
        sink.write(&numbered(number)).unwrap();
    }
    sink.flush().unwrap();
    drop(sink);
    assert_eq!(read.join().unwrap(), 5000);
}

#[test]
fn two_writers_of_one_file_keep_their_lines_whole() {
    const EACH: u64 = 5_000;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("out");
    let barrier = Arc::new(Barrier::new(4));
    thread::scope(|scope| {
        for writer in 0..4 {
            let (path, barrier) = (&path, Arc::clone(&barrier));
            scope.spawn(move || {
                let mut sink = json_to(path);
                barrier.wait();
                for number in 0..EACH {
                    sink.write(&numbered(writer * EACH + number)).unwrap();
                    if number % (writer + 1) == 0 {
                        sink.flush().unwrap();
                    }
                }
                sink.flush().unwrap();
            });
        }
    });
    let numbers = numbers(&path);
    let distinct: BTreeSet<_> = numbers.iter().copied().collect();
    assert_eq!(numbers.len(), distinct.len());
    assert_eq!(distinct, (0..4 * EACH).collect());
}

#[test]
fn the_settings_choose_format_and_file() {
    let directory = TempDir::new().unwrap();
    for (format, first) in [
        (Format::Json, "{\"schema\":\"kreset/1\""),
        (Format::Ecs, "{\"@timestamp\":"),
        (Format::Text, "2026-"),
    ] {
        let path = directory.path().join(format!("{format:?}"));
        let sink = SinkConfig {
            name: "file".to_owned(),
            filter: SinkFilter::default(),
            target: Target::File(FileConfig::unlimited(path.clone(), format, false)),
        };
        let settings = HostSettings {
            spool: directory.path(),
            spool_size: 0,
            on_failure: OnFailure::EndRun,
            health: &Arc::default(),
        };
        let Sink::Local {
            mut encoder,
            mut writer,
            on_failure: OnFailure::EndRun,
        } = sink.open(&settings).unwrap()
        else {
            panic!()
        };
        let mut lines = Vec::new();
        for message in samples::messages() {
            encoder.encode(&message, &mut lines).unwrap();
        }
        writer.write_lines(&lines).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(first), "{text}");
        assert!(!text.contains('\x1b'));
    }
    io::stdout().flush().unwrap();
}
