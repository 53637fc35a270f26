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

/// A program as most are: without a second copy, and one that no run is without.
const fn program(name: &'static str, hook: Hook) -> Program {
    Program {
        name,
        twin: None,
        hook,
        counts_skips: false,
        feature: None,
    }
}

/// A received RST. One that was skipped is found where its socket closes.
pub const RECEIVE_RESET: Program = Program {
    twin: Some("receive_reset_again"),
    ..program("receive_reset", tracepoint("tcp_receive_reset", 1))
};
/// A sent RST, up to 6.9.
pub const SEND_RESET: Program = Program {
    twin: Some("send_again"),
    counts_skips: true,
    ..program("send_reset", tracepoint("tcp_send_reset", 2))
};
/// A sent RST with the kernel's reason, since 6.10.
pub const SEND_RESET_REASON: Program = Program {
    twin: Some("send_again_reason"),
    counts_skips: true,
    ..program("send_reset_reason", tracepoint("tcp_send_reset", 3))
};
/// A change of a socket's state. The program itself counts what it missed.
pub const SET_STATE: Program = Program {
    twin: Some("set_state_again"),
    ..program("set_state", tracepoint("inet_sock_set_state", 3))
};
/// A freed socket, whose end may not have been observed. Without a second copy: it looks only
/// for what others missed.
pub const DESTROY_SOCK: Program = program("destroy_sock", tracepoint("tcp_destroy_sock", 1));
/// Packets that a socket receives.
pub const PACKETS_IN: Program = program("packets_in", Hook::Packets(Way::In));
/// Packets that a socket sends.
pub const PACKETS_OUT: Program = program("packets_out", Hook::Packets(Way::Out));
/// The headers of a RST; the function has the packet since 5.11.
pub const RESET_ENTERS: Program = Program {
    counts_skips: true,
    ..program("reset_enters", function_entry("tcp_reset", 2))
};
/// The headers of the broker's SYN,ACK.
pub const CONNECT_ENDS: Program = Program {
    counts_skips: true,
    ..program("connect_ends", function_entry("tcp_finish_connect", 2))
};
/// The headers of the client's last ACK of the handshake.
pub const ACCEPT_ENDS: Program = Program {
    counts_skips: true,
    ..program("accept_ends", function_entry("tcp_child_process", 3))
};
/// A signal to the owner of a listener. Without a second copy, like the next two: a task that
/// is in one of these programs sends no signal and does not exit.
pub const SIGNAL_GENERATE: Program = Program {
    feature: Some(Feature::Signals),
    ..program("signal_generate", tracepoint("signal_generate", 5))
};
/// The choice of the out-of-memory killer, before 6.8.
pub const MARK_VICTIM: Program = Program {
    feature: Some(Feature::OutOfMemory),
    ..program("mark_victim", tracepoint("mark_victim", 1))
};
/// The same, since 6.8.
pub const MARK_VICTIM_TASK: Program = Program {
    feature: Some(Feature::OutOfMemory),
    ..program("mark_victim_task", tracepoint("mark_victim", 2))
};
/// The end of the owner of a listener.
pub const PROCESS_EXIT: Program = Program {
    feature: Some(Feature::ProcessEnd),
    ..program("process_exit", tracepoint("sched_process_exit", 1))
};
/// The same where the kernel says which thread is the last; 6.18.
pub const PROCESS_EXIT_GROUP: Program = Program {
    feature: Some(Feature::ProcessEnd),
    ..program("process_exit_group", tracepoint("sched_process_exit", 2))
};
/// Finds connections that are older than the tracer.
pub const SEED: Program = program("seed", Hook::OpenFiles);
/// The same where programs have no helper for a file's socket, up to 5.10.
pub const SEED_BY_PROBE: Program = program("seed_by_probe", Hook::OpenFiles);

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
