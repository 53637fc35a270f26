//! The tracer under a service manager: what it reports, and when.

use std::{
    fs,
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use kreset_lab::{
    Lab, Side, Stop,
    net::{self, Namespace},
};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::{
        ptrace,
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_mins(1);
const PORT: u16 = 9092;
/// Pings come twice in it.
const WATCHDOG: Duration = Duration::from_millis(400);

/// A service manager's socket.
struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("a socket");
        Self { socket, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts a tracer of `namespace`; in its configuration `DIR` is the manager's directory.
    fn start(self, namespace: &str, config: &str) -> Service {
        self.start_with(namespace, config, |_| {})
    }

    /// The same with a command that is changed first.
    fn start_with(
        self,
        namespace: &str,
        config: &str,
        change: impl FnOnce(&mut Command),
    ) -> Service {
        let file = self.path("kreset.toml");
        let directory = self.directory.path().display().to_string();
        fs::write(&file, config.replace("DIR", &directory)).expect("a configuration");
        let tracer = std::env::var_os("KRESET_TRACE")
            .expect("KRESET_TRACE names the tracer; cargo xtask test sets it");
        let mut command = Command::new(tracer);
        command
            .args(["--netns", namespace, "--duration", "3m", "--config"])
            .arg(&file)
            .env("NOTIFY_SOCKET", self.path("notify"))
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .env_remove("WATCHDOG_PID");
        change(&mut command);
        let tracer = command.spawn().expect("the tracer starts");
        let service = Service {
            manager: self,
            tracer,
        };
        service.patience(PATIENCE);
        service
    }
}

/// The tracer that a manager started.
struct Service {
    manager: Manager,
    tracer: Child,
}

impl Service {
    /// How long to wait for a message.
    fn patience(&self, time: Duration) {
        self.manager
            .socket
            .set_read_timeout(Some(time))
            .expect("a socket has a timeout");
    }

    /// The next message.
    fn hear(&self) -> Option<String> {
        let mut buffer = [0; 4_096];
        loop {
            match self.manager.socket.recv(&mut buffer) {
                Ok(length) => return Some(String::from_utf8_lossy(&buffer[..length]).into_owned()),
                // A wait with a time limit also ends where this process was stopped and
                // goes on: signal(7).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// The next message that is no ping.
    fn hear_state(&self) -> String {
        loop {
            let message = self.hear().expect("a message");
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }

    fn await_ping(&self) {
        assert_eq!(self.hear().as_deref(), Some("WATCHDOG=1"));
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.tracer.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    fn output(&self) -> String {
        fs::read_to_string(self.manager.path("events")).unwrap_or_default()
    }

    /// Reset, reload, end; each reported.
    fn lives_and_ends(mut self, client: &Namespace) {
        assert!(
            self.hear_state()
                .starts_with("READY=1\nSTATUS=watching ports 9092"),
        );
        // From then on nothing is missed.
        self.reports_a_refusal(client);
        self.await_ping();
        self.await_ping();
        self.signal(Signal::SIGHUP);
        let reloading = self.hear_state();
        assert!(
            reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
            "{reloading}"
        );
        assert!(self.hear_state().starts_with("READY=1\n"));
        self.await_ping();
        self.stops();
    }

    /// Ends in order when it is asked to.
    fn stops(&mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.hear_state().starts_with("STOPPING=1\n"));
        let status = self.tracer.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }

    /// A connection is refused, and is reported.
    fn reports_a_refusal(&self, client: &Namespace) {
        refused(client);
        soon("the reset is reported", || {
            self.output().contains("\"cause\":\"refused\"")
        });
    }

    fn set_nonblocking(&self, nonblocking: bool) {
        let set = self.manager.socket.set_nonblocking(nonblocking);
        set.expect("a socket");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.tracer.kill());
        drop(self.tracer.wait());
    }
}

fn refused(client: &Namespace) {
    let broker = SocketAddr::new(net::address(Side::Broker, false), PORT);
    let connected = client
        .enter(|| Ok(TcpStream::connect(broker).is_ok()))
        .expect("a namespace to enter");
    assert!(!connected, "connected to a port without a listener");
}

fn soon(what: &str, happened: impl Fn() -> bool) {
    let waited = Stop::default().until_holds(what, PATIENCE, happened);
    waited.expect("in time");
}

const FILE: &str = "[[sink]]\ntype = \"file\"\npath = \"DIR/events\"\nformat = \"json\"\n";

/// The filter of system calls has no sockets.
#[test]
fn a_manager_is_told_without_network() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let client = lab.network().host(Side::Client);
    Manager::new()
        .start(client.name(), FILE)
        .lives_and_ends(client);
}

/// It has them.
#[test]
fn a_manager_is_told_with_sinks_on_the_network() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let client = lab.network().host(Side::Client);
    let config = format!(
        "spool = \"DIR/spool\"\ndrain = \"100ms\"\n{FILE}\
         [[sink]]\ntype = \"syslog\"\naddress = \"unix://DIR/missing\"\n"
    );
    Manager::new()
        .start(client.name(), &config)
        .lives_and_ends(client);
}

/// A manager, or logrotate, may ask for it as soon as there is a process.
#[test]
fn a_reload_asked_for_before_it_watches_comes_after() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let client = lab.network().host(Side::Client);
    let mut service = Manager::new().start(client.name(), FILE);
    soon("it holds reloads back", || {
        holds_hang_ups_back(&service.tracer)
    });
    service.signal(Signal::SIGHUP);
    assert!(service.hear_state().starts_with("READY=1\nSTATUS="));
    assert!(service.hear_state().starts_with("RELOADING=1\n"));
    assert!(service.hear_state().starts_with("READY=1\n"));
    service.stops();
}

#[test]
fn one_that_cannot_attach_is_never_ready() {
    let mut service = Manager::new().start("no-such-namespace", FILE);
    let status = service.tracer.wait().expect("it ends");
    assert_eq!(status.code(), Some(2));
    service.set_nonblocking(true);
    assert_eq!(service.hear(), None);
}

/// The event loop is stopped, as a fault in it would stop it; the other threads run.
#[test]
fn a_stalled_event_loop_does_not_feed_the_watchdog_and_is_not_healthy() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let client = lab.network().host(Side::Client);
    let health = free_address();
    let config = format!(
        "{FILE}[[sink]]\ntype = \"prometheus\"\nlisten = \"127.0.0.1:0\"\nhealth = \"{health}\"\n"
    );
    let service = Manager::new().start(client.name(), &config);
    assert!(service.hear_state().starts_with("READY=1"));
    service.await_ping();
    assert!(answer_of(health).starts_with("HTTP/1.1 200 "));
    let stopped = StoppedThread::new(&service.tracer);
    soon("it is not healthy", || {
        let answer = answer_of(health);
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("has not turned for")
    });
    // What was sent before.
    service.set_nonblocking(true);
    while service.hear().is_some() {}
    service.set_nonblocking(false);
    // Longer than a manager would wait.
    service.patience(WATCHDOG * 3);
    assert_eq!(service.hear(), None);
    // It moves again.
    drop(stopped);
    service.patience(PATIENCE);
    service.await_ping();
    soon("it is healthy", || {
        answer_of(health).starts_with("HTTP/1.1 200 ")
    });
    service.signal(Signal::SIGTERM);
    assert!(service.hear_state().starts_with("STOPPING=1"));
}

/// A configuration that became a pipe stopped all events, and SIGTERM was ignored.
#[test]
fn a_configuration_that_hangs_stops_nothing() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let client = lab.network().host(Side::Client);
    let mut service = Manager::new().start(client.name(), FILE);
    assert!(service.hear_state().starts_with("READY=1"));
    let config = service.manager.path("kreset.toml");
    fs::remove_file(&config).expect("it is there");
    let made = Command::new("mkfifo")
        .arg(&config)
        .status()
        .expect("mkfifo");
    assert!(made.success(), "{made}");
    service.signal(Signal::SIGHUP);
    assert!(service.hear_state().starts_with("RELOADING=1"));
    service.reports_a_refusal(client);
    // The running configuration is kept.
    assert!(service.hear_state().starts_with("READY=1"));
    service.stops();
}

