//! The addresses of the traced network namespaces.
//!
//! Every process shows the addresses of its own namespace under `/proc`, so
//! nothing has to be entered. One process per namespace is read.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

/// Namespaces that are read at most.
const NAMESPACES: usize = 4_096;
/// Addresses that are reported at most: an event has a limited size.
const ADDRESSES: usize = 1_024;
/// Bytes that are read of one list, at most. It has routes too, and some hosts
/// have very many.
const LIST: u64 = 16 * 1024 * 1024;

/// Reads the addresses of the traced namespaces.
#[derive(Clone, Debug)]
pub struct Addresses {
    proc: PathBuf,
    /// The only namespace, by inode number.
    netns: Option<u64>,
}

impl Addresses {
    /// Of one namespace, by its inode number, or of all.
    #[must_use]
    pub fn of(netns: Option<u64>) -> Self {
        Self {
            proc: "/proc".into(),
            netns,
        }
    }

    /// The addresses now, without loopback and link-local ones; `None` if no
    /// namespace can be read, there are too many to report, or it is not done by
    /// `until`.
    #[must_use]
    pub fn now(&self, until: Instant) -> Option<Vec<IpAddr>> {
        let mut seen = HashSet::new();
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(&self.proc).ok()?.flatten() {
            let process = entry.path();
            // A process may end while it is read.
            let Ok(namespace) = fs::metadata(process.join("ns/net")) else {
                continue;
            };
            let is_other = self.netns.is_some_and(|inode| inode != namespace.ino());
            if is_other || seen.contains(&namespace.ino()) {
                continue;
            }
            let net = process.join("net");
            match (ipv4(&net, until), ipv6(&net, until)) {
                (Ok(four), Ok(six)) => {
                    found.extend(four.into_iter().map(IpAddr::V4));
                    found.extend(six.into_iter().map(IpAddr::V6));
                    seen.insert(namespace.ino());
                }
                (Err(error), _) | (_, Err(error)) if is_cut(&error) => return None,
                // It has just ended: the next process of its namespace is read.
                _ => {}
            }
            if Instant::now() >= until {
                return None;
            }
            if seen.len() > NAMESPACES || found.len() > ADDRESSES {
                return None;
            }
        }
        (!seen.is_empty()).then(|| found.into_iter().collect())
    }
}

/// The lines of a list. One that is too long, or is not read by `until`, ends with
/// an error: a part of it must not pass for the whole.
fn lines(path: &Path, until: Instant) -> io::Result<impl Iterator<Item = io::Result<String>>> {
    let mut left = LIST;
    let lines = BufReader::new(File::open(path)?).lines();
    Ok(lines.map(move |line| {
        let line = line?;
        left = left.saturating_sub(line.len() as u64 + 1);
        if left == 0 || Instant::now() >= until {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(line)
    }))
}

fn is_cut(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::FileTooLarge
}

/// An address of this host is a local route: the line `|-- 10.0.0.1`, followed by
/// `/32 host LOCAL`.
fn ipv4(net: &Path, until: Instant) -> io::Result<BTreeSet<Ipv4Addr>> {
    let mut found = BTreeSet::new();
    let mut last = None;
    for line in lines(&net.join("fib_trie"), until)? {
        let line = line?;
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last.filter(|it| !it.is_loopback() && !it.is_link_local()));
        }
    }
    Ok(found)
}

/// Each line begins with 32 hexadecimal digits. Without IPv6 there is no file.
fn ipv6(net: &Path, until: Instant) -> io::Result<BTreeSet<Ipv6Addr>> {
    let path = net.join("if_inet6");
    if !path.exists() {
        return Ok(BTreeSet::new());
    }
    let mut found = BTreeSet::new();
    for line in lines(&path, until)? {
        let line = line?;
        let digits = line
            .get(..32)
            .and_then(|text| u128::from_str_radix(text, 16).ok());
        let address = digits.map(Ipv6Addr::from_bits);
        found.extend(address.filter(|it| !it.is_loopback() && !it.is_unicast_link_local()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, time::Duration};

    use super::*;

    fn later() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    const FIB: &str = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
        Local:\n  +-- 0.0.0.0/0 3 0 5\n     +-- 10.0.1.0/24 2 0 2\n        |-- 10.0.1.0\n           \
        /24 link UNICAST\n        |-- 10.0.1.5\n           /32 host LOCAL\n        |-- 10.0.1.255\n           \
        /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 169.254.1.1\n        /32 host LOCAL\n";
    const SIX: &str = "00000000000000000000000000000001 01 80 10 80       lo\n\
        fe8000000000000000163efffe000001 02 40 20 80     eth0\n\
        20010db8000000000000000000000017 02 40 00 80     eth0\n";

    /// A `/proc` in which processes 1 and 2 share a namespace and 3 does not.
    fn proc() -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        for (pid, namespace, fib, six) in [
            ("1", "a", FIB, SIX),
            ("2", "a", FIB, SIX),
            (
                "3",
                "b",
                "     |-- 172.17.0.2\n        /32 host LOCAL\n",
                "",
            ),
        ] {
            let process = proc.path().join(pid);
            fs::create_dir_all(process.join("net")).unwrap();
            fs::create_dir_all(process.join("ns")).unwrap();
            let namespace = proc.path().join(namespace);
            fs::write(&namespace, "").unwrap();
            symlink(&namespace, process.join("ns/net")).unwrap();
            fs::write(process.join("net/fib_trie"), fib).unwrap();
            fs::write(process.join("net/if_inet6"), six).unwrap();
        }
        proc
    }

    #[test]
    fn the_addresses_of_each_namespace_once() {
        let proc = proc();
        let all = Addresses {
            proc: proc.path().to_owned(),
            netns: None,
        };
        let texts = |all: &Addresses| {
            all.now(later())
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(&all), ["10.0.1.5", "172.17.0.2", "2001:db8::17"]);
        let inode = fs::metadata(proc.path().join("b")).unwrap().ino();
        let one = Addresses {
            netns: Some(inode),
            ..all
        };
        assert_eq!(texts(&one), ["172.17.0.2"]);
    }

    #[test]
    fn a_process_that_ends_while_it_is_read_hides_no_namespace() {
        let proc = proc();
        let addresses = Addresses {
            proc: proc.path().to_owned(),
            netns: None,
        };
        let all = addresses.now(later());
        // Whichever of the two comes first.
        for (vanishes, stays) in [("1", "2"), ("2", "1")] {
            let (list, aside) = ("net/fib_trie", proc.path().join("aside"));
            fs::rename(proc.path().join(vanishes).join(list), &aside).unwrap();
            assert_eq!(addresses.now(later()), all, "{stays} is still there");
            fs::rename(&aside, proc.path().join(vanishes).join(list)).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_read_is_unknown_rather_than_none() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(
            Addresses {
                proc: empty.path().to_owned(),
                netns: None
            }
            .now(later()),
            None
        );
    }

    #[test]
    fn this_host_is_read() {
        assert!(Addresses::of(None).now(later()).is_some());
    }

    #[test]
    fn a_list_that_is_cut_is_unknown_rather_than_shorter() {
        let proc = proc();
        let addresses = Addresses {
            proc: proc.path().to_owned(),
            netns: None,
        };
        assert_eq!(addresses.now(Instant::now()), None, "no time is left");
        let route = "     |-- 10.9.9.9\n        /24 link UNICAST\n";
        let mut list = route.repeat(usize::try_from(LIST).unwrap() / route.len() + 1);
        list.push_str(FIB);
        fs::write(proc.path().join("3/net/fib_trie"), list).unwrap();
        assert_eq!(addresses.now(later()), None);
    }
}
