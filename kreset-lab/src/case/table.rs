//! Rules that one case adds to the packet filter of a host or of the router, for its own packets.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::{error::Result, net::Namespace, util::program::NFT};

/// Where packets meet the rules.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hook {
    /// Before routing and connection tracking: what is changed here is not seen otherwise.
    Arrival,
    /// After routing, just before the packet leaves.
    Departure,
    /// Between two interfaces, after the devices.
    Forward,
    /// On the way to a socket of this host.
    Input,
    /// From a socket of this host.
    Output,
}

impl Hook {
    const fn line(self) -> &'static str {
        match self {
            Self::Arrival => "type filter hook prerouting priority -350; policy accept;",
            Self::Departure => "type filter hook postrouting priority 350; policy accept;",
            Self::Forward => "type filter hook forward priority 10; policy accept;",
            Self::Input => "type filter hook input priority 0; policy accept;",
            Self::Output => "type filter hook output priority 0; policy accept;",
        }
    }
}

/// A table with one chain, gone when dropped.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    place: &'a Namespace,
    name: String,
}

impl<'a> Table<'a> {
    /// Adds one; `rules` has one statement a line.
    pub(super) fn add(place: &'a Namespace, hook: Hook, rules: &str) -> Result<Self> {
        let name = next();
        let ruleset = format!(
            "table inet {name} {{\nchain rules {{\n{}\n{rules}\n}}\n}}\n",
            hook.line()
        );
        place.run(NFT, &["-f", "-"], &ruleset)?;
        Ok(Self { place, name })
    }
}

impl<'a> Table<'a> {
    /// The router gives its own address on the broker's side to what comes from the client's.
    pub(crate) fn masquerade(router: &'a Namespace) -> Result<Self> {
        let name = next();
        let ruleset = format!(
            "table inet {name} {{\nchain rules {{\n\
             type nat hook postrouting priority srcnat; policy accept;\n\
             oifname broker masquerade\n}}\n}}\n"
        );
        router.run(NFT, &["-f", "-"], &ruleset)?;
        Ok(Self {
            place: router,
            name,
        })
    }
}

/// A name that no other table has.
fn next() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("case{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        // The namespace may be gone already, and takes its rules along.
        let _removed = self
            .place
            .run(NFT, &["delete", "table", "inet", &self.name], "");
    }
}
