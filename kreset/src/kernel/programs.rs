//! The programs of the kernel side: one row each, which facts, plan and apply all go through.
//!
//! A new hook is one file in `kreset-ebpf/src/hooks` and one row here.

use super::feature::Feature;

/// A program of the kernel side.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// Name of its function in the object.
    pub name: &'static str,
    /// Name of its second copy, which runs when the first is already active on
    /// this CPU (kernel: `prog->active`).
    pub twin: Option<&'static str>,
    /// What runs it.
    pub hook: Hook,
    /// Whether calls for which the kernel ran neither copy are counted from
    /// outside: the hook leaves no trace that a later one would find.
    pub counts_skips: bool,
    /// The feature that is missing where the kernel refuses the program against expectation;
    /// `None` if there is no run without it.
    pub feature: Option<Feature>,
}

/// What runs a program, and what that looks like on a kernel where it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A BTF tracepoint with so many arguments.
    Tracepoint {
        /// The tracepoint.
        target: &'static str,
        /// Its arguments.
        arguments: u32,
    },
    /// The entry of a function with so many parameters.
    FunctionEntry {
        /// The function.
        target: &'static str,
        /// Its parameters.
        arguments: u32,
    },
    /// Packets that enter or leave the sockets of a control group.
    Packets(Way),
    /// The iterator over the open files of all tasks (`iter/task_file`).
    OpenFiles,
}

/// The way of a packet, as a host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `cgroup_skb/ingress`.
    In,
    /// `cgroup_skb/egress`.
    Out,
}

impl Hook {
    /// The tracepoint or function, and the arguments that the program expects.
    pub const fn target(&self) -> Option<(&'static str, u32)> {
        match self {
            Self::Tracepoint { target, arguments } | Self::FunctionEntry { target, arguments } => {
                Some((target, *arguments))
            }
            Self::Packets(_) | Self::OpenFiles => None,
        }
    }
}

impl Program {
    /// Its function and that of its twin.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.twin)
    }
}

const fn tracepoint(target: &'static str, arguments: u32) -> Hook {
    Hook::Tracepoint { target, arguments }
}

const fn function_entry(target: &'static str, arguments: u32) -> Hook {
    Hook::FunctionEntry { target, arguments }
}

