//! Syslog: messages of RFC 5424, counted in octets (RFC 6587) on TCP and on
//! Unix stream sockets, one a datagram on Unix datagram sockets.
//!
//! Syslog has no acknowledgement. What the receiver's kernel has acknowledged (over
//! a Unix stream socket: what the receiver has read) counts as delivered once the
//! connection has stayed up [`SETTLE`] longer. When a connection ends, everything on
//! it that does not count as delivered is sent again.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpStream, ToSocketAddrs as _},
    os::{
        fd::AsFd,
        unix::net::{UnixDatagram, UnixStream},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::net::sockopt::{set_socket_keepalive, set_tcp_user_timeout};

use serde::Deserialize;

use super::{Body, HostSettings, Parts, Settings, receipt};
use crate::{
    delivery::{Encoder, Handed, Remote, RemoteError, SinkError, spool::Entry},
    event::{Event, Message, Time},
    util::redact::redact,
};

/// The keys of a sink that sends syslog messages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SyslogConfig {
    /// The receiver.
    pub address: SyslogAddress,
    /// The JSON in a message.
    #[serde(default, rename = "format")]
    pub body: Body,
    /// The facility of every message.
    #[serde(default)]
    pub facility: Facility,
}

/// A syslog receiver.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum SyslogAddress {
    /// TCP to `host:port`.
    Tcp(String),
    /// A stream or datagram socket in the file system.
    Unix(PathBuf),
}

impl TryFrom<String> for SyslogAddress {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        let text = value;
        let has_port = |authority: &&str| {
            authority.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        let tcp = text.strip_prefix("tcp://").filter(has_port);
        let unix = text.strip_prefix("unix://");
        match (tcp, unix.filter(|path| path.starts_with('/'))) {
            (Some(authority), _) => Ok(Self::Tcp(authority.to_owned())),
            (_, Some(path)) => Ok(Self::Unix(path.into())),
            _ => Err(format!(
                "invalid address \"{}\": expected tcp://host:port or unix:///path",
                redact(&text)
            )),
        }
    }
}

/// A facility of RFC 5424: by default `daemon`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Facility(u8);

impl Facility {
    /// By number.
    const NAMES: [&str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp", "ntp", "security", "console", "clock", "local0", "local1", "local2",
        "local3", "local4", "local5", "local6", "local7",
    ];
}

impl Default for Facility {
    fn default() -> Self {
        Self(3)
    }
}

impl TryFrom<String> for Facility {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        let text = value;
        let number = (0..).zip(Self::NAMES).find(|(_, name)| *name == text);
        number.map(|(number, _)| Self(number)).ok_or_else(|| {
            let names = Self::NAMES.join(", ");
            format!("unknown facility \"{text}\"; expected one of {names}")
        })
    }
}

impl Settings for SyslogConfig {
    const REQUIRED: &[(&str, &str)] = &[("address", "tcp://siem.example:601")];

    fn destination(&self) -> String {
        match &self.address {
            SyslogAddress::Tcp(authority) => format!("tcp://{}", redact(authority)),
            SyslogAddress::Unix(path) => format!("unix://{}", path.display()),
        }
    }

    fn open(&self, _: &HostSettings<'_>) -> Result<Parts, SinkError> {
        let encoder = SyslogEncoder::new(self.facility, self.body);
        let receiver = Syslog::new(self.address.clone());
        Ok(Parts::Remote(Box::new(encoder), Box::new(receiver)))
    }
}

/// How long a connection must stay up after the receiver's kernel has a message for
/// it to count as delivered: a receiver that ends with unread data resets it.
pub const SETTLE: Duration = Duration::from_millis(4_500);
/// A connection on which the peer's kernel acknowledges nothing for this long is
/// closed by this host's.
const ACKNOWLEDGED: Duration = Duration::from_secs(4);
/// Time limit for connecting and for writing.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for the receiver to read the rest, at the end.
const FINISH: Duration = Duration::from_secs(2);

/// Encodes an event as one syslog message, not framed.
#[derive(Debug)]
pub struct SyslogEncoder {
    facility: Facility,
    body: Body,
    pid: u32,
}

impl SyslogEncoder {
    /// Messages of this facility with this body.
    #[must_use]
    pub fn new(facility: Facility, body: Body) -> Self {
        Self {
            facility,
            body,
            pid: std::process::id(),
        }
    }
}

