//! Answers HTTP requests for metrics and health: one thread accepts, and a
//! short-lived one answers each request.
//!
//! An exchange has [`LONGEST`] in all, however slowly its bytes come. When
//! [`AT_ONCE`] are under way, the oldest one is closed for a new one: idle connections
//! cannot keep a scrape out.

use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Bytes that are read of a request, at most.
const HEAD: usize = 16 * 1024;
/// Exchanges at a time.
const AT_ONCE: usize = 16;
/// Time limit for an exchange: reading the request and writing its answer.
const LONGEST: Duration = Duration::from_secs(2);

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// Without query.
    pub(super) path: &'a str,
    /// The header `Accept`.
    pub(super) accept: Option<&'a str>,
}

/// An answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    /// Such as `200 OK`.
    pub(super) status: &'static str,
    /// Such as `text/plain`.
    pub(super) content_type: &'static str,
    /// The body.
    pub(super) body: String,
}

/// The connections of exchanges under way, the oldest first.
#[derive(Debug, Default)]
struct UnderWay(Mutex<VecDeque<Arc<TcpStream>>>);

impl UnderWay {
    /// Adds `stream`, and closes the oldest if there are too many.
    fn add(&self, stream: &Arc<TcpStream>) {
        let mut streams = self.streams();
        streams.push_back(Arc::clone(stream));
        if streams.len() > AT_ONCE
            && let Some(oldest) = streams.pop_front()
        {
            // Its thread then ends with an error.
            let _closed = oldest.shutdown(Shutdown::Both);
        }
    }

    fn remove(&self, stream: &Arc<TcpStream>) {
        self.streams().retain(|it| !Arc::ptr_eq(it, stream));
    }

    fn streams(&self) -> MutexGuard<'_, VecDeque<Arc<TcpStream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers every request on `listener` with `answer` to it.
pub(super) fn serve(
    listener: TcpListener,
    answer: impl Fn(Request<'_>) -> Answer + Send + Sync + 'static,
) -> io::Result<()> {
    let answer = Arc::new(answer);
    let under_way = Arc::new(UnderWay::default());
    let accept = move || -> ! {
        loop {
            let Ok((stream, _)) = listener.accept() else {
                // Out of descriptors: retry later.
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            let stream = Arc::new(stream);
            under_way.add(&stream);
            let (answer, running) = (Arc::clone(&answer), Arc::clone(&under_way));
            let ours = Arc::clone(&stream);
            let spawned = thread::Builder::new()
                .name("metrics".to_owned())
                .spawn(move || {
                    // The client may have closed the connection.
                    let _ignored = exchange(&ours, &*answer, Instant::now() + LONGEST);
                    running.remove(&ours);
                });
            if spawned.is_err() {
                under_way.remove(&stream);
            }
        }
    };
    thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(accept)
        .map(drop)
}

fn exchange(
    stream: &TcpStream,
    answer: &dyn Fn(Request<'_>) -> Answer,
    until: Instant,
) -> io::Result<()> {
    let head = read_head(stream, until)?;
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or("").split_ascii_whitespace();
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let accept = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("accept").then_some(value.trim())
    });
    let Answer {
        status,
        content_type,
        body,
    } = match method {
        "GET" | "HEAD" => answer(Request {
            path: target.split('?').next().unwrap_or(""),
            accept,
        }),
        _ => Answer {
            status: "405 Method Not Allowed",
            content_type: "text/plain; charset=utf-8",
            body: "only GET\n".to_owned(),
        },
    };
    let length = body.len();
    let shown = if method == "HEAD" { "" } else { body.as_str() };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{shown}"
    );
    write_by(stream, answer.as_bytes(), until)
}

/// Reads up to the empty line that ends the headers.
fn read_head(mut stream: &TcpStream, until: Instant) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !is_whole(&head) {
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(&mut chunk)? {
            0 => break,
            read => head.extend_from_slice(&chunk[..read]),
        }
        if head.len() > HEAD {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    Ok(head)
}

fn is_whole(head: &[u8]) -> bool {
    head.windows(4).any(|it| it == b"\r\n\r\n") || head.windows(2).any(|it| it == b"\n\n")
}

fn write_by(mut stream: &TcpStream, mut bytes: &[u8], until: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(until)?))?;
        let written = stream.write(bytes)?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// The time left, which is not zero.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn served() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        serve(listener, |request| Answer {
            status: "200 OK",
            content_type: "text/plain",
            body: format!("{request:?}"),
        })
        .unwrap();
        address
    }

    /// Sixteen of them kept the health check out for as long as they liked.
    #[test]
    fn idle_connections_keep_nobody_out_and_are_closed() {
        let address = served();
        let connect = || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /").unwrap();
            stream
        };
        let idle: Vec<_> = std::iter::repeat_with(connect).take(200).collect();
        for _ in 0..10 {
            let mut stream = TcpStream::connect(address).unwrap();
            stream
                .write_all(b"GET /healthz?x HTTP/1.1\r\naccept: text/plain \r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let expected = "Request { path: \"/healthz\", accept: Some(\"text/plain\") }";
            assert!(answer.ends_with(expected), "{answer}");
        }
        for mut stream in idle {
            // Closed at once, or at the deadline.
            stream
                .set_read_timeout(Some(Duration::from_mins(1)))
                .unwrap();
            let mut rest = Vec::new();
            if let Err(error) = stream.read_to_end(&mut rest) {
                assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "it is open");
            }
        }
    }

    #[test]
    fn a_request_that_comes_byte_by_byte_is_cut_off() {
        let address = served();
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        let until = Instant::now() + Duration::from_mins(1);
        loop {
            assert!(Instant::now() < until, "it is still open");
            if stream.write_all(b"G").is_err() {
                break;
            }
            match stream.read(&mut [0; 64]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => break,
            }
        }
    }
}
