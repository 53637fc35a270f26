//! A connection to the broker that is silent until it is used.

use std::{
    io::{self, ErrorKind},
    mem::MaybeUninit,
    net::{Shutdown, SocketAddr},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::{
    io::unix::AsyncFd,
    time::{Instant, sleep, timeout},
};

use super::{
    clients::HostKeepalive,
    info::info,
    log::{Entry, Log},
    rung::Silence,
    walk::Answer,
};
use crate::event::{PROBE_MSS, PROBE_PROCESS};

/// How often a silent connection is looked at for packets that came in.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// One tick of a kernel with 100 a second. A device that counts in ticks may let a
/// connection go so much before its time, and what the kernel says of times is
/// that coarse.
const TICK: Duration = Duration::from_millis(10);

/// How long an answer may take beside the round trip before the question is
/// repeated: a probe that was lost is not to pass for a dead connection.
const SOON: Duration = Duration::from_millis(8);

/// No longer, whatever the round trip: that of a handshake may have waited for a
/// neighbour's address.
const LONG: Duration = Duration::from_millis(250);

/// `ApiVersions`, version 3, from client and software `kreset-probe`. A broker answers
/// it before authentication, too; one before 2.4, which does not know that version,
/// says so (since 0.10, KIP-35 and KIP-511), and that is an answer as good.
fn api_versions() -> Vec<u8> {
    const KEY: u16 = 18;
    const VERSION: u16 = 3;
    let mut request = Vec::with_capacity(64);
    request.extend(KEY.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    // Correlation id.
    request.extend(1_u32.to_be_bytes());
    // The client id is a string of old, the rest is of the flexible kind: lengths plus 1.
    request.extend([0, text_length(PROBE_PROCESS)]);
    request.extend(PROBE_PROCESS.as_bytes());
    request.push(0);
    for text in [PROBE_PROCESS, env!("CARGO_PKG_VERSION")] {
        request.push(text_length(text) + 1);
        request.extend(text.as_bytes());
    }
    request.push(0);
    let length = u32::try_from(request.len()).unwrap_or_default();
    [&length.to_be_bytes(), &*request].concat()
}

/// The length of a short text.
fn text_length(text: &str) -> u8 {
    u8::try_from(text.len()).unwrap_or_default()
}

/// A connection to the broker.
#[derive(Debug)]
pub(super) struct Connection {
    socket: AsyncFd<Socket>,
    _entry: Entry,
    local_port: u16,
    /// When the last packet passed, at the earliest and at the latest.
    last: (Instant, Instant),
    segments_in: u32,
    looked: Instant,
    disturbed: bool,
}

/// What happened to a connection.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A RST came.
    Reset,
    /// A FIN came.
    Closed,
    /// So many bytes came.
    Data,
    /// The kernel gave up on it, or it failed otherwise.
    Failed(io::Error),
}

/// What the use of a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Used {
    /// It was answered.
    Alive,
    /// It drew a RST.
    Reset,
    /// It drew a FIN.
    Closed,
    /// Nothing came.
    Nothing,
}

