//! The tracer under a service manager: what it reports, and when.

use std::{
    fs::{self, File},
    io::Read as _,
    net::{SocketAddr, TcpStream},
    os::unix::{fs::OpenOptionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use kreset_lab::{
    Lab, Side, Stop,
    net::{self, Namespace},
};
use nix::{
    libc::{O_NONBLOCK, SYS_write},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const PATIENCE: Duration = Duration::from_mins(1);
const PORT: u16 = 9092;
/// Pings come twice in it.
const WATCHDOG: Duration = Duration::from_millis(400);

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kreset-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A service manager's socket.
struct Manager {
    socket: UnixDatagram,
    directory: Directory,
}

impl Manager {
    fn new(name: &str) -> Self {
        let directory = Directory::new(name);
        let socket = UnixDatagram::bind(directory.0.join("notify")).expect("a socket");
        Self { socket, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.0.join(name)
    }

    /// Starts a tracer of `namespace`; in its configuration `DIR` is the manager's directory.
    fn start(self, namespace: &str, config: &str) -> Service {
        let file = self.path("kreset.toml");
        let directory = self.directory.0.display().to_string();
        fs::write(&file, config.replace("DIR", &directory)).expect("a configuration");
        let tracer = std::env::var_os("KRESET_TRACE")
            .expect("KRESET_TRACE names the tracer; cargo xtask test sets it");
        let tracer = Command::new(tracer)
            .args(["--netns", namespace, "--duration", "3m", "--config"])
            .arg(&file)
            .env("NOTIFY_SOCKET", self.path("notify"))
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .env_remove("WATCHDOG_PID")
            .spawn()
            .expect("the tracer starts");
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
        let length = self.manager.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
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
        refused(client);
        soon("the reset is reported", || {
            self.output().contains("\"cause\":\"refused\"")
        });
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
        self.signal(Signal::SIGTERM);
        assert!(self.hear_state().starts_with("STOPPING=1\n"));
        let status = self.tracer.wait().expect("it ends");
        assert!(status.success(), "{status}");
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
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

const FILE: &str = "[[sink]]\ntype = \"file\"\npath = \"DIR/events\"\nformat = \"json\"\n";

/// The filter of system calls has no sockets.
#[test]
fn a_manager_is_told_without_network() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let client = lab.network().host(Side::Client);
    Manager::new("notify")
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
    Manager::new("notify-network")
        .start(client.name(), &config)
        .lives_and_ends(client);
}

/// A manager, or logrotate, may ask for it as soon as there is a process.
#[test]
fn a_reload_asked_for_before_it_watches_comes_after() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let client = lab.network().host(Side::Client);
    let mut service = Manager::new("notify-early").start(client.name(), FILE);
    soon("it holds reloads back", || {
        holds_hang_ups_back(&service.tracer)
    });
    service.signal(Signal::SIGHUP);
    assert!(service.hear_state().starts_with("READY=1\nSTATUS="));
    assert!(service.hear_state().starts_with("RELOADING=1\n"));
    assert!(service.hear_state().starts_with("READY=1\n"));
    service.signal(Signal::SIGTERM);
    assert!(service.hear_state().starts_with("STOPPING=1\n"));
    let status = service.tracer.wait().expect("it ends");
    assert!(status.success(), "{status}");
}

#[test]
fn one_that_cannot_attach_is_never_ready() {
    let mut service = Manager::new("notify-never").start("no-such-namespace", FILE);
    let status = service.tracer.wait().expect("it ends");
    assert_eq!(status.code(), Some(2));
    service
        .manager
        .socket
        .set_nonblocking(true)
        .expect("a socket");
    assert_eq!(service.hear(), None);
}

/// A pipe without a reader stalls the pipeline, as a disk that hangs would.
#[test]
fn a_stalled_pipeline_does_not_feed_the_watchdog() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let client = lab.network().host(Side::Client);
    let manager = Manager::new("notify-stall");
    let pipe = manager.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success(), "{made}");
    // Open before the tracer comes, which would wait for that.
    let mut reader = File::options()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(&pipe)
        .expect("a pipe to read");
    let config = format!("record = \"DIR/pipe\"\n{FILE}");
    let service = manager.start(client.name(), &config);
    assert!(service.hear_state().starts_with("READY=1"));
    service.await_ping();
    soon("the pipeline stalls", || {
        refused(client);
        blocked_in_write(&service.tracer)
    });
    // What was sent before.
    service
        .manager
        .socket
        .set_nonblocking(true)
        .expect("a socket");
    while service.hear().is_some() {}
    service
        .manager
        .socket
        .set_nonblocking(false)
        .expect("a socket");
    // Longer than a manager would wait.
    service.patience(WATCHDOG * 3);
    assert_eq!(service.hear(), None);
    // It moves again.
    service.patience(PATIENCE);
    let drained = thread::spawn(move || {
        let mut buffer = [0; 4_096];
        let deadline = Instant::now() + PATIENCE;
        while reader.read(&mut buffer).map_or(true, |length| length > 0) {
            assert!(Instant::now() < deadline, "the pipe has no end");
            thread::sleep(Duration::from_millis(1));
        }
    });
    service.await_ping();
    service.signal(Signal::SIGTERM);
    assert!(service.hear_state().starts_with("STOPPING=1"));
    drop(service);
    drained.join().expect("the pipe is read to its end");
}

/// Whether its first thread waits for room in a pipe.
fn blocked_in_write(process: &Child) -> bool {
    let task = PathBuf::from(format!("/proc/{0}/task/{0}", process.id()));
    let call = |file: &str| fs::read_to_string(Path::new(&task).join(file)).unwrap_or_default();
    // syscall: the number first. write(2).
    let number = SYS_write.to_string();
    call("syscall").split(' ').next() == Some(number.as_str())
}

/// Whether SIGHUP waits (proc(5): `SigBlk`, a mask from signal 1 on).
fn holds_hang_ups_back(process: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    blocked
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 != 0)
}
