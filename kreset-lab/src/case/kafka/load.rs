//! Brokers that cannot keep up: their own host says what they were short of.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::prelude::*;
use crate::{
    PORT,
    error::Context as _,
    event::Event,
    util::{
        control_group::{ControlGroup, Controller},
        program::{PRLIMIT, run},
    },
};

/// What the broker is short of, as the evidence of its own host has it.
const QUEUE: &str = "accept queue full (3 of 2";
const FILES: &str = "files open";
const PROCESSOR: &str = "processor pressure";

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn scenarios() -> Vec<Scenario> {
    type Act = fn(&KafkaSetup<'_>, Software) -> Result<Outcome>;
    let all: [(_, _, Act); 3] = [
        (
            "load-queue",
            "the broker is suspended and its accept queue full: its host says so of who gives up",
            queue,
        ),
        (
            "load-files",
            "the broker has all files open that it may have, and accepts no connection: its host \
             says so of those that it comes to late",
            files,
        ),
        (
            "load-cpu",
            "the broker gets next to no time on a processor: its host says so of a client that \
             gives up",
            cpu,
        ),
    ];
    let of_all = all
        .into_iter()
        .flat_map(|(name, about, act)| with_each(&[Software::Librdkafka], name, about, act));
    of_all.collect()
}

/// A producer that waits for two seconds, and comes back as often as it likes.
fn producer(setup: &KafkaSetup<'_>, software: Software, broker: &Broker) -> Result<Client> {
    let plan = client::Plan::new(software, Job::Producer)
        .with("linger.ms", "0")
        .with("socket.timeout.ms", 2_000);
    setup.producer(&plan, broker)
}

fn queue(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    const BACKLOG: usize = 2;
    let plan = broker::Plan::new(Protocol::Plaintext).with("socket.listen.backlog.size", BACKLOG);
    let broker = setup.broker(plan)?;
    let mut client = producer(setup, software, &broker)?;
    let watch = setup.watch()?;
    broker.signal(Signal::SIGSTOP)?;
    let stop = setup.lab.stop();
    stop.until_holds("the broker to stand still", PATIENCE, || {
        stands_still(&broker)
    })?;
    // One more than the backlog fit.
    let mut waiting = Vec::new();
    for _ in 0..=BACKLOG {
        waiting.push(setup.lab.connect(Family::Ipv4)?);
    }
    // The last step of a handshake is on its way when the client has a connection.
    let host = setup.lab.network().host(Side::Broker);
    let is_full = || {
        let length = host.accept_queue(PORT);
        length.is_ok_and(|length| length > BACKLOG)
    };
    stop.until_holds("the accept queue to be full", PATIENCE, is_full)?;
    let mut first = waiting.swap_remove(0);
    first.request(Request::ApiVersions)?;
    let gives_up = first.port()?;
    first.abort()?;
    setup.wait_for_reset(Side::Broker, PATIENCE)?;
    broker.signal(Signal::SIGCONT)?;
    drop(waiting);
    client.must(setup::SEND)?;
    setup.settle(&mut [&mut client])?;
    let mut outcome = setup.judge(watch, |ending| match ending.what {
        What::Received | What::Sent if ending.client.port() == gives_up => {
            Ruling::May(vec![Answer::CLIENT_ABORTED, Answer::CLOSED_BY_BROKER])
        }
        _ => by_client(ending),
    })?;
    names(&mut outcome, QUEUE, |load| {
        load["accept_queue"]["length"] == BACKLOG + 1 && load["accept_queue"]["limit"] == BACKLOG
    });
    Ok(outcome)
}

fn files(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    /// So few more let it accept who has gone by then, and are used up at once.
    const LATER: u64 = 3;
    let broker = setup.plain_broker()?;
    let mut client = producer(setup, software, &broker)?;
    let options = Options::default().longer_by(Duration::from_mins(5));
    let watch = setup.session.watch_with(&options)?;
    let open = open_files(&broker)?;
    limit_files(&broker, open)?;
    for number in 0..2 * LATER {
        let mut connection = setup.lab.connect(Family::Ipv4)?;
        connection.request(Request::ApiVersions)?;
        if number < LATER {
            connection.end()?;
        }
        drop(connection);
    }
    limit_files(&broker, open + LATER)?;
    // Its answers come to clients that have gone.
    setup.wait_for_reset(Side::Broker, PATIENCE)?;
    setup.settle(&mut [&mut client])?;
    let mut outcome = setup.judge(watch, by_client)?;
    names(&mut outcome, FILES, |load| {
        let files = &load["open_files"];
        files["limit"]
            .as_u64()
            .is_some_and(|limit| limit <= open + LATER)
    });
    Ok(outcome)
}

fn cpu(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    const PERCENT: u32 = 2;
    let broker = setup.plain_broker()?;
    let mut client = producer(setup, software, &broker)?;
    let mut raw = setup.lab.connect(Family::Ipv4)?;
    raw.request(Request::ApiVersions)?;
    raw.receive()?;
    let gives_up = raw.port()?;
    let watch = setup.watch()?;
    let group = ControlGroup::new(Controller::Cpu, "busy-kafka")?;
    group.add(broker.id())?;
    group.limit_cpu(Some(PERCENT))?;
    client.order("send 60000 1000")?;
    let stop = setup.lab.stop();
    stop.until_holds("tasks to wait for a processor", PATIENCE, is_under_pressure)?;
    // It has time for a few of these at most.
    for _ in 0..64 {
        raw.request(Request::Metadata)?;
    }
    raw.abort()?;
    setup.wait_for_reset(Side::Broker, PATIENCE)?;
    group.limit_cpu(None)?;
    client.answer("send 60000 1000")?;
    setup.settle(&mut [&mut client])?;
    let mut outcome = setup.judge(watch, |ending| match ending.what {
        What::Received | What::Sent if ending.client.port() == gives_up => {
            Ruling::May(vec![Answer::CLIENT_ABORTED])
        }
        _ => by_client(ending),
    })?;
    names(&mut outcome, PROCESSOR, |load| {
        load["pressure"]["cpu"].as_f64() >= Some(LEAST_PERCENT) && load["unread_bytes"] != 0
    });
    // Before its group goes.
    drop(broker);
    Ok(outcome)
}

/// Less says nothing (`docs/evidence.md`).
const LEAST_PERCENT: f64 = 20.0;

/// The host's own average of ten seconds.
fn is_under_pressure() -> bool {
    let text = fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let some = text
        .lines()
        .find_map(|line| line.strip_prefix("some avg10="));
    let share = some.and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
    share.is_some_and(|share| share >= LEAST_PERCENT)
}

/// The client gave up, or what the broker sent came after that.
pub(super) fn by_client(ending: &Ending) -> Ruling {
    match ending.what {
        What::TimedOut => Ruling::Nothing,
        _ => Ruling::May(vec![
            Answer::LATE_DATA,
            Answer::CLIENT_ABORTED,
            Answer::CLOSED_BY_BROKER,
        ]),
    }
}

fn open_files(broker: &Broker) -> Result<u64> {
    let directory = format!("/proc/{}/fd", broker.id());
    let files = fs::read_dir(&directory).context(|| format!("list {directory}"))?;
    Ok(files.count() as u64)
}

/// Lets it have no more than so many files open.
fn limit_files(broker: &Broker, limit: u64) -> Result<()> {
    let of = format!("--pid={}", broker.id());
    run(PRLIMIT, &[&of, &format!("--nofile={limit}:4096")], "").map(drop)
}

/// All of its threads are stopped.
fn stands_still(broker: &Broker) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{}/task", broker.id())) else {
        return false;
    };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // `ID (NAME) STATE`, and a name may have anything in it.
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}

/// Has an event of the broker's own host name what it was short of.
fn names(outcome: &mut Outcome, what: &str, shows: impl Fn(&Value) -> bool) {
    let Some(said) = &outcome.broker.said else {
        return;
    };
    let is_named = |event: &&Event| {
        let is_it = |it: &Value| {
            let value = it["value"].as_str().unwrap_or_default();
            it["name"] == "load" && value.contains(what)
        };
        event.evidence.iter().any(is_it) && event.load.as_ref().is_some_and(&shows)
    };
    if said.about_connections().find(is_named).is_none() {
        let loads: Vec<_> = said.about_connections().map(|it| &it.load).collect();
        let difference = format!("broker: no event names {what:?}; they have {loads:?}");
        outcome.broker.differences.push(difference);
    }
}
