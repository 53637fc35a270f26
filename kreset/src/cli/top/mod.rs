//! `kreset-trace top`: what happens now, on a screen.
//!
//! The tracer is a process of its own, so that this one, which reads keys and draws,
//! takes no part in tracing; its events come as JSON through a pipe.

mod columns;
mod screen;
mod state;
mod table;

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _},
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use jiff::Timestamp;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SigSet, Signal, kill},
    unistd::Pid,
};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event as TerminalEvent, KeyEventKind},
};
use thiserror::Error;

use self::state::{State, Wish};
use super::parse;
use crate::{
    delivery::Encoder as _,
    event::Message,
    sink::{Json, View},
    util::exit::Exit,
};

/// Events that wait to be counted.
const QUEUE: usize = 65_536;
/// How long it may take until a request to end is noticed. Where the terminal is gone it never
/// is: crossterm reads on and on once a terminal has reached its end (0.29).
const NOTICED: Duration = Duration::from_secs(2);
/// Time between two pictures.
const FRAME: Duration = Duration::from_millis(100);

/// Arguments of `top`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Show the events of this file of JSON lines instead of tracing
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// Options of the tracer, such as --port 9092 --netns kafka
    #[arg(
        value_name = "OPTIONS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    options: Vec<OsString>,
}

impl Arguments {
    pub(super) fn into_top(self) -> Top {
        Top {
            from: self.from,
            options: self.options,
        }
    }
}

/// What is to be shown.
#[derive(Clone, Debug)]
pub struct Top {
    from: Option<PathBuf>,
    options: Vec<OsString>,
}

/// Why the view ended otherwise than by a key.
#[derive(Debug, Error)]
pub enum TopError {
    /// Standard output is not a terminal.
    #[error("top needs a terminal; kreset-trace writes to pipes and files")]
    NoTerminal,
    /// The tracer's options are invalid.
    #[error("{0}")]
    Options(String),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// The tracer ended: what it said.
    #[error("{said}")]
    Tracer {
        /// Its last line on standard error.
        said: String,
        /// Its exit code.
        code: Option<i32>,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What failed.
        what: &'static str,
        /// The error of the system call.
        source: io::Error,
    },
}

impl TopError {
    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoTerminal | Self::Options(_) => Exit::Usage,
            Self::Tracer { code, .. } => {
                let mut all = Exit::ALL.into_iter();
                let same = all.find(|exit| Some(i32::from(exit.code())) == *code);
                same.unwrap_or(Exit::Failed)
            }
            Self::Read { .. } | Self::System { .. } => Exit::Failed,
        }
    }
}

/// Shows events until a key, a signal or the end of the tracer.
///
/// # Errors
/// When there is no terminal, the file cannot be read, or the tracer cannot start.
pub fn run(wanted: &Top) -> Result<(), TopError> {
    if !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    // Before there are other threads: signals are for the one that waits for them.
    let asked = signals()?;
    let (to, events) = sync_channel(QUEUE);
    let mut tracer = match &wanted.from {
        Some(path) => {
            let file = File::open(path).map_err(|source| TopError::Read {
                path: path.clone(),
                source,
            })?;
            spawn_reader(file, to);
            None
        }
        None => Some(start(&wanted.options, to)?),
    };
    let state = State {
        color: View::default().takes_color(),
        ..State::default()
    };
    let is_live = tracer.is_some();
    let shown = on_screen(|terminal| show(terminal, state, &events, &asked, is_live));
    let ended = tracer.as_mut().map(end).transpose()?.flatten();
    shown?;
    ended.map_or(Ok(()), Err)
}

/// Does something on the terminal's other screen, and leaves the terminal as it was, after a
/// panic as well.
fn on_screen(
    show: impl FnOnce(&mut DefaultTerminal) -> Result<(), TopError>,
) -> Result<(), TopError> {
    let mut terminal = ratatui::try_init().map_err(|source| TopError::System {
        what: "cannot set up the terminal",
        source,
    })?;
    let shown = show(&mut terminal);
    ratatui::restore();
    shown
}

/// Whether a signal, or the end of the terminal, asked for the end, and whether that was noticed.
#[derive(Debug, Default)]
struct Asked {
    is_asked: AtomicBool,
    is_noticed: AtomicBool,
}

impl Asked {
    /// Whether it is to end.
    fn notice(&self) -> bool {
        let asked = self.is_asked.load(Relaxed);
        if asked {
            self.is_noticed.store(true, Relaxed);
        }
        asked
    }

    /// Asks for the end, and ends the process if that is not noticed in time.
    fn ask(&self) {
        self.is_asked.store(true, Relaxed);
        let until = Instant::now() + NOTICED;
        while !self.is_noticed.load(Relaxed) {
            if Instant::now() >= until {
                ratatui::restore();
                std::process::exit(Exit::Done.code().into());
            }
            thread::sleep(FRAME);
        }
    }
}

/// Waits for SIGTERM, SIGINT or SIGHUP, and for the end of the terminal: SIGHUP is for the
/// session's leader, and its jobs in the background get none.
fn signals() -> Result<Arc<Asked>, TopError> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block().map_err(|error| TopError::System {
        what: "cannot block signals",
        source: error.into(),
    })?;
    let asked = Arc::new(Asked::default());
    let seen = Arc::clone(&asked);
    thread::spawn(move || {
        if set.wait().is_ok() {
            seen.ask();
        }
    });
    let gone = Arc::clone(&asked);
    thread::spawn(move || {
        // Without events to wait for, only the end of the terminal and errors end it.
        let stdout = io::stdout();
        let mut terminal = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        while poll(&mut terminal, PollTimeout::NONE) == Err(Errno::EINTR) {}
        gone.ask();
    });
    Ok(asked)
}

