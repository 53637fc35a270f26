//! The route to the broker, from connecting with rising TTLs. Without privileges.
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
    connection::{connect, report_icmp, watched},
    log::Log,
    walk::{Hop, Route},
};

/// Farther than any route in use.
pub(super) const FARTHEST: u8 = 30;

/// Connections that ask the same hop: each has a port of its own, and so may take
/// another of several equal paths.
const ASK: usize = 3;

/// Longer than the second that the kernel waits before it repeats a SYN.
const PATIENCE: Duration = Duration::from_millis(1_300);

enum Answer {
    Hop(IpAddr),
    Broker,
    Nothing,
}

/// Finds the hops before `remote`, with `at_once` connections at a time.
pub(super) async fn discover(remote: SocketAddr, at_once: usize, log: &Log) -> Route {
    let mut route = Route::default();
    let window = u8::try_from((at_once / ASK).clamp(1, 4)).unwrap_or(1);
    let mut ttl = 1;
    while ttl <= FARTHEST && route.broker.is_none() {
        let mut questions = JoinSet::new();
        for ttl in ttl..ttl + window {
            for _ in 0..ASK {
                let log = log.clone();
                questions.spawn_local(async move { (ttl, ask(remote, ttl, &log).await) });
            }
        }
        let mut hops: Vec<Hop> = (ttl..ttl + window)
            .map(|ttl| Hop {
                ttl,
                ..Hop::default()
            })
            .collect();
        while let Some(done) = questions.join_next().await {
            let Ok((at, Ok(answer))) = done else {
                continue;
            };
            match answer {
                Answer::Hop(address) => {
                    if let Some(hop) = hops.iter_mut().find(|hop| hop.ttl == at)
                        && !hop.addresses.contains(&address)
                    {
                        hop.addresses.push(address);
                        hop.addresses.sort_unstable();
                    }
                }
                Answer::Broker => {
                    route.broker = Some(route.broker.map_or(at, |known| known.min(at)));
                }
                Answer::Nothing => {}
            }
        }
        route.hops.extend(hops);
        ttl += window;
    }
    match route.broker {
        Some(broker) => route.hops.retain(|hop| hop.ttl < broker),
        // A filter near the broker may swallow what comes with a low TTL.
        None => route.hops.clear(),
    }
    route
}

/// Connects with a TTL of `ttl`.
async fn ask(remote: SocketAddr, ttl: u8, log: &Log) -> io::Result<Answer> {
    let (socket, _entry) = connect(remote, Some(ttl), log)?;
    report_icmp(&socket, remote)?;
    let socket = watched(socket)?;
    let Ok(ready) = timeout(PATIENCE, socket.writable()).await else {
        return Ok(Answer::Nothing);
    };
    drop(ready?);
    Ok(match socket.get_ref().take_error()? {
        None => Answer::Broker,
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => Answer::Broker,
        Some(_) => source(socket.get_ref()).map_or(Answer::Nothing, Answer::Hop),
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
