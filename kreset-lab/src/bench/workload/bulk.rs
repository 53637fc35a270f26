//! One connection that carries as much as goes.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

use super::{listen, loopback, seconds_since};

/// Written at once: about what a producer's batch comes to.
const BLOCK: usize = 64 * 1_024;

/// Sends through `port` for `time`; bytes a second that arrived.
pub fn run(port: u16, time: Duration) -> Result<f64> {
    let listener = listen(port)?;
    thread::scope(|scope| {
        let reader = scope.spawn(move || -> Result<u64> {
            let (mut stream, _) = listener.accept()?;
            let mut buffer = vec![0; 4 * BLOCK];
            let mut total = 0;
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Ok(total),
                    count => total += count as u64,
                }
            }
        });
        let mut stream = TcpStream::connect(loopback(1, port)).context("cannot connect")?;
        let block = vec![0; BLOCK];
        let began = Instant::now();
        while began.elapsed() < time {
            stream.write_all(&block).context("cannot send")?;
        }
        drop(stream);
        let total = reader
            .join()
            .map_err(|_panic| anyhow!("the reader panicked"))??;
        Ok(total as f64 / seconds_since(began))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_arrives() {
        let rate = run(29_412, Duration::from_millis(10)).expect("it runs");
        assert!(rate > 0.0);
    }
}