impl Encoder for SyslogEncoder {
    fn encode(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), SinkError> {
        let event = &message.event;
        let priority = u16::from(self.facility.0) * 8 + severity(event);
        write!(
            out,
            "<{priority}>1 {} {} kreset-trace {} {} [origin software=\"kreset-trace\" swVersion=\"{}\"] ",
            timestamp(event.time()),
            host_name(&event.host().name),
            self.pid,
            event.kind(),
            env!("CARGO_PKG_VERSION"),
        )
        .map_err(|error| SinkError::Encode(Box::new(error)))?;
        self.body.encode(message, out)
    }
}

/// The severity of RFC 5424: 3 error, 4 warning, 5 notice, 6 informational.
fn severity(event: &Event) -> u16 {
    match event {
        Event::Alert(alert) if alert.phase == "begin" => 3,
        Event::Incident(incident) if incident.begins() => 3,
        Event::Loss(_) => 4,
        Event::Reset(it) | Event::Close(it) | Event::Timeout(it) if !it.is_noise() => 4,
        Event::Alert(_) | Event::Incident(_) | Event::Correction(_) => 5,
        _ => 6,
    }
}

/// With microseconds: RFC 5424 allows no more.
fn timestamp(Time(time): Time) -> String {
    format!("{time:.6}")
}

fn host_name(name: &str) -> &str {
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
    if printable && (1..=255).contains(&name.len()) {
        name
    } else {
        "-"
    }
}

/// A connection to a receiver.
#[derive(Debug)]
enum Connection {
    Tcp(TcpStream),
    Stream(UnixStream),
    Datagram(UnixDatagram),
}

/// A syslog receiver.
#[derive(Debug)]
pub struct Syslog {
    address: SyslogAddress,
    connection: Option<Connection>,
    /// On that connection.
    sent: receipt::Sent,
    buffer: Vec<u8>,
}

impl Syslog {
    /// Connects when there is something to send.
    #[must_use]
    pub const fn new(address: SyslogAddress) -> Self {
        Self {
            address,
            connection: None,
            sent: receipt::Sent::new(),
            buffer: Vec::new(),
        }
    }

    fn connect(&self) -> io::Result<Connection> {
        match &self.address {
            SyslogAddress::Tcp(authority) => connect_tcp(authority).map(Connection::Tcp),
            SyslogAddress::Unix(path) => connect_unix(path),
        }
    }

    fn try_send(&mut self, batch: &[Entry]) -> io::Result<()> {
        let connection = if let Some(connection) = self.connection.take() {
            connection
        } else {
            self.sent = receipt::Sent::new();
            self.connect()?
        };
        // Kept only if the whole batch was written: a partial frame must be the
        // last on its connection.
        write_batch(&connection, batch, &mut self.buffer)?;
        self.sent.push(self.buffer.len() as u64);
        self.connection = Some(connection);
        Ok(())
    }

    /// How many of the latest batches the receiver's kernel does not have, while
    /// the connection is up.
    fn outstanding(&mut self) -> io::Result<usize> {
        let unacknowledged = match &self.connection {
            Some(Connection::Tcp(stream)) => {
                // Read before checking the connection: what was acknowledged was
                // so on a connection that is still up.
                let bytes = receipt::unacknowledged(stream)?;
                still_open(stream, |on| stream.set_nonblocking(on))?;
                bytes
            }
            Some(Connection::Stream(stream)) => {
                let bytes = receipt::unacknowledged(stream)?;
                still_open(stream, |on| stream.set_nonblocking(on))?;
                bytes
            }
            // The receiver's queue has it.
            Some(Connection::Datagram(_)) => 0,
            None => return Err(io::ErrorKind::NotConnected.into()),
        };
        Ok(self.sent.outstanding(unacknowledged))
    }

    fn unavailable(&self, error: &io::Error) -> RemoteError {
        let receiver = match &self.address {
            SyslogAddress::Tcp(authority) => redact(authority),
            SyslogAddress::Unix(path) => path.display().to_string(),
        };
        RemoteError::Unavailable(format!(
            "cannot send to the syslog receiver {receiver}: {error}"
        ))
    }
}

impl Remote for Syslog {
    fn send(&mut self, batch: &[Entry]) -> Result<Handed, RemoteError> {
        match self.try_send(batch) {
            Ok(()) => Ok(Handed::Unconfirmed(SETTLE)),
            // EMSGSIZE: a datagram that no socket takes.
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                Err(RemoteError::Refused(error.to_string()))
            }
            Err(error) => Err(self.unavailable(&error)),
        }
    }

    fn check(&mut self) -> Result<usize, RemoteError> {
        self.outstanding().map_err(|error| {
            self.connection = None;
            self.unavailable(&error)
        })
    }

    fn finish(&mut self) -> bool {
        match self.connection.take() {
            Some(Connection::Tcp(stream)) => receipt::is_read(&stream, FINISH),
            Some(Connection::Stream(stream)) => {
                let timeout = |left| stream.set_read_timeout(Some(left));
                let shut = stream.shutdown(Shutdown::Write);
                shut.is_ok() && read_to_end(&stream, timeout).is_ok()
            }
            // The receiver's kernel has it.
            Some(Connection::Datagram(_)) => true,
            None => false,
        }
    }
}

