//! How a broker's process ended, in a sentence, as advice, and as the event has it.

use smol_str::{SmolStr, format_smolstr};

use super::context::{Fate, ProcessEnd, Request};
use crate::{
    event::{self, Asked, Ended, MemoryEnd, SignalSender},
    facts::process::{Ending, MemoryLimit, OutOfMemory, Sender, signal},
    util::units::{bytes, tenths},
};

/// A JVM ends with this code on the signals that it ends in order on: 128 and the signal.
const BY_SIGNAL: u8 = 128;
/// `-XX:+ExitOnOutOfMemoryError` (`vm_exit` in the JVM's `debug.cpp`).
const JVM_OUT_OF_MEMORY: u8 = 3;

/// What became of it.
pub(super) fn what(end: &ProcessEnd) -> Ended {
    let asked_with = end.asked.as_ref().map(|it| it.signal);
    match (&end.fate, end.ended) {
        (Fate::OutOfMemory(_), _) => Ended::OutOfMemory,
        (Fate::Suspended { .. }, None) if asked_with.is_none() => Ended::Suspended,
        (_, Some((Ending::Code(code), _))) => {
            let as_asked = asked_with.is_some_and(|signal| {
                code == 0 || u16::from(code) == u16::from(BY_SIGNAL) + u16::from(signal)
            });
            if as_asked {
                Ended::Stopped
            } else {
                Ended::Exited
            }
        }
        (_, Some((Ending::Signal { signal, .. }, _))) if asked_with == Some(signal) => {
            Ended::Stopped
        }
        (Fate::Killed(_), Some(_)) => Ended::Killed,
        (_, Some(_)) => Ended::Crashed,
        (_, None) => Ended::Asked,
    }
}

/// One sentence, without its full stop.
pub(super) fn sentence(end: &ProcessEnd) -> SmolStr {
    match (&end.fate, end.ended, &end.asked) {
        (Fate::OutOfMemory(what), ..) => out_of_memory(what),
        (Fate::Suspended { .. }, None, None) => suspended(end),
        (_, Some((Ending::Code(code), _)), None) => {
            format_smolstr!("exited by itself with code {code}")
        }
        (_, Some((Ending::Code(code), _)), Some(request)) if what(end) == Ended::Exited => {
            let Request { signal, by, ms } = request;
            let (span, signal, by) = (seconds(*ms), signal::name(*signal), sender(by));
            format_smolstr!("exited with code {code}, {span} after {signal} by {by}")
        }
        (Fate::Killed(by), Some((Ending::Signal { signal, .. }, _)), asked)
            if what(end) == Ended::Killed =>
        {
            let signal = signal::name(signal);
            let unknown = || SmolStr::new_static("a process that is not known");
            let by = by.as_ref().map_or_else(unknown, sender);
            let after = asked.as_ref().map_or_else(String::new, |request| {
                let first = signal::name(request.signal);
                format!(", {} after {first}", seconds(request.ms))
            });
            format_smolstr!("{signal} by {by}{after}")
        }
        (_, Some((Ending::Signal { signal, .. }, _)), _) if what(end) == Ended::Crashed => {
            format_smolstr!("{} of its own", signal::name(signal))
        }
        (_, ended, Some(request)) => {
            let Request { signal, by, ms } = request;
            let (span, signal, by) = (seconds(*ms), signal::name(*signal), sender(by));
            if ended.is_some() {
                format_smolstr!("{signal} by {by}, and ended {span} later")
            } else {
                format_smolstr!("{signal} by {by}, {span} before")
            }
        }
        // Nothing of this is reported (`Processes`).
        _ => SmolStr::new_static("nothing is known"),
    }
}

fn suspended(end: &ProcessEnd) -> SmolStr {
    let Fate::Suspended {
        by,
        signal,
        ms,
        is_over,
    } = &end.fate
    else {
        return SmolStr::default();
    };
    let so_far = if *is_over { "" } else { " so far" };
    let (span, signal, by) = (seconds(*ms), signal::name(*signal), sender(by));
    format_smolstr!("{signal} for {span}{so_far} by {by}")
}

