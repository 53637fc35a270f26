//! `kreset-trace top` on a terminal: it draws, takes keys, and leaves the terminal as it was.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has to fail"
)]

use std::{
    fs,
    io::{Read as _, Write as _},
    num::NonZeroU16,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/events.jsonl");
const COLUMNS: NonZeroU16 = NonZeroU16::new(80).expect("not zero");
const ROWS: NonZeroU16 = NonZeroU16::new(24).expect("not zero");
const PATIENCE: Duration = Duration::from_mins(1);
/// Ends the other screen, and shows the cursor.
const LEAVES: &str = "\x1b[?1049l";

/// The view on a terminal of 80 columns and 24 rows: `script` has made one.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    output: Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    fn start() -> Self {
        Self::with_events_of(EVENTS)
    }

    fn with_events_of(from: &str) -> Self {
        Self::of(from, "")
    }

    /// Run by `runner`, which becomes the view.
    fn of(from: &str, runner: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_kreset-trace");
        // The shell ends with the view's own code, having compared the terminal's settings.
        let line = format!(
            "stty cols {COLUMNS} rows {ROWS}; before=$(stty -g); sh -c 'echo pid=$$; exec {runner} {program} top --from \
             {from}'; code=$?; test \"$before\" = \"$(stty -g)\" && echo as before; exit $code"
        );
        let mut child = Command::new("script")
            .args(["-qfec", &line, "/dev/null"])
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script, of util-linux, is installed");
        let mut stdout = child.stdout.take().unwrap();
        let (to, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                if to.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            keys: child.stdin.take().unwrap(),
            child,
            output,
            shown: String::new(),
        }
    }

    fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |shown| shown.contains(text));
    }

    fn wait_until(&mut self, text: &str, is_there: impl Fn(&str) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_there(&self.shown) {
            let left = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(more) => self.shown.push_str(&String::from_utf8_lossy(&more)),
                Err(error) => {
                    let shown: String = self.shown.chars().take(4_000).collect();
                    panic!("no {text:?}, {error}: {shown:?}");
                }
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.shown.clear();
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn pid(&mut self) -> Pid {
        self.wait_for("\n");
        let (_, rest) = self.shown.split_once("pid=").unwrap();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Pid::from_raw(digits.parse().unwrap())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn keys_are_taken_and_the_terminal_is_left_as_it_was() {
    let mut terminal = Terminal::start();
    terminal.wait_for("DEVICE");
    terminal.wait_for("quit");
    terminal.press("\r");
    // What is there already is not drawn anew: these are whole words on a rule.
    terminal.wait_for("evidence");
    terminal.press("e");
    terminal.wait_for("xplain");
    terminal.press("q");
    terminal.wait_for(LEAVES);
    terminal.wait_for("as before");
    assert!(terminal.child.wait().unwrap().success());
}

#[test]
fn it_ends_with_its_terminal_even_without_a_signal() {
    // SIGHUP is for the session of the terminal and the job in front.
    let mut terminal = Terminal::of(EVENTS, "setsid");
    let pid = terminal.pid();
    terminal.wait_for("quit");
    let script = Pid::from_raw(terminal.child.id().try_into().unwrap());
    kill(script, Signal::SIGKILL).unwrap();
    let until = Instant::now() + PATIENCE;
    while kill(pid, None).is_ok() {
        assert!(Instant::now() < until, "it goes on without a terminal");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut terminal = Terminal::start();
        let pid = terminal.pid();
        terminal.wait_for("quit");
        kill(pid, signal).unwrap();
        terminal.wait_for(LEAVES);
        terminal.wait_for("as before");
        assert!(terminal.child.wait().unwrap().success(), "{signal}");
    }
}

/// As when an SSH connection breaks off.
#[test]
fn a_terminal_that_goes_away_ends_it() {
    let mut terminal = Terminal::start();
    let pid = terminal.pid();
    terminal.wait_for("quit");
    terminal.child.kill().unwrap();
    let until = Instant::now() + PATIENCE;
    while kill(pid, None).is_ok() {
        assert!(Instant::now() < until, "{pid} still runs");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A second of ten thousand: none is left out, and keys are still taken.
#[test]
fn ten_thousand_events_at_once_are_counted() {
    const EVENTS_A_SECOND: usize = 10_000;
    let line = fs::read_to_string(EVENTS).unwrap();
    let reset = line
        .lines()
        .find(|line| line.contains("\"type\":\"reset\""))
        .unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for number in 0..EVENTS_A_SECOND {
        let port = format!("\"port\":{}", 10_000 + number);
        writeln!(file, "{}", reset.replacen("\"port\":43210", &port, 1)).unwrap();
    }
    file.flush().unwrap();
    let mut terminal = Terminal::with_events_of(file.path().to_str().unwrap());
    terminal.wait_until("10000 resets", |shown| {
        let mut screen = vt100::Parser::new(ROWS, COLUMNS, 0);
        screen.process(shown.as_bytes());
        screen.screen().contents().contains("10000 resets")
    });
    terminal.press("q");
    terminal.wait_for(LEAVES);
    assert!(terminal.child.wait().unwrap().success());
}

#[test]
fn without_a_terminal_it_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_kreset-trace"))
        .args(["top", "--from", EVENTS])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("top needs a terminal"), "{said}");
}
