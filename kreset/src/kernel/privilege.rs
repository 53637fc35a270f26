//! What this process may do.

use rustix::{
    process::{Resource, Rlimit, setrlimit},
    thread::{CapabilitySet, SecureComputingMode},
};

use crate::util::named::named;

named! {
    /// A capability that kreset uses, or could.
    Capability,
    /// The kernel's name.
    name {
        /// Loading programs and making maps; since 5.8.
        Bpf = "CAP_BPF",
        /// Tracing programs that read kernel memory; since 5.8.
        Perfmon = "CAP_PERFMON",
        /// Attaching packet programs to control groups.
        NetAdmin = "CAP_NET_ADMIN",
        /// Both of the first two before 5.8, and still.
        SysAdmin = "CAP_SYS_ADMIN",
        /// `/proc/PID` of other users.
        SysPtrace = "CAP_SYS_PTRACE",
        /// Files that other users keep to themselves.
        DacReadSearch = "CAP_DAC_READ_SEARCH",
    }
}

impl Capability {
    const fn flag(self) -> CapabilitySet {
        match self {
            Self::Bpf => CapabilitySet::BPF,
            Self::Perfmon => CapabilitySet::PERFMON,
            Self::NetAdmin => CapabilitySet::NET_ADMIN,
            Self::SysAdmin => CapabilitySet::SYS_ADMIN,
            Self::SysPtrace => CapabilitySet::SYS_PTRACE,
            Self::DacReadSearch => CapabilitySet::DAC_READ_SEARCH,
        }
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(CapabilitySet);

impl Default for Capabilities {
    /// None.
    fn default() -> Self {
        Self(CapabilitySet::empty())
    }
}

impl Capabilities {
    /// Whether the set has `capability`.
    pub const fn holds(self, capability: Capability) -> bool {
        self.0.contains(capability.flag())
    }

    /// Whether tracing programs can be loaded: with the two capabilities made
    /// for it, or the one of before 5.8, which the kernel still takes for both.
    pub const fn can_trace(self) -> bool {
        self.holds(Capability::SysAdmin)
            || (self.holds(Capability::Bpf) && self.holds(Capability::Perfmon))
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<T: IntoIterator<Item = Capability>>(iter: T) -> Self {
        Self(iter.into_iter().map(Capability::flag).collect())
    }
}

/// The capabilities cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the capabilities of this process cannot be read")]
pub struct PrivilegeError(#[source] std::io::Error);

/// Who this process is to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// Its effective capabilities.
    pub capabilities: Capabilities,
    /// Set where they count in a user namespace of its own only. BPF looks at
    /// the initial one, so that root of a rootless container has none.
    pub user_namespace: bool,
    /// Whether a filter of system calls (seccomp) is on it: a container's profile, or that of a
    /// unit. kreset's own comes later.
    pub is_filtered: bool,
}

impl Privileges {
    /// Of the calling thread.
    ///
    /// # Errors
    ///
    /// If capget(2) fails, which a system call filter can make it do.
    pub fn read() -> Result<Self, PrivilegeError> {
        let sets =
            rustix::thread::capabilities(None).map_err(|error| PrivilegeError(error.into()))?;
        Ok(Self {
            capabilities: Capabilities(sets.effective),
            user_namespace: std::fs::read_link("/proc/self/ns/user")
                .is_ok_and(|link| link.as_os_str() != INITIAL_USER_NAMESPACE),
            is_filtered: rustix::thread::secure_computing_mode()
                .is_ok_and(|mode| mode == SecureComputingMode::Filter),
        })
    }
}

/// `PROC_USER_INIT_INO` of `include/linux/proc_ns.h`, as the link shows it.
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// Lets BPF take the memory it needs; whether the kernel allowed that.
///
/// Before 5.11 BPF memory counts as locked memory, of which a process gets
/// 64 KiB. Later kernels account it to the control group instead: there a
/// refusal means nothing.
pub fn lift_locked_memory_limit() -> bool {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    setrlimit(Resource::Memlock, unlimited).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{Capabilities, Capability::*, Privileges};

    #[test]
    fn tracing_takes_both_capabilities_or_the_old_one() {
        let can = |held: &[_]| held.iter().copied().collect::<Capabilities>().can_trace();
        assert!(can(&[Bpf, Perfmon]));
        assert!(can(&[SysAdmin]));
        assert!(!can(&[Bpf, NetAdmin, SysPtrace, DacReadSearch]));
        assert!(!can(&[Perfmon, NetAdmin]));
        assert!(!can(&[]));
    }

    #[test]
    fn this_process_has_what_proc_says() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let field = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim()
        };
        let effective = u64::from_str_radix(field("CapEff:"), 16).unwrap();
        let read = Privileges::read().unwrap();
        // Numbers of include/uapi/linux/capability.h.
        for (capability, number) in [
            (DacReadSearch, 2),
            (NetAdmin, 12),
            (SysPtrace, 19),
            (SysAdmin, 21),
            (Perfmon, 38),
            (Bpf, 39),
        ] {
            let held = (effective >> number) & 1 == 1;
            assert_eq!(read.capabilities.holds(capability), held, "{capability}");
        }
        assert_eq!(read.is_filtered, field("Seccomp:") == "2");
    }
}
