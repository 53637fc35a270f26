//! Traffic on loopback: both ends are on this host, so that every hook sees each packet twice,
//! where a broker's host sees it once.

pub mod abort;
pub mod bulk;
pub mod churn;
pub mod exchange;
pub mod flood;
pub mod hold;
pub mod kafka;

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    time::Instant,
};

use crate::net::message::{Request, answer, request};
use anyhow::{Context as _, Result};
use socket2::{Domain, Socket, Type};

/// An address of loopback; there are 2^24.
const fn loopback(last: u8, port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), port))
}

/// Listens at `port` of all addresses.
fn listen(port: u16) -> Result<TcpListener> {
    listen_at(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())
}

fn listen_at(address: SocketAddr) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket
        .bind(&address.into())
        .with_context(|| format!("cannot listen at {address}"))?;
    socket.listen(16_384)?;
    Ok(socket.into())
}

/// A small request of Kafka's, and what a broker answers.
fn exchange_bytes(kind: Request) -> (Vec<u8>, Vec<u8>) {
    let request = request(kind, 7);
    let answer = answer(request.get(4..).unwrap_or_default()).unwrap_or_default();
    (request, answer)
}

/// Says `bytes` and hears `length` bytes.
fn ask(stream: &mut TcpStream, bytes: &[u8], length: usize) -> std::io::Result<()> {
    stream.write_all(bytes)?;
    let mut heard = [0; 512];
    stream.read_exact(&mut heard[..length])
}

fn seconds_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64()
}
