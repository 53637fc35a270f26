//! Receivers of events that are down, slow or unwilling now and then: syslog over TCP (RFC 6587),
//! and OTLP over HTTP.

use std::{
    collections::BTreeSet,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest, common::v1::any_value::Value,
    logs::v1::LogRecord,
};
use prost::Message as _;

use crate::{
    error::{Context as _, Result},
    util::lock::lock,
};

/// How often a receiver looks whether its mode has changed.
const GLANCE: Duration = Duration::from_millis(50);
/// No request is longer.
const LONGEST: usize = 16 << 20;

/// What a receiver speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Messages counted in octets.
    Syslog,
    /// Requests of HTTP.
    Otlp,
}

/// How a receiver behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FaultMode {
    /// Takes everything.
    None,
    /// Reads nothing.
    Stalled,
    /// Refuses everything for now: `503`. Of OTLP alone.
    Unwilling,
    /// Has ended: connections are cut, new ones are refused.
    Dead,
    /// Ends for good.
    Over,
}

impl FaultMode {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Stalled,
        Self::Unwilling,
        Self::Dead,
        Self::Over,
    ];
}

/// The ids that a receiver has, and how many it got more than once.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Each once.
    pub ids: BTreeSet<String>,
    /// Deliveries beyond the first.
    pub repeats: u64,
}

impl Received {
    /// Takes one in.
    pub fn add(&mut self, id: String) {
        if !self.ids.insert(id) {
            self.repeats += 1;
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    mode: AtomicU8,
    received: Mutex<Received>,
}

impl Shared {
    fn mode(&self) -> FaultMode {
        let number = self.mode.load(Ordering::Relaxed);
        FaultMode::ALL[usize::from(number).min(FaultMode::ALL.len() - 1)]
    }

    fn add(&self, ids: Vec<String>) {
        let mut received = lock(&self.received);
        for id in ids {
            received.add(id);
        }
    }

    /// Waits while nothing is to be read; whether the connection lives on.
    fn wait_until_well(&self) -> bool {
        while self.mode() == FaultMode::Stalled {
            thread::sleep(GLANCE);
        }
        matches!(self.mode(), FaultMode::None | FaultMode::Unwilling)
    }
}

/// A receiver on this machine's loopback; ends when dropped.
#[derive(Debug)]
pub struct Receiver {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Starts one on a port that is free.
    pub fn start(speech: Speech) -> Result<Self> {
        let open = || {
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            io::Result::Ok((listener.local_addr()?.port(), listener))
        };
        let (port, listener) = open().context(|| "listen for events".to_owned())?;
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || serve(speech, port, listener, &shared))
        };
        Ok(Self {
            port,
            shared,
            thread: Some(thread),
        })
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Changes how it behaves.
    pub fn be(&self, mode: FaultMode) {
        self.shared.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// What it has.
    pub fn received(&self) -> Received {
        lock(&self.shared.received).clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.be(FaultMode::Over);
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed already.
            let _ended = thread.join();
        }
    }
}

fn serve(speech: Speech, port: u16, first: TcpListener, shared: &Arc<Shared>) {
    let mut listener = Some(first);
    let mut connections: Vec<JoinHandle<()>> = Vec::new();
    loop {
        match shared.mode() {
            FaultMode::Over => break,
            FaultMode::Dead => {
                listener = None;
                thread::sleep(GLANCE);
                continue;
            }
            FaultMode::None | FaultMode::Stalled | FaultMode::Unwilling => {}
        }
        // The port was free a moment ago; if it is not now, it will be.
        if listener.is_none() {
            listener = TcpListener::bind(("127.0.0.1", port)).ok();
        }
        let accepted = listener.as_ref().and_then(|listener| {
            listener.set_nonblocking(true).ok()?;
            listener.accept().ok()
        });
        let Some((stream, _)) = accepted else {
            connections.retain(|connection| !connection.is_finished());
            thread::sleep(GLANCE);
            continue;
        };
        let shared = Arc::clone(shared);
        connections.push(thread::spawn(move || {
            // A connection that fails is one more failure.
            let _ended = match speech {
                Speech::Syslog => take_messages(&stream, &shared),
                Speech::Otlp => take_requests(&stream, &shared),
            };
        }));
    }
    drop(listener);
    for connection in connections {
        let _ended = connection.join();
    }
}

/// Reads on into `buffer`; whether there may be more.
fn read_on(stream: &mut &TcpStream, shared: &Shared, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut bytes = [0; 16 << 10];
    loop {
        if !shared.wait_until_well() {
            return Ok(false);
        }
        match stream.read(&mut bytes) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                buffer.extend_from_slice(&bytes[..count]);
                return Ok(buffer.len() <= LONGEST);
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) => {}
            Err(error) => return Err(error),
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(GLANCE))
}

