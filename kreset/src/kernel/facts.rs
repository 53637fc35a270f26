//! What is known of the running kernel and of this process before anything is
//! loaded. Plain data: [`collect`](KernelFacts::collect) fills it, tests write
//! it down, and [`plan`](super::plan) decides by it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};

use super::{
    btf::{Btf, BtfError, Wanted},
    hz,
    offsets::{self, OffsetError, Resolved},
    privilege::{PrivilegeError, Privileges},
    programs::{Hook, PROGRAMS, Program},
};

/// Where kernels since 5.4 show their BTF.
pub const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Everything that decides what can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFacts {
    /// `uname -r`, to show and never to decide by: distributions backport.
    pub release: String,
    /// What BTF says.
    pub types: Result<Types, NoTypes>,
    /// What this process may do.
    pub privileges: Privileges,
    /// What the kernel denies to everybody.
    pub lockdown: Lockdown,
    /// Jiffies per second.
    pub hz: Option<u32>,
    /// The cgroup v2 hierarchy.
    pub cgroup: Option<CgroupMount>,
    /// Whether the host shows pressure stall information.
    pub pressure: bool,
    /// What a trial load showed.
    pub loads: Loads,
}

impl Default for KernelFacts {
    /// A kernel that was not examined: nothing is known to work.
    fn default() -> Self {
        Self {
            release: String::new(),
            types: Err(NoTypes::NotLookedAt),
            privileges: Privileges::default(),
            lockdown: Lockdown::default(),
            hz: None,
            cgroup: None,
            pressure: false,
            loads: Loads::default(),
        }
    }
}

impl KernelFacts {
    /// Looks at the running kernel; `btf` is where its BTF is, normally
    /// [`BTF`]. Trial loads are made only where the privileges allow them.
    pub fn collect(btf: &Path) -> Result<Self, PrivilegeError> {
        let privileges = Privileges::read()?;
        let may_load = privileges.capabilities.can_trace() && !privileges.user_namespace;
        Ok(Self {
            release: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            types: Types::load(btf),
            privileges,
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown")
                .map_or(Lockdown::Unknown, |modes| Lockdown::parse(&modes)),
            hz: hz::of_this_kernel(),
            cgroup: fs::read("/proc/self/mountinfo").ok().and_then(|mounts| {
                CgroupMount::choose(cgroup_mounts(&String::from_utf8_lossy(&mounts)))
            }),
            // Opened in vain where it is off (kernel: `psi_cpu_open` and `psi_show`).
            pressure: fs::read("/proc/pressure/cpu").is_ok(),
            loads: if may_load {
                Loads::probe()
            } else {
                Loads::default()
            },
        })
    }
}

/// Whether something works, or why it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It works.
    Yes,
    /// It does not; a clause that can follow "since".
    No(String),
    /// Trying it was denied, whatever the kernel has; likewise.
    Denied(String),
    /// It should work by all other facts, and failed; a clause that can follow "since".
    Failed(String),
}

impl Default for Availability {
    fn default() -> Self {
        Self::No("it was not tried".to_owned())
    }
}

impl Availability {
    /// The answer of a trial load.
    fn of<E: std::error::Error + 'static>(what: &str, answer: Result<bool, E>) -> Self {
        match answer {
            Ok(true) => Self::Yes,
            Ok(false) => Self::No(format!("the kernel does not offer {what}")),
            Err(error) => {
                let reason = format!("probing {what} failed: {}", chain(&error));
                if is_denied(&error) {
                    Self::Denied(reason)
                } else {
                    Self::No(reason)
                }
            }
        }
    }

    /// Why it does not work, if it does not.
    pub fn obstacle(&self) -> Option<&str> {
        match self {
            Self::Yes => None,
            Self::No(reason) | Self::Denied(reason) | Self::Failed(reason) => Some(reason),
        }
    }
}

/// Whether a filter of system calls, or a security module, stands behind an error: these answer
/// EPERM or EACCES, and profiles of containers ENOSYS for calls that they do not list.
fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        matches!(
            cause.and_then(io::Error::raw_os_error),
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS)
        )
    })
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string does not fail.
        let _written = write!(line, ": {cause}");
        source = cause.source();
    }
    line
}