/// Begins a connection to `remote` whose packets go `ttl` hops, if that is given, and
/// that other hosts know for the probe's.
pub(super) fn connect(
    remote: SocketAddr,
    ttl: Option<u8>,
    log: &Log,
) -> io::Result<(Socket, Entry)> {
    let socket = Socket::new(
        Domain::for_address(remote),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_mss(PROBE_MSS.into())?;
    if let Some(ttl) = ttl {
        set_ttl(&socket, remote, ttl)?;
    }
    match socket.connect(&remote.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    let local = socket.local_addr()?.as_socket();
    let local = local.ok_or_else(|| io::Error::other("a TCP socket without an address"))?;
    Ok((socket, log.opened(local)))
}

/// Has the event loop watch `socket`.
pub(super) fn watched(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a `Socket` owns its descriptor, the same one for as long as it lives.
    unsafe { AsyncFd::register(socket) }.map_err(Into::into)
}

/// Has the packets of `socket` go `ttl` hops only.
fn set_ttl(socket: &Socket, remote: SocketAddr, ttl: u8) -> io::Result<()> {
    match remote {
        SocketAddr::V4(_) => socket.set_ttl_v4(ttl.into()),
        SocketAddr::V6(_) => socket.set_unicast_hops_v6(ttl.into()),
    }
}

/// Has ICMP errors reported to `socket` at once (`IP_RECVERR`).
pub(super) fn report_icmp(socket: &Socket, remote: SocketAddr) -> io::Result<()> {
    let set = match remote {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true),
    };
    set.map_err(Into::into)
}

impl Connection {
    /// Connects to `remote`.
    pub(super) async fn open(
        remote: SocketAddr,
        patience: Duration,
        log: &Log,
    ) -> io::Result<Self> {
        let began = Instant::now();
        let (socket, entry) = connect(remote, None, log)?;
        let socket = watched(socket)?;
        match timeout(patience, socket.writable()).await {
            Ok(ready) => drop(ready?),
            Err(_elapsed) => return Err(ErrorKind::TimedOut.into()),
        }
        if let Some(error) = socket.get_ref().take_error()? {
            return Err(error);
        }
        let local = socket.get_ref().local_addr()?.as_socket();
        let asked = Instant::now();
        let info = info(socket.get_ref())?;
        let opened = Instant::now();
        // The last packet of the handshake left when the acknowledgement of the SYN
        // came in (`tcp_rcv_synsent_state_process`, 6.18). The SYN may have been
        // repeated, and this process may have been late to notice.
        let ago = |at: Instant| at.checked_sub(info.last_ack).unwrap_or(began);
        let last = (began.max(ago(asked) - TICK), opened.min(ago(opened) + TICK));
        Ok(Self {
            segments_in: info.segments_in,
            local_port: local.map_or(0, |local| local.port()),
            last,
            looked: opened,
            disturbed: false,
            _entry: entry,
            socket,
        })
    }

    /// Port of this end.
    pub(super) const fn local_port(&self) -> u16 {
        self.local_port
    }

    /// Whether packets came in while it was to be silent.
    pub(super) const fn is_disturbed(&self) -> bool {
        self.disturbed
    }

    /// How long it has been silent by now.
    pub(super) fn silence(&self) -> Silence {
        let now = Instant::now();
        self.silence_before(now, now)
    }

    /// How long it was silent before a packet that left between the two.
    fn silence_before(&self, earliest: Instant, latest: Instant) -> Silence {
        Silence {
            least: earliest.duration_since(self.last.1),
            most: latest.duration_since(self.last.0) + TICK,
        }
    }

    /// Round trip of the handshake.
    pub(super) fn round_trip(&self) -> Duration {
        info(self.socket.get_ref()).map_or(Duration::ZERO, |info| info.round_trip)
    }

    /// Keeps silent until the silence has lasted `silence`, or the connection ends.
    /// May be dropped and called again.
    pub(super) async fn keep_silent(&mut self, silence: Duration) -> Option<Arrival> {
        // A connection that packets disturb is used at the time all the same, and its
        // silence is as long as it then is.
        let until = self.last.1 + silence;
        loop {
            let now = Instant::now();
            if now >= until {
                self.look();
                return None;
            }
            let pause = POLL_INTERVAL.min(until - now);
            match timeout(pause, self.next()).await {
                Ok(Arrival::Data) => self.disturb(Instant::now()),
                Ok(event) => return Some(event),
                Err(_elapsed) => self.look(),
            }
        }
    }

    /// Looks whether packets came in since the last look.
    fn look(&mut self) {
        let now = Instant::now();
        if let Ok(info) = info(self.socket.get_ref())
            && info.segments_in != self.segments_in
        {
            self.disturb(now);
        }
        self.looked = now;
    }

    fn disturb(&mut self, now: Instant) {
        self.disturbed = true;
        self.last = (self.looked, now);
        self.looked = now;
        self.segments_in = info(self.socket.get_ref()).map_or(0, |info| info.segments_in);
    }

    /// The next thing that happens to it.
    pub(super) async fn next(&self) -> Arrival {
        let mut buffer = [const { MaybeUninit::uninit() }; 4_096];
        loop {
            let mut ready = match self.socket.readable().await {
                Ok(ready) => ready,
                Err(error) => return Arrival::Failed(error),
            };
            match ready.try_io(|fd| fd.get_ref().recv(&mut buffer)) {
                Ok(Ok(0)) => return Arrival::Closed,
                Ok(Ok(_)) => return Arrival::Data,
                Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => {
                    return Arrival::Reset;
                }
                Ok(Err(error)) => return Arrival::Failed(error),
                Err(_would_block) => {}
            }
        }
    }

    /// Has the kernel send a keepalive probe now.
    ///
    /// Setting `TCP_KEEPIDLE` to less than the silence fires the timer at once
    /// (`tcp_sock_set_keepidle_locked`, 6.18), as often as it is set.
    fn keepalive_probe(&self, repeat: Duration) -> io::Result<()> {
        let socket = self.socket.get_ref();
        // More than are sent while anyone waits: the kernel is not to give up.
        let times = TcpKeepalive::new().with_interval(repeat).with_retries(100);
        socket.set_tcp_keepalive(&times)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(1)))
    }

    /// Uses the connection by a keepalive probe, which no byte of reaches the
    /// application, and waits for an answer until `give_up` is over. Says how long
    /// the connection had been silent before.
    ///
    /// The probe is repeated once soon, and then every second.
    pub(super) async fn use_by_keepalive(&self, give_up: Duration) -> io::Result<(Used, Silence)> {
        let mut sent = Sent::begin(self)?;
        self.keepalive_probe(Duration::from_secs(1))?;
        let soon = (self.round_trip() * 3).min(LONG) + SOON;
        let mut is_repeated = false;
        let used = loop {
            match timeout(pause(sent.began.elapsed()), self.next()).await {
                Ok(Arrival::Reset) => break Used::Reset,
                Ok(Arrival::Closed) => break Used::Closed,
                Ok(Arrival::Data) => break Used::Alive,
                Ok(Arrival::Failed(error)) => return Err(error),
                Err(_elapsed) => {}
            }
            if sent.look(self)? {
                break Used::Alive;
            }
            if sent.began.elapsed() >= give_up {
                break Used::Nothing;
            }
            if !is_repeated && sent.last().is_some_and(|at| at.elapsed() >= soon) {
                is_repeated = true;
                self.keepalive_probe(Duration::from_secs(1))?;
            }
        };
        if used == Used::Alive {
            self.socket.get_ref().set_keepalive(false)?;
        }
        Ok((used, sent.silence(self, used)?))
    }

    /// Uses the connection by a request that every broker answers; otherwise as
    /// [`Self::use_by_keepalive`]. The kernel repeats it.
    pub(super) async fn use_by_request(&self, give_up: Duration) -> io::Result<(Used, Silence)> {
        let mut sent = Sent::begin(self)?;
        let used = match self.socket.get_ref().send(&api_versions()) {
            Ok(_) => loop {
                match timeout(pause(sent.began.elapsed()), self.next()).await {
                    Ok(Arrival::Data) => break Used::Alive,
                    Ok(Arrival::Reset) => break Used::Reset,
                    Ok(Arrival::Closed) => break Used::Closed,
                    Ok(Arrival::Failed(error)) => return Err(error),
                    Err(_elapsed) => {}
                }
                sent.look(self)?;
                if sent.began.elapsed() >= give_up {
                    break Used::Nothing;
                }
            },
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Used::Reset,
            Err(error) => return Err(error),
        };
        Ok((used, sent.silence(self, used)?))
    }

    /// Starts the silence anew: it was in use until now.
    pub(super) fn was_used(&mut self) {
        let now = Instant::now();
        self.segments_in = info(self.socket.get_ref()).map_or(0, |info| info.segments_in);
        (self.last, self.looked) = ((now, now), now);
    }

    /// Has the kernel keep the connection alive from now on. Without times, those
    /// of the host apply, as for a client that only sets `SO_KEEPALIVE`.
    pub(super) fn keep_alive(&self, times: Option<HostKeepalive>) -> io::Result<()> {
        let socket = self.socket.get_ref();
        match times {
            None => socket.set_keepalive(true),
            Some(HostKeepalive { time, interval }) => socket
                .set_tcp_keepalive(&TcpKeepalive::new().with_time(time).with_interval(interval)),
        }
    }

    /// Sends a keepalive probe that goes `ttl` hops, up to three times, and says
    /// whether it drew a RST. The silence goes on where no device saw it.
    ///
    /// That a router let it die does not show: its sequence number lies before the
    /// window, and the kernel takes no ICMP error about such a segment
    /// (`tcp_v4_err`, 6.18).
    pub(super) async fn step(
        &self,
        remote: SocketAddr,
        ttl: u8,
        patience: Duration,
    ) -> io::Result<Answer> {
        const TRIES: u8 = 3;
        /// Something on this host drops them where they begin.
        const UNSENT: Duration = Duration::from_secs(1);
        let socket = self.socket.get_ref();
        set_ttl(socket, remote, ttl)?;
        for _ in 0..TRIES {
            let mut sent = Sent::begin(self)?;
            self.keepalive_probe(Duration::from_mins(10))?;
            // On a busy host it leaves late, and what it draws comes later still.
            while sent.last().is_none_or(|at| at.elapsed() < patience)
                && sent.began.elapsed() < patience + UNSENT
            {
                if let Some(error) = socket.take_error()? {
                    return match error.kind() {
                        ErrorKind::ConnectionReset => Ok(Answer::Reset),
                        _ => Err(error),
                    };
                }
                if sent.look(self)? {
                    return Ok(Answer::Alive);
                }
                sleep(Duration::from_millis(4)).await;
            }
        }
        Ok(Answer::Nothing)
    }

    /// Sends a byte that goes `ttl` hops, which must be too few to reach the broker,
    /// and says what it drew. The kernel repeats the byte by itself.
    pub(super) async fn send_near(
        &self,
        remote: SocketAddr,
        ttl: u8,
        patience: Duration,
    ) -> io::Result<Answer> {
        let socket = self.socket.get_ref();
        set_ttl(socket, remote, ttl)?;
        report_icmp(socket, remote)?;
        // What the last one drew may be late.
        sleep((self.round_trip() * 2).max(Duration::from_millis(10))).await;
        let _late = socket.take_error()?;
        socket.send(&[0])?;
        let at = Instant::now();
        while at.elapsed() < patience {
            match socket.take_error()?.map(|error| error.kind()) {
                Some(ErrorKind::ConnectionReset) => return Ok(Answer::Reset),
                Some(_) => return Ok(Answer::TimeExceeded),
                None => sleep(Duration::from_millis(4)).await,
            }
        }
        Ok(Answer::Nothing)
    }

    /// Leaves a connection that [`Self::send_near`] was used on: nothing of it, not
    /// even its end, reaches the broker, whose side the device has cut off anyway.
    pub(super) fn abandon(self, remote: SocketAddr) {
        let socket = self.socket.into_inner();
        if set_ttl(&socket, remote, 1).is_ok() {
            // A RST that dies at the first hop, rather than bytes that are repeated
            // for minutes.
            let _now = socket.set_linger(Some(Duration::ZERO));
        }
    }

    /// Closes it in order: what came in is read, so that a FIN goes out and no RST.
    pub(super) fn close(self, remote: SocketAddr) {
        let socket = self.socket.into_inner();
        let mut buffer = [const { MaybeUninit::uninit() }; 4_096];
        while matches!(socket.recv(&mut buffer), Ok(1..)) {}
        // Whatever fails here, the connection is gone.
        let _far = set_ttl(&socket, remote, 64);
        let _ended = socket.shutdown(Shutdown::Write);
    }
}

