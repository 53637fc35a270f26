//! Brokers that go away and come back.

use super::prelude::*;

/// How the broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    ShutDown,
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (name, about, end, busy) in [
        (
            "broker-killed-busy",
            "the broker is killed while a producer sends as fast as it can, and comes back",
            End::Killed,
            true,
        ),
        (
            "broker-killed-idle",
            "the broker is killed while its client has nothing to say, and comes back",
            End::Killed,
            false,
        ),
        (
            "broker-restart-busy",
            "the broker is restarted in order while a producer sends as fast as it can",
            End::ShutDown,
            true,
        ),
        (
            "broker-restart-idle",
            "the broker is restarted in order while its client has nothing to say",
            End::ShutDown,
            false,
        ),
    ] {
        all.extend(with_each(
            &Software::ALL,
            name,
            about,
            move |setup, software| restart(setup, software, end, busy),
        ));
    }
    all
}

fn restart(setup: &KafkaSetup<'_>, software: Software, end: End, busy: bool) -> Result<Outcome> {
    let mut broker = setup.plain_broker()?;
    let watch = setup.watch()?;
    // Small requests, one by one: there is always one under way.
    let plan = client::Plan::new(software, Job::Producer)
        .with("batch.size", "16384")
        .with("linger.ms", "0")
        .with("reconnect.backoff.max.ms", "1000");
    let mut client = setup.producer(&plan, &broker)?;
    if busy {
        setup.make_busy(&mut client)?;
    } else {
        setup.wait_for_silence(Duration::from_secs(1))?;
    }
    match end {
        End::Killed => broker.kill()?,
        End::ShutDown => broker.shut_down()?,
    }
    broker.restart(setup.lab)?;
    if busy {
        // Records may be lost where the broker that was to keep them was killed; the client must
        // have come to an end either way.
        client.answer("send 60000 1000")?;
    }
    client.must(setup::SEND)?;
    setup.settle(&mut [&mut client])?;
    match (end, busy) {
        // Its process is torn down with requests unread.
        (End::Killed, true) => setup.judge_an_ending(watch, by_broker),
        // Its connections end in order, and whether a client comes back too soon is the client's
        // choice.
        _ => setup.judge(watch, by_broker),
    }
}

/// The broker causes every ending, and a client that connects while it is down is refused.
pub(super) fn by_broker(ending: &Ending) -> Ruling {
    match ending.what {
        What::Received | What::Sent if ending.is_refusal() => Ruling::Must(vec![Answer::REFUSED]),
        // Its first request was still unanswered.
        _ if ending.bytes_from(Side::Broker) == 0 => {
            Ruling::May(vec![Answer::CLOSED_BY_BROKER, Answer::SHUTDOWN_OR_ABORTED])
        }
        What::Received if ending.host == Side::Client => {
            Ruling::Must(vec![Answer::SHUTDOWN_OR_ABORTED, Answer::CONNECTION_LOST])
        }
        What::Sent if ending.host == Side::Broker => {
            Ruling::Must(vec![Answer::SHUTDOWN_OR_ABORTED, Answer::CONNECTION_LOST])
        }
        // The client gives up what it was asked to give up: an answer that comes after that is
        // harmless.
        What::Received | What::Sent => Ruling::May(vec![Answer::LATE_DATA, Answer::CLIENT_ABORTED]),
        What::Closed | What::Left | What::TimedOut => Ruling::Nothing,
    }
}
