//! Brokers whose end, or standstill, has a reason that their own host knows.

use std::process::Command;

use nix::sys::signal::Signal;

use super::{load::by_client, prelude::*, restart::by_broker};
use crate::util::{
    child::Child,
    control_group::{ControlGroup, Controller},
};

/// A disk with room for all that the client sends.
const ENOUGH: u64 = 256 << 20;

/// How long the out-of-memory killer may take, or a client to fill a disk.
const KILLED: Duration = Duration::from_secs(30);

/// What happens to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    AskedToStop,
    Killed,
    OutOfMemory,
    DiskFull,
}

impl End {
    /// What its own host has to say of it, `what` and a part of `summary`.
    const fn said(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::AskedToStop => (&["asked", "stopped"], "SIGTERM by "),
            Self::Killed => (&["killed"], "SIGKILL by "),
            Self::OutOfMemory => (&["out_of_memory"], "out-of-memory killer: the limit of "),
            Self::DiskFull => (&["exited"], "exited by itself with code 1"),
        }
    }
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (name, about, end) in [
        (
            "ended-sigterm",
            "the broker is asked to stop: its host says who asked",
            End::AskedToStop,
        ),
        (
            "ended-sigkill",
            "the broker is killed without being asked to stop: its host says by whom",
            End::Killed,
        ),
        (
            "ended-out-of-memory",
            "the memory of the broker's control group is used up, and the kernel kills it: its \
             host names the limit",
            End::OutOfMemory,
        ),
        (
            "ended-disk-full",
            "the broker's disk is full, and it ends by itself: its host says so, and with which code",
            End::DiskFull,
        ),
    ] {
        all.extend(with_each(
            &Software::USUAL,
            name,
            about,
            move |setup, software| ended(setup, software, end),
        ));
    }
    // The Java client gives up in order, and its answers draw nothing.
    all.extend(with_each(
        &[Software::Librdkafka],
        "suspended",
        "the broker is suspended for longer than its client waits for an answer: its host says by \
         whom and for how long",
        suspended,
    ));
    all
}

fn ended(setup: &KafkaSetup<'_>, software: Software, end: End) -> Result<Outcome> {
    if end == End::DiskFull {
        /// Less than what the client sends.
        const DISK: u64 = 24 << 20;
        setup.scratch.limit(DISK)?;
    }
    let mut broker = setup.plain_broker()?;
    let group = match end {
        End::OutOfMemory => {
            let group = ControlGroup::new(Controller::Memory, "kafka")?;
            group.add(broker.id())?;
            Some(group)
        }
        End::AskedToStop | End::Killed | End::DiskFull => None,
    };
    let watch = setup.watch()?;
    let plan = client::Plan::new(software, Job::Producer)
        .with("batch.size", "16384")
        .with("linger.ms", "0")
        .with("reconnect.backoff.max.ms", "500");
    let mut client = setup.producer(&plan, &broker)?;
    setup.make_busy(&mut client)?;
    match &group {
        Some(group) => {
            // Of the two in it the broker is by far the larger one.
            const ROOM: u64 = 16 << 20;
            group.limit_memory(group.memory()? + ROOM)?;
            let _balloon = balloon(group)?;
            broker.wait_for_end(KILLED)?;
        }
        None if end == End::AskedToStop => broker.shut_down()?,
        None if end == End::DiskFull => {
            broker.wait_for_end(KILLED)?;
            setup.scratch.limit(ENOUGH)?;
        }
        None => broker.kill()?,
    }
    // A client that comes back meanwhile is refused.
    broker.restart(setup.lab)?;
    client.answer("send 60000 1000")?;
    client.must(setup::SEND)?;
    setup.settle(&mut [&mut client])?;
    let mut outcome = setup.judge_an_ending(watch, by_broker)?;
    let (what, summary) = end.said();
    blame(&mut outcome, |event| {
        let is_of_broker = event.verdict.as_deref() == Some("broker_originated");
        let is_refusal = event.cause.as_deref() == Some("refused");
        (is_of_broker || is_refusal).then_some((what, summary))
    });
    drop(broker);
    Ok(outcome)
}

/// A process in `group` that takes all the memory that it gets.
fn balloon(group: &ControlGroup) -> Result<Child> {
    let script = "echo $$ > \"$0/cgroup.procs\" && exec tail /dev/zero";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(group.directory());
    Child::spawn(&mut command)
}

/// Has the broker's own host say what became of the broker: at least once, and wherever `of` says
/// what that is.
fn blame(
    outcome: &mut Outcome,
    of: impl Fn(&crate::event::Event) -> Option<(&'static [&'static str], &'static str)>,
) {
    let Some(said) = &outcome.broker.said else {
        return;
    };
    let mut wrong = Vec::new();
    let mut right = 0;
    for event in said.about_connections() {
        let Some((what, summary)) = of(event) else {
            continue;
        };
        match &event.process_end {
            Some(end) if what.contains(&end.what.as_str()) && end.summary.contains(summary) => {
                right += 1;
            }
            end => wrong.push(format!(
                "broker: {} should name {what:?} of the broker's process, and says {end:?}",
                event.answer()
            )),
        }
    }
    if right == 0 {
        wrong.push("broker: no event names what became of the broker's process".to_owned());
    }
    outcome.broker.differences.extend(wrong);
}

fn suspended(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    const WAITS: Duration = Duration::from_secs(2);
    let broker = setup.plain_broker()?;
    // What comes of it is late data, which operators are not shown.
    let options = Options::default().longer_by(Duration::from_mins(5));
    let watch = setup.session.watch_with(&options)?;
    let timeout = match software {
        Software::Librdkafka => "socket.timeout.ms",
        _ => "request.timeout.ms",
    };
    let plan = client::Plan::new(software, Job::Producer)
        .with("linger.ms", "0")
        .with(timeout, WAITS.as_millis())
        .with_if(Software::Java, "delivery.timeout.ms", 60_000);
    let mut client = setup.producer(&plan, &broker)?;
    // Clients close their first connection by themselves.
    let before = setup.failures();
    broker.signal(Signal::SIGSTOP)?;
    client.order(setup::SEND)?;
    setup.wait_for_failures(before + 1)?;
    broker.signal(Signal::SIGCONT)?;
    // Its answer comes to a client that has gone.
    setup.wait_for_reset(Side::Broker, Duration::from_secs(20))?;
    client.answer(setup::SEND)?;
    setup.settle(&mut [&mut client])?;
    let mut outcome = setup.judge(watch, by_client)?;
    blame(&mut outcome, |event| {
        let suspended: (&'static [_], _) = (&["suspended"], "SIGSTOP for ");
        event.process_end.as_ref().map(|_| suspended)
    });
    Ok(outcome)
}
