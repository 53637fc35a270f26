//! Both ends of a connection on loopback, and a device between them that is
//! not there: the broker's packets carry a TTL as if from some hops away, and
//! whatever speaks in its name carries another.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::{AsRawFd as _, RawFd},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use kreset_lab::net::{
    message::{self, Request},
    packet,
    raw::RawSockets,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// TTL of the broker's packets: it is three hops away. A host's own stack
/// answers with 64 where it has no socket, so such an answer looks like that
/// of a device which is nearer.
pub(crate) const BROKER_TTL: u8 = 61;
/// TTL of the resets that a device makes up: it is one hop nearer than the broker.
pub(crate) const DEVICE_TTL: u8 = 62;
/// TTL of a host that is not further away than it is: one whose stack answers for itself.
const HOST_TTL: u8 = 64;
/// How long an end waits for what is on its way. Guests are slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// Loopback's address of a family.
pub(crate) fn loopback(v6: bool) -> IpAddr {
    if v6 {
        Ipv6Addr::LOCALHOST.into()
    } else {
        Ipv4Addr::LOCALHOST.into()
    }
}

/// A connection, held at both ends.
pub(crate) struct Ends {
    pub(crate) client: TcpStream,
    pub(crate) broker: TcpStream,
    /// Kept open: a closed port would refuse what should find a socket.
    pub(crate) listener: Socket,
}

/// The flow of each connection by the ports of its client and its broker, as its sockets say.
static FLOWS: Mutex<BTreeMap<(u16, u16), String>> = Mutex::new(BTreeMap::new());

/// The flow of a connection that [`Ends::connect`] made.
pub(crate) fn flow(client: u16, broker: u16) -> Option<String> {
    let flows = FLOWS.lock().unwrap_or_else(PoisonError::into_inner);
    flows.get(&(client, broker)).cloned()
}

/// Keeps the first sequence numbers of both ends, before a byte went either way.
fn keep_flow(client: &TcpStream, broker: &TcpStream) -> Result<()> {
    let [first, second] = [client, broker].map(|stream| -> Result<u32> {
        let sequence = begin_repair(stream)?;
        end_repair(stream)?;
        Ok(sequence)
    });
    let ports = (client.local_addr()?.port(), broker.local_addr()?.port());
    let flow = format!("{:08x}-{:08x}", first?, second?);
    FLOWS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(ports, flow);
    Ok(())
}

impl Ends {
    /// Connects to `port` of a broker that is some hops away.
    pub(crate) fn connect(port: u16, v6: bool) -> Result<Self> {
        Self::connect_at(port, v6, BROKER_TTL)
    }

    /// Connects to `port` of a broker whose own stack will answer once its socket is gone.
    pub(crate) fn connect_near(port: u16, v6: bool) -> Result<Self> {
        Self::connect_at(port, v6, HOST_TTL)
    }

    fn connect_at(port: u16, v6: bool, ttl: u8) -> Result<Self> {
        let address = SocketAddr::new(loopback(v6), port);
        let domain = Domain::for_address(address);
        let listener = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        listener.set_reuse_address(true)?;
        // Inherited by what is accepted.
        if v6 {
            listener.set_unicast_hops_v6(ttl.into())?;
        } else {
            listener.set_ttl_v4(ttl.into())?;
        }
        listener.bind(&address.into())?;
        listener.listen(16)?;
        let client = TcpStream::connect(address).context("connect")?;
        let (broker, _) = listener.accept().context("accept")?;
        let broker: TcpStream = broker.into();
        for stream in [&client, &broker] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
        }
        keep_flow(&client, &broker)?;
        Ok(Self {
            client,
            broker,
            listener,
        })
    }

    /// Exchanges the requests that every client begins with, and some more.
    pub(crate) fn greet(mut self) -> Result<Self> {
        self.exchange(Request::ApiVersions, 1)?;
        for number in 2..8 {
            self.exchange(Request::Metadata, number)?;
        }
        Ok(self)
    }

    /// One request and its answer.
    pub(crate) fn exchange(&mut self, request: Request, number: u32) -> Result<()> {
        self.client.write_all(&message::request(request, number))?;
        message::serve(&mut self.broker).context("a request")?;
        message::receive(&mut self.client).context("an answer")?;
        Ok(())
    }

    /// The client's port.
    pub(crate) fn port(&self) -> Result<u16> {
        Ok(self.client.local_addr()?.port())
    }

    /// Sends a request that stays unanswered.
    pub(crate) fn send(&mut self) -> Result<()> {
        self.client
            .write_all(&message::request(Request::Metadata, 99))
            .context("send")
    }

    /// The next sequence number of the broker.
    pub(crate) fn sequence(&self) -> Result<u32> {
        let sequence = begin_repair(&self.broker)?;
        end_repair(&self.broker)?;
        Ok(sequence)
    }

    /// Closes the broker's socket without a packet: from then on its packets
    /// meet no socket, as where a device has lost the connection.
    pub(crate) fn lose(self) -> Result<Lost> {
        settle();
        let sequence = begin_repair(&self.broker)?;
        let from = self.broker.local_addr()?;
        drop(self.broker);
        Ok(Lost {
            client: self.client,
            from,
            sequence,
            _listener: self.listener,
        })
    }

    /// Makes the broker's end deaf.
    pub(crate) fn deafen(&self) -> Result<()> {
        // return 0: keep nothing of the packet.
        let program = [libc::sock_filter {
            code: 0x06,
            jt: 0,
            jf: 0,
            k: 0,
        }];
        let filter = libc::sock_fprog {
            len: 1,
            filter: program.as_ptr().cast_mut(),
        };
        set_option(
            self.broker.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            &filter,
        )
        .context("SO_ATTACH_FILTER")
    }

    /// Aborts the broker's end.
    pub(crate) fn abort(&mut self) -> Result<()> {
        settle();
        SockRef::from(&self.broker).set_linger(Some(Duration::ZERO))?;
        // Closes the broker's end: another socket takes its field.
        let [nothing, _other] = pair()?;
        self.broker = nothing;
        Ok(())
    }
}

