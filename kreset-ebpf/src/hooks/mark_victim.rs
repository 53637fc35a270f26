//! `mark_victim`: the out-of-memory killer has chosen a process, of a control group or of the
//! whole machine, and sent it `SIGKILL`.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{kernel::Task, owners};

/// Prototype: `mark_victim(int pid)`, before 6.8; of the thread that has the memory, which is the
/// first one but where that has exited (kernel: `find_lock_task_mm`).
#[btf_tracepoint(function = "mark_victim")]
fn mark_victim(ctx: BtfTracePointContext) -> i32 {
    let pid: i32 = ctx.arg(0);
    owners::out_of_memory(pid as u32);
    0
}

/// Prototype: `mark_victim(struct task_struct *task, uid_t uid)`, since 6.8.
#[btf_tracepoint(function = "mark_victim")]
fn mark_victim_task(ctx: BtfTracePointContext) -> i32 {
    owners::out_of_memory(Task::typed(ctx.arg(0)).tgid());
    0
}
