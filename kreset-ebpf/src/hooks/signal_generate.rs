//! `signal_generate`: who sends the owner of a traced listener a signal that ends it or stops
//! it. Every signal of the host comes by here, and nearly all leave by their number.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use kreset_common::process::{SIGCONT, SIGNALS, SIGNALS_OF_ITSELF};

use crate::{kernel::Task, owners};

/// `TRACE_SIGNAL_DELIVERED`; kernel: `include/trace/events/signal.h`.
const DELIVERED: i32 = 0;
/// `TRACE_SIGNAL_IGNORED`. `SIGCONT` is ignored after it has had its effect
/// (`prepare_signal`).
const IGNORED: i32 = 1;
/// `SEND_SIG_PRIV`: the kernel sends it.
const PRIVILEGED: usize = 1;

/// Prototype: `signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task,
/// int group, int result)`, since 3.3; `info` may be 0 (`SEND_SIG_NOINFO`) or 1.
#[btf_tracepoint(function = "signal_generate")]
fn signal_generate(ctx: BtfTracePointContext) -> i32 {
    let signal: i32 = ctx.arg(0);
    let result: i32 = ctx.arg(4);
    let number = signal as u32;
    if number >= 32 || SIGNALS & (1 << number) == 0 {
        return 0;
    }
    if result != DELIVERED && !(number == SIGCONT && result == IGNORED) {
        return 0;
    }
    let task = Task::typed(ctx.arg(2));
    let current = (bpf_get_current_pid_tgid() >> 32) as u32;
    if task.tgid() == current && SIGNALS_OF_ITSELF & (1 << number) == 0 {
        return 0;
    }
    let info: *const c_void = ctx.arg(1);
    owners::signalled(task, number as u8, info as usize == PRIVILEGED);
    0
}
