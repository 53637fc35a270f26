//! How the broker's process ended explains how its connections did: recorded ones, with what
//! would have been seen of their process.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has to fail"
)]

mod replay;

use kreset::{
    classify::{Classifier, Config, Judgement},
    event::{Ended, Role},
    facts::{
        Facts, Had, Kind, Owner, State, Trigger,
        process::{
            Change, Ending, Memory, MemoryLimit, OutOfMemory, ProcessFacts, ProcessId, Sender,
        },
    },
};
use replay::judging::{ABORTED, REFUSED, SHUTDOWN, reset, said, says};

const MS: u64 = 1_000_000;
const TERM: u8 = 15;
const KILL: u8 = 9;
const STOP: u8 = 19;
const CONT: u8 = 18;

const fn id(facts: &Facts) -> ProcessId {
    ProcessId {
        pid: facts.owner.pid.unwrap(),
        start_boottime_ns: facts.owner.start_boottime_ns.unwrap(),
    }
}

fn sender(name: &str) -> Sender {
    Sender {
        pid: 1,
        name: Some(name.into()),
        uid: 0,
        cgroup_id: None,
        cgroup: None,
        is_kernel: false,
    }
}

fn signal(signal: u8, by: &str) -> Change {
    let by = sender(by);
    Change::Signalled { signal, by }
}

const fn by_signal(signal: u8) -> Change {
    Change::Ended(Ending::Signal {
        signal,
        core_dumped: false,
    })
}

/// A change of a process by the name of `java`.
fn changed(at_ns: u64, process: ProcessId, change: Change) -> ProcessFacts {
    ProcessFacts {
        at_ns,
        process,
        name: Some("java".into()),
        change,
    }
}

/// Judges `facts` after changes of the process `of`, each so many milliseconds before.
fn judged_after(facts: &Facts, of: ProcessId, changes: &[(u64, Change)]) -> Judgement {
    let mut classifier = Classifier::new(Config::default());
    for (before_ms, change) in changes {
        let at_ns = facts.at_ns - before_ms * MS;
        classifier.observe_process(&changed(at_ns, of, change.clone()));
    }
    classifier.observe(facts);
    classifier.judge(facts).expect("an event").0
}

/// The abort of a connection by its broker, whose process lives.
fn abort() -> Facts {
    let facts = reset("broker_abort_unread.broker");
    assert_eq!(facts.kind, Kind::ResetSent);
    assert!(!facts.by_exit && facts.role == Role::Broker);
    facts
}

/// The RST of a broker's process that ends.
fn killed() -> Facts {
    let facts = reset("broker_killed_busy.broker");
    assert!(facts.by_exit && facts.id.is_some());
    facts
}

#[test]
fn a_broker_that_was_asked_to_end_does_not_abort() {
    let facts = abort();
    let alone = judged_after(&facts, id(&facts), &[]);
    assert_eq!((said(&alone), alone.process_end), (ABORTED, None));

    let asked = judged_after(&facts, id(&facts), &[(1_900, signal(TERM, "systemd"))]);
    assert_eq!(said(&asked), SHUTDOWN);
    // It may yet have another reason to close this one.
    assert!(
        (0.8..0.9).contains(&asked.confidence),
        "{}",
        asked.confidence
    );
    says(
        &asked,
        "process_end",
        "SIGTERM by systemd (pid 1), 1.9 s before",
    );
    assert!(
        asked
            .advice
            .starts_with("SIGTERM by systemd (pid 1), 1.9 s before: a stop")
    );
    let end = asked.process_end.unwrap();
    assert_eq!((end.what, end.ended_ms), (Ended::Asked, None));
}

