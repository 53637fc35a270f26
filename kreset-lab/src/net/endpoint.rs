//! The two ends of a connection, driven step by step by one thread, so that a scenario is a
//! script and not a race.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpStream},
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    process::Command,
    time::{Duration, Instant},
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{setsockopt, sockopt},
};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use crate::{
    PORT, Side, Stop,
    error::{Context as _, Error, Result},
    net::{
        self, Namespace,
        message::{self, Request},
    },
    util::child::Child,
};

/// How long an end waits for something that the other end has already done.
const PATIENCE: Duration = Duration::from_secs(5);

named_enum! {
    /// The kind of sockets that both ends use.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
    pub enum Family all {
        /// `AF_INET`.
        Ipv4 = "ipv4",
        /// `AF_INET6`, with IPv6 on the wire.
        Ipv6 = "ipv6",
        /// `AF_INET6`, with IPv4 on the wire: what every Java client and broker has.
        Mapped = "mapped",
    }
}

impl Family {
    const fn domain(self) -> Domain {
        match self {
            Self::Ipv4 => Domain::IPV4,
            Self::Ipv6 | Self::Mapped => Domain::IPV6,
        }
    }

    /// The address of one end as it is on the wire.
    pub fn address(self, side: Side) -> IpAddr {
        net::address(side, self == Self::Ipv6)
    }

    /// What a socket of this kind calls an address of the wire.
    const fn name_for(self, address: IpAddr) -> IpAddr {
        match (self, address) {
            (Self::Mapped, IpAddr::V4(address)) => IpAddr::V6(address.to_ipv6_mapped()),
            _ => address,
        }
    }

    fn socket(self, transport: Transport) -> io::Result<Socket> {
        let socket = Socket::new(self.domain(), Type::STREAM, Some(transport.protocol()))?;
        if self != Self::Ipv4 {
            socket.set_only_v6(self == Self::Ipv6)?;
        }
        Ok(socket)
    }

    /// A socket with the local end `from`, as it is on the wire, if there is one.
    fn bound(self, transport: Transport, from: Option<SocketAddr>) -> io::Result<Socket> {
        let socket = self.socket(transport)?;
        if let Some(from) = from {
            let from = SocketAddr::new(self.name_for(from.ip()), from.port());
            // A port whose last connection was forgotten may be taken again.
            socket.set_reuse_address(true)?;
            socket.bind(&from.into())?;
        }
        Ok(socket)
    }
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TCP.
    Tcp,
    /// Multipath TCP (RFC 8684), with one subflow.
    Mptcp,
}

impl Transport {
    fn protocol(self) -> Protocol {
        match self {
            Self::Tcp => Protocol::TCP,
            Self::Mptcp => Protocol::from(libc::IPPROTO_MPTCP),
        }
    }
}

/// How a listener is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listening {
    pub(crate) transport: Transport,
    /// Connections that may wait to be accepted; the kernel takes one more.
    pub(crate) backlog: i32,
}

impl Default for Listening {
    fn default() -> Self {
        Self {
            transport: Transport::Tcp,
            backlog: 4096,
        }
    }
}

/// A socket that accepts connections, in the broker's namespace.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    stop: Stop,
}

impl Listener {
    /// Opens one in the calling thread's namespace.
    pub(crate) fn open(family: Family, stop: &Stop) -> Result<Self> {
        let any = match family {
            Family::Ipv4 => net::address(Side::Broker, false),
            Family::Ipv6 => net::address(Side::Broker, true),
            // On all addresses, as a JVM does.
            Family::Mapped => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self::open_at(family, any, stop)
    }

    /// Opens one in the calling thread's namespace, at one address as it is on the wire.
    pub(crate) fn open_at(family: Family, address: IpAddr, stop: &Stop) -> Result<Self> {
        Self::open_with(family, address, Listening::default(), stop)
    }

    /// As [`Self::open_at`], in another way than usual.
    pub(crate) fn open_with(
        family: Family,
        address: IpAddr,
        how: Listening,
        stop: &Stop,
    ) -> Result<Self> {
        let any = family.name_for(address);
        let open = || {
            let socket = family.socket(how.transport)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::new(any, PORT).into())?;
            socket.listen(how.backlog)?;
            io::Result::Ok(socket)
        };
        let socket = open().context(|| format!("listen on {any} port {PORT}"))?;
        Ok(Self {
            socket,
            stop: stop.clone(),
        })
    }

    /// Accepts the next connection.
    pub fn accept(&self) -> Result<Connection> {
        wait(
            &self.socket,
            PollFlags::POLLIN,
            "a connection",
            PATIENCE,
            &self.stop,
        )?;
        let (socket, _) = self
            .socket
            .accept()
            .context(|| "accept a connection".to_owned())?;
        Connection::new(socket, &self.stop)
    }
}

