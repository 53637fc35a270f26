//! Three network namespaces in a row: client - router - broker.
//!
//! ```text
//!   client                 router                 broker
//!   eth0 ------------ client   broker ------------ eth0
//!   10.77.1.2    10.77.1.1       10.77.2.1    10.77.2.2
//!   fd77:1::2    fd77:1::1       fd77:2::1    fd77:2::2
//! ```
//!
//! The hosts differ from the router by one hop, so what the router makes up reaches a host with a
//! TTL of 64 and what the other host sent with 63.
//!
//! Nothing but TCP is ever on the wire: neighbours are written down instead of asked for, and
//! IPv6 does no duplicate address detection. Every data segment is acknowledged at once (the
//! routes say `quickack`), because a delayed acknowledgement would be one more packet, up to
//! 40 ms after the last one, and only one of the two ends would know of it: the hosts would
//! disagree about how long the connection had been silent, and both would be right.

pub mod broker_process;
pub mod chain;
pub mod endpoint;
pub mod forge;
pub mod holder;
pub mod message;
pub mod packet;
pub mod raw;

use std::{
    fmt,
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MntFlags, umount2},
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    Side, Stop,
    error::{Context as _, Error, Result},
    util::{
        lock::lock,
        program::{self, IP, NFT, Program, SS},
        worker::join,
    },
};

/// Where `ip netns` keeps its names, and `kreset-trace --netns NAME` looks for them.
const NAMES: &str = "/run/netns";

/// What the names of all namespaces of all labs begin with.
const PREFIX: &str = "kreset-lab";

/// The client's IPv4 address.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 2);
/// The client's IPv6 address.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 2);
/// The broker's IPv4 address.
pub const BROKER_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 2);
/// The broker's IPv6 address.
pub const BROKER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, 2);

