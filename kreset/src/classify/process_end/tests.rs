use super::*;
use crate::facts::process::ProcessId;

fn by(name: &str, pid: u32, uid: u32) -> Sender {
    Sender {
        pid,
        name: Some(name.into()),
        uid,
        cgroup_id: None,
        cgroup: None,
        is_kernel: false,
    }
}

fn java(fate: Fate, ended: Option<Ending>, asked: Option<(u8, Sender, f64)>) -> ProcessEnd {
    ProcessEnd {
        process: ProcessId {
            pid: 4242,
            start_boottime_ns: 5,
        },
        name: Some("java".into()),
        fate,
        ended: ended.map(|ending| (ending, 0.44)),
        asked: asked.map(|(signal, by, ms)| Request { signal, by, ms }),
    }
}

const fn by_signal(signal: u8, core_dumped: bool) -> Ending {
    Ending::Signal {
        signal,
        core_dumped,
    }
}

const KILLED: Option<Ending> = Some(by_signal(9, false));

/// Killed by the out-of-memory killer.
fn out_of_memory(of: OutOfMemory, ended: Option<Ending>) -> ProcessEnd {
    java(Fate::OutOfMemory(of), ended, None)
}

fn limit() -> MemoryLimit {
    MemoryLimit {
        of: "kafka.service".into(),
        bytes: 6 << 30,
    }
}

#[test]
fn each_end_is_named_in_a_sentence_with_what_to_do() {
    let systemd = || by("systemd", 1, 0);
    let shim = || by("containerd-shim", 811, 0);
    let term = |ms| Some((signal::TERM, systemd(), ms));
    let suspended = |is_over| Fate::Suspended {
        by: by("bash", 77, 1_000),
        signal: signal::STOP,
        ms: 20_000.0,
        is_over,
    };
    for (end, what, said, advised) in [
        (
            out_of_memory(OutOfMemory::OfGroup(limit()), KILLED),
            Ended::OutOfMemory,
            "killed by the out-of-memory killer: the limit of kafka.service is 6 GiB",
            "MemoryMax",
        ),
        (
            out_of_memory(OutOfMemory::OfHost(Some(64 << 30)), KILLED),
            Ended::OutOfMemory,
            "killed by the out-of-memory killer: the whole machine, of 64 GiB, was out of memory",
            "what else uses it",
        ),
        (
            out_of_memory(OutOfMemory::Unknown(Some(limit())), None),
            Ended::OutOfMemory,
            "killed by the out-of-memory killer; kafka.service is limited to 6 GiB, and whether it \
             was at that limit or the machine out of memory is not known",
            "-Xmx",
        ),
        (
            java(Fate::Own, Some(Ending::Code(143)), term(2_140.0)),
            Ended::Stopped,
            "SIGTERM by systemd (pid 1), and ended 2.1 s later",
            "a stop or restart was asked for",
        ),
        (
            java(
                Fate::Killed(Some(systemd())),
                Some(by_signal(15, false)),
                term(1.0),
            ),
            Ended::Stopped,
            "SIGTERM by systemd (pid 1), and ended 0.0 s later",
            "a stop or restart was asked for",
        ),
        (
            java(Fate::Own, None, term(1_500.0)),
            Ended::Asked,
            "SIGTERM by systemd (pid 1), 1.5 s before",
            "a stop or restart was asked for",
        ),
        (
            java(Fate::Killed(Some(shim())), KILLED, term(30_020.0)),
            Ended::Killed,
            "SIGKILL by containerd-shim (pid 811), 30 s after SIGTERM",
            "the grace period was too short",
        ),
        (
            java(Fate::Killed(Some(by("kill", 90, 1_000))), KILLED, None),
            Ended::Killed,
            "SIGKILL by kill (pid 90, uid 1000)",
            "not asked to end before",
        ),
        (
            java(Fate::Killed(None), KILLED, None),
            Ended::Killed,
            "SIGKILL by a process that is not known",
            "not asked to end before",
        ),
        (
            java(Fate::Own, Some(by_signal(11, true)), None),
            Ended::Crashed,
            "SIGSEGV of its own",
            "hs_err_pid4242.log in its working directory and its core",
        ),
        (
            java(Fate::Own, Some(Ending::Code(1)), None),
            Ended::Exited,
            "exited by itself with code 1",
            "the last lines of its log",
        ),
        (
            java(Fate::Own, Some(Ending::Code(3)), None),
            Ended::Exited,
            "exited by itself with code 3",
            "ExitOnOutOfMemoryError",
        ),
        (
            java(Fate::Own, Some(Ending::Code(1)), term(4_000.0)),
            Ended::Exited,
            "exited with code 1, 4.0 s after SIGTERM by systemd (pid 1)",
            "the last lines of its log",
        ),
        (
            java(suspended(true), None, None),
            Ended::Suspended,
            "SIGSTOP for 20 s by bash (pid 77, uid 1000)",
            "a debugger, a profiler or an administrator",
        ),
        (
            java(suspended(false), None, None),
            Ended::Suspended,
            "SIGSTOP for 20 s so far by bash (pid 77, uid 1000)",
            "a debugger, a profiler or an administrator",
        ),
    ] {
        assert_eq!(super::what(&end), what, "{end:?}");
        assert_eq!(sentence(&end), said);
        let advice = advice(&end);
        assert!(advice.contains(advised), "{advice}");
        assert!(
            advice.to_lowercase().starts_with(&said.to_lowercase()),
            "{advice}"
        );
        assert_eq!(into_event(&end).summary, said);
    }
}

#[test]
fn the_event_has_what_the_kernel_said() {
    let fate = Fate::OutOfMemory(OutOfMemory::OfGroup(limit()));
    let event = into_event(&java(fate, KILLED, None));
    assert_eq!(event.signal.as_deref(), Some("SIGKILL"));
    assert_eq!((event.exit_code, event.core_dumped), (None, Some(false)));
    assert_eq!(event.ended_ms, Some(0.4));
    let memory = event.memory.unwrap();
    assert_eq!(
        (memory.of_cgroup, memory.limit_bytes),
        (Some(true), Some(6 << 30))
    );
    assert_eq!(memory.cgroup.as_deref(), Some("kafka.service"));
    assert_eq!(event.by, None, "who wanted memory did not kill it");

    let asked = Some((signal::TERM, by("systemd", 1, 0), 30_020.04));
    let killer = Fate::Killed(Some(by("containerd-shim", 811, 0)));
    let event = into_event(&java(killer, KILLED, asked));
    assert_eq!(event.by.unwrap().pid, 811);
    let asked = event.asked.unwrap();
    assert_eq!(
        (asked.signal.as_str(), asked.ms, asked.by.pid),
        ("SIGTERM", 30_020.0, 1)
    );
    assert_eq!(event.memory, None);
}
