//! Answers HTTP requests for metrics and health: one thread accepts, and a
//! short-lived one answers each request.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// Bytes that are read of a request, at most.
const HEAD: u64 = 16 * 1024;
/// Requests that are answered at a time; further connections are closed.
const AT_ONCE: usize = 16;
/// Time limit for reading a request, and for writing its answer.
const TIMEOUT: Duration = Duration::from_secs(5);

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

/// Answers every request on `listener` with `answer` to its path.
pub(super) fn serve(
    listener: TcpListener,
    answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> io::Result<()> {
    let answer = Arc::new(answer);
    let running = Arc::new(AtomicUsize::new(0));
    let accept = move || -> ! {
        loop {
            let Ok((stream, _)) = listener.accept() else {
                // Out of descriptors: retry later.
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            if running.fetch_add(1, Relaxed) >= AT_ONCE {
                running.fetch_sub(1, Relaxed);
                continue;
            }
            let (answer, running) = (Arc::clone(&answer), Arc::clone(&running));
            let done = Arc::clone(&running);
            let spawned = thread::Builder::new()
                .name("metrics".to_owned())
                .spawn(move || {
                    // The client may have closed the connection.
                    let _ignored = exchange(&stream, &*answer);
                    running.fetch_sub(1, Relaxed);
                });
            if spawned.is_err() {
                done.fetch_sub(1, Relaxed);
            }
        }
    };
    thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(accept)
        .map(drop)
}

fn exchange(stream: &TcpStream, answer: &dyn Fn(&str) -> Answer) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut reader = BufReader::new(stream.take(HEAD));
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut words = first.split_ascii_whitespace();
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let path = target.split('?').next().unwrap_or("");
    let Answer {
        status,
        content_type,
        body,
    } = match method {
        "GET" | "HEAD" => answer(path),
        _ => Answer {
            status: "405 Method Not Allowed",
            content_type: "text/plain; charset=utf-8",
            body: "only GET\n".to_owned(),
        },
    };
    let length = body.len();
    let shown = if method == "HEAD" { "" } else { body.as_str() };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{shown}"
    )?;
    stream.flush()
}