/// What was tried out, each with a program or map of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    /// `BPF_MAP_TYPE_RINGBUF`; since 5.8.
    pub ring_buffer: Availability,
    /// `bpf_jiffies64` in tracing programs; since 5.9.
    pub jiffies: Availability,
    /// `bpf_probe_read_kernel`; lockdown in confidentiality mode forbids it.
    pub probe_read: Availability,
    /// Packet programs on control groups; `CONFIG_CGROUP_BPF`.
    pub packet_programs: Availability,
    /// Programs on function entries. No trial is like the real ones, which
    /// need their target, so this is `Yes` until these are refused.
    pub function_entries: Availability,
    /// Programs by name that were refused against expectation, and why: of those that a run
    /// can do without ([`Program::feature`]).
    pub refused: BTreeMap<&'static str, String>,
}

impl Loads {
    /// Tries each. Takes the capabilities to trace.
    ///
    /// Helpers are tried in a raw tracepoint, which gets the same ones as a
    /// BTF tracepoint (`bpf_tracing_func_proto`) and needs no target. Those
    /// that BTF tracepoints alone get are in [`Types`].
    fn probe() -> Self {
        let helper = |what, helper| {
            Availability::of(
                what,
                is_helper_supported(ProgramType::RawTracePoint, helper),
            )
        };
        Self {
            ring_buffer: Availability::of(
                "the BPF ring buffer",
                is_map_supported(MapType::RingBuf),
            ),
            jiffies: helper("bpf_jiffies64", BpfHelper::BPF_FUNC_jiffies64),
            probe_read: helper(
                "bpf_probe_read_kernel",
                BpfHelper::BPF_FUNC_probe_read_kernel,
            ),
            packet_programs: Availability::of(
                "packet programs on control groups",
                is_program_supported(ProgramType::CgroupSkb),
            ),
            function_entries: Availability::Yes,
            refused: BTreeMap::new(),
        }
    }
}

/// Why BTF says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTypes {
    /// The kernel was not examined.
    #[error("it was not read")]
    NotLookedAt,
    /// The file is not there or not readable.
    #[error("{} cannot be read ({why})", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// The file is not what it should be.
    #[error("{} cannot be used ({why})", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: BtfError,
    },
}

/// Helpers that tracing programs get where the kernel has these functions.
const STORAGE_IN_TRACING: &str = "bpf_sk_storage_get_tracing";
const SOCKET_OF_FILE: &str = "bpf_sock_from_file";
const TASK_IN_TRACING: &str = "bpf_get_current_task_btf";
/// The context of the iterator over open files.
const FILE_ITERATOR: &str = "bpf_iter__task_file";
/// The kernel's reasons for a reset.
const RESET_REASONS: &str = "sk_rst_reason";

/// What the kernel's BTF says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Types {
    /// Where it was read.
    pub path: PathBuf,
    /// Arguments of the tracepoints and parameters of the functions in
    /// [`PROGRAMS`], of those that the kernel has.
    pub arguments: BTreeMap<&'static str, u32>,
    /// Names of `enum sk_rst_reason` without their prefix, by value; since
    /// 6.10.
    pub reset_reasons: BTreeMap<u32, String>,
    /// The fields that the kernel side reads.
    pub offsets: Result<Resolved, OffsetError>,
    /// Tracing programs can keep memory in a socket: the kernel has
    /// `bpf_sk_storage_get_tracing`, since 5.11.
    ///
    /// Read from BTF rather than by a trial, since a tracing program can be tried on
    /// a real target only. The same goes for the next.
    pub storage_in_tracing: bool,
    /// The file iterator can identify sockets: [`Self::iterates_files`] and
    /// `bpf_sock_from_file`, since 5.11.
    pub sockets_of_files: Availability,
    /// Programs can iterate over open files: `bpf_iter__task_file`, since 5.8.
    pub iterates_files: bool,
    /// `bpf_get_current_task_btf`, since 5.11.
    pub task_in_tracing: bool,
}

impl Types {
    /// Whether the kernel has what `program` hooks, with the arguments that it
    /// expects.
    pub fn fits(&self, program: &Program) -> bool {
        program
            .hook
            .target()
            .is_none_or(|(target, arguments)| self.arguments.get(target) == Some(&arguments))
    }