fn connect_tcp(authority: &str) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => {
                stream.set_write_timeout(Some(TIMEOUT))?;
                stream.set_nodelay(true)?;
                watch(&stream)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Has the kernel close the connection if the receiver's host is gone.
fn watch(stream: &impl AsFd) -> io::Result<()> {
    let milliseconds = u32::try_from(ACKNOWLEDGED.as_millis()).unwrap_or(u32::MAX);
    set_tcp_user_timeout(stream, milliseconds)?;
    set_socket_keepalive(stream, true)?;
    Ok(())
}

fn connect_unix(path: &Path) -> io::Result<Connection> {
    match UnixStream::connect(path) {
        Ok(stream) => {
            stream.set_write_timeout(Some(TIMEOUT))?;
            Ok(Connection::Stream(stream))
        }
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
            let datagram = UnixDatagram::unbound()?;
            datagram.connect(path)?;
            datagram.set_write_timeout(Some(TIMEOUT))?;
            Ok(Connection::Datagram(datagram))
        }
        Err(error) => Err(error),
    }
}

fn write_batch(connection: &Connection, batch: &[Entry], buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut stream: Box<dyn io::Write + '_> = match connection {
        Connection::Tcp(stream) => Box::new(stream),
        Connection::Stream(stream) => Box::new(stream),
        Connection::Datagram(socket) => {
            return batch
                .iter()
                .try_for_each(|entry| socket.send(&entry.payload).map(drop));
        }
    };
    buffer.clear();
    for entry in batch {
        write!(buffer, "{} ", entry.payload.len())?;
        buffer.extend_from_slice(&entry.payload);
    }
    stream.write_all(buffer)
}

/// Whether the peer has neither closed nor reset the connection.
fn still_open<S>(stream: &S, nonblocking: impl Fn(bool) -> io::Result<()>) -> io::Result<()>
where
    for<'a> &'a S: io::Read,
{
    let mut stream = stream;
    nonblocking(true)?;
    let read = stream.read(&mut [0; 64]);
    nonblocking(false)?;
    match read {
        Ok(0) => Err(io::ErrorKind::ConnectionAborted.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

/// Waits for the peer to read all that was sent and close, too.
fn read_to_end<S>(stream: &S, timeout: impl Fn(Duration) -> io::Result<()>) -> io::Result<()>
where
    for<'a> &'a S: io::Read,
{
    let mut stream = stream;
    let until = Instant::now() + FINISH;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        timeout(left.max(Duration::from_millis(1)))?;
        if stream.read(&mut [0; 64])? == 0 {
            return Ok(());
        }
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::net::UnixListener, thread};

    use rustix::net::sockopt::set_socket_recv_buffer_size;
    use tempfile::TempDir;

    use super::*;
    use crate::delivery::spool::Spool;

    /// One message of so many bytes, as a spool gives it out.
    fn batch(length: usize) -> Vec<Entry> {
        let directory = TempDir::new().unwrap();
        let mut spool = Spool::open(directory.path(), u64::MAX).unwrap();
        spool.append([vec![b'x'; length]]).unwrap();
        spool.read(1, length).unwrap()
    }

    #[test]
    fn what_a_stalled_receiver_has_no_room_for_never_counts_until_its_connection_ends() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        // As little as the kernel allows, for every connection to it.
        set_socket_recv_buffer_size(&listener, 1).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut syslog = Syslog::new(SyslogAddress::Tcp(address));
        syslog.send(&batch(64 * 1024)).unwrap();
        let (_receiver, _) = listener.accept().unwrap();
        // The kernel ends the connection about when SETTLE is over, now before
        // it and now after: nothing may rest on which of them it is.
        while let Ok(outstanding) = syslog.check() {
            assert_eq!(outstanding, 1);
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn what_a_unix_socket_holds_counts_once_it_is_read() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("log");
        let listener = UnixListener::bind(&path).unwrap();
        let mut syslog = Syslog::new(SyslogAddress::Unix(path));
        syslog.send(&batch(1_000)).unwrap();
        assert_eq!(syslog.check().unwrap(), 1);
        let (mut receiver, _) = listener.accept().unwrap();
        // The length, a space, and the message.
        receiver.read_exact(&mut [0; 1_005]).unwrap();
        assert_eq!(syslog.check().unwrap(), 0);
    }
}
