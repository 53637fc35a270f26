//! What is watched: open connections and their brokers.
//!
//! Every process shows the connections of its own namespace under `/proc`. A process
//! without privileges may not read which namespace that is, but the list of each has an
//! inode number of its own (kernel: `proc_create_net`, `proc_alloc_inum`).
//!
//! The kernel lists the connections of a namespace in full, whatever their ports: on a
//! host with many this takes a while, so it is done seldom there.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{event::Watched, util::ports::PortSet};

/// At most one part in this many of the time is spent on counting.
const SHARE: u32 = 500;
/// Counts are no older than this where they cost little.
const FRESH: Duration = Duration::from_secs(5);
/// Bytes that are read at once: the kernel finds its place in the list anew at each read.
const BUFFER: usize = 64 << 10;
/// The state `TCP_ESTABLISHED` as the kernel writes it.
const ESTABLISHED: &str = "01";

/// Counts the connections of the traced namespaces.
#[derive(Clone, Debug)]
pub struct Connections {
    proc: PathBuf,
    netns: Option<u64>,
    /// The inode number of that namespace's list, once it is known.
    only: Option<u64>,
    ports: PortSet,
    last: Option<Watched>,
    /// When it may be counted again.
    next: Option<Instant>,
}

impl Connections {
    /// Of one namespace, by its inode number, or of all.
    #[must_use]
    pub fn of(netns: Option<u64>, ports: PortSet) -> Self {
        Self {
            proc: "/proc".into(),
            netns,
            only: None,
            ports,
            last: None,
            next: None,
        }
    }

    /// The count now, or the last one if counting has cost much; `None` if no namespace
    /// can be read.
    pub fn now(&mut self) -> Option<Watched> {
        let began = Instant::now();
        if self.next.is_none_or(|next| next <= began) {
            self.last = self.count();
            let took = began.elapsed();
            self.next = Some(began + FRESH.max(took * SHARE));
        }
        self.last
    }

    fn count(&mut self) -> Option<Watched> {
        let mut seen = HashSet::new();
        let mut brokers = HashSet::new();
        let mut connections = 0;
        for entry in fs::read_dir(&self.proc).ok()?.flatten() {
            let process = entry.path();
            // A process may end while it is read.
            let Ok(list) = fs::metadata(process.join("net/tcp")) else {
                continue;
            };
            if seen.contains(&list.ino()) {
                continue;
            }
            if let Some(netns) = self.netns {
                let namespace = || fs::metadata(process.join("ns/net"));
                if self.only.is_none() && namespace().is_ok_and(|it| it.ino() == netns) {
                    self.only = Some(list.ino());
                }
                if self.only != Some(list.ino()) {
                    continue;
                }
            }
            let mut is_read = false;
            for list in ["net/tcp", "net/tcp6"] {
                is_read |= self.list(&process.join(list), |broker| {
                    connections += 1;
                    if !brokers.contains(broker) {
                        brokers.insert(broker.to_owned());
                    }
                });
            }
            if is_read {
                seen.insert(list.ino());
            }
        }
        (!seen.is_empty()).then_some(Watched {
            connections,
            brokers: brokers.len() as u64,
        })
    }

    /// Calls `found` with the broker of each traced connection; returns whether the list
    /// could be read.
    fn list(&self, path: &Path, mut found: impl FnMut(&str)) -> bool {
        let Ok(file) = File::open(path) else {
            return false;
        };
        let mut list = BufReader::with_capacity(BUFFER, file);
        let mut line = String::new();
        loop {
            line.clear();
            match list.read_line(&mut line) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
            // `sl local_address rem_address st ...`, an address as HEX:PORT.
            let mut fields = line.split_ascii_whitespace().skip(1);
            let (Some(local), Some(remote), Some(ESTABLISHED)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if self.is_traced(remote) {
                found(remote);
            } else if self.is_traced(local) {
                found(local);
            }
        }
    }

    fn is_traced(&self, end: &str) -> bool {
        let port = end.split_once(':').map(|(_, port)| port);
        let port = port.and_then(|port| u16::from_str_radix(port, 16).ok());
        port.is_some_and(|port| self.ports.contains(port))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue\n";

    #[test]
    fn connections_of_the_ports_are_counted_and_their_brokers() {
        let proc = tempfile::tempdir().unwrap();
        let process = proc.path().join("1");
        fs::create_dir_all(process.join("net")).unwrap();
        fs::create_dir_all(process.join("ns")).unwrap();
        fs::write(proc.path().join("a"), "").unwrap();
        symlink(proc.path().join("a"), process.join("ns/net")).unwrap();
        // Two to one broker, one from a client of this host's broker, one that listens,
        // one of another port.
        let four = format!(
            "{HEAD}   0: 0100000A:C350 0200000A:2384 01 0\n   1: 0100000A:C351 0200000A:2384 01 0\n   \
             2: 0100000A:2384 0300000A:C350 01 0\n   3: 00000000:2384 00000000:0000 0A 0\n   \
             4: 0100000A:C352 0200000A:0050 01 0\n"
        );
        fs::write(process.join("net/tcp"), four).unwrap();
        fs::write(process.join("net/tcp6"), HEAD).unwrap();
        let mut connections = Connections {
            proc: proc.path().to_owned(),
            ..Connections::of(None, "9092".parse().unwrap())
        };
        let expected = Watched {
            connections: 3,
            brokers: 2,
        };
        assert_eq!(connections.now(), Some(expected));
        // The list of a single namespace is known again without its name.
        let netns = fs::metadata(proc.path().join("a")).unwrap().ino();
        for (netns, found) in [(netns, Some(expected)), (netns + 1, None)] {
            let mut single = Connections {
                proc: proc.path().to_owned(),
                ..Connections::of(Some(netns), "9092".parse().unwrap())
            };
            assert_eq!(single.count(), found);
        }
        // Not counted again at once.
        fs::remove_dir_all(&process).unwrap();
        assert_eq!(connections.now(), Some(expected));
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let empty = tempfile::tempdir().unwrap();
        let mut connections = Connections {
            proc: empty.path().to_owned(),
            ..Connections::of(None, "9092".parse().unwrap())
        };
        assert_eq!(connections.now(), None);
    }
}
