//! Messages to the operator on standard error, which a service manager logs.

use std::{
    fmt,
    io::{self, Write as _},
    panic,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::escape::Escaped;

/// Lines that wait for standard error to be read.
const WAITING: usize = 256;

/// Logs one line. Log changes, not states: a sink that is down for hours is one
/// line, and its recovery another.
///
/// The text may come from outside, such as a receiver's answer: it is escaped.
pub fn log(text: fmt::Arguments<'_>) {
    let line = format!("kreset-trace: {}\n", Escaped(&text.to_string()));
    match LINES.get() {
        Some(lines) => lines.add(line),
        None => write(&line),
    }
}

/// Writes lines in a thread from now on: whoever logs never waits for the reader of
/// standard error. Beyond 256 lines, new ones are dropped and counted.
///
/// # Errors
///
/// When the system cannot start a thread.
pub fn detach() -> io::Result<()> {
    let (lines, waiting) = Lines::new();
    let counts = Arc::clone(&lines.counts);
    if LINES.set(lines).is_err() {
        return Ok(());
    }
    thread::Builder::new()
        .name("stderr".to_owned())
        .spawn(move || write_all(&waiting, &counts, write))?;
    // The standard one writes to standard error itself.
    panic::set_hook(Box::new(|panic| log(format_args!("{panic}"))));
    Ok(())
}

/// Waits until all lines are written, for at most `longest`.
pub fn finish(longest: Duration) {
    let until = Instant::now() + longest;
    while let Some(lines) = LINES.get()
        && lines.counts.waiting.load(SeqCst) > 0
        && Instant::now() < until
    {
        thread::sleep(Duration::from_millis(1));
    }
}

static LINES: OnceLock<Lines> = OnceLock::new();

/// A queue of lines.
struct Lines {
    to: SyncSender<String>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

impl Lines {
    fn new() -> (Self, Receiver<String>) {
        let (to, waiting) = sync_channel(WAITING);
        let counts = Arc::default();
        (Self { to, counts }, waiting)
    }

    /// Never waits.
    fn add(&self, line: String) {
        self.counts.waiting.fetch_add(1, SeqCst);
        if self.to.try_send(line).is_err() {
            self.counts.waiting.fetch_sub(1, SeqCst);
            self.counts.dropped.fetch_add(1, SeqCst);
        }
    }
}

fn write_all(waiting: &Receiver<String>, counts: &Counts, mut write: impl FnMut(&str)) {
    for line in waiting {
        write(&line);
        let dropped = counts.dropped.swap(0, SeqCst);
        if dropped > 0 {
            write(&format!(
                "kreset-trace: {dropped} lines were dropped: standard error was not read\n"
            ));
        }
        counts.waiting.fetch_sub(1, SeqCst);
    }
}

fn write(line: &str) {
    // A failure of standard error cannot be reported.
    let _ignored = io::stderr().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_reader_that_stops_holds_nobody_up_and_what_is_dropped_is_counted() {
        const ALL: u64 = 1_000;
        let (lines, waiting) = Lines::new();
        let counts = Arc::clone(&lines.counts);
        let (reader, reads) = channel::<()>();
        let writer = thread::spawn(move || {
            let mut written = Vec::new();
            write_all(&waiting, &counts, |line| {
                // Each line waits until the reader is there.
                let _there = reads.recv();
                written.push(line.to_owned());
            });
            written
        });
        // Were it to wait, it would never end.
        (0..ALL).for_each(|number| lines.add(format!("{number}\n")));
        let dropped = lines.counts.dropped.load(SeqCst);
        assert!(dropped >= ALL - WAITING as u64 - 1, "{dropped}");
        drop(reader);
        drop(lines);
        let written = writer.join().unwrap();
        assert_eq!(written.len() as u64 + dropped, ALL + 1);
        assert_eq!((written[0].as_str(), written[2].as_str()), ("0\n", "1\n"));
        let expected = format!("{dropped} lines were dropped");
        assert!(written[1].contains(&expected), "{}", written[1]);
    }
}
