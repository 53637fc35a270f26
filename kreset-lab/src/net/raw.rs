//! Sending packets whose headers are made by the lab.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use nix::libc::IPPROTO_RAW;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// A raw socket of each family. They receive nothing (kernel: `raw(7)`).
#[derive(Debug)]
pub struct RawSockets {
    v4: Socket,
    v6: Socket,
}

impl RawSockets {
    /// Opens them in the calling thread's network namespace.
    pub fn open() -> io::Result<Self> {
        // With this protocol the IP header is part of what is sent.
        let open = |domain| Socket::new(domain, Type::RAW, Some(Protocol::from(IPPROTO_RAW)));
        Ok(Self {
            v4: open(Domain::IPV4)?,
            v6: open(Domain::IPV6)?,
        })
    }

    /// Sends a packet, from its IP header on.
    pub fn send(&self, packet: &[u8], destination: IpAddr) -> io::Result<()> {
        let socket = match destination {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        // Raw sockets take no port, and IPv6 ones refuse any.
        let destination = SockAddr::from(SocketAddr::new(destination, 0));
        socket.send_to(packet, &destination).map(drop)
    }
}