impl Drop for Listener {
    /// No longer listens, even where a process that is just being started still has a copy of the
    /// socket: it is shut down as well (`inet_shutdown`, `tcp_disconnect`, 6.18).
    fn drop(&mut self) {
        let _closed_anyway = self.socket.shutdown(Shutdown::Read);
    }
}

/// One end of a connection.
///
/// Dropping it closes the socket as a program's end would: with FIN, or with RST if unread data
/// waits.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    correlation_id: u32,
    stop: Stop,
}

impl Connection {
    fn new(socket: Socket, stop: &Stop) -> Result<Self> {
        let set_up = || {
            // As Kafka's clients and brokers do.
            socket.set_tcp_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))
        };
        set_up().context(|| "set up a socket".to_owned())?;
        Ok(Self {
            stream: socket.into(),
            correlation_id: 0,
            stop: stop.clone(),
        })
    }

    /// Connects to the broker from `namespace`.
    pub(crate) fn open(family: Family, namespace: &Namespace, stop: &Stop) -> Result<Self> {
        let broker = family.address(Side::Broker);
        Self::open_between(family, Transport::Tcp, namespace, None, broker, stop)
    }

    /// Connects from an address and port of `namespace`, any if there is none, to a broker at
    /// `address`; both as they are on the wire.
    pub(crate) fn open_between(
        family: Family,
        transport: Transport,
        namespace: &Namespace,
        from: Option<SocketAddr>,
        address: IpAddr,
        stop: &Stop,
    ) -> Result<Self> {
        let to = family.name_for(address);
        let socket = namespace.enter(|| {
            let open = || {
                let socket = family.bound(transport, from)?;
                socket.connect_timeout(&SocketAddr::new(to, PORT).into(), PATIENCE)?;
                io::Result::Ok(socket)
            };
            open().context(|| format!("connect to {to}"))
        })?;
        Self::new(socket, stop)
    }

    /// Begins to connect as [`Self::open_between`] does, and does not wait for the answer. The
    /// attempt is given up when the socket is dropped.
    pub(crate) fn attempt(
        family: Family,
        namespace: &Namespace,
        from: SocketAddr,
        address: IpAddr,
    ) -> Result<Socket> {
        let to = family.name_for(address);
        namespace.enter(|| {
            let open = || {
                let socket = family.bound(Transport::Tcp, Some(from))?;
                socket.set_nonblocking(true)?;
                match socket.connect(&SocketAddr::new(to, PORT).into()) {
                    Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
                    Err(error) => Err(error),
                    Ok(()) => Ok(socket),
                }
            };
            open().context(|| format!("begin to connect to {to}"))
        })
    }

    /// Connects as [`Self::attempt`] does, waits for the answer, and makes sure that it is an
    /// error of the kernel's.
    ///
    /// An application that polls gets the error of an ICMP message as soon as it comes, which in a
    /// lab is before `connect` returns: the kernel would never learn that this ended the attempt.
    pub(crate) fn fail(
        family: Family,
        namespace: &Namespace,
        from: SocketAddr,
        address: IpAddr,
    ) -> Result<()> {
        let to = family.name_for(address);
        let error = namespace.enter(|| {
            let open = || {
                let socket = family.bound(Transport::Tcp, Some(from))?;
                // It limits how long `connect` waits, too.
                socket.set_write_timeout(Some(PATIENCE))?;
                io::Result::Ok(socket.connect(&SocketAddr::new(to, PORT).into()).err())
            };
            open().context(|| format!("connect to {to}"))
        })?;
        // What was not answered is still in progress.
        match error.and_then(|error| error.raw_os_error()) {
            None | Some(libc::EINPROGRESS) => Err(Error::Staging(
                "a connection was not refused in time".to_owned(),
            )),
            Some(_) => Ok(()),
        }
    }

    /// The port of this end.
    pub fn port(&self) -> Result<u16> {
        let address = self
            .stream
            .local_addr()
            .context(|| "read a socket's address".to_owned())?;
        Ok(address.port())
    }

    /// Sends a request.
    pub fn request(&mut self, request: Request) -> Result<()> {
        self.correlation_id += 1;
        self.send(&message::request(request, self.correlation_id))
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream
            .write_all(bytes)
            .context(|| "send on a connection".to_owned())
    }

    /// Receives one message, a request or an answer, without its size.
    pub fn receive(&mut self) -> Result<Vec<u8>> {
        message::receive(&mut self.stream).context(|| "receive a message".to_owned())
    }

    /// Receives this many bytes of whatever protocol.
    pub fn receive_bytes(&mut self, count: usize) -> Result<()> {
        let mut bytes = vec![0; count];
        self.stream
            .read_exact(&mut bytes)
            .context(|| format!("receive {count} bytes"))
    }

    /// Waits until the other end has ended the connection, and leaves what it sent unread.
    pub fn wait_for_end(&self) -> Result<()> {
        /// Linux's own, which nix has no name for.
        const POLLRDHUP: PollFlags = PollFlags::from_bits_retain(0x2000);
        self.wait(POLLRDHUP, "the other end's FIN", PATIENCE)
    }

    /// Receives a request and answers it.
    pub fn answer(&mut self) -> Result<()> {
        message::serve(&mut self.stream).context(|| "answer a request".to_owned())
    }

    /// Waits until there is something to receive, and leaves it there.
    pub fn wait_for_data(&self) -> Result<()> {
        self.wait(PollFlags::POLLIN, "data", PATIENCE)
    }

    /// Waits until the kernel has given the connection up, and returns the reason that the
    /// application gets: `ECONNRESET`, `EPIPE` after a FIN, `ETIMEDOUT`.
    ///
    /// # Errors
    /// [`Error::Deadline`] after `patience`, [`Error::Stopped`], and [`Error::Staging`] if the
    /// connection ended without an error.
    pub fn wait_for_failure(&self, patience: Duration) -> Result<io::Error> {
        // Errors and hang-ups are reported whether asked for or not, and a half-closed connection
        // is neither.
        self.wait(PollFlags::empty(), "a connection to fail", patience)?;
        self.stream
            .take_error()
            .context(|| "read a socket's error".to_owned())?
            .ok_or_else(|| Error::Staging("a connection ended without an error".to_owned()))
    }

    /// Waits for a reset, whatever the application gets to see of it.
    ///
    /// # Errors
    /// As [`Self::wait_for_failure`], and [`Error::Staging`] if it failed of something else.
    pub fn wait_for_reset(&self) -> Result<()> {
        let error = self.wait_for_failure(PATIENCE)?;
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(Error::Staging(format!(
                "a connection that should have been reset failed: {error}"
            ))),
        }
    }

    /// Probes the other end whenever the connection was silent for `idle` (whole seconds).
    pub fn keep_alive(&self, idle: Duration) -> Result<()> {
        self.probe_with(
            &TcpKeepalive::new()
                .with_time(idle)
                .with_interval(Duration::from_secs(1)),
        )
    }

    /// The same, and gives the connection up when two probes went unanswered.
    pub(crate) fn keep_alive_or_give_up(&self, idle: Duration) -> Result<()> {
        self.probe_with(
            &TcpKeepalive::new()
                .with_time(idle)
                .with_interval(Duration::from_secs(1))
                .with_retries(2),
        )
    }

    fn probe_with(&self, keepalive: &TcpKeepalive) -> Result<()> {
        SockRef::from(&self.stream)
            .set_tcp_keepalive(keepalive)
            .context(|| "turn keepalive on".to_owned())
    }

    /// Gives the connection up when sent data stays unacknowledged for `limit`.
    pub fn give_up_after(&self, limit: Duration) -> Result<()> {
        SockRef::from(&self.stream)
            .set_tcp_user_timeout(Some(limit))
            .context(|| "set a user timeout".to_owned())
    }

    /// Has every packet from here on carry what says nothing before its TCP header: a destination
    /// options header in IPv6, options in IPv4. Not for [`Family::Mapped`], whose sockets take
    /// neither.
    pub(crate) fn pad_headers(&self, family: Family) -> Result<()> {
        // RFC 8200, 4.6: no next header yet, no more units of 8 bytes, PadN of 4. RFC 791, 3.1:
        // three no-operations and the end.
        const PADDED: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];
        const NOTHING: [u8; 4] = [1, 1, 1, 0];
        let (level, option, value) = match family {
            Family::Ipv4 => (libc::IPPROTO_IP, libc::IP_OPTIONS, &NOTHING[..]),
            Family::Ipv6 => (libc::IPPROTO_IPV6, libc::IPV6_DSTOPTS, &PADDED[..]),
            Family::Mapped => return Ok(()),
        };
        self.set_option(level, option, value)
            .context(|| "pad a connection's headers".to_owned())
    }

    /// Sends with another TTL or hop limit from here on: `IP_TTL` needs no privilege.
    pub(crate) fn set_ttl(&self, family: Family, ttl: u8) -> Result<()> {
        let (level, option) = match family {
            Family::Ipv6 => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
            Family::Ipv4 | Family::Mapped => (libc::IPPROTO_IP, libc::IP_TTL),
        };
        self.set_option(level, option, &libc::c_int::from(ttl).to_ne_bytes())
            .context(|| "set a connection's TTL".to_owned())
    }

    /// Has a close in `FIN_WAIT2` be a reset: `TCP_LINGER2` below 0.
    pub(crate) fn never_linger_in_fin_wait2(&self) -> Result<()> {
        let value = (-1_i32).to_ne_bytes();
        self.set_option(libc::IPPROTO_TCP, libc::TCP_LINGER2, &value)
            .context(|| "set TCP_LINGER2".to_owned())
    }

    fn set_option(&self, level: libc::c_int, option: libc::c_int, value: &[u8]) -> io::Result<()> {
        // SAFETY: the descriptor is open, and the kernel reads as many bytes as there are.
        let outcome = unsafe {
            libc::setsockopt(
                self.stream.as_raw_fd(),
                level,
                option,
                value.as_ptr().cast(),
                u32::try_from(value.len()).unwrap_or_default(),
            )
        };
        if outcome == 0 {
            return Ok(());
        }
        Err(io::Error::last_os_error())
    }

    /// Sends until the other end's window and this end's buffer are full.
    pub(crate) fn fill(&self) -> Result<()> {
        const CHUNK: [u8; 16_384] = [0x5a; 16_384];
        let fill = || -> io::Result<()> {
            self.stream.set_nonblocking(true)?;
            loop {
                match (&self.stream).write(&CHUNK) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            self.stream.set_nonblocking(false)
        };
        fill().context(|| "fill a connection".to_owned())
    }

    /// Reads all that has come and comes, until the connection is reset.
    pub(crate) fn read_until_reset(&mut self) -> Result<()> {
        match io::copy(&mut self.stream, &mut io::sink()) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error).context(|| "read on a connection".to_owned()),
            Ok(_) => Err(Error::Staging(
                "a connection that should have been reset ended".to_owned(),
            )),
        }
    }

    /// Hands the socket over to another process, which does nothing with it: its end closes it.
    pub(crate) fn hand_over(self) -> Result<Child> {
        // A lab that is killed leaves it behind for no longer than this.
        let mut command = Command::new("sleep");
        command.arg("600").stdin(OwnedFd::from(self.stream));
        Child::spawn(&mut command)
    }

    /// Sends FIN and keeps the socket, as a JVM does just before it closes one.
    pub fn end(&self) -> Result<()> {
        self.stream
            .shutdown(Shutdown::Write)
            .context(|| "end a connection".to_owned())
    }

    /// Closes with a reset: `SO_LINGER` of 0.
    pub fn abort(self) -> Result<()> {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .context(|| "set linger to 0".to_owned())
    }

    /// Makes this host forget the connection and say nothing, as a restart of the host would.
    pub fn forget(self) -> Result<()> {
        // A socket under repair is disconnected without a packet. Closing it would do as well, but
        // only once no other process has it: a program that another thread is about to start does.
        setsockopt(&self.stream, sockopt::TcpRepair, &1)
            .context(|| "put a socket under repair".to_owned())?;
        self.disconnect()
    }

    /// Disconnects the socket: `connect` to an address of no family.
    pub(crate) fn disconnect(self) -> Result<()> {
        // SAFETY: the storage is zeroed, which is an address of no family, and all of it counts.
        let ((), no_address) = unsafe { SockAddr::try_init(|_, _| Ok(())) }
            .context(|| "make an empty address".to_owned())?;
        SockRef::from(&self.stream)
            .connect(&no_address)
            .context(|| "disconnect a socket".to_owned())
    }

    fn wait(&self, events: PollFlags, what: &str, patience: Duration) -> Result<()> {
        wait(&self.stream, events, what, patience, &self.stop)
    }
}

