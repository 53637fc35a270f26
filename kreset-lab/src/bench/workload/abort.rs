//! Connections that were in use and end in a RST.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::net::message::Request;
use anyhow::{Context as _, Result, anyhow};
use socket2::SockRef;

use super::{ask, exchange_bytes, flood::pace, listen, loopback, seconds_since};

/// Opens connections, has the client abort each after one exchange, and returns how long that took.
///
/// There are `count` of them at `port`, `rate` a second if that many go. Both ends are on this
/// host: each abort is a RST that one end sends and the other one receives.
pub fn run(port: u16, count: u32, rate: f64) -> Result<Duration> {
    let listener = listen(port)?;
    let (request, answer) = exchange_bytes(Request::ApiVersions);
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, count));
        let began = Instant::now();
        for number in 0..count {
            pace(began, f64::from(number) / rate);
            let host = (number % 8) as u8 + 1;
            let mut stream = TcpStream::connect(loopback(host, port)).context("cannot connect")?;
            ask(&mut stream, &request, answer.len()).context("cannot ask")?;
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        }
        server
            .join()
            .map_err(|_panic| anyhow!("the server panicked"))??;
        Ok(Duration::from_secs_f64(seconds_since(began)))
    })
}

fn serve(listener: &TcpListener, count: u32) -> Result<()> {
    let (request, answer) = exchange_bytes(Request::ApiVersions);
    let mut buffer = [0; 512];
    for _ in 0..count {
        let (mut stream, _) = listener.accept()?;
        stream.read_exact(&mut buffer[..request.len()])?;
        stream.write_all(&answer)?;
        // The RST: an error is what is waited for.
        let _reset = stream.read(&mut buffer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_aborted_as_were_asked_for() {
        let took = run(29_414, 5, 1_000.0).expect("it runs");
        assert!(took >= Duration::from_millis(4));
    }
}
