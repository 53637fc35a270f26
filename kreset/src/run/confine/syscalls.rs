//! The filter of system calls (seccomp(2)): a call that is not listed fails
//! with EPERM.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use super::ConfineError;

/// What the sinks of a run need beside the event loop, files and standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Sockets: sinks that connect or listen, and name resolution.
    pub network: bool,
    /// Threads beside the first.
    pub threads: bool,
}

impl Needs {
    /// What either needs.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            network: self.network || other.network,
            threads: self.threads || other.threads,
        }
    }
}

/// The event loop, its clock and its memory.
const LOOP: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_uname,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Calls of the same kind that newer architectures do without.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_epoll_wait,
    libc::SYS_getdents,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_stat,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// Output files and their rotation; procfs and control groups.
const FILES: &[c_long] = &[
    libc::SYS_faccessat,
    libc::SYS_fchmod,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getdents64,
    libc::SYS_geteuid,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_readlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_unlinkat,
];

/// Sockets of [`Needs::network`].
const NETWORK: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
];

/// Threads of [`Needs::threads`].
const THREADS: &[c_long] = &[
    // Denied by the second filter.
    libc::SYS_clone3,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
];

/// Kernel: `include/uapi/asm-generic/ioctls.h`. C libraries differ in their types.
const TCGETS: u64 = 0x5401;
const TIOCOUTQ: u64 = 0x5411;
const TIOCGWINSZ: u64 = 0x5413;
const FIONBIO: u64 = 0x5421;
/// `BPF_MAP_LOOKUP_ELEM`; kernel: `enum bpf_cmd`.
const BPF_MAP_LOOKUP: u64 = 1;

/// What clone(2) must not have: the namespaces of `include/uapi/linux/sched.h`. In a
/// user namespace of its own a process has every capability.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// Filters the system calls of this thread, and of those that it starts.
pub(super) fn filter(needs: Needs) -> Result<(), ConfineError> {
    // The kernel takes the strictest answer of all filters.
    apply_filter(&without_clone3()?)?;
    apply_filter(&program(needs)?)?;
    Ok(())
}

/// The flags of clone3(2) are in memory, where no filter can see them. C libraries
/// use clone(2) where the kernel does not have it.
fn without_clone3() -> Result<BpfProgram, ConfineError> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, missing, architecture)?.try_into()?)
}

