//! A broker for probes, and what it met.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _, Seek as _, Write as _},
    net::{TcpListener, TcpStream},
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use kreset_lab::{Error, Result, net::chain::Chain};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{SockRef, TcpKeepalive};

use super::PORT;

/// A broker that accepts, answers each request with a few bytes, and closes connections after a
/// silence where it is given one. One thread serves all: what a device forgot stays open here.
pub(crate) struct Broker {
    ending: Option<UnixStream>,
    serving: Option<JoinHandle<()>>,
    served: Arc<Mutex<Served>>,
}

/// When it closes connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manners {
    /// After so long a silence; never if that is not given.
    pub(crate) closes_after: Option<Duration>,
    /// So long after the other end did.
    pub(crate) lingers: Duration,
    /// Silence before its host sends a keepalive probe; none if that is not given.
    pub(crate) keepalive: Option<Duration>,
}

/// What it met.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    pub(crate) connections: usize,
    pub(crate) bytes: usize,
    pub(crate) resets: usize,
    /// Connections that the other end closed in order.
    pub(crate) closed: usize,
    /// The most that the client's host had at once, whenever another was accepted.
    pub(crate) most: usize,
    /// The shortest silence after which the broker closed a connection.
    pub(crate) closed_after: Option<Duration>,
}

impl Broker {
    pub(crate) fn start(chain: &Chain, closes_after: Option<Duration>) -> Result<Self> {
        let manners = Manners {
            closes_after,
            ..Manners::default()
        };
        Self::start_with(chain, manners)
    }

    pub(crate) fn start_with(chain: &Chain, manners: Manners) -> Result<Self> {
        let opening = |source| Error::Io {
            context: "start a broker".to_owned(),
            source,
        };
        let listener = chain
            .broker()
            .enter(|| TcpListener::bind(("::", PORT)).map_err(opening))?;
        listener.set_nonblocking(true).map_err(opening)?;
        let tables = chain.client().enter(|| {
            let open = |name| File::open(format!("/proc/thread-self/net/{name}")).map_err(opening);
            Ok([open("tcp")?, open("tcp6")?])
        })?;
        let (ending, end) = UnixStream::pair().map_err(opening)?;
        let served = Arc::new(Mutex::new(Served::default()));
        let serving = {
            let served = Arc::clone(&served);
            thread::spawn(move || serve(&listener, &tables, &end, manners, &served))
        };
        Ok(Self {
            ending: Some(ending),
            serving: Some(serving),
            served,
        })
    }

    pub(crate) fn served(&self) -> Served {
        *self.served.lock().expect("no test panics here")
    }

    /// Waits until `holds`.
    pub(crate) fn wait_until(&self, holds: impl Fn(&Served) -> bool) {
        let until = Instant::now() + Duration::from_mins(1);
        while !holds(&self.served()) {
            assert!(Instant::now() < until, "{:?}", self.served());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.ending.take());
        if let Some(serving) = self.serving.take() {
            let _joined = serving.join();
        }
    }
}

/// Serves until the other end of `end` is gone.
fn serve(
    listener: &TcpListener,
    tables: &[File],
    end: &UnixStream,
    manners: Manners,
    served: &Mutex<Served>,
) {
    let Manners {
        closes_after,
        lingers,
        keepalive,
    } = manners;
    let mut open: Vec<(TcpStream, Instant)> = Vec::new();
    let mut half_closed: Vec<(TcpStream, Instant)> = Vec::new();
    loop {
        let idle = closes_after.and_then(|time| Some(open.iter().map(|it| it.1).min()? + time));
        let lingered = half_closed.first().map(|it| it.1 + lingers);
        let due = idle.into_iter().chain(lingered).min();
        let patience = due.map_or(PollTimeout::NONE, |due| {
            let left = due.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            left.try_into().expect("seconds")
        });
        let mut ready: Vec<PollFd<'_>> = [end.as_fd(), listener.as_fd()]
            .into_iter()
            .chain(open.iter().map(|(stream, _)| stream.as_fd()))
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let _woken = poll(&mut ready, patience);
        let is_ready = |fd: &PollFd<'_>| fd.any() == Some(true);
        if ready.first().is_some_and(is_ready) {
            return;
        }
        let is_ready: Vec<bool> = ready.iter().skip(2).map(is_ready).collect();
        let mut served = served.lock().expect("no test panics");
        half_closed.retain(|(_, since)| since.elapsed() < lingers);
        let mut number = 0;
        open.retain_mut(|(stream, last)| {
            number += 1;
            let silence = last.elapsed();
            if is_ready[number - 1] {
                let closed = served.closed;
                let goes_on = answer(stream, last, &mut served);
                if served.closed > closed && !lingers.is_zero() {
                    let stream = stream.try_clone().expect("a descriptor");
                    half_closed.push((stream, Instant::now()));
                }
                return goes_on;
            }
            let is_over = closes_after.is_some_and(|time| silence >= time);
            if is_over {
                served.closed_after =
                    Some(served.closed_after.map_or(silence, |it| it.min(silence)));
            }
            !is_over
        });
        let before = served.connections;
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).expect("a stream");
            if let Some(time) = keepalive {
                let times = TcpKeepalive::new().with_time(time);
                let set = SockRef::from(&stream).set_tcp_keepalive(&times);
                set.expect("a socket");
            }
            open.push((stream, Instant::now()));
            served.connections += 1;
        }
        if served.connections > before {
            served.most = served.most.max(tables.iter().map(count_open).sum());
        }
        drop(served);
    }
}

/// Answers what came in; false if the connection has ended.
fn answer(stream: &mut TcpStream, last: &mut Instant, served: &mut Served) -> bool {
    let mut buffer = [0; 256];
    match stream.read(&mut buffer) {
        Ok(0) => served.closed += 1,
        Ok(length) => {
            *last = Instant::now();
            served.bytes += length;
            let _gone = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 1]);
            return true;
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
        Err(_reset) => served.resets += 1,
    }
    false
}

/// The connections to the broker in a table of the kernel: established or asked for.
fn count_open(mut table: &File) -> usize {
    table.rewind().expect("a table");
    let text = io::read_to_string(table).expect("a table");
    let port = format!(":{PORT:04X}");
    text.lines()
        .filter(|line| {
            let mut columns = line.split_whitespace().skip(2);
            columns.next().is_some_and(|remote| remote.ends_with(&port))
                && matches!(columns.next(), Some("01" | "02"))
        })
        .count()
}
