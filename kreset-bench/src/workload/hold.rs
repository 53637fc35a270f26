//! Connections that are open and do nothing, in processes of their own: one process may have only
//! so many files.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use kreset_lab::kafka::Request;

use super::{exchange_bytes, listen_at, loopback};

/// What this program is called with to hold connections.
pub const SUBCOMMAND: &str = "hold-connections";
/// Connections of one process: two files each.
const EACH: u32 = 9_000;

/// Open connections; closed when dropped.
#[derive(Debug)]
pub struct Held(Vec<Child>);

impl Held {
    /// Opens `count` of them at `port`, each of which has answered one request.
    ///
    /// # Errors
    /// When a process cannot.
    pub fn open(port: u16, count: u32) -> Result<Self> {
        let mut held = Self(Vec::new());
        let own = env::current_exe().context("the path of this program is unknown")?;
        let mut left = count;
        while left > 0 {
            let each = left.min(EACH);
            left -= each;
            let mut child = Command::new(&own)
                .args([SUBCOMMAND, &port.to_string(), &each.to_string()])
                .arg(held.0.len().to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("cannot start a process that holds connections")?;
            let out = child.stdout.take().context("its output is a pipe")?;
            held.0.push(child);
            let mut line = String::new();
            BufReader::new(out).read_line(&mut line)?;
            if line.trim() != "open" {
                bail!("a process that was to hold connections could not");
            }
        }
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // The end of its input is its end.
            drop(child.stdin.take());
            let _ended = child.wait();
        }
    }
}

/// What such a process does: opens the connections, says so, and waits for the end of its input.
///
/// # Errors
/// What the system refuses.
pub fn serve(port: u16, count: u32, number: u8) -> Result<()> {
    // Each process has an address of its own, which its clients have all ports towards.
    let address = loopback(number + 1, port);
    let listener = listen_at(address)?;
    let (request, answer) = exchange_bytes(Request::ApiVersions);
    let mut ends = Vec::new();
    for _ in 0..count {
        let mut client = TcpStream::connect(address).context("cannot connect")?;
        let (mut server, _) = listener.accept()?;
        client.write_all(&request)?;
        let mut buffer = [0; 512];
        server.read_exact(&mut buffer[..request.len()])?;
        server.write_all(&answer)?;
        client.read_exact(&mut buffer[..answer.len()])?;
        ends.push((client, server));
    }
    writeln!(std::io::stdout(), "open")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(ends);
    Ok(())
}
