//! `sched_process_exit`: the owner of a traced listener ends, just before its sockets are
//! closed.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{kernel::Task, owners};

/// Prototype: `sched_process_exit(struct task_struct *p)`, up to 6.15; for each thread.
#[btf_tracepoint(function = "sched_process_exit")]
fn process_exit(ctx: BtfTracePointContext) -> i32 {
    let _others = owners::exits(Task::typed(ctx.arg(0)));
    0
}

/// Prototype: `sched_process_exit(struct task_struct *p, bool group_dead)`, since 6.16.
#[btf_tracepoint(function = "sched_process_exit")]
fn process_exit_group(ctx: BtfTracePointContext) -> i32 {
    let _others = owners::exits(Task::typed(ctx.arg(0)));
    0
}
