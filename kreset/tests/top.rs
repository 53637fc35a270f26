//! `kreset-trace top` on a terminal: it draws, takes keys, and leaves the terminal as it was.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has to fail"
)]

use std::{
    io::{Read as _, Write as _},
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
        let program = env!("CARGO_BIN_EXE_kreset-trace");
        let line = format!("stty cols 80 rows 24; echo pid=$$; exec {program} top --from {EVENTS}");
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
        let until = Instant::now() + PATIENCE;
        while !self.shown.contains(text) {
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
    assert!(terminal.child.wait().unwrap().success());
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let mut terminal = Terminal::start();
    let pid = terminal.pid();
    terminal.wait_for("quit");
    kill(pid, Signal::SIGTERM).unwrap();
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