    /// What [`Self::read`] asks BTF for: an extract of it gives the same answers.
    pub fn wanted() -> Wanted<'static> {
        let mut wanted = Wanted {
            structures: offsets::wanted(),
            enumerations: [RESET_REASONS].into(),
            functions: [STORAGE_IN_TRACING, SOCKET_OF_FILE, TASK_IN_TRACING].into(),
            ..Wanted::default()
        };
        wanted.structures.entry(FILE_ITERATOR).or_default();
        for program in PROGRAMS {
            match program.hook {
                Hook::Tracepoint { target, .. } => _ = wanted.tracepoints.insert(target),
                Hook::FunctionEntry { target, .. } => _ = wanted.functions.insert(target),
                Hook::Packets(_) | Hook::OpenFiles => {}
            }
        }
        wanted
    }

    fn load(path: &Path) -> Result<Self, NoTypes> {
        let bytes = fs::read(path).map_err(|error| NoTypes::Unreadable {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        let btf = Btf::parse(&bytes).map_err(|why| NoTypes::Invalid {
            path: path.to_owned(),
            why,
        })?;
        Ok(Self::read(&btf, path))
    }

    /// Asks BTF that was read from `path`.
    pub fn read(btf: &Btf<'_>, path: &Path) -> Self {
        let has = |function| btf.has_function(function).unwrap_or(false);
        let iterates_files = btf.structure(FILE_ITERATOR).is_ok();
        Self {
            path: path.to_owned(),
            arguments: arguments(btf),
            reset_reasons: reset_reasons(btf),
            offsets: offsets::resolve(btf),
            storage_in_tracing: has(STORAGE_IN_TRACING),
            sockets_of_files: if has(SOCKET_OF_FILE) && iterates_files {
                Availability::Yes
            } else {
                Availability::No(
                    "programs cannot identify sockets among open files before Linux 5.11"
                        .to_owned(),
                )
            },
            iterates_files,
            task_in_tracing: has(TASK_IN_TRACING),
        }
    }
}

fn arguments(btf: &Btf<'_>) -> BTreeMap<&'static str, u32> {
    PROGRAMS
        .iter()
        .filter_map(|program| match program.hook {
            Hook::Tracepoint { target, .. } => Some((target, btf.tracepoint_arity(target).ok()?)),
            Hook::FunctionEntry { target, .. } => Some((target, btf.function_arity(target).ok()?)),
            Hook::Packets(_) | Hook::OpenFiles => None,
        })
        .collect()
}

fn reset_reasons(btf: &Btf<'_>) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for (name, value) in btf.enumerators(RESET_REASONS).unwrap_or_default() {
        if let Ok(value) = u32::try_from(value) {
            let name = name.strip_prefix("SK_RST_REASON_").unwrap_or(name);
            names.entry(value).or_insert_with(|| name.to_owned());
        }
    }
    names
}

/// Mode of the lockdown security module (`/sys/kernel/security/lockdown`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lockdown {
    /// The file is not there: no such module, or securityfs is not mounted.
    #[default]
    Unknown,
    /// Nothing is denied.
    None,
    /// The kernel cannot be changed: no effect on tracing programs.
    Integrity,
    /// Nor can its memory be read: no `bpf_probe_read_kernel`.
    Confidentiality,
}

impl Lockdown {
    /// Reads `none [integrity] confidentiality`.
    fn parse(modes: &str) -> Self {
        let active = modes
            .split_whitespace()
            .find_map(|mode| mode.strip_prefix('[')?.strip_suffix(']'));
        match active {
            Some("none") => Self::None,
            Some("integrity") => Self::Integrity,
            Some("confidentiality") => Self::Confidentiality,
            _ => Self::Unknown,
        }
    }
}

/// Where a cgroup v2 hierarchy is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount {
    /// The mount point.
    pub path: PathBuf,
    /// Whether the control groups of the whole host are there. A container in a cgroup namespace
    /// of its own sees its own group as if it were the root.
    pub is_whole: bool,
}

impl CgroupMount {
    /// The whole hierarchy, if it is mounted anywhere; else the first part of it.
    fn choose(mounts: Vec<PathBuf>) -> Option<Self> {
        let mounts = mounts.into_iter().map(|path| Self {
            // Every group has this file but the root of all (`CFTYPE_NOT_ON_ROOT` in
            // `cgroup_base_files`, 5.10 to 7.3).
            is_whole: !path.join("cgroup.type").exists(),
            path,
        });
        mounts.min_by_key(|mount| !mount.is_whole)
    }
}