/// When packets of a connection that is in use left.
#[derive(Debug)]
struct Sent {
    /// Before the first of them.
    began: Instant,
    /// Segments that had gone out by then.
    before: u32,
    /// When each of them was seen to have left.
    left: Vec<Instant>,
}

impl Sent {
    fn begin(connection: &Connection) -> io::Result<Self> {
        let before = info(connection.socket.get_ref())?.segments_out;
        Ok(Self {
            began: Instant::now(),
            before,
            left: Vec::new(),
        })
    }

    /// Looks what has left by now, and whether an acknowledgement has come since.
    fn look(&mut self, connection: &Connection) -> io::Result<bool> {
        let since = self.began.elapsed();
        let info = info(connection.socket.get_ref())?;
        let count = info.segments_out.wrapping_sub(self.before) as usize;
        // Beyond these it does not matter.
        self.left
            .resize(count.clamp(self.left.len(), 64), Instant::now());
        // Before its use it had not heard one for as long as it was silent.
        Ok(info.last_ack <= since + TICK)
    }

    /// When the last one was seen to have left.
    fn last(&self) -> Option<Instant> {
        self.left.last().copied()
    }

    /// How long the connection had been silent before the packet that drew the
    /// answer.
    ///
    /// One packet may be lost on the path. A RST was drawn by any of those that had
    /// left by then; a connection that answers nothing is dead if two were not
    /// answered.
    fn silence(mut self, connection: &Connection, used: Used) -> io::Result<Silence> {
        let now = Instant::now();
        self.look(connection)?;
        let decisive = match used {
            Used::Nothing => self.left.get(1).copied(),
            Used::Alive | Used::Reset | Used::Closed => self.last(),
        };
        Ok(connection.silence_before(self.began, decisive.unwrap_or(now)))
    }
}