#[test]
fn what_asks_for_nothing_or_was_long_ago_or_of_another_process_says_nothing() {
    let facts = abort();
    let mut other = id(&facts);
    other.start_boottime_ns += 1;
    let long_ago = [(700_000, signal(TERM, "systemd"))];
    // A proxy reads its configuration again, a JVM prints its threads.
    let reload = [(50, signal(1, "systemctl"))];
    let dump = [(50, signal(3, "jstack"))];
    for (of, changes) in [
        (other, &[(50, signal(TERM, "systemd"))]),
        (id(&facts), &long_ago),
        (id(&facts), &reload),
        (id(&facts), &dump),
    ] {
        assert_eq!(
            said(&judged_after(&facts, of, changes)),
            ABORTED,
            "{changes:?}"
        );
    }
}

#[test]
fn each_way_to_end_is_told_apart() {
    let facts = killed();
    for (changes, what, summary) in [
        (
            vec![(1, signal(KILL, "kill")), (0, by_signal(KILL))],
            Ended::Killed,
            "SIGKILL by kill (pid 1)",
        ),
        (
            vec![
                (30_020, signal(TERM, "systemd")),
                (1, signal(KILL, "systemd")),
                (0, by_signal(KILL)),
            ],
            Ended::Killed,
            "SIGKILL by systemd (pid 1), 30 s after SIGTERM",
        ),
        (
            vec![
                (1, signal(KILL, "java")),
                (1, Change::OutOfMemory),
                (0, by_signal(KILL)),
            ],
            Ended::OutOfMemory,
            "killed by the out-of-memory killer",
        ),
        (
            vec![(0, by_signal(11))],
            Ended::Crashed,
            "SIGSEGV of its own",
        ),
        (
            vec![(0, Change::Ended(Ending::Code(1)))],
            Ended::Exited,
            "exited by itself with code 1",
        ),
        (
            vec![
                (2_000, signal(TERM, "systemd")),
                (0, Change::Ended(Ending::Code(143))),
            ],
            Ended::Stopped,
            "SIGTERM by systemd (pid 1), and ended 2.0 s later",
        ),
        (
            // Stopped in the shell and then killed.
            vec![
                (5_000, signal(STOP, "bash")),
                (1, signal(KILL, "bash")),
                (0, by_signal(KILL)),
            ],
            Ended::Killed,
            "SIGKILL by bash (pid 1)",
        ),
    ] {
        let judgement = judged_after(&facts, id(&facts), &changes);
        assert_eq!(said(&judgement), SHUTDOWN, "{changes:?}");
        assert!(
            judgement.confidence >= 0.99,
            "{changes:?} {}",
            judgement.confidence
        );
        let end = judgement.process_end.unwrap();
        assert_eq!((end.what, end.summary.as_str()), (what, summary));
    }
}

#[test]
fn whose_memory_it_was_may_become_known_in_any_order() {
    let facts = killed();
    let limit = MemoryLimit {
        of: "kafka.service".into(),
        bytes: 6 << 30,
    };
    let group = OutOfMemory::OfGroup(limit.clone());
    for (memory, of_cgroup, bytes) in [
        (vec![], None, None),
        (vec![Memory::Limit(limit.clone())], None, Some(6 << 30)),
        (vec![Memory::Out(group)], Some(true), Some(6 << 30)),
        (
            vec![Memory::Limit(limit), Memory::Out(OutOfMemory::OfSomeGroup)],
            Some(true),
            Some(6 << 30),
        ),
        (
            vec![Memory::Out(OutOfMemory::OfHost(Some(8 << 30)))],
            Some(false),
            Some(8 << 30),
        ),
    ] {
        for late in [false, true] {
            let mut classifier = Classifier::new(Config::default());
            let tell = |classifier: &mut Classifier| {
                for memory in &memory {
                    classifier.observe_memory(id(&facts), memory);
                }
            };
            if !late {
                tell(&mut classifier);
            }
            for change in [Change::OutOfMemory, by_signal(KILL)] {
                classifier.observe_process(&changed(facts.at_ns - MS, id(&facts), change));
            }
            // A limit is read before, and whose memory it was after.
            if late && !matches!(memory.first(), Some(Memory::Limit(_))) {
                tell(&mut classifier);
            } else if late {
                continue;
            }
            classifier.observe(&facts);
            let (judgement, _) = classifier.judge(&facts).unwrap();
            let memory = judgement.process_end.unwrap().memory.unwrap();
            assert_eq!(
                (memory.of_cgroup, memory.limit_bytes),
                (of_cgroup, bytes),
                "{late}"
            );
        }
    }
}