/// Mount points of cgroup v2 in `/proc/self/mountinfo` (proc(5)): the unified
/// hierarchy, or beside v1 the hybrid one. Mounts of the whole hierarchy, as this
/// process sees it, go before those of a part of it.
fn cgroup_mounts(mounts: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = mounts
        .lines()
        .filter_map(|line| {
            let (place, filesystem) = line.split_once(" - ")?;
            let mut place = place.split(' ').skip(3);
            let (root, mount_point) = (place.next()?, place.next()?);
            (filesystem.split(' ').next() == Some("cgroup2")).then_some((root, mount_point))
        })
        .collect();
    found.sort_by_key(|(root, _)| *root != "/");
    let paths = found.into_iter();
    paths
        .map(|(_, mount_point)| PathBuf::from(unescaped(mount_point)))
        .collect()
}

/// Undoes the kernel's `\040` for a blank and its kin (`mangle` in
/// `fs/proc_namespace.c` escapes blank, tab, newline, backslash and `#`).
fn unescaped(path: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\043", "#"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(path.to_owned(), |path, (escape, plain)| {
        path.replace(escape, plain)
    })
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;
    use crate::kernel::{
        btf::synthetic::Builder,
        offsets::synthetic::{Edit, add_kernel},
        programs::{RECEIVE_RESET, SET_STATE},
    };

    fn types(fill: impl FnOnce(&mut Builder)) -> Types {
        let mut builder = Builder::new();
        fill(&mut builder);
        let blob = builder.finish();
        Types::read(&Btf::parse(&blob).unwrap(), Path::new("test"))
    }

    #[test]
    fn an_old_kernel_is_told_by_what_it_lacks() {
        let types = types(|b| {
            add_kernel(b, &[Edit::Without("sock_cgroup_data.cgroup")]);
            b.tracepoint("tcp_receive_reset", 1);
            b.tracepoint("tcp_send_reset", 2);
            b.tracepoint("inet_sock_set_state", 3);
            let prototype = b.prototype(&[0]);
            b.function("tcp_reset", prototype);
            b.structure("bpf_iter__task_file", 0, &[]);
        });
        let arguments = [
            ("inet_sock_set_state", 3),
            ("tcp_receive_reset", 1),
            ("tcp_reset", 1),
            ("tcp_send_reset", 2),
        ];
        assert_eq!(types.arguments, BTreeMap::from(arguments));
        assert_eq!(types.reset_reasons, BTreeMap::new());
        assert!(!types.storage_in_tracing);
        assert_ne!(
            types.sockets_of_files,
            Availability::Yes,
            "the iterator alone is not enough"
        );
        assert!(types.iterates_files);
        assert!(!types.task_in_tracing);
        assert_eq!(types.offsets.unwrap().missing.len(), 1);
    }

    #[test]
    fn reset_reasons_are_named_without_prefix_by_value() {
        let types = types(|b| {
            let values = [
                ("SK_RST_REASON_NOT_SPECIFIED", 0),
                ("SK_RST_REASON_NO_SOCKET", 1),
                ("SK_RST_REASON_ALIAS", 1),
                ("SK_RST_REASON_TCP_STATE", 14),
            ];
            b.enumeration("sk_rst_reason", false, &values);
        });
        let names: Vec<_> = types
            .reset_reasons
            .iter()
            .map(|(n, name)| (*n, name.as_str()))
            .collect();
        assert_eq!(
            names,
            [(0, "NOT_SPECIFIED"), (1, "NO_SOCKET"), (14, "TCP_STATE")]
        );
    }

    #[test]
    fn btf_that_is_missing_or_broken_is_no_types() {
        let missing = Types::load(Path::new("/nowhere/vmlinux"));
        assert!(
            matches!(missing, Err(NoTypes::Unreadable { .. })),
            "{missing:?}"
        );
        let broken = Types::load(Path::new("/proc/self/status"));
        assert!(matches!(broken, Err(NoTypes::Invalid { .. })), "{broken:?}");
    }

    #[test]
    fn lockdown_is_the_mode_in_brackets() {
        for (modes, lockdown) in [
            ("[none] integrity confidentiality\n", Lockdown::None),
            ("none [integrity] confidentiality\n", Lockdown::Integrity),
            (
                "none integrity [confidentiality]\n",
                Lockdown::Confidentiality,
            ),
            ("none integrity\n", Lockdown::Unknown),
            ("", Lockdown::Unknown),
        ] {
            assert_eq!(Lockdown::parse(modes), lockdown, "{modes}");
        }
    }

    #[test]
    fn the_cgroup_hierarchy_is_found_where_it_is_mounted() {
        let unified = "\
24 30 0:22 / /proc rw,relatime shared:14 - proc proc rw
35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        let hybrid = "\
32 24 0:27 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
33 32 0:28 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
34 32 0:29 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,name=systemd";
        let partial = "\
90 24 0:30 /kubepods /run/part rw - cgroup2 cgroup2 rw
91 24 0:30 / /mnt/the\\040whole rw - cgroup2 cgroup2 rw";
        let none = "\
34 32 0:29 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,name=systemd
garbage
35 - cgroup2";
        for (mounts, paths) in [
            (unified, &["/sys/fs/cgroup"][..]),
            (hybrid, &["/sys/fs/cgroup/unified"]),
            (partial, &["/mnt/the whole", "/run/part"]),
            (none, &[]),
        ] {
            let found = cgroup_mounts(mounts);
            assert!(found.iter().eq(paths.iter().map(Path::new)), "{found:?}");
        }
    }

    /// In a cgroup namespace both mounts look like the root.
    #[test]
    fn the_hierarchy_of_the_host_goes_before_that_of_a_container() {
        let [own, host] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        fs::write(own.path().join("cgroup.type"), "domain\n").unwrap();
        let [own, host] = [own.path(), host.path()].map(Path::to_owned);
        let choose = |paths: &[&PathBuf]| {
            let chosen = CgroupMount::choose(paths.iter().copied().cloned().collect());
            chosen.map(|mount| (mount.path, mount.is_whole))
        };
        assert_eq!(choose(&[&own, &host]), Some((host, true)));
        assert_eq!(choose(&[&own]), Some((own.clone(), false)));
        assert_eq!(choose(&[]), None);
    }

    /// A filter of system calls says nothing about the kernel.
    #[test]
    fn a_denied_call_is_not_one_that_the_kernel_lacks() {
        let of = |code| {
            let error = SyscallError {
                call: "bpf_map_create",
                io_error: io::Error::from_raw_os_error(code),
            };
            Availability::of("the BPF ring buffer", Err(error))
        };
        for denied in [libc::EPERM, libc::EACCES, libc::ENOSYS] {
            let found = of(denied);
            assert!(matches!(found, Availability::Denied(_)), "{found:?}");
        }
        let found = of(libc::EINVAL);
        assert!(matches!(found, Availability::No(_)), "{found:?}");
        assert_eq!(
            of(libc::EPERM).obstacle(),
            Some(
                "probing the BPF ring buffer failed: `bpf_map_create` failed: \
                 Operation not permitted (os error 1)"
            )
        );
    }

    /// So an extract in a test stands for the kernel that it was made of.
    #[test]
    fn an_extract_of_the_running_kernel_answers_as_the_whole() {
        let path = Path::new(BTF);
        let bytes = fs::read(path).expect("this kernel describes its types (BTF)");
        let whole = Btf::parse(&bytes).unwrap();
        let extract = whole.extract(&Types::wanted()).unwrap();
        assert!(extract.len() < 8_000, "{} bytes", extract.len());
        let cut = Btf::parse(&extract).unwrap();
        assert_eq!(Types::read(&cut, path), Types::read(&whole, path));
        assert_eq!(cut.extract(&Types::wanted()), Ok(extract.clone()));

        // Another reader of BTF takes it for whole.
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &extract).unwrap();
        aya::Btf::parse_file(file.path(), aya::Endianness::default()).unwrap();
    }

    /// Needs no privilege: without any, the trial loads are left out.
    #[test]
    fn the_running_kernel_can_be_looked_at() {
        let facts = KernelFacts::collect(Path::new(BTF)).unwrap();
        let types = facts.types.unwrap();
        assert!(types.offsets.is_ok(), "{:?}", types.offsets);
        assert!(types.fits(&RECEIVE_RESET) && types.fits(&SET_STATE));
        assert!(!facts.release.is_empty());
    }
}
