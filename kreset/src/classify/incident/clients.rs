//! The clients of an incident: which they are, and when they came back.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
};

use smol_str::SmolStr;

/// Clients that are distinguished.
pub const DISTINCT: usize = 1_024;
/// Clients that are listed.
pub const LISTED: usize = 32;

/// A client, as far as one host can tell it from others: by its process where that is on
/// this host, else by its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// Its `client.id`, or its program.
    pub name: Option<SmolStr>,
    /// Its process, where it is on this host.
    pub pid: Option<u32>,
}

/// A client by the hash of what tells it apart. Collisions merge two clients: 64 bits keyed at
/// random make them no concern.
pub(super) type ClientHash = u64;

/// Hashes clients, with a key that strangers do not know.
#[derive(Clone, Debug, Default)]
pub(super) struct Hashing(RandomState);

impl Hashing {
    /// The hash of a client.
    #[must_use]
    pub(super) fn of(&self, client: &Client) -> ClientHash {
        match client.pid {
            Some(pid) => self.0.hash_one((client.address, Some(pid))),
            None => self.0.hash_one((client.address, &client.name)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// When its first connection ended.
    lost_ns: u64,
    /// When it connected again.
    back_ns: Option<u64>,
}

/// The clients of one incident.
#[derive(Clone, Debug, Default)]
pub(super) struct Clients {
    seen: HashMap<ClientHash, Seen>,
    listed: Vec<(ClientHash, Client)>,
    /// The addresses of clients that are not on this host; with the client whose name is not
    /// known, if there is no other.
    addresses: HashMap<IpAddr, Option<ClientHash>>,
}

impl Clients {
    /// A connection of `client` ended, or was refused.
    pub(super) fn add(&mut self, hash: ClientHash, client: &Client, at_ns: u64) {
        if let Some(seen) = self.seen.get_mut(&hash) {
            seen.lost_ns = seen.lost_ns.min(at_ns);
            return;
        }
        let mut seen = Seen {
            lost_ns: at_ns,
            back_ns: None,
        };
        if client.pid.is_none() {
            // What is refused has not said its name: it is one of those that have.
            let nameless = self.addresses.get(&client.address).copied();
            match (nameless, &client.name) {
                (Some(_), None) => return,
                (Some(Some(other)), Some(_)) => seen = self.forget(other).unwrap_or(seen),
                _ => {}
            }
        }
        if self.seen.len() >= DISTINCT {
            return;
        }
        if client.pid.is_none() {
            let nameless = client.name.is_none().then_some(hash);
            self.addresses.insert(client.address, nameless);
        }
        self.seen.insert(hash, seen);
        if self.listed.len() < LISTED {
            self.listed.push((hash, client.clone()));
        }
    }

    fn forget(&mut self, hash: ClientHash) -> Option<Seen> {
        self.listed.retain(|(it, _)| *it != hash);
        self.seen.remove(&hash)
    }

    /// A client connected.
    pub(super) fn back(&mut self, hash: ClientHash, at_ns: u64) {
        if let Some(seen) = self.seen.get_mut(&hash)
            && at_ns > seen.lost_ns
        {
            let before = seen.back_ns.unwrap_or(u64::MAX);
            seen.back_ns = Some(before.min(at_ns));
        }
    }

    /// Different clients.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    /// All of them.
    pub(super) fn hashes(&self) -> impl Iterator<Item = ClientHash> {
        self.seen.keys().copied()
    }

    /// Those that were met first, each with how long it took to come back, ns.
    pub(super) fn listed(&self) -> impl Iterator<Item = (&Client, Option<u64>)> {
        self.listed.iter().map(|(hash, client)| {
            let seen = self.seen.get(hash);
            (client, seen.and_then(|seen| seen.after_ns()))
        })
    }

    /// How many came back, and the shortest and the longest time that it took, ns.
    #[must_use]
    pub(super) fn returns(&self) -> (usize, Option<(u64, u64)>) {
        let mut count = 0;
        let mut spread = None;
        for after in self.seen.values().filter_map(|seen| seen.after_ns()) {
            let (least, most) = spread.unwrap_or((after, after));
            spread = Some((after.min(least), after.max(most)));
            count += 1;
        }
        (count, spread)
    }
}

impl Seen {
    fn after_ns(self) -> Option<u64> {
        self.back_ns.map(|back| back.saturating_sub(self.lost_ns))
    }
}