fn take_messages(mut stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    prepare(stream)?;
    let mut buffer = Vec::new();
    while read_on(&mut stream, shared, &mut buffer)? {
        let (ids, used) = messages(&buffer);
        buffer.drain(..used);
        shared.add(ids);
    }
    Ok(())
}

/// The ids of all whole messages at the begin of `bytes`, and how long these are.
fn messages(bytes: &[u8]) -> (Vec<String>, usize) {
    let mut ids = Vec::new();
    let mut used = 0;
    loop {
        let rest = &bytes[used..];
        let Some(space) = rest.iter().position(|byte| *byte == b' ') else {
            return (ids, used);
        };
        let length = std::str::from_utf8(&rest[..space]).ok();
        let Some(length) = length.and_then(|length| length.parse::<usize>().ok()) else {
            return (ids, used);
        };
        let Some(message) = rest.get(space + 1..space + 1 + length) else {
            return (ids, used);
        };
        ids.extend(id_in(message));
        used += space + 1 + length;
    }
}

/// The id of the event whose JSON ends a message.
pub(super) fn id_in(message: &[u8]) -> Option<String> {
    let begin = message.iter().position(|byte| *byte == b'{')?;
    let event: serde_json::Value = serde_json::from_slice(&message[begin..]).ok()?;
    event.get("id")?.as_str().map(str::to_owned)
}

fn take_requests(mut stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    prepare(stream)?;
    let mut buffer = Vec::new();
    while read_on(&mut stream, shared, &mut buffer)? {
        while let Some((body, length)) = request(&buffer) {
            let answer = if shared.mode() == FaultMode::Unwilling {
                "503 Service Unavailable"
            } else {
                let request = ExportLogsServiceRequest::decode(body).map_err(io::Error::other)?;
                shared.add(ids_of(&request));
                "200 OK"
            };
            buffer.drain(..length);
            let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes())?;
        }
    }
    Ok(())
}

/// The body of the whole request at the begin of `bytes`, and how long the request is.
fn request(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let end = head + length.unwrap_or_default();
    Some((bytes.get(head..end)?, end))
}

fn ids_of(request: &ExportLogsServiceRequest) -> Vec<String> {
    let scopes = request.resource_logs.iter().flat_map(|it| &it.scope_logs);
    let records = scopes.flat_map(|it| &it.log_records);
    records.filter_map(id_of).collect()
}

/// The id of the event that a record is of.
pub(super) fn id_of(record: &LogRecord) -> Option<String> {
    let mut attributes = record.attributes.iter();
    let uid = attributes.find(|attribute| attribute.key == "log.record.uid")?;
    match uid.value.as_ref()?.value.as_ref()? {
        Value::StringValue(id) => Some(id.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stop;

    #[test]
    fn messages_are_read_as_they_come_in() {
        let message = r#"<29>1 - h kreset-trace 1 reset [o a="b"] {"id":"x-1"}"#;
        let mut bytes = format!("{} {message}{} {message}", message.len(), message.len());
        assert_eq!(
            messages(bytes.as_bytes()),
            (vec!["x-1".to_owned(); 2], bytes.len())
        );
        let whole = bytes.len() / 2;
        bytes.pop();
        assert_eq!(messages(bytes.as_bytes()), (vec!["x-1".to_owned()], whole));
        assert_eq!(messages(b"12"), (vec![], 0));
    }

    #[test]
    fn a_request_is_whole_or_none() {
        let bytes = b"POST /v1/logs HTTP/1.1\r\nhost: a\r\nContent-Length: 3\r\n\r\nabcPOST";
        assert_eq!(request(bytes), Some((&b"abc"[..], bytes.len() - 4)));
        assert_eq!(request(&bytes[..bytes.len() - 5]), None);
    }

    #[test]
    fn a_receiver_that_was_dead_is_there_again() {
        let receiver = Receiver::start(Speech::Syslog).expect("it starts");
        let deliver = |id: &str| {
            let message = format!("- {{\"id\":\"{id}\"}}");
            let mut stream = TcpStream::connect(("127.0.0.1", receiver.port()))?;
            stream.write_all(format!("{} {message}", message.len()).as_bytes())
        };
        let until = |happened: &dyn Fn() -> bool| {
            let patience = Duration::from_secs(20);
            Stop::default()
                .until_holds("it", patience, happened)
                .expect("in time");
        };
        deliver("a").expect("it listens");
        until(&|| receiver.received().ids.contains("a"));
        receiver.be(FaultMode::Dead);
        until(&|| TcpStream::connect(("127.0.0.1", receiver.port())).is_err());
        receiver.be(FaultMode::None);
        until(&|| deliver("b").is_ok());
        until(&|| receiver.received().ids.contains("b"));
    }
}