fn program(needs: Needs) -> Result<BpfProgram, ConfineError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = BTreeMap::new();
    let mut allow = |calls: &[c_long]| {
        for call in calls {
            // No rule: whatever its arguments are.
            rules.insert(*call, Vec::new());
        }
    };
    allow(LOOP);
    allow(OLDER);
    allow(FILES);
    if needs.network {
        allow(NETWORK);
    }
    if needs.threads {
        allow(THREADS);
    }
    let rule = |argument, operator, value: u64| {
        let length = SeccompCmpArgLen::Dword;
        SeccompRule::new(vec![SeccompCondition::new(
            argument, length, operator, value,
        )?])
    };
    let is = |argument, value: u64| rule(argument, SeccompCmpOp::Eq, value);
    let lacks = |argument, bit: libc::c_int| rule(argument, SeccompCmpOp::MaskedEq(bit as u64), 0);
    // No code but the program's own.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![lacks(2, libc::PROT_EXEC)?]);
    }
    // An abort, to leave a core behind: no signal for another process.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![is(0, own)?]);
    if needs.threads {
        // Threads of this process, in its own namespaces.
        let thread = libc::CLONE_THREAD as u64;
        let mask = SeccompCmpOp::MaskedEq(NAMESPACES as u64 | thread);
        rules.insert(libc::SYS_clone, vec![rule(0, mask, thread)?]);
        let name = [libc::PR_SET_NAME, libc::PR_GET_NAME];
        let named = name.map(|option| is(0, option as u64));
        rules.insert(
            libc::SYS_prctl,
            named.into_iter().collect::<Result<_, _>>()?,
        );
    }
    if needs.network {
        // Neither netlink nor packets nor what else a kernel has.
        let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
        let sockets = families.map(|family| is(0, family as u64));
        rules.insert(
            libc::SYS_socket,
            sockets.into_iter().collect::<Result<_, _>>()?,
        );
    }
    // Whether it is a terminal, and how wide.
    let mut controls = vec![is(1, TCGETS)?, is(1, TIOCGWINSZ)?];
    if needs.network {
        // How the standard library makes a socket not block; what a receiver
        // has not acknowledged.
        controls.extend([is(1, FIONBIO)?, is(1, TIOCOUTQ)?]);
    }
    rules.insert(libc::SYS_ioctl, controls);
    // The counters are read; nothing is loaded any more.
    rules.insert(libc::SYS_bpf, vec![is(0, BPF_MAP_LOOKUP)?]);
    // The runtime's own pair for signals.
    rules.insert(libc::SYS_socketpair, vec![is(0, libc::AF_UNIX as u64)?]);
    if !needs.network {
        for call in [libc::SYS_recvfrom, libc::SYS_sendto] {
            rules.insert(call, Vec::new());
        }
    }
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, denied, SeccompAction::Allow, architecture)?.try_into()?)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        net::{TcpListener, TcpStream, UdpSocket},
        thread,
    };

    use super::*;
    use crate::{
        delivery::spool::{LEAST_BYTES, Spool},
        sink::unacknowledged,
    };

    /// Filters are a thread's own too.
    fn confined<T: Send + 'static>(needs: Needs, act: fn() -> T) -> T {
        let thread = thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            filter(needs).unwrap();
            act()
        });
        thread.join().unwrap()
    }

    #[test]
    fn files_work_and_what_is_not_needed_does_not() {
        let (read, bound, spawned) = confined(Needs::default(), || {
            (
                fs::read_to_string("/proc/self/status"),
                UdpSocket::bind("127.0.0.1:0").map(|_| ()),
                std::process::Command::new("/bin/true").status(),
            )
        });
        read.unwrap();
        assert_eq!(bound.unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert_eq!(spawned.unwrap_err().raw_os_error(), Some(libc::EPERM));
    }

    /// A new segment is a new file: the soak wrote 8 MiB before it found that none could be made.
    #[test]
    fn a_spool_goes_on_in_a_new_segment() {
        let appended = confined(Needs::default(), || {
            let directory = tempfile::tempdir()?;
            let mut spool =
                Spool::open(directory.path(), LEAST_BYTES).map_err(std::io::Error::other)?;
            // Each is longer than a segment of the smallest spool.
            (0..4).try_for_each(|_| spool.append([vec![b'x'; 70_000]]))
        });
        appended.unwrap();
    }

    #[test]
    fn sinks_can_ask_for_the_network() {
        let network = Needs {
            network: true,
            threads: false,
        };
        let needs = Needs::default().and(network);
        assert_eq!(needs, network);
        let bound = confined(needs, || UdpSocket::bind("127.0.0.1:0").map(|_| ()));
        bound.unwrap();
        let outstanding = confined(needs, || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let sender = TcpStream::connect(listener.local_addr()?)?;
            unacknowledged(&sender)
        });
        assert_eq!(outstanding.unwrap(), 0);
    }

    /// What a system call with these arguments returns, or the error.
    fn call(number: c_long, arguments: [u64; 5]) -> Result<c_long, i32> {
        let of = |index: usize| arguments[index];
        // SAFETY: the tests pass no pointers but NULL, which the kernel refuses, and
        // make only calls that the filter is to deny.
        match unsafe { libc::syscall(number, of(0), of(1), of(2), of(3), of(4)) } {
            -1 => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
            result => Ok(result),
        }
    }

    /// From one thread: as whoever controls it would.
    #[test]
    fn there_is_no_way_out() {
        let outcomes = confined(
            Needs {
                network: true,
                threads: true,
            },
            || {
                let signal = libc::SIGCHLD as u64;
                let clone =
                    |flag: libc::c_int| call(libc::SYS_clone, [flag as u64 | signal, 0, 0, 0, 0]);
                let exec = (libc::PROT_READ | libc::PROT_EXEC) as u64;
                let mapping = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
                vec![
                    ("clone: user namespace", clone(libc::CLONE_NEWUSER)),
                    ("clone: network namespace", clone(libc::CLONE_NEWNET)),
                    ("clone: a process", clone(0)),
                    (
                        "clone: a thread in a namespace",
                        clone(libc::CLONE_THREAD | libc::CLONE_NEWUSER),
                    ),
                    (
                        "unshare",
                        call(libc::SYS_unshare, [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0]),
                    ),
                    ("setns", call(libc::SYS_setns, [0; 5])),
                    ("execve", call(libc::SYS_execve, [0; 5])),
                    ("ptrace", call(libc::SYS_ptrace, [0; 5])),
                    ("mount", call(libc::SYS_mount, [0; 5])),
                    ("keyctl", call(libc::SYS_keyctl, [0; 5])),
                    ("io_uring", call(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0])),
                    ("kill", call(libc::SYS_kill, [1, 0, 0, 0, 0])),
                    ("tgkill", call(libc::SYS_tgkill, [1, 1, 0, 0, 0])),
                    (
                        "prctl: dumpable",
                        call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u64, 1, 0, 0, 0]),
                    ),
                    (
                        "socket: netlink",
                        call(libc::SYS_socket, [libc::AF_NETLINK as u64, 3, 0, 0, 0]),
                    ),
                    (
                        "socket: packet",
                        call(libc::SYS_socket, [libc::AF_PACKET as u64, 3, 0, 0, 0]),
                    ),
                    (
                        "socket: vsock",
                        call(libc::SYS_socket, [libc::AF_VSOCK as u64, 1, 0, 0, 0]),
                    ),
                    (
                        "mmap: executable",
                        call(libc::SYS_mmap, [0, 4_096, exec, mapping, u64::MAX]),
                    ),
                    (
                        "mprotect: executable",
                        call(libc::SYS_mprotect, [0, 4_096, exec, 0, 0]),
                    ),
                ]
            },
        );
        for (what, outcome) in outcomes {
            assert_eq!(outcome, Err(libc::EPERM), "{what}");
        }
    }

    /// The C library makes threads with clone(2) then.
    #[test]
    fn clone3_is_missing_and_threads_start() {
        let (outcome, thread) = confined(
            Needs {
                network: false,
                threads: true,
            },
            || {
                let outcome = call(libc::SYS_clone3, [0; 5]);
                let thread = thread::Builder::new()
                    .name("another".to_owned())
                    .spawn(|| thread::current().name().map(ToOwned::to_owned));
                (outcome, thread.map(|it| it.join().unwrap()))
            },
        );
        assert_eq!(outcome, Err(libc::ENOSYS));
        assert_eq!(thread.unwrap().as_deref(), Some("another"));
    }

    #[test]
    fn nothing_is_loaded_into_the_kernel_any_more() {
        let outcome = confined(Needs::default(), || {
            // SAFETY: the filter refuses the call before any argument is read;
            // without it the kernel would refuse a NULL attribute of size 0.
            let outcome = unsafe { libc::syscall(libc::SYS_bpf, 5, 0, 0) };
            (outcome, std::io::Error::last_os_error().raw_os_error())
        });
        assert_eq!(outcome, (-1, Some(libc::EPERM)));
    }
}