/// A named network namespace, deleted when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    fn create(name: String) -> Result<Self> {
        // `ip netns add` mounts over its directory the first time; two at once can mount twice.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let alone = lock(&ONE_AT_A_TIME);
        program::run(IP, &["netns", "add", &name], "")?;
        drop(alone);
        let path = Path::new(NAMES).join(&name);
        match File::open(&path) {
            Ok(file) => Ok(Self { name, file }),
            Err(source) => {
                delete(&name);
                Err(Error::Io {
                    context: format!("open {}", path.display()),
                    source,
                })
            }
        }
    }

    /// The name, as `ip netns` and `kreset-trace --netns` take it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that the name stands for.
    pub fn path(&self) -> PathBuf {
        Path::new(NAMES).join(&self.name)
    }

    /// Runs `work` inside this namespace, on a thread of its own.
    ///
    /// Sockets stay in the namespace they were made in, so what `work` opens may be used from any
    /// thread afterwards; processes that it starts stay inside.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        inside(&self.file, &self.name, work)
    }

    /// Runs a program inside this namespace and returns what it printed.
    pub(crate) fn run(&self, program: Program, arguments: &[&str], input: &str) -> Result<String> {
        self.enter(|| program::run(program, arguments, input))
    }

    /// Runs lines of `ip` inside this namespace.
    pub(crate) fn ip(&self, lines: &str) -> Result<()> {
        self.run(IP, &["-batch", "-"], lines).map(drop)
    }

    /// Runs lines of `nft` inside this namespace.
    pub(crate) fn nft(&self, lines: &str) -> Result<()> {
        self.run(NFT, &["-f", "-"], lines).map(drop)
    }

    /// Waits until something listens on a TCP port of this namespace.
    pub(crate) fn wait_for_listener(&self, port: u16, stop: &Stop) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(20);
        let filter = format!("sport = :{port}");
        let what = format!("a listener on port {port}");
        stop.until(&what, PATIENCE, Duration::from_millis(20), || {
            let listeners = self.run(SS, &["-Hltn", &filter], "")?;
            Ok((!listeners.is_empty()).then_some(()))
        })
    }

    /// Gives this host one more address.
    pub(crate) fn add_address(&self, address: Ipv4Addr) -> Result<()> {
        let address = format!("{address}/24");
        self.ip(&format!("address add {address} dev eth0"))
    }

    /// Sets kernel parameters of this namespace, named as below /proc/sys/net, with slashes.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.enter(|| {
            for (name, value) in settings {
                fs::write(Path::new("/proc/sys/net").join(name), value)
                    .context(|| format!("set net/{name} to {value}"))?;
            }
            Ok(())
        })
    }

    /// Connections that wait in the accept queues of the listeners at a port: `rx_queue` in the
    /// kernel's list (`get_tcp4_sock`).
    pub fn accept_queue(&self, port: u16) -> Result<usize> {
        const LISTEN: &str = "0A";
        let at_port = format!(":{port:04X}");
        self.enter(|| {
            let mut length = 0;
            // A JVM's sockets are IPv6.
            for list in ["tcp", "tcp6"] {
                let path = format!("/proc/thread-self/net/{list}");
                let text = fs::read_to_string(&path).context(|| format!("read {path}"))?;
                for line in text.lines() {
                    let fields: Vec<_> = line.split_ascii_whitespace().collect();
                    let &[_, local, _, LISTEN, queues, ..] = fields.as_slice() else {
                        continue;
                    };
                    if let Some((_, queue)) = queues.split_once(':')
                        && local.ends_with(&at_port)
                    {
                        length += usize::from_str_radix(queue, 16).unwrap_or(0);
                    }
                }
            }
            Ok(length)
        })
    }

    /// Reads such a parameter, trimmed.
    pub fn read_sysctl(&self, name: &str) -> Result<String> {
        self.enter(|| {
            fs::read_to_string(Path::new("/proc/sys/net").join(name))
                .map(|value| value.trim().to_owned())
                .context(|| format!("read net/{name}"))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

/// Does what `ip netns delete` does, but needs no process, which a Ctrl-C would end as well.
fn delete(name: &str) {
    let path = Path::new(NAMES).join(name);
    // Nothing can be done about either, and the next lab's `sweep` tries again.
    let _unmounted = umount2(&path, MntFlags::MNT_DETACH);
    let _removed = fs::remove_file(&path);
}

/// The three namespaces and the wires between them; gone when dropped.
#[derive(Debug)]
pub struct Network {
    client: Namespace,
    router: Namespace,
    broker: Namespace,
}

impl Network {
    /// Builds the network. Any number may exist side by side, in one process or several.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let owner = Owner::this_process()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let create = |what| Namespace::create(format!("{PREFIX}-{owner}-{number}-{what}"));
        let network = Self {
            client: create("client")?,
            router: create("router")?,
            broker: create("broker")?,
        };
        network.wire()?;
        network.wait_until_up()?;
        Ok(network)
    }

    /// The namespace of one end.
    pub const fn host(&self, side: Side) -> &Namespace {
        match side {
            Side::Client => &self.client,
            Side::Broker => &self.broker,
        }
    }

    /// The namespace between them.
    pub const fn router(&self) -> &Namespace {
        &self.router
    }

    /// Gives the broker's host one more address, which the router knows of.
    pub fn add_broker_address(&self, address: Ipv4Addr) -> Result<()> {
        self.broker.add_address(address)?;
        self.router.ip(&format!(
            "neighbour add {address} lladdr 02:00:00:00:02:02 nud permanent dev broker"
        ))
    }

    /// Adds an attacker's namespace behind the router, with a network behind it that never
    /// answers. The router forwards what comes from there in anybody's name.
    ///
    /// ```text
    ///   10.77.3.1 router - attacker 10.77.3.2 - 10.99.0.0/16
    /// ```
    pub fn add_attacker(&self) -> Result<Namespace> {
        let attacker = Namespace::create(self.router.name.replace("router", "attacker"))?;
        attacker.sysctl(&[
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv4/ip_forward", "0"),
            // Of his own connections; those of what he forges are below.
            ("ipv4/ip_local_port_range", "50000 60999"),
        ])?;
        self.router.ip(&format!(
            "link add attacker address 02:00:00:00:03:01 type veth peer name eth0 address 02:00:00:00:03:02 netns {}\n\
             link set attacker addrgenmode none\n\
             address add 10.77.3.1/24 dev attacker\n\
             link set attacker up\n\
             neighbour add 10.77.3.2 lladdr 02:00:00:00:03:02 nud permanent dev attacker\n\
             route add 10.99.0.0/16 via 10.77.3.2\n",
            attacker.name,
        ))?;
        attacker.ip("link set eth0 addrgenmode none\n\
             address add 10.77.3.2/24 dev eth0\n\
             link set lo up\n\
             link set eth0 up\n\
             neighbour add 10.77.3.1 lladdr 02:00:00:00:03:01 nud permanent dev eth0\n\
             route add default via 10.77.3.1\n")?;
        Ok(attacker)
    }

    fn wire(&self) -> Result<()> {
        for namespace in [&self.client, &self.router, &self.broker] {
            namespace.sysctl(&[
                // Set before there are interfaces, so that they begin like this. The host's own
                // settings, which may be inherited, must not change what a scenario shows.
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
                ("ipv6/conf/default/accept_dad", "0"),
                ("ipv6/conf/default/accept_ra", "0"),
                ("ipv4/ip_default_ttl", "64"),
                ("ipv6/conf/default/hop_limit", "64"),
                ("ipv4/tcp_timestamps", "1"),
                // What one connection learned about a peer must not change the next one's timing.
                ("ipv4/tcp_no_metrics_save", "1"),
            ])?;
        }
        self.router.sysctl(&[
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv6/conf/default/forwarding", "1"),
            // Every scenario gets the answer that it is about, however many there are.
            ("ipv4/icmp_ratelimit", "0"),
            ("ipv6/icmp/ratelimit", "0"),
        ])?;
        self.router.ip(&format!(
                "link add client address 02:00:00:00:01:01 type veth peer name eth0 address 02:00:00:00:01:02 netns {}\n\
                 link add broker address 02:00:00:00:02:01 type veth peer name eth0 address 02:00:00:00:02:02 netns {}\n\
                 link set client addrgenmode none\n\
                 link set broker addrgenmode none\n\
                 address add 10.77.1.1/24 dev client\n\
                 address add 10.77.2.1/24 dev broker\n\
                 address add fd77:1::1/64 dev client nodad\n\
                 address add fd77:2::1/64 dev broker nodad\n\
                 link set lo up\n\
                 link set client up\n\
                 link set broker up\n\
                 neighbour add {CLIENT_V4} lladdr 02:00:00:00:01:02 nud permanent dev client\n\
                 neighbour add {CLIENT_V6} lladdr 02:00:00:00:01:02 nud permanent dev client\n\
                 neighbour add {BROKER_V4} lladdr 02:00:00:00:02:02 nud permanent dev broker\n\
                 neighbour add {BROKER_V6} lladdr 02:00:00:00:02:02 nud permanent dev broker\n",
                self.client.name, self.broker.name,
            ))?;
        for (host, number, v4, v6) in [
            (&self.client, 1, CLIENT_V4, CLIENT_V6),
            (&self.broker, 2, BROKER_V4, BROKER_V6),
        ] {
            host.ip(&format!(
                    "link set eth0 addrgenmode none\n\
                     address add {v4}/24 dev eth0\n\
                     address add {v6}/64 dev eth0 nodad\n\
                     link set lo up\n\
                     link set eth0 up\n\
                     neighbour add 10.77.{number}.1 lladdr 02:00:00:00:0{number}:01 nud permanent dev eth0\n\
                     neighbour add fd77:{number}::1 lladdr 02:00:00:00:0{number}:01 nud permanent dev eth0\n\
                     route add default via 10.77.{number}.1 quickack 1\n\
                     route add default via fd77:{number}::1 quickack 1\n"
                ))?;
        }
        Ok(())
    }

    /// Waits until packets pass in both directions and families.
    ///
    /// Of two ends of a wire the kernel brings the first one up a little after the second one, and
    /// until then drops what it sends. A SYN lost like that would be repeated a second later.
    fn wait_until_up(&self) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(5);
        const PAUSE: Duration = Duration::from_millis(2);
        let bound = |side, v6| {
            self.host(side).enter(|| {
                let open = || {
                    let socket = UdpSocket::bind((address(side, v6), 0))?;
                    socket.set_read_timeout(Some(PAUSE))?;
                    io::Result::Ok(socket)
                };
                open().context(|| "open a datagram socket".to_owned())
            })
        };
        let deadline = Instant::now() + PATIENCE;
        for v6 in [false, true] {
            let (client, broker) = (bound(Side::Client, v6)?, bound(Side::Broker, v6)?);
            for (from, to) in [(&client, &broker), (&broker, &client)] {
                let target = to.local_addr().context(|| "read an address".to_owned())?;
                // Neither sending nor waiting in vain is an error before the deadline.
                while from.send_to(&[0], target).is_err() || to.recv(&mut [0]).is_err() {
                    if Instant::now() > deadline {
                        return Err(Error::Deadline {
                            what: format!("packets to reach {target}"),
                            waited: PATIENCE,
                        });
                    }
                    thread::sleep(PAUSE);
                }
            }
        }
        Ok(())
    }
}

/// Does what [`Namespace::enter`] does, in any network namespace that is open as a file.
pub(crate) fn inside<T: Send>(
    namespace: &File,
    name: &str,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    thread::scope(|scope| {
        join(scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET)
                .context(|| format!("enter network namespace {name}"))?;
            work()
        }))
    })
}

