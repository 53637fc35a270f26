//! A way of several routers: client - router 1 - router 2 - ... - broker.
//!
//! ```text
//!   client        router 1           router 2              broker
//!   10.78.0.1 - 10.78.0.2  10.78.1.1 - 10.78.1.2 ... 10.78.N.2
//!   fd78:0::1 - fd78:0::2  fd78:1::1 - fd78:1::2 ... fd78:N::2
//! ```
//!
//! Router `K` answers the client from `10.78.K-1.2`. With a twin, router 2 has a second one beside
//! it, and new connections take one and the other in turn: packets of a connection take the
//! same one in both directions. The kernel's hash of ports (`fib_multipath_hash_policy=1`) does not
//! ensure that between namespaces of one host: where a packet still has the hash that its sender's
//! socket gave it (`skb->l4_hash`), `fib_multipath_hash` takes that one, and the two ends have
//! different ones. Measured on 6.18: of 100 connections 48 took the same path in both directions,
//! and all 100 with policy 3 over addresses and ports, which computes the hash from the packet.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream},
    sync::atomic::{AtomicU32, Ordering},
};

use super::{Namespace, Owner, PREFIX};
use crate::{
    PORT,
    error::{Error, Result},
    util::program::{IP, NFT},
};

/// Number of the links that lead to the twin of router 2.
const TWIN: usize = 90;

/// The namespaces of a way; gone when dropped.
#[derive(Debug)]
pub struct Chain {
    client: Namespace,
    routers: Vec<Namespace>,
    twin: Option<Namespace>,
    broker: Namespace,
}