/// Starts the tracer with `options`; its events go to `to`.
fn start(options: &[OsString], to: SyncSender<Message>) -> Result<Child, TopError> {
    let line = std::iter::once("kreset-trace".into()).chain(options.iter().cloned());
    parse(line).map_err(|error| TopError::Options(error.to_string()))?;
    let failed = |source| TopError::System {
        what: "cannot start the tracer",
        source,
    };
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command
        .args(options)
        .args(["--format", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // For what is watched.
    if !options
        .iter()
        .any(|it| it.to_string_lossy().starts_with("--summary"))
    {
        command.args(["--summary", "5s"]);
    }
    unblock(&mut command);
    let mut child = command.spawn().map_err(failed)?;
    if let Some(stdout) = child.stdout.take() {
        spawn_reader(stdout, to);
    }
    Ok(child)
}

/// The tracer handles its signals itself; a terminal's control-C is for this process.
fn unblock(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0);
}

/// Reads lines until there are none. A line that is no event is left out.
fn spawn_reader(from: impl io::Read + Send + 'static, to: SyncSender<Message>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            let Ok(message) = Message::read(&line) else {
                continue;
            };
            if to.send(message).is_err() {
                return;
            }
        }
    });
}

/// Ends the tracer; returns why it had ended, if it had by itself and in error.
fn end(child: &mut Child) -> Result<Option<TopError>, TopError> {
    let failed = |source| TopError::System {
        what: "cannot end the tracer",
        source,
    };
    let by_itself = child.try_wait().map_err(failed)?;
    let Some(status) = by_itself else {
        let id = i32::try_from(child.id()).unwrap_or(i32::MAX);
        kill(Pid::from_raw(id), Signal::SIGTERM).map_err(|error| failed(error.into()))?;
        child.wait().map_err(failed)?;
        return Ok(None);
    };
    if status.success() {
        return Ok(None);
    }
    let mut said = String::new();
    if let Some(stderr) = &mut child.stderr {
        let _partly = stderr.read_to_string(&mut said);
    }
    let last = said.lines().last().unwrap_or("the tracer ended");
    Ok(Some(TopError::Tracer {
        said: last.trim_start_matches("kreset-trace: ").to_owned(),
        code: status.code(),
    }))
}

/// Draws and takes keys until the end.
fn show(
    terminal: &mut DefaultTerminal,
    mut state: State,
    events: &Receiver<Message>,
    asked: &Asked,
    is_live: bool,
) -> Result<(), TopError> {
    let failed = |source| TopError::System {
        what: "cannot use the terminal",
        source,
    };
    let mut held = Vec::new();
    // What the picture shows: it is drawn anew when that changes.
    let mut shown = None;
    let mut keys = 0_u64;
    loop {
        let until = Instant::now() + FRAME;
        take(&mut state, events, &mut held, until);
        let second = is_live.then(|| Timestamp::now().as_second());
        if let Some(second) = second.filter(|_| !state.is_paused) {
            state.table.recent.advance(second);
        }
        let size = terminal.size().map_err(failed)?;
        let now = (keys, state.table.taken, state.has_ended, size, second);
        if shown != Some(now) {
            shown = Some(now);
            terminal
                .draw(|frame| screen::draw(frame, &state))
                .map_err(failed)?;
        }
        while event::poll(until.saturating_duration_since(Instant::now())).map_err(failed)? {
            let TerminalEvent::Key(key) = event::read().map_err(failed)? else {
                break;
            };
            if key.kind == KeyEventKind::Release {
                continue;
            }
            keys += 1;
            match state.press(key) {
                Wish::Go => {}
                Wish::Quit => return Ok(()),
                Wish::Save => state.message = Some(save(&state)),
            }
            break;
        }
        if asked.notice() || (is_live && state.has_ended) {
            return Ok(());
        }
    }
}

/// Counts the events that have come, for no longer than until the next picture. While
/// the view is paused they are held, as many as there is room for.
fn take(state: &mut State, events: &Receiver<Message>, held: &mut Vec<Message>, until: Instant) {
    if !state.is_paused {
        held.drain(..).for_each(|message| state.table.add(message));
    }
    while Instant::now() < until {
        match events.try_recv() {
            Ok(message) if state.is_paused && held.len() < QUEUE => held.push(message),
            Ok(message) => state.table.add(message),
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => {
                state.has_ended = true;
                return;
            }
        }
    }
}

/// Writes the latest findings to a new file in this directory; returns what to say.
fn save(state: &State) -> String {
    let name = format!(
        "kreset-top-{}.json",
        Timestamp::now().strftime("%Y%m%dT%H%M%SZ")
    );
    let written = || -> io::Result<usize> {
        let mut lines = Vec::new();
        for message in &state.table.kept {
            Json.encode(message, &mut lines).map_err(io::Error::other)?;
        }
        // It names hosts and processes: for its owner alone.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&name)?;
        file.write_all(&lines)?;
        Ok(state.table.kept.len())
    };
    match written() {
        Ok(number) => format!("saved {number} findings to {name}: kreset-trace show {name}"),
        Err(error) => format!("cannot save to {name}: {error}"),
    }
}

#[cfg(test)]
mod tests;