#[test]
fn a_suspended_broker_explains_and_is_not_blamed() {
    let facts = abort();
    let over = [(20_500, signal(STOP, "bash")), (500, signal(CONT, "bash"))];
    let judgement = judged_after(&facts, id(&facts), &over);
    assert_eq!(said(&judgement), ABORTED);
    let end = judgement.process_end.unwrap();
    assert_eq!(end.what, Ended::Suspended);
    assert_eq!(end.suspended_ms, Some(20_000.0));
    assert!(
        judgement
            .advice
            .contains("SIGSTOP for 20 s by bash (pid 1)"),
        "{}",
        judgement.advice
    );

    let not_yet = judged_after(&facts, id(&facts), &over[..1]);
    let summary = not_yet.process_end.unwrap().summary;
    assert_eq!(summary, "SIGSTOP for 20 s so far by bash (pid 1)");

    let long_ago = [
        (90_000, signal(STOP, "bash")),
        (70_000, signal(CONT, "bash")),
    ];
    let judgement = judged_after(&facts, id(&facts), &long_ago);
    assert_eq!(judgement.process_end, None);
}

/// A request for a connection to a port at which a process listened.
fn refused() -> Facts {
    let facts = reset("refused.ipv4.broker");
    assert!(facts.trigger.is_some_and(Trigger::is_syn) && facts.state.is_none());
    facts
}

const fn listens(facts: &Facts) -> Change {
    Change::Listens {
        netns: facts.netns.unwrap(),
        port: facts.local.port,
    }
}

const BROKER: ProcessId = ProcessId {
    pid: 4242,
    start_boottime_ns: 5,
};

#[test]
fn a_refusal_says_what_became_of_the_broker() {
    let facts = refused();
    let of_oom = vec![
        (9_000, listens(&facts)),
        (3_001, Change::OutOfMemory),
        (3_000, by_signal(KILL)),
    ];
    let judgement = judged_after(&facts, BROKER, &of_oom);
    assert_eq!(said(&judgement), REFUSED);
    let end = judgement.process_end.unwrap();
    assert_eq!(
        (end.what, end.ended_ms),
        (Ended::OutOfMemory, Some(3_000.0))
    );
    let expected = "Of the broker (java, pid 4242): killed by the out-of-memory killer.";
    assert!(judgement.advice.ends_with(expected), "{}", judgement.advice);

    // Minutes later, or while it runs, that is no explanation.
    let late = vec![(400_000, listens(&facts)), (301_000, by_signal(KILL))];
    let runs = vec![(9_000, listens(&facts))];
    let elsewhere = vec![
        (
            9_000,
            Change::Listens {
                netns: facts.netns.unwrap() + 1,
                port: facts.local.port,
            },
        ),
        (3_000, by_signal(KILL)),
    ];
    for changes in [late, runs, elsewhere] {
        assert_eq!(
            judged_after(&facts, BROKER, &changes).process_end,
            None,
            "{changes:?}"
        );
    }
}

/// What a host answers for a connection that it had belongs to the process that it was one of.
#[test]
fn a_late_packet_met_the_end_of_its_own_process() {
    let mut facts = reset("connection_lost_no_listener.broker");
    assert!(facts.is_answer() && facts.state != Some(State::Listen));
    facts.had = Had::Yes;
    let ended = vec![
        (90_000, listens(&facts)),
        (9_001, signal(KILL, "kill")),
        (9_000, by_signal(KILL)),
    ];
    let judgement = judged_after(&facts, BROKER, &ended);
    assert_eq!(said(&judgement), SHUTDOWN);
    assert_eq!(judgement.process_end.unwrap().what, Ended::Killed);
    // One that it never had does not, seconds later.
    facts.had = Had::NotWithin(60_000);
    assert_eq!(judged_after(&facts, BROKER, &ended).process_end, None);
}

