//! Small requests and their answers, on many connections.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use crate::net::message::Request;
use anyhow::{Context as _, Result, anyhow};
use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{exchange_bytes, listen, loopback, seconds_since};

/// What is exchanged.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// Where the server listens.
    pub port: u16,
    /// Connections.
    pub connections: u16,
    /// For how long.
    pub time: Duration,
    /// Requests a second altogether; `None` for as many as go, one at a time on each connection.
    pub rate: Option<f64>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// Answers a second.
    pub per_second: f64,
    /// From request to answer, ns.
    pub latency: Histogram<u64>,
}

/// Bytes instead of a batch of records, as many as a small message takes.
const RECORDS: u16 = 64;
const EVENTS: usize = 64;

impl Exchange {
    /// Opens the connections, exchanges, and closes them.
    pub fn run(self) -> Result<Exchanged> {
        let listener = listen(self.port)?;
        thread::scope(|scope| {
            let server = scope.spawn(|| serve(&listener, self.connections));
            let outcome = self.drive();
            // The client's connections are closed: the server has nothing left to do.
            let served = server
                .join()
                .map_err(|_panic| anyhow!("the server panicked"))?;
            let outcome = outcome?;
            served.context("the server")?;
            Ok(outcome)
        })
    }

    fn drive(self) -> Result<Exchanged> {
        let (request, answer) = exchange_bytes(Request::Produce(RECORDS));
        let mut streams = Vec::new();
        for _ in 0..self.connections {
            let stream = TcpStream::connect(loopback(1, self.port)).context("cannot connect")?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            streams.push(stream);
        }
        let epoll = watch(&streams)?;
        let mut latency = Histogram::new(3)?;
        let mut sent = vec![Instant::now(); streams.len()];
        let mut heard = vec![0; streams.len()];
        let mut idle: Vec<usize> = (0..streams.len()).collect();
        let mut events = [EpollEvent::empty(); EVENTS];
        let (mut asked, mut buffer) = (0_u64, [0; 1_024]);
        let began = Instant::now();
        loop {
            let elapsed = seconds_since(began);
            let ending = elapsed >= self.time.as_secs_f64();
            let due = self.rate.map_or(u64::MAX, |rate| (elapsed * rate) as u64);
            while !ending && asked < due {
                let Some(next) = idle.pop() else { break };
                sent[next] = Instant::now();
                (&streams[next]).write_all(&request).context("cannot ask")?;
                asked += 1;
            }
            if ending && idle.len() == streams.len() {
                break;
            }
            let count = epoll.wait(&mut events, EpollTimeout::from(1_u8))?;
            for event in &events[..count] {
                let index = event.data() as usize;
                heard[index] += (&streams[index]).read(&mut buffer).context("no answer")?;
                if heard[index] >= answer.len() {
                    heard[index] = 0;
                    latency.record(sent[index].elapsed().as_nanos() as u64)?;
                    idle.push(index);
                }
            }
        }
        Ok(Exchanged {
            per_second: latency.len() as f64 / seconds_since(began),
            latency,
        })
    }
}

fn watch(streams: &[TcpStream]) -> Result<Epoll> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (index, stream) in streams.iter().enumerate() {
        epoll.add(
            stream.as_fd(),
            EpollEvent::new(EpollFlags::EPOLLIN, index as u64),
        )?;
    }
    Ok(epoll)
}

fn serve(listener: &TcpListener, connections: u16) -> Result<()> {
    let (request, answer) = exchange_bytes(Request::Produce(RECORDS));
    let mut streams = Vec::new();
    for _ in 0..connections {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        streams.push(stream);
    }
    let epoll = watch(&streams)?;
    let mut heard = vec![0; streams.len()];
    let mut events = [EpollEvent::empty(); EVENTS];
    let (mut left, mut buffer) = (streams.len(), [0; 1_024]);
    while left > 0 {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            let index = event.data() as usize;
            match (&streams[index]).read(&mut buffer) {
                Ok(0) => {
                    epoll.delete(streams[index].as_fd())?;
                    left -= 1;
                }
                Ok(bytes) => {
                    heard[index] += bytes;
                    while heard[index] >= request.len() {
                        heard[index] -= request.len();
                        (&streams[index]).write_all(&answer)?;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_answered() {
        let exchange = Exchange {
            port: 29_411,
            connections: 3,
            time: Duration::from_millis(20),
            rate: Some(1_000.0),
        };
        let exchanged = exchange.run().expect("it runs");
        assert!(exchanged.per_second > 0.0);
        // Nanoseconds, and no exchange takes less than a microsecond.
        assert!(
            exchanged.latency.max() > 1_000,
            "{}",
            exchanged.latency.max()
        );
        // Paced: never more than are due.
        assert!(exchanged.latency.len() <= 20, "{}", exchanged.latency.len());
        assert!(!exchanged.latency.is_empty());
    }
}
