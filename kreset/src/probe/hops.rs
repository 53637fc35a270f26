//! The way to the broker, from connecting with rising TTLs. Without privileges.
//!
//! A router that lets a SYN die sends time exceeded; in `SYN_SENT` the kernel
//! queues that with the router's address (`ip_icmp_error` in `tcp_v4_err`, 6.18).

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd as _,
    time::Duration,
};

use nix::{
    cmsg_space,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg},
};
use socket2::Socket;
use tokio::{task::JoinSet, time::timeout};

use super::{
    line::{report_icmp, socket, watched},
    walk::{Hop, Way},
};

/// Farther than any way in use.
pub(super) const FARTHEST: u8 = 30;

/// Connections that ask the same hop: each has a port of its own, and so may take
/// another of several equal ways.
const ASK: usize = 3;

/// Longer than the second that the kernel waits before it repeats a SYN.
const PATIENCE: Duration = Duration::from_millis(1_300);

enum Knock {
    Hop(IpAddr),
    Broker,
    Nothing,
}

/// Finds the hops before `remote`, with `at_once` connections at a time.
pub(super) async fn discover(remote: SocketAddr, at_once: usize) -> Way {
    let mut way = Way::default();
    let window = u8::try_from((at_once / ASK).clamp(1, 4)).unwrap_or(1);
    let mut ttl = 1;
    while ttl <= FARTHEST && way.broker.is_none() {
        let mut knocks = JoinSet::new();
        for ttl in ttl..ttl + window {
            for _ in 0..ASK {
                knocks.spawn_local(async move { (ttl, knock(remote, ttl).await) });
            }
        }
        let mut hops: Vec<Hop> = (ttl..ttl + window)
            .map(|ttl| Hop {
                ttl,
                ..Hop::default()
            })
            .collect();
        while let Some(done) = knocks.join_next().await {
            let Ok((at, Ok(knock))) = done else {
                continue;
            };
            match knock {
                Knock::Hop(address) => {
                    if let Some(hop) = hops.iter_mut().find(|hop| hop.ttl == at)
                        && !hop.addresses.contains(&address)
                    {
                        hop.addresses.push(address);
                        hop.addresses.sort_unstable();
                    }
                }
                Knock::Broker => way.broker = Some(way.broker.map_or(at, |known| known.min(at))),
                Knock::Nothing => {}
            }
        }
        way.hops.extend(hops);
        ttl += window;
    }
    match way.broker {
        Some(broker) => way.hops.retain(|hop| hop.ttl < broker),
        // A filter near the broker may swallow what comes with a low TTL.
        None => way.hops.clear(),
    }
    way
}

/// Connects with a TTL of `ttl`.
async fn knock(remote: SocketAddr, ttl: u8) -> io::Result<Knock> {
    let socket = socket(remote, Some(ttl))?;
    report_icmp(&socket, remote)?;
    let socket = watched(socket)?;
    let Ok(ready) = timeout(PATIENCE, socket.writable()).await else {
        return Ok(Knock::Nothing);
    };
    drop(ready?);
    Ok(match socket.get_ref().take_error()? {
        None => Knock::Broker,
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => Knock::Broker,
        Some(_) => source(socket.get_ref()).map_or(Knock::Nothing, Knock::Hop),
    })
}

/// Who sent the ICMP error in the queue of `socket`.
fn source(socket: &Socket) -> Option<IpAddr> {
    let mut data = [0; 64];
    let mut parts = [IoSliceMut::new(&mut data)];
    let mut control = cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_ERRQUEUE,
    )
    .ok()?;
    message.cmsgs().ok()?.find_map(|it| match it {
        ControlMessageOwned::Ipv4RecvErr(_, Some(from)) => {
            Some(IpAddr::from(from.sin_addr.s_addr.to_ne_bytes()))
        }
        ControlMessageOwned::Ipv6RecvErr(_, Some(from)) => {
            Some(IpAddr::from(from.sin6_addr.s6_addr))
        }
        _ => None,
    })
}