impl Chain {
    /// Builds a way of `count` routers. Any number may exist side by side.
    pub fn new(count: usize, with_twin: bool) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let owner = Owner::this_process()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let create =
            |what: &str| Namespace::create(format!("{PREFIX}-{owner}-{number}-way-{what}"));
        let chain = Self {
            client: create("client")?,
            routers: (1..=count)
                .map(|number| create(&number.to_string()))
                .collect::<Result<_>>()?,
            twin: with_twin.then(|| create("twin")).transpose()?,
            broker: create("broker")?,
        };
        chain.wire()?;
        chain.use_once()?;
        Ok(chain)
    }

    /// The client's host.
    pub const fn client(&self) -> &Namespace {
        &self.client
    }

    /// The broker's host.
    pub const fn broker(&self) -> &Namespace {
        &self.broker
    }

    /// One of the routers, from 1; 0 is the twin of router 2.
    pub fn router(&self, number: usize) -> Option<&Namespace> {
        match number {
            0 => self.twin.as_ref(),
            number => self.routers.get(number - 1),
        }
    }

    /// The broker's address.
    pub fn broker_address(&self, v6: bool) -> IpAddr {
        address(self.routers.len(), 2, v6)
    }

    /// The address from which a router answers the client.
    pub fn router_address(&self, number: usize, v6: bool) -> IpAddr {
        match number {
            0 => address(TWIN, 2, v6),
            number => address(number - 1, 2, v6),
        }
    }

    /// Has every host learn the addresses of its neighbours: a first SYN would be a second late.
    fn use_once(&self) -> Result<()> {
        self.client.enter(|| {
            for v6 in [false, true] {
                // Nothing listens yet.
                let _refused = TcpStream::connect((self.broker_address(v6), PORT));
            }
            Ok(())
        })
    }

    fn wire(&self) -> Result<()> {
        let last = self.routers.len();
        let routers = self.routers.iter().chain(&self.twin);
        for router in routers.clone() {
            router.sysctl(&[
                ("ipv4/ip_forward", "1"),
                ("ipv6/conf/all/forwarding", "1"),
                ("ipv6/conf/default/forwarding", "1"),
                // Every one of them answers, as often as it is asked.
                ("ipv4/icmp_ratelimit", "0"),
                ("ipv6/icmp/ratelimit", "0"),
            ])?;
        }
        for host in routers.chain([&self.client, &self.broker]) {
            host.sysctl(&[
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
                ("ipv6/conf/default/accept_dad", "0"),
                ("ipv4/ip_default_ttl", "64"),
            ])?;
        }
        let nodes: Vec<&Namespace> = std::iter::once(&self.client)
            .chain(&self.routers)
            .chain([&self.broker])
            .collect();
        for (number, pair) in nodes.windows(2).enumerate() {
            if let [near, far] = pair {
                link(number, near, far)?;
            }
        }
        let route =
            |node: &Namespace, to: &str, via: IpAddr| node.ip(&format!("route add {to} via {via}"));
        for v6 in [false, true] {
            let client = if v6 { "fd78::/64" } else { "10.78.0.0/24" };
            route(&self.client, "default", address(0, 2, v6))?;
            route(&self.broker, "default", address(last, 1, v6))?;
            for (number, router) in (1..).zip(&self.routers) {
                if number < last {
                    route(router, "default", address(number, 2, v6))?;
                }
                if number > 1 {
                    route(router, client, address(number - 1, 1, v6))?;
                }
            }
        }
        let (Some(twin), [first, _, third, ..]) = (&self.twin, &*self.routers) else {
            return Ok(());
        };
        link(TWIN, first, twin)?;
        link(TWIN + 1, twin, third)?;
        for v6 in [false, true] {
            let (family, client) = if v6 {
                ("-6", "fd78::/64")
            } else {
                ("-4", "10.78.0.0/24")
            };
            route(twin, "default", address(TWIN + 1, 2, v6))?;
            route(twin, client, address(TWIN, 1, v6))?;
            for (router, to, via) in [
                (first, "default", address(TWIN, 2, v6)),
                (third, client, address(TWIN + 1, 1, v6)),
            ] {
                router.ip(&format!("route add {to} via {via} table {TWIN}"))?;
                let rule = format!("rule add fwmark 2 lookup {TWIN}");
                router.run(IP, &[family, "-batch", "-"], &rule)?;
            }
        }
        // Each path has a number, which conntrack remembers.
        let mark = |router: &Namespace, which: &str, towards: &str| {
            let rules = format!(
                "table inet spread {{\n\
                 chain arriving {{\n\
                 type filter hook prerouting priority mangle;\n\
                 {which}\n\
                 tcp {towards} {PORT} meta mark set ct mark\n\
                 }}\n\
                 }}\n"
            );
            router.nft(&rules)
        };
        let in_turn = format!("tcp dport {PORT} ct mark 0 ct mark set numgen inc mod 2 offset 1");
        mark(first, &in_turn, "dport")?;
        let as_it_came = format!("iifname a{} ct mark set 2", TWIN + 1);
        mark(third, &as_it_came, "sport")?;
        Ok(())
    }

    /// Has a router (0 is the twin of router 2) forget connections that were silent for `idle_s`
    /// seconds, and then do `what_then` with their packets: `drop`, or `reject with tcp reset`.
    pub fn device(&self, number: usize, idle_s: u32, what_then: &str) -> Result<()> {
        self.rules(
            number,
            &format!(
                "table inet middlebox {{\n\
                 chain forwarded {{\n\
                 type filter hook forward priority 0; policy accept;\n\
                 ct state established,related accept\n\
                 tcp flags & (syn|ack) == syn ct state new accept\n\
                 meta l4proto tcp ct state invalid,new {what_then}\n\
                 }}\n\
                 }}\n"
            ),
        )?;
        let idle = idle_s.to_string();
        self.sysctl(
            number,
            &[
                ("netfilter/nf_conntrack_tcp_timeout_established", &idle),
                ("netfilter/nf_conntrack_tcp_loose", "0"),
            ],
        )
    }

    /// How many packets a named counter of a router's table `inet counted` has counted.
    ///
    /// # Errors
    /// What `nft` refuses, or says.
    pub fn counted(&self, number: usize, counter: &str) -> Result<u64> {
        let Some(router) = self.router(number) else {
            return Err(Error::Staging(format!("there is no router {number}")));
        };
        let list = ["-j", "list", "counter", "inet", "counted", counter];
        let text = router.run(NFT, &list, "")?;
        let said: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| Error::Staging(format!("nft said {text}: {error}")))?;
        let entries = said["nftables"].as_array().into_iter().flatten();
        let mut packets = entries.filter_map(|it| it["counter"]["packets"].as_u64());
        packets
            .next_back()
            .ok_or_else(|| Error::Staging(format!("nft said {text}: expected packets")))
    }

    /// Adds nftables rules to a router.
    pub fn rules(&self, number: usize, rules: &str) -> Result<()> {
        match self.router(number) {
            Some(router) => router.nft(rules),
            None => Ok(()),
        }
    }

    /// Sets kernel parameters of a router.
    pub fn sysctl(&self, number: usize, settings: &[(&str, &str)]) -> Result<()> {
        match self.router(number) {
            Some(router) => router.sysctl(settings),
            None => Ok(()),
        }
    }
}

/// Joins two hosts.
fn link(number: usize, near: &Namespace, far: &Namespace) -> Result<()> {
    near.ip(&format!(
        "link add b{number} type veth peer name a{number} netns {}\n\
             address add {}/24 dev b{number}\n\
             address add {}/64 dev b{number} nodad\n\
             link set lo up\n\
             link set b{number} up\n",
        far.name(),
        address(number, 1, false),
        address(number, 1, true),
    ))?;
    far.ip(&format!(
        "address add {}/24 dev a{number}\n\
             address add {}/64 dev a{number} nodad\n\
             link set lo up\n\
             link set a{number} up\n",
        address(number, 2, false),
        address(number, 2, true),
    ))
}

fn address(link: usize, end: u8, v6: bool) -> IpAddr {
    if v6 {
        let link = u16::try_from(link).unwrap_or(u16::MAX);
        Ipv6Addr::new(0xfd78, link, 0, 0, 0, 0, 0, end.into()).into()
    } else {
        let link = u8::try_from(link).unwrap_or(u8::MAX);
        Ipv4Addr::new(10, 78, link, end).into()
    }
}