/// Polls, and looks at `stop` now and then.
fn wait(
    socket: &impl AsFd,
    events: PollFlags,
    what: &str,
    patience: Duration,
    stop: &Stop,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        stop.check()?;
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, or the last millisecond would be spent in a busy loop.
        let slice = left.min(Stop::GLANCE) + Duration::from_millis(1);
        let timeout = PollTimeout::try_from(slice).unwrap_or(PollTimeout::ZERO);
        let mut asked = [PollFd::new(socket.as_fd(), events)];
        match poll(&mut asked, timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) if left.is_zero() => {
                return Err(Error::Deadline {
                    what: what.to_owned(),
                    waited: patience,
                });
            }
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error).context(|| format!("wait for {what}")),
        }
    }
}

/// Both ends of one connection.
#[derive(Debug)]
pub struct Conversation {
    /// The end that connected.
    pub client: Connection,
    /// The end that accepted.
    pub broker: Connection,
}

impl Conversation {
    /// One request of the client and the broker's answer.
    pub fn exchange(&mut self, request: Request) -> Result<()> {
        self.client.request(request)?;
        self.broker.answer()?;
        self.client.receive().map(|_| ())
    }

    /// What every Kafka client says first, so that the connection is in use from here on.
    pub fn introduce(&mut self) -> Result<()> {
        self.exchange(Request::ApiVersions)?;
        self.exchange(Request::Metadata)
    }

    /// The client's port.
    pub fn port(&self) -> Result<u16> {
        self.client.port()
    }
}