/// The address of one end, in one family.
pub fn address(side: Side, v6: bool) -> IpAddr {
    match (side, v6) {
        (Side::Client, false) => CLIENT_V4.into(),
        (Side::Client, true) => CLIENT_V6.into(),
        (Side::Broker, false) => BROKER_V4.into(),
        (Side::Broker, true) => BROKER_V6.into(),
    }
}

/// The router's address on the link to one end, in one family.
pub(crate) fn router_address(side: Side, v6: bool) -> IpAddr {
    let link = match side {
        Side::Client => 1,
        Side::Broker => 2,
    };
    if v6 {
        Ipv6Addr::new(0xfd77, link, 0, 0, 0, 0, 0, 1).into()
    } else {
        let [_, link] = link.to_be_bytes();
        Ipv4Addr::new(10, 77, link, 1).into()
    }
}

/// Deletes the namespaces of labs that died without doing so (SIGKILL, power), and returns how
/// many there were. Those of labs that still run are left alone.
pub fn sweep() -> Result<usize> {
    let entries = match fs::read_dir(NAMES) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(source) => {
            return Err(Error::Io {
                context: format!("list {NAMES}"),
                source,
            });
        }
    };
    let mut swept = 0;
    for name in entries.flatten().map(|entry| entry.file_name()) {
        if let Some(name) = name.to_str()
            && Owner::of(name).is_some_and(|owner| !owner.lives())
        {
            end_processes(name);
            delete(name);
            swept += 1;
        }
    }
    Ok(swept)
}