/// A service manager that is busy does not read standard error.
#[test]
fn a_standard_error_that_is_not_read_stops_nothing() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let client = lab.network().host(Side::Client);
    let (reader, writer) = full_pipe();
    let manager = Manager::new();
    let mut service = manager.start_with(client.name(), FILE, |command| {
        command.stderr(writer);
    });
    assert!(service.hear_state().starts_with("READY=1"));
    // Each reload is a line.
    for _ in 0..3 {
        service.signal(Signal::SIGHUP);
        assert!(service.hear_state().starts_with("RELOADING=1"));
        assert!(service.hear_state().starts_with("READY=1"));
    }
    service.reports_a_refusal(client);
    service.stops();
    drop(reader);
}

#[test]
fn a_standard_output_that_is_not_read_does_not_keep_it_and_what_is_dropped_is_reported() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let client = lab.network().host(Side::Client);
    let (reader, writer) = full_pipe();
    let config =
        format!("drain = \"500ms\"\nsummary = \"1h\"\n[[sink]]\ntype = \"stdout\"\n{FILE}");
    let manager = Manager::new();
    let mut service = manager.start_with(client.name(), &config, |command| {
        command.stdout(writer).stderr(Stdio::piped());
    });
    assert!(service.hear_state().starts_with("READY=1"));
    service.reports_a_refusal(client);
    service.signal(Signal::SIGTERM);
    let status = service.tracer.wait().expect("it ends");
    assert!(status.success(), "{status}");
    let mut said = String::new();
    let mut stderr = service.tracer.stderr.take().expect("it is piped");
    stderr.read_to_string(&mut said).expect("text");
    // The start, the reset and the summary.
    let expected = "sink stdout: 3 events were dropped: they could not be written within 500ms";
    assert!(said.contains(expected), "{said}");
    // The last summary reached the other.
    assert!(service.output().contains("\"end\":true"));
    drop(reader);
}

/// A pipe that has no room: its two ends.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().expect("a pipe");
    let flags = OFlag::from_bits_retain(fcntl(&writer, FcntlArg::F_GETFL).expect("its flags"));
    let set = |flags| fcntl(&writer, FcntlArg::F_SETFL(flags)).expect("its flags");
    set(flags | OFlag::O_NONBLOCK);
    for size in [4_096, 1] {
        while (&writer).write(&vec![b' '; size]).is_ok() {}
    }
    set(flags);
    (reader, writer)
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    listener.local_addr().expect("an address")
}

/// What `/healthz` answers.
fn answer_of(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\n\r\n")
        .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// The first thread of a process, stopped until this is dropped.
struct StoppedThread(Pid);

impl StoppedThread {
    fn new(process: &Child) -> Self {
        let pid = Pid::from_raw(i32::try_from(process.id()).expect("a pid"));
        ptrace::seize(pid, ptrace::Options::empty()).expect("it runs");
        ptrace::interrupt(pid).expect("it is traced");
        waitpid(pid, Some(WaitPidFlag::__WALL)).expect("it stops");
        Self(pid)
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        let _detached = ptrace::detach(self.0, None);
    }
}

/// Whether SIGHUP waits (proc(5): `SigBlk`, a mask from signal 1 on).
fn holds_hang_ups_back(process: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    blocked
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 != 0)
}
