//! Where the traffic runs: a network namespace of its own, with nothing but loopback.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::resource::{Resource, getrlimit},
};

use crate::util::{
    limits::allow_open_files,
    program::{self, IP},
};

/// The port that is traced. Odd, because tracers see the whole machine.
pub const TRACED: u16 = 29_092;
/// A port that is not.
pub const OTHER: u16 = 29_093;

/// Moves this process, which must have no other thread yet, into a namespace of its own.
pub fn enter() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the benchmarks attach tracers and so must run as root: use `cargo xtask bench`");
    }
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .context("cannot make a network namespace")?;
    let nothing: Option<&str> = None;
    mount(
        nothing,
        "/",
        nothing,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        nothing,
    )
    .context("cannot make mounts private")?;
    // bpftrace looks for its tracepoints there. Already mounted, or refused: it will say so.
    let _mounted = mount(
        Some("tracefs"),
        "/sys/kernel/tracing",
        Some("tracefs"),
        MsFlags::empty(),
        nothing,
    );
    // Whatever address a segment of the flood claims, its RST stays inside.
    let loopback = "link set lo up\nroute add local 10.0.0.0/8 dev lo\n";
    program::run(IP, &["-batch", "-"], loopback)?;
    for (name, value) in SETTINGS {
        let path = Path::new("/proc/sys/net").join(name);
        fs::write(&path, value).with_context(|| format!("cannot set {}", path.display()))?;
    }
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(allow_open_files(most)?)
}

/// Room for many short connections one after the other.
const SETTINGS: [(&str, &str); 5] = [
    ("ipv4/ip_local_port_range", "1024 28000"),
    ("ipv4/tcp_tw_reuse", "1"),
    // What would wait for a minute is dropped beyond this number.
    ("ipv4/tcp_max_tw_buckets", "1024"),
    ("ipv4/tcp_max_syn_backlog", "16384"),
    ("core/somaxconn", "16384"),
];
