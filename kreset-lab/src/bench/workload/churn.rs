//! Connections that are opened and closed, one after the other.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::net::message::Request;
use anyhow::{Context as _, Result, anyhow};

use super::{ask, exchange_bytes, listen, loopback, seconds_since};

/// Clients at once, and as many threads that serve them.
const AT_ONCE: usize = 4;
/// What a client that only looks says.
const REQUESTS: [Request; 2] = [Request::ApiVersions, Request::Metadata];

/// Opens and closes connections at `port` for `time`; how many a second. With `exchange` each is in
/// use in between, as a short-lived client's is.
pub fn run(port: u16, time: Duration, exchange: bool) -> Result<f64> {
    let listener = listen(port)?;
    let (count, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    let elapsed = thread::scope(|scope| -> Result<f64> {
        let servers = [(); AT_ONCE].map(|()| scope.spawn(|| serve(&listener, exchange, &over)));
        let count = &count;
        let mut number = 0;
        let clients = [(); AT_ONCE].map(|()| {
            number += 1;
            scope.spawn(move || visit(port, number - 1, time, exchange, count))
        });
        let mut outcome = Ok(());
        for client in clients {
            let ended = client.join().map_err(|_panic| anyhow!("a client panicked"));
            outcome = ended.flatten().and(outcome);
        }
        let elapsed = seconds_since(began);
        // Whoever waits in accept() is woken by a connection.
        over.store(true, Relaxed);
        for _ in 0..AT_ONCE {
            let _woken = TcpStream::connect(loopback(1, port));
        }
        for server in servers {
            let ended = server.join().map_err(|_panic| anyhow!("a server panicked"));
            outcome = ended.flatten().and(outcome);
        }
        outcome.map(|()| elapsed)
    })?;
    Ok(count.load(Relaxed) as f64 / elapsed)
}

fn visit(port: u16, number: u8, time: Duration, exchange: bool, count: &AtomicU64) -> Result<()> {
    let exchanges = REQUESTS.map(exchange_bytes);
    let began = Instant::now();
    let mut own = 0_u64;
    while began.elapsed() < time {
        // Several addresses: one has only so many ports to come from.
        let host = number * 8 + (own % 8) as u8 + 1;
        let mut stream = TcpStream::connect(loopback(host, port)).context("cannot connect")?;
        if exchange {
            for (request, answer) in &exchanges {
                ask(&mut stream, request, answer.len()).context("cannot ask")?;
            }
        }
        own += 1;
    }
    count.fetch_add(own, Relaxed);
    Ok(())
}

fn serve(listener: &TcpListener, exchange: bool, over: &AtomicBool) -> Result<()> {
    let exchanges = REQUESTS.map(exchange_bytes);
    let mut buffer = [0; 512];
    loop {
        let (mut stream, _) = listener.accept()?;
        if over.load(Relaxed) {
            return Ok(());
        }
        if exchange {
            for (request, answer) in &exchanges {
                stream.read_exact(&mut buffer[..request.len()])?;
                stream.write_all(answer)?;
            }
        }
        // The client closes first, as Kafka's do.
        let _closed = stream.read(&mut buffer)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_come_and_go() {
        for exchange in [false, true] {
            let rate = run(29_413, Duration::from_millis(10), exchange).expect("it runs");
            assert!(rate > 0.0);
        }
    }
}