/// Puts a socket under repair; its next sequence number.
fn begin_repair(stream: &TcpStream) -> Result<u32> {
    let descriptor = stream.as_raw_fd();
    repair(descriptor, libc::TCP_REPAIR, 1).context("TCP_REPAIR")?;
    repair(descriptor, libc::TCP_REPAIR_QUEUE, TCP_SEND_QUEUE).context("the send queue")?;
    queue_sequence(descriptor).context("the sequence number")
}

fn end_repair(stream: &TcpStream) -> Result<()> {
    let descriptor = stream.as_raw_fd();
    repair(descriptor, libc::TCP_REPAIR, TCP_REPAIR_OFF_NO_WP).context("TCP_REPAIR")?;
    // The end of the repair takes it away (kernel: `do_tcp_setsockopt`), and what is left of this
    // socket would keep the next one of its port.
    SockRef::from(stream).set_reuse_address(true)?;
    Ok(())
}

/// Acknowledgements may be delayed (kernel: up to `TCP_DELACK_MAX`, 200 ms). One that
/// meets no socket draws another RST than the one under test: even where a broker
/// aborts, whose socket is gone a moment before its RST is out (`tcp_disconnect`), and
/// since 7.0 that moment can be long.
fn settle() {
    thread::sleep(Duration::from_millis(300));
}

/// A client whose broker knows nothing of it any more.
pub(crate) struct Lost {
    pub(crate) client: TcpStream,
    from: SocketAddr,
    sequence: u32,
    _listener: Socket,
}

/// Resets a client in the name of its broker.
pub(crate) fn forge(from: SocketAddr, client: &TcpStream, sequence: u32) -> Result<()> {
    let to = client.local_addr()?;
    let bytes = packet::bare(from, to, packet::Flags::RST, sequence, DEVICE_TTL)
        .context("addresses of two families")?;
    let sockets = RawSockets::open().context("open a raw socket")?;
    sockets.send(&bytes, to.ip()).context("send a reset")
}

impl Lost {
    /// Sends a request.
    pub(crate) fn send(&mut self) -> Result<()> {
        self.client
            .write_all(&message::request(Request::Metadata, 99))
            .context("send")
    }

    /// Resets the client in the broker's name.
    pub(crate) fn forge(&self) -> Result<()> {
        forge(self.from, &self.client, self.sequence)
    }
}

/// Waits until the connection failed, and says of what.
pub(crate) fn failure(stream: &TcpStream) -> Result<io::Error> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(error) = stream.take_error()? {
            return Ok(error);
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("the connection did not fail")
}

/// Waits for a reset.
pub(crate) fn reset(stream: &TcpStream) -> Result<()> {
    let error = failure(stream)?;
    ensure!(
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        ),
        "failed, but not of a reset: {error}"
    );
    Ok(())
}

/// Connects where nothing listens; the client's port.
pub(crate) fn refused(port: u16, v6: bool) -> Result<u16> {
    let address = SocketAddr::new(loopback(v6), port);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.bind(&SocketAddr::new(loopback(v6), 0).into())?;
    let own = socket.local_addr()?.as_socket().context("a port")?.port();
    match socket.connect(&address.into()) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(own),
        other => bail!("not refused: {other:?}"),
    }
}

fn pair() -> io::Result<[TcpStream; 2]> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    Ok([one, listener.accept()?.0])
}

/// Kernel: `include/uapi/linux/tcp.h`; not in libc.
const TCP_SEND_QUEUE: libc::c_int = 2;
/// Ends the repair without a window probe; since 4.19.
const TCP_REPAIR_OFF_NO_WP: libc::c_int = -1;

fn repair(descriptor: RawFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    set_option(descriptor, libc::IPPROTO_TCP, option, &value)
}

fn set_option<T>(
    descriptor: RawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(value)).unwrap_or(0);
    // SAFETY: the value is a whole `T` and outlives the call.
    let outcome = unsafe {
        libc::setsockopt(
            descriptor,
            level,
            option,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn queue_sequence(descriptor: RawFd) -> io::Result<u32> {
    let mut sequence = 0_u32;
    let mut length: libc::socklen_t = 4;
    // SAFETY: four bytes to write to, as the length says.
    let outcome = unsafe {
        libc::getsockopt(
            descriptor,
            libc::IPPROTO_TCP,
            libc::TCP_QUEUE_SEQ,
            (&raw mut sequence).cast(),
            &raw mut length,
        )
    };
    if outcome == 0 {
        Ok(sequence)
    } else {
        Err(io::Error::last_os_error())
    }
}