/// Ends what a dead lab has left running in a namespace: most of its programs notice by
/// themselves, proxies do not.
fn end_processes(name: &str) {
    // Nothing can be done where that fails, and the next lab's `sweep` tries again.
    let Ok(pids) = program::run(IP, &["netns", "pids", name], "") else {
        return;
    };
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        let _signalled = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// The process that made a namespace: its pid, and its start time since pids come round again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    pid: u32,
    /// Clock ticks after boot.
    started: u64,
}

impl Owner {
    fn this_process() -> Result<Self> {
        let pid = std::process::id();
        let started =
            start_time(pid).context(|| "read the start time of this process".to_owned())?;
        Ok(Self { pid, started })
    }

    /// Reads the owner out of a namespace's name.
    fn of(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-');
        Some(Self {
            pid: parts.next()?.parse().ok()?,
            started: parts.next()?.parse().ok()?,
        })
    }

    fn lives(self) -> bool {
        start_time(self.pid).is_ok_and(|started| started == self.started)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)
    }
}

fn start_time(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    start_time_of(&stat).ok_or_else(|| io::Error::other(format!("cannot make sense of {stat:?}")))
}

/// The 22nd field. The second, the name, may itself hold spaces and parentheses.
fn start_time_of(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_survives_its_way_through_a_name() {
        let owner = Owner {
            pid: 42,
            started: 123_456,
        };
        assert_eq!(
            Owner::of(&format!("{PREFIX}-{owner}-7-client")),
            Some(owner)
        );
        assert_eq!(Owner::of("other-42-1-2"), None);
        assert_eq!(Owner::of("kreset-lab-x-1-2"), None);
    }

    #[test]
    fn this_process_lives_and_one_with_its_pid_but_another_start_does_not() {
        let owner = Owner::this_process().expect("own start time");
        assert!(owner.lives());
        assert!(
            !Owner {
                started: owner.started + 1,
                ..owner
            }
            .lives()
        );
    }

    #[test]
    fn a_process_name_may_hold_anything() {
        let stat = "1 (a) b) c) S 1 1 1 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 4711 9";
        assert_eq!(start_time_of(stat), Some(4711));
    }
}