fn out_of_memory(what: &OutOfMemory) -> SmolStr {
    const KILLED: &str = "killed by the out-of-memory killer";
    match what {
        OutOfMemory::OfGroup(MemoryLimit { of, bytes: limit }) => {
            format_smolstr!("{KILLED}: the limit of {of} is {}", bytes(*limit))
        }
        OutOfMemory::OfSomeGroup => {
            format_smolstr!("{KILLED}: its control group was at its limit")
        }
        OutOfMemory::OfHost(Some(total)) => {
            format_smolstr!(
                "{KILLED}: the whole machine, of {}, was out of memory",
                bytes(*total)
            )
        }
        OutOfMemory::OfHost(None) => {
            format_smolstr!("{KILLED}: the whole machine was out of memory")
        }
        OutOfMemory::Unknown(Some(MemoryLimit { of, bytes: limit })) => format_smolstr!(
            "{KILLED}; {of} is limited to {}, and whether it was at that limit or the machine out \
             of memory is not known",
            bytes(*limit)
        ),
        OutOfMemory::Unknown(None) => KILLED.into(),
    }
}

fn sender(by: &Sender) -> SmolStr {
    let name = by.name.as_deref().unwrap_or("a process");
    if by.is_kernel {
        format_smolstr!("the kernel, while {name} (pid {}) ran", by.pid)
    } else if by.pid <= 1 || by.uid == 0 {
        format_smolstr!("{name} (pid {})", by.pid)
    } else {
        format_smolstr!("{name} (pid {}, uid {})", by.pid, by.uid)
    }
}

fn seconds(ms: f64) -> String {
    let ms = ms.max(0.0);
    if ms < 9_950.0 {
        format!("{:.1} s", ms / 1_000.0)
    } else {
        format!("{:.0} s", ms / 1_000.0)
    }
}

/// What became of the broker, in a sentence of its own.
pub(super) fn of_the_broker(end: &ProcessEnd) -> SmolStr {
    let name = end.name.as_deref().unwrap_or("its process");
    format_smolstr!(
        "Of the broker ({name}, pid {}): {}.",
        end.process.pid,
        sentence(end)
    )
}

/// What to do about it, in whole sentences.
pub(super) fn advice(end: &ProcessEnd) -> SmolStr {
    let said = capitalized(&sentence(end));
    match (what(end), &end.fate) {
        (Ended::OutOfMemory, Fate::OutOfMemory(OutOfMemory::OfHost(_))) => format_smolstr!(
            "{said}: look at what else uses it, and lower the heap (-Xmx) or add memory."
        ),
        (Ended::OutOfMemory, _) => format_smolstr!(
            "{said}: raise it (MemoryMax, the container's memory limit), or lower the heap (-Xmx), \
             which is only a part of what a JVM needs."
        ),
        (Ended::Killed, _) if is_grace_period(end) => format_smolstr!(
            "{said}: the grace period was too short. Raise TimeoutStopSec (systemd), \
             terminationGracePeriodSeconds (Kubernetes) or docker stop --time, and see why the \
             broker's controlled shutdown takes so long."
        ),
        (Ended::Killed, Fate::Killed(Some(by))) if by.is_kernel => format_smolstr!(
            "{said}: look for what ended the other processes of its container (pid namespace)."
        ),
        (Ended::Killed, _) => format_smolstr!(
            "{said}: it was not asked to end before, and closed nothing in order. Ask who sent it \
             (an administrator, an orchestrator, a failed health check)."
        ),
        (Ended::Crashed, _) => crash(end, &said),
        (Ended::Stopped | Ended::Asked, _) => format_smolstr!(
            "{said}: a stop or restart was asked for. Expected during a deploy; otherwise ask who \
             or what did."
        ),
        (Ended::Exited, _) if is_out_of_heap(end) => format_smolstr!(
            "{said}, as a JVM with -XX:+ExitOnOutOfMemoryError does: see the last lines of its log, \
             and raise its heap (-Xmx)."
        ),
        (Ended::Exited, _) => format_smolstr!("{said}: see the last lines of its log."),
        (Ended::Suspended, _) => format_smolstr!(
            "{said}: a debugger, a profiler or an administrator stopped the broker, which answered \
             nothing meanwhile."
        ),
    }
}

