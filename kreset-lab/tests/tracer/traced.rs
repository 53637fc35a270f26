//! A tracer as operators run it, whose JSON a test reads line by line.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use kreset_lab::{
    Lab, PORT, Side,
    net::{self, Namespace},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use socket2::SockRef;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Where the tracer is.
pub(crate) fn tracer() -> PathBuf {
    env::var_os("KRESET_TRACE")
        .map(PathBuf::from)
        .expect("KRESET_TRACE names the tracer; cargo xtask test sets it")
}

/// A tracer of one namespace whose JSON can be read line by line.
pub(crate) struct Traced {
    pub(crate) child: Child,
    /// Its first event.
    pub(crate) start: Value,
    pub(crate) lines: Box<dyn Iterator<Item = Value> + Send>,
}

impl Traced {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(tracer());
        command
            .args(["--format", "json", "--all", "--duration", "3m"])
            .args(arguments);
        Self::spawn(command)
    }

    /// Runs `command` and waits until it is attached.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the tracer starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout)
            .lines()
            .map(|line| serde_json::from_str::<Value>(&line.expect("text")).expect("JSON"));
        let start = lines.next().expect("a first line");
        assert_eq!(start["type"], "start", "{start}");
        Self {
            child,
            start,
            lines: Box::new(lines),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// The next event that `wanted` likes.
    pub(crate) fn next(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.lines.next().expect("one more event");
            if wanted(&event) {
                return event;
            }
            assert!(Instant::now() < deadline, "last was {event}");
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Does something inside a namespace.
pub(crate) fn in_namespace<T: Send>(namespace: &Namespace, work: impl FnOnce() -> T + Send) -> T {
    namespace
        .enter(|| Ok(work()))
        .expect("a namespace to enter")
}

/// Where the broker is.
pub(crate) fn broker_address() -> SocketAddr {
    SocketAddr::new(net::address(Side::Broker, false), PORT)
}

/// A listener at [`broker_address`].
pub(crate) fn listen(lab: &Lab) -> TcpListener {
    in_namespace(lab.network().host(Side::Broker), || {
        TcpListener::bind(broker_address()).expect("a listener")
    })
}

/// Closes with a RST.
pub(crate) fn abort(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("an option");
    drop(stream);
}

/// So many connections of the client's host to a port of the broker's without a listener.
pub(crate) fn refused(lab: &Lab, times: usize) {
    in_namespace(lab.network().host(Side::Client), || {
        for _ in 0..times {
            let connected = TcpStream::connect(broker_address()).is_ok();
            assert!(!connected, "connected to a port without a listener");
        }
    });
}