/// Two brokers of one host may listen at one port, each at an address of its own.
#[test]
fn of_two_at_one_port_at_once_neither_explains() {
    let mut facts = reset("connection_lost_no_listener.broker");
    facts.had = Had::Yes;
    let judged = |other_ended: Option<u64>| {
        let mut classifier = Classifier::new(Config::default());
        let mut observe = |before_ms: u64, pid, change| {
            let process = ProcessId { pid, ..BROKER };
            classifier.observe_process(&changed(facts.at_ns - before_ms * MS, process, change));
        };
        observe(90_000, 1, listens(&facts));
        if let Some(before_ms) = other_ended {
            observe(before_ms, 1, by_signal(KILL));
        }
        observe(80_000, 2, listens(&facts));
        observe(9_000, 2, by_signal(KILL));
        classifier.observe(&facts);
        classifier.judge(&facts).expect("an event").0.process_end
    };
    assert_eq!(judged(None), None);
    assert_eq!(judged(Some(20_000)), None);
    let restarted = judged(Some(85_000)).expect("the first was gone before");
    assert_eq!(restarted.pid, 2);
}

#[test]
fn memory_is_bounded() {
    let mut classifier = Classifier::new(Config::default());
    let facts = refused();
    for pid in 1..20_000 {
        let process = ProcessId {
            pid,
            start_boottime_ns: 1,
        };
        for change in [listens(&facts), signal(TERM, "x"), by_signal(TERM)] {
            classifier.observe_process(&changed(facts.at_ns - MS, process, change));
        }
    }
    let (judgement, _) = classifier.judge(&facts).unwrap();
    assert_eq!(judgement.process_end.unwrap().pid, 19_999);
}

#[test]
fn a_broker_that_stops_has_closed_its_listener_and_refuses() {
    let mut facts = refused();
    facts.owner = Owner::default();
    facts.listened = Some(false);
    let process = ProcessId {
        pid: 4_242,
        start_boottime_ns: 7,
    };
    let listens = Change::Listens {
        netns: facts.netns.unwrap_or(0),
        port: facts.local.port,
    };
    let asked = [(9_000, listens.clone()), (800, signal(TERM, "systemd"))];
    let refused = judged_after(&facts, process, &asked);
    let end = refused.process_end.expect("why nothing listens");
    assert_eq!((end.what, end.pid), (Ended::Asked, 4_242));
    assert!(
        refused
            .advice
            .contains("SIGTERM by systemd (pid 1), 0.8 s before")
    );

    // One that reads its configuration again goes on, and so may who has it closed a while.
    let hup = [(9_000, listens), (800, signal(1, "systemd"))];
    assert_eq!(judged_after(&facts, process, &hup).process_end, None);
    // Another socket listens there: this was no refusal of its own.
    facts.listened = None;
    assert_eq!(judged_after(&facts, process, &asked).process_end, None);
}

/// Judged after the broker has come back: an event is held for a while.
#[test]
fn who_listens_since_a_refusal_does_not_hide_who_had_the_port() {
    let facts = refused();
    let successor = ProcessId {
        pid: 4_243,
        start_boottime_ns: 9,
    };
    let mut classifier = Classifier::new(Config::default());
    for (process, at_ns, change) in [
        (BROKER, facts.at_ns - 9_000 * MS, listens(&facts)),
        (BROKER, facts.at_ns - 3_000 * MS, by_signal(KILL)),
        (successor, facts.at_ns + 5 * MS, listens(&facts)),
    ] {
        classifier.observe_process(&changed(at_ns, process, change));
    }
    classifier.observe(&facts);
    let (judgement, _) = classifier.judge(&facts).expect("an event");
    let end = judgement.process_end.expect("why nothing listened");
    assert_eq!((end.what, end.pid), (Ended::Killed, 4_242));
}
