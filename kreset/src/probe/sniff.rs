//! The TTLs of the broker's handshakes and of the resets: with `CAP_NET_RAW`.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::task::JoinHandle;

use super::connection::watched;

const SYN: u8 = 0x02;
const RST: u8 = 0x04;

/// A packet that came from the broker's address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Observed {
    local_port: u16,
    is_reset: bool,
    ttl: u8,
}

/// Watches for such packets while it lives.
#[derive(Debug)]
pub(super) struct Sniffer {
    seen: Rc<RefCell<Vec<Observed>>>,
    task: JoinHandle<()>,
}

/// TTLs, as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ttls {
    /// Of resets.
    pub reset: Option<u8>,
    /// Of the broker's side of the handshakes.
    pub handshake: Option<u8>,
}

impl Ttls {
    /// How far away the resets began, if they began with one of the usual TTLs.
    #[must_use]
    pub fn distance(self) -> Option<u8> {
        const USUAL: [u8; 3] = [64, 128, 255];
        let ttl = self.reset?;
        let began = USUAL.iter().find(|began| **began >= ttl)?;
        Some(began - ttl + 1)
    }
}

impl Sniffer {
    /// Starts watching, if that is allowed. Needs a `LocalSet` around it.
    pub(super) fn start(remote: SocketAddr) -> Option<Self> {
        let socket = watched(open(remote).ok()?).ok()?;
        let seen = Rc::new(RefCell::new(Vec::new()));
        let into = Rc::clone(&seen);
        let task = tokio::task::spawn_local(async move {
            let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 256];
            while let Ok(mut ready) = socket.readable().await {
                let packet = ready.try_io(|fd| receive(fd.get_ref(), &mut buffer));
                match packet {
                    Ok(Ok(packet)) => into.borrow_mut().extend(observed(&packet)),
                    Ok(Err(_failed)) => return,
                    Err(_would_block) => {}
                }
            }
        });
        Some(Self { seen, task })
    }

    /// What was seen of the connections that `was_reset`.
    pub(super) fn ttls(&self, was_reset: impl Fn(u16) -> bool) -> Ttls {
        let seen = self.seen.borrow();
        let most = |wanted: &dyn Fn(&&Observed) -> bool| {
            let mut counts = BTreeMap::<u8, u32>::new();
            for observed in seen.iter().filter(wanted) {
                *counts.entry(observed.ttl).or_default() += 1;
            }
            let most = counts.into_iter().max_by_key(|(_, count)| *count);
            most.map(|(ttl, _)| ttl)
        };
        Ttls {
            reset: most(&|it| it.is_reset && was_reset(it.local_port)),
            handshake: most(&|it| !it.is_reset),
        }
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn receive(socket: &Socket, buffer: &mut [MaybeUninit<u8>]) -> io::Result<Vec<u8>> {
    let length = socket.recv(buffer)?;
    Ok(buffer[..length]
        .iter()
        // SAFETY: `recv` wrote so many bytes.
        .map(|byte| unsafe { byte.assume_init() })
        .collect())
}

fn open(remote: SocketAddr) -> io::Result<Socket> {
    let protocol = match remote {
        SocketAddr::V4(_) => libc::ETH_P_IP,
        SocketAddr::V6(_) => libc::ETH_P_IPV6,
    };
    let protocol = Protocol::from(i32::from((protocol as u16).to_be()));
    // Without the link's header: packets begin with that of IP.
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(&filter(remote))?;
    Ok(socket)
}

/// Takes SYN and RST segments from `remote`, and nothing else.
fn filter(remote: SocketAddr) -> Vec<SockFilter> {
    const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
    const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    const IPV4_HEADER: u32 = libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH;
    const BEHIND_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_IND;
    const BEHIND_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_IND;
    const TCP: u32 = 6;
    /// The offset behind any fragment's header but the first.
    const FRAGMENT: u32 = 0x1fff;
    let port = u32::from(remote.port());
    let flags = u32::from(SYN | RST);
    // Each step: what to load, and what it must be (or must not, or must have).
    enum Must {
        Be(u32),
        Not(u32),
        Have(u32),
        Nothing,
    }
    let steps = match remote.ip() {
        IpAddr::V4(address) => vec![
            (LOAD_BYTE, 9, Must::Be(TCP)),
            (LOAD_WORD, 12, Must::Be(address.to_bits())),
            (LOAD_HALF, 6, Must::Not(FRAGMENT)),
            (IPV4_HEADER, 0, Must::Nothing),
            (BEHIND_HALF, 0, Must::Be(port)),
            (BEHIND_BYTE, 13, Must::Have(flags)),
        ],
        IpAddr::V6(address) => {
            let mut steps = vec![(LOAD_BYTE, 6, Must::Be(TCP))];
            let bits = address.to_bits();
            steps.extend((0..4_u32).map(|word| {
                let part = (bits >> (96 - 32 * word)) as u32;
                (LOAD_WORD, 8 + 4 * word, Must::Be(part))
            }));
            steps.push((LOAD_HALF, 40, Must::Be(port)));
            steps.push((LOAD_BYTE, 53, Must::Have(flags)));
            steps
        }
    };
    let tests = steps.iter().filter(|step| !matches!(step.2, Must::Nothing));
    let length = steps.len() + tests.count();
    let mut program: Vec<SockFilter> = Vec::with_capacity(length + 2);
    for (load, at, must) in steps {
        program.push(SockFilter::new(load as u16, 0, 0, at));
        let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        let set = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
        // To the last instruction, which drops.
        let out = u8::try_from(length - program.len()).unwrap_or(u8::MAX);
        match must {
            Must::Be(value) => program.push(SockFilter::new(equal, 0, out, value)),
            Must::Not(bits) => program.push(SockFilter::new(set, out, 0, bits)),
            Must::Have(bits) => program.push(SockFilter::new(set, 0, out, bits)),
            Must::Nothing => {}
        }
    }
    let end = (libc::BPF_RET | libc::BPF_K) as u16;
    program.push(SockFilter::new(end, 0, 0, 128));
    program.push(SockFilter::new(end, 0, 0, 0));
    program
}

fn observed(packet: &[u8]) -> Option<Observed> {
    let first = *packet.first()?;
    let (ttl, header) = match first >> 4 {
        4 => (*packet.get(8)?, usize::from(first & 0x0f) * 4),
        6 => (*packet.get(7)?, 40),
        _ => return None,
    };
    let port = packet.get(header + 2..header + 4)?;
    let flags = packet.get(header + 13)?;
    Some(Observed {
        local_port: u16::from_be_bytes(port.try_into().ok()?),
        is_reset: flags & RST != 0,
        ttl,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read() {
        let mut packet = vec![0_u8; 40];
        (packet[0], packet[8]) = (0x45, 62);
        packet[20..24].copy_from_slice(&[0x23, 0x84, 0x9c, 0x40]);
        packet[33] = 0x04;
        let seen = observed(&packet).unwrap();
        assert_eq!(
            (seen.local_port, seen.is_reset, seen.ttl),
            (40_000, true, 62)
        );
        let mut packet = vec![0_u8; 60];
        (packet[0], packet[7]) = (0x60, 254);
        packet[42..44].copy_from_slice(&[0x9c, 0x41]);
        packet[53] = 0x12;
        let seen = observed(&packet).unwrap();
        assert_eq!(
            (seen.local_port, seen.is_reset, seen.ttl),
            (40_001, false, 254)
        );
        for short in 0..54 {
            let _none = observed(&packet[..short]);
        }
    }

    #[test]
    fn a_ttl_says_how_far_away_a_reset_began() {
        for (ttl, distance) in [(64, 1), (62, 3), (128, 1), (125, 4), (255, 1), (250, 6)] {
            let ttls = Ttls {
                reset: Some(ttl),
                handshake: None,
            };
            assert_eq!(ttls.distance(), Some(distance));
        }
        assert_eq!(Ttls::default().distance(), None);
    }

    #[test]
    fn the_filter_fits_both_families() {
        for (remote, length) in [("10.0.0.1:9092", 13), ("[fd00::1]:9092", 16)] {
            assert_eq!(filter(remote.parse().unwrap()).len(), length);
        }
    }
}
