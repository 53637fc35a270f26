//! Programs that a test starts, and ends whatever happens.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// A program that does not outlive its test.
pub(crate) struct Program(Child);

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.spawn();
        Self(child.unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display())))
    }

    #[cfg(feature = "all-receivers")]
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Its standard error so far, once that is read.
    fn complaints(&mut self) -> Arc<Mutex<String>> {
        let complaints = Arc::<Mutex<String>>::default();
        let text_so_far = Arc::clone(&complaints);
        let mut stderr = self.0.stderr.take().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(count @ 1..) = stderr.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]);
                text_so_far.lock().unwrap().push_str(&text);
            }
        });
        complaints
    }

    /// SIGKILL, and its end.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

/// An agent that sends sample events and prints how many it has kept.
pub(crate) struct Agent {
    program: Program,
    kept: Arc<AtomicU64>,
    complaints: Arc<Mutex<String>>,
}

impl Agent {
    /// Sends events `first..end` at `rate` a second.
    pub(crate) fn start(config: &Path, first: u64, end: u64, rate: u64) -> Self {
        let mut program = Program::start(
            Command::new(env!("CARGO_BIN_EXE_kreset-trace"))
                .args(["sample", "--progress", "--drain", "60s", "--config"])
                .arg(config)
                .args(["--first", &first.to_string()])
                .args(["--count", &(end - first).to_string()])
                .args(["--rate", &rate.to_string()])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let complaints = program.complaints();
        let kept = Arc::new(AtomicU64::new(first));
        let printed = Arc::clone(&kept);
        let output = program.0.stdout.take().unwrap();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(number) = line.strip_prefix("kept ") {
                    printed.store(number.parse().unwrap(), Relaxed);
                }
            }
        });
        Self {
            program,
            kept,
            complaints,
        }
    }

    #[cfg(feature = "all-receivers")]
    pub(crate) fn id(&self) -> u32 {
        self.program.id()
    }

    /// Its standard error so far.
    pub(crate) fn complaints(&self) -> String {
        self.complaints.lock().unwrap().clone()
    }

    pub(crate) fn kept(&self) -> u64 {
        self.kept.load(Relaxed)
    }

    /// Waits until it has kept so many.
    pub(crate) fn await_kept(&self, count: u64) {
        soon("the agent keeps events", Duration::from_mins(1), || {
            self.kept() >= count
        });
    }

    /// SIGKILL; how many it had kept.
    pub(crate) fn kill(self) -> u64 {
        self.program.kill();
        // What it wrote before is still read.
        thread::sleep(Duration::from_millis(200));
        self.kept.load(Relaxed)
    }

    /// Its end, once all is delivered.
    pub(crate) fn finish(mut self) {
        let status = self.program.0.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.complaints());
    }
}

/// Waits for something.
pub(crate) fn soon(what: &str, longest: Duration, happened: impl Fn() -> bool) {
    let until = Instant::now() + longest;
    while !happened() {
        assert!(Instant::now() < until, "{what}: not within {longest:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A closed port.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
