//! A tracer on a terminal, as people see it.

use std::{
    io::{Read as _, Write as _},
    num::NonZeroU16,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use crate::traced::{PATIENCE, tracer};

/// So many rows that nothing scrolls out of sight.
const ROWS: NonZeroU16 = NonZeroU16::new(400).expect("not zero");

/// The tracer on a terminal, which `script` makes.
pub(crate) struct Screen {
    columns: NonZeroU16,
    child: Child,
    keys: ChildStdin,
    output: Receiver<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Screen {
    pub(crate) fn start(columns: u16, arguments: &str) -> Self {
        let columns = NonZeroU16::new(columns).expect("a width");
        let command = format!(
            "stty rows {ROWS} cols {columns}; exec {} {arguments}",
            tracer().display()
        );
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script, of util-linux, is installed");
        let mut stdout = child.stdout.take().expect("it is piped");
        let (to, output) = channel();
        // Without pause: Ctrl-C makes a terminal forget what was not read (kernel: `isig`).
        thread::spawn(move || {
            let mut more = [0; 4_096];
            while let Ok(length @ 1..) = stdout.read(&mut more) {
                if to.send(more[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            columns,
            keys: child.stdin.take().expect("it is piped"),
            output,
            child,
            bytes: Vec::new(),
        }
    }

    /// What is on the terminal, without empty lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut terminal = vt100::Parser::new(ROWS, self.columns, 0);
        terminal.process(&self.bytes);
        let rows = terminal.screen().rows(0, self.columns.get());
        rows.filter(|row| !row.trim().is_empty()).collect()
    }

    /// Reads on until a line has `text`.
    pub(crate) fn wait_for(&mut self, text: &str) {
        while !self.lines().iter().any(|line| line.contains(text)) {
            let more = self.output.recv_timeout(PATIENCE);
            assert!(more.is_ok(), "no {text:?}: {:#?}", self.lines());
            self.bytes.extend(more.into_iter().flatten());
        }
    }

    /// Ends the tracer as Ctrl-C does; all that is left on the terminal.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.keys.write_all(b"\x03").expect("it reads");
        self.bytes.extend(self.output.iter().flatten());
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}: {:#?}", self.lines());
        self.lines()
    }
}