/// How long to wait between two looks at a connection that was used so long ago.
const fn pause(elapsed: Duration) -> Duration {
    Duration::from_millis(match elapsed.as_millis() {
        0..100 => 4,
        100..1_000 => 20,
        _ => 50,
    })
}

/// Whether a new connection to `remote` is answered, by an acceptance or a refusal.
pub(super) async fn answers(remote: SocketAddr, patience: Duration, log: &Log) -> bool {
    match Connection::open(remote, patience, log).await {
        Ok(connection) => {
            connection.close(remote);
            true
        }
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::PROBE_BYTES;

    #[test]
    fn the_request_is_laid_out_as_kafka_has_it() {
        let request = api_versions();
        let (length, rest) = request.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_be_bytes(*length) as usize, rest.len());
        let version = env!("CARGO_PKG_VERSION");
        let expected = [
            // Key 18, version 3, correlation id 1, client id of 12 bytes, no tags.
            b"\0\x12\0\x03\0\0\0\x01\0\x0ckreset-probe\0".as_slice(),
            // Name and version of the software, lengths plus 1, no tags.
            b"\x0dkreset-probe",
            &[text_length(version) + 1],
            version.as_bytes(),
            b"\0",
        ]
        .concat();
        assert_eq!(rest, expected);
    }

    #[test]
    fn two_requests_are_less_than_a_client_at_work_sends() {
        assert!(2 * api_versions().len() as u64 + 8 <= PROBE_BYTES);
    }

    #[tokio::test]
    async fn a_connection_announces_the_size_that_the_broker_knows_it_by() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap();
        let log = Log::default();
        let connection = Connection::open(remote, Duration::from_secs(5), &log)
            .await
            .unwrap();
        let (accepted, from) = listener.accept().unwrap();
        // What the kernel may send, less the space of timestamps: `tcp_current_mss`.
        let size = Socket::from(accepted).tcp_mss().unwrap();
        assert!(
            (u32::from(PROBE_MSS) - 12..=u32::from(PROBE_MSS)).contains(&size),
            "{size}"
        );
        let [opened] = log.all()[..] else {
            panic!("{log:?}");
        };
        assert_eq!((opened.local, opened.ended), (from, None));
        connection.close(remote);
        assert!(log.all()[0].ended.is_some());
    }
}