/// A received RST. One that was skipped is found where its socket closes.
pub const RECEIVE_RESET: Program = Program {
    name: "receive_reset",
    twin: Some("receive_reset_again"),
    hook: tracepoint("tcp_receive_reset", 1),
    counts_skips: false,
    feature: None,
};
/// A sent RST, up to 6.9.
pub const SEND_RESET: Program = Program {
    name: "send_reset",
    twin: Some("send_again"),
    hook: tracepoint("tcp_send_reset", 2),
    counts_skips: true,
    feature: None,
};
/// A sent RST with the kernel's reason, since 6.10.
pub const SEND_RESET_REASON: Program = Program {
    name: "send_reset_reason",
    twin: Some("send_again_reason"),
    hook: tracepoint("tcp_send_reset", 3),
    counts_skips: true,
    feature: None,
};
/// A change of a socket's state. The program itself counts what it missed.
pub const SET_STATE: Program = Program {
    name: "set_state",
    twin: Some("set_state_again"),
    hook: tracepoint("inet_sock_set_state", 3),
    counts_skips: false,
    feature: None,
};
/// A freed socket, whose end may not have been observed. Without a second copy: it looks only
/// for what others missed.
pub const DESTROY_SOCK: Program = Program {
    name: "destroy_sock",
    twin: None,
    hook: tracepoint("tcp_destroy_sock", 1),
    counts_skips: false,
    feature: None,
};
/// Packets that a socket receives.
pub const PACKETS_IN: Program = Program {
    name: "packets_in",
    twin: None,
    hook: Hook::Packets(Way::In),
    counts_skips: false,
    feature: None,
};
/// Packets that a socket sends.
pub const PACKETS_OUT: Program = Program {
    name: "packets_out",
    twin: None,
    hook: Hook::Packets(Way::Out),
    counts_skips: false,
    feature: None,
};
/// The headers of a RST; the function has the packet since 5.11.
pub const RESET_ENTERS: Program = Program {
    name: "reset_enters",
    twin: None,
    hook: function_entry("tcp_reset", 2),
    counts_skips: true,
    feature: None,
};
/// The headers of the broker's SYN,ACK.
pub const CONNECT_ENDS: Program = Program {
    name: "connect_ends",
    twin: None,
    hook: function_entry("tcp_finish_connect", 2),
    counts_skips: true,
    feature: None,
};
/// The headers of the client's last ACK of the handshake.
pub const ACCEPT_ENDS: Program = Program {
    name: "accept_ends",
    twin: None,
    hook: function_entry("tcp_child_process", 3),
    counts_skips: true,
    feature: None,
};
/// A signal to the owner of a listener. Without a second copy, like the next two: a task that
/// is in one of these programs sends no signal and does not exit.
pub const SIGNAL_GENERATE: Program = Program {
    name: "signal_generate",
    twin: None,
    hook: tracepoint("signal_generate", 5),
    counts_skips: false,
    feature: Some(Feature::Signals),
};
/// The choice of the out-of-memory killer, before 6.8.
pub const MARK_VICTIM: Program = Program {
    name: "mark_victim",
    twin: None,
    hook: tracepoint("mark_victim", 1),
    counts_skips: false,
    feature: Some(Feature::OutOfMemory),
};
/// The same, since 6.8.
pub const MARK_VICTIM_TASK: Program = Program {
    name: "mark_victim_task",
    twin: None,
    hook: tracepoint("mark_victim", 2),
    counts_skips: false,
    feature: Some(Feature::OutOfMemory),
};
/// The end of the owner of a listener.
pub const PROCESS_EXIT: Program = Program {
    name: "process_exit",
    twin: None,
    hook: tracepoint("sched_process_exit", 1),
    counts_skips: false,
    feature: Some(Feature::ProcessEnd),
};
/// The same where the kernel says which thread is the last; 6.18.
pub const PROCESS_EXIT_GROUP: Program = Program {
    name: "process_exit_group",
    twin: None,
    hook: tracepoint("sched_process_exit", 2),
    counts_skips: false,
    feature: Some(Feature::ProcessEnd),
};
/// Finds connections that are older than the tracer.
pub const SEED: Program = Program {
    name: "seed",
    twin: None,
    hook: Hook::OpenFiles,
    counts_skips: false,
    feature: None,
};
/// The same where programs have no helper for a file's socket, up to 5.10.
pub const SEED_BY_PROBE: Program = Program {
    name: "seed_by_probe",
    twin: None,
    hook: Hook::OpenFiles,
    counts_skips: false,
    feature: None,
};

/// Every program, in the order in which they are attached: packets first, since
/// a connection that begins between two attachments must not look as if it had
/// none.
pub static PROGRAMS: [&Program; 17] = [
    &PACKETS_IN,
    &PACKETS_OUT,
    &RESET_ENTERS,
    &CONNECT_ENDS,
    &ACCEPT_ENDS,
    &RECEIVE_RESET,
    &SET_STATE,
    &DESTROY_SOCK,
    &SEND_RESET,
    &SEND_RESET_REASON,
    &SIGNAL_GENERATE,
    &MARK_VICTIM,
    &MARK_VICTIM_TASK,
    &PROCESS_EXIT,
    &PROCESS_EXIT_GROUP,
    &SEED,
    &SEED_BY_PROBE,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_function_has_one_row() {
        let names: Vec<_> = PROGRAMS.iter().flat_map(|it| it.names()).collect();
        let unique: BTreeSet<_> = names.iter().collect();
        assert_eq!(names.len(), unique.len(), "{names:?}");
    }
}