/// `SIGKILL` some time after a request to end.
const fn is_grace_period(end: &ProcessEnd) -> bool {
    let killed = matches!(
        end.ended,
        Some((
            Ending::Signal {
                signal: signal::KILL,
                ..
            },
            _
        ))
    );
    killed && end.asked.is_some()
}

fn is_out_of_heap(end: &ProcessEnd) -> bool {
    let code = matches!(end.ended, Some((Ending::Code(JVM_OUT_OF_MEMORY), _)));
    code && is_java(end)
}

fn crash(end: &ProcessEnd, said: &str) -> SmolStr {
    let core = match end.ended {
        Some((
            Ending::Signal {
                core_dumped: true, ..
            },
            _,
        )) => " and its core (coredumpctl)",
        _ => "",
    };
    if is_java(end) {
        format_smolstr!(
            "{said}: the JVM crashed. Look for hs_err_pid{}.log in its working directory{core}.",
            end.process.pid
        )
    } else {
        format_smolstr!("{said}: it crashed. Look in its log{core}.")
    }
}

fn is_java(end: &ProcessEnd) -> bool {
    end.name.as_deref() == Some("java")
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// As the event has it.
pub(super) fn into_event(end: &ProcessEnd) -> event::ProcessEnd {
    let what = what(end);
    let (exit_code, ended_by, core_dumped) = match end.ended {
        Some((Ending::Code(code), _)) => (Some(code), None, None),
        Some((
            Ending::Signal {
                signal,
                core_dumped,
            },
            _,
        )) => (None, Some(signal), Some(core_dumped)),
        None => (None, None, None),
    };
    let (signal, by, suspended_ms, memory) = match &end.fate {
        Fate::Own => (ended_by, None, None, None),
        Fate::OutOfMemory(what) => (Some(signal::KILL), None, None, Some(memory(what))),
        Fate::Killed(by) => (ended_by, by.as_ref(), None, None),
        Fate::Suspended { by, signal, ms, .. } => (Some(*signal), Some(by), Some(*ms), None),
    };
    event::ProcessEnd {
        what,
        summary: sentence(end),
        pid: end.process.pid,
        name: end.name.clone(),
        ended_ms: end.ended.map(|(_, ms)| tenths(ms)),
        exit_code,
        signal: signal.map(signal::name),
        core_dumped,
        by: by.map(signal_sender),
        asked: end.asked.as_ref().map(|request| Asked {
            signal: signal::name(request.signal),
            by: signal_sender(&request.by),
            ms: tenths(request.ms),
        }),
        suspended_ms: suspended_ms.map(tenths),
        memory,
    }
}

fn signal_sender(by: &Sender) -> SignalSender {
    SignalSender {
        pid: by.pid,
        name: by.name.clone(),
        uid: by.uid,
        cgroup: by.cgroup.clone(),
        by_kernel: by.is_kernel,
    }
}

fn memory(what: &OutOfMemory) -> MemoryEnd {
    let (of_cgroup, limit, host) = match what {
        OutOfMemory::Unknown(limit) => (None, limit.as_ref(), None),
        OutOfMemory::OfGroup(limit) => (Some(true), Some(limit), None),
        OutOfMemory::OfSomeGroup => (Some(true), None, None),
        OutOfMemory::OfHost(total) => (Some(false), None, *total),
    };
    MemoryEnd {
        of_cgroup,
        cgroup: limit.map(|it| it.of.clone()),
        limit_bytes: limit.map(|it| it.bytes).or(host),
    }
}

#[cfg(test)]
mod tests;
