//! What a distribution's init would do, as far as tracing needs it.

use std::{ffi::CStr, fs, io, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result};
use rustix::{
    mount::{MountFlags, mount},
    param::page_size,
    system::{RebootCommand, reboot, uname},
    termios::tcdrain,
    time::{ClockId, clock_getres},
};
use socket2::{Domain, Socket, Type};

/// Where the cgroup v2 hierarchy is mounted.
pub(crate) const CGROUP: &str = "/sys/fs/cgroup";

/// What the kernel's command line asks of the guest.
pub(crate) struct Options {
    /// Sources of packet evidence to try, as `--packet-evidence` takes them.
    pub(crate) packets: Vec<String>,
    /// Try what happens where something is missing.
    pub(crate) limits: bool,
}

/// Mounts, brings loopback up, and reads the kernel's command line.
pub(crate) fn prepare() -> Result<Options> {
    for (kind, target) in [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("securityfs", "/sys/kernel/security"),
        ("cgroup2", CGROUP),
        ("tmpfs", "/tmp"),
    ] {
        // Not every kernel has every one; what is needed fails by itself.
        let _missing = fs::create_dir_all(target);
        let mounted = mount(kind, target, kind, MountFlags::empty(), None::<&CStr>);
        if let Err(error) = mounted
            && kind != "securityfs"
            && error != rustix::io::Errno::BUSY
        {
            return Err(error).with_context(|| format!("mount {kind}"));
        }
    }
    loopback_up().context("loopback")?;
    let line = fs::read_to_string("/proc/cmdline").context("/proc/cmdline")?;
    let option = |name: &str| {
        line.split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    Ok(Options {
        packets: option("kreset.packets")
            .unwrap_or("auto")
            .split(',')
            .filter(|source| !source.is_empty())
            .map(str::to_owned)
            .collect(),
        limits: option("kreset.limits").is_some(),
    })
}

/// What kernel this is.
pub(crate) struct Kernel {
    /// `uname -v`: of Debian's, it ends with the package's version and date.
    pub(crate) build: String,
    /// Size of a page, bytes.
    pub(crate) page: usize,
    /// Ticks a second, `CONFIG_HZ`: what a coarse clock advances by is one (`hz.rs` of kreset says
    /// why).
    pub(crate) hz: i64,
}

/// Looks at the kernel that runs.
pub(crate) fn kernel() -> Kernel {
    let tick = clock_getres(ClockId::MonotonicCoarse);
    Kernel {
        build: uname().version().to_string_lossy().into_owned(),
        page: page_size(),
        hz: 1_000_000_000 / tick.tv_nsec.max(1),
    }
}

/// Ends the guest, once its console has sent everything: power off does not wait for it.
pub(crate) fn power_off() {
    let _no_console = tcdrain(io::stdout());
    let _refused = reboot(RebootCommand::PowerOff);
}

/// `ip link set lo up`.
fn loopback_up() -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: plain data, of which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (byte, letter) in request.ifr_name.iter_mut().zip(b"lo") {
        *byte = libc::c_char::from_ne_bytes([*letter]);
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    #[expect(clippy::as_underscore, reason = "of another type in each C library")]
    #[cfg_attr(
        target_env = "gnu",
        expect(trivial_numeric_casts, reason = "not in others")
    )]
    let command = libc::SIOCSIFFLAGS as _;
    // SAFETY: the request is whole and outlives the call.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), command, &raw mut request) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
