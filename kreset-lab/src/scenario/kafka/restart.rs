//! Brokers that go away and come back.

use std::time::Duration;

use super::{
    cast::{self, Cast},
    with_each,
};
use crate::{
    Side,
    error::Result,
    judge::{Answer, ruling::Ruling},
    kafka::{
        broker::{self, Protocol},
        client::{self, Job, Software},
    },
    scenario::{Outcome, Scenario, Scene},
    trace::ending::{Ending, What},
};

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
            move |scene, software| restart(scene, software, end, busy),
        ));
    }
    all
}

fn restart(scene: &Scene<'_>, software: Software, end: End, busy: bool) -> Result<Outcome> {
    let cast = Cast::new(scene)?;
    let mut broker = cast.broker(broker::Plan::new(Protocol::Plaintext))?;
    let watch = cast.watch()?;
    // Small requests, one by one: there is always one under way.
    let plan = client::Plan::new(software, Job::Producer)
        .with("batch.size", "16384")
        .with("linger.ms", "0")
        .with("reconnect.backoff.max.ms", "1000");
    let mut client = cast.client(&plan, &broker)?;
    client.must("hello")?;
    client.must("send 1 100")?;
    if busy {
        client.tell("send 60000 1000")?;
        // It is under way when megabytes have crossed.
        scene
            .lab
            .wire()
            .wait_for_count(200, "a producer to be busy", cast::BUSY, |seen| {
                seen.carries_data_from(Side::Client)
            })?;
    } else {
        cast.wait_for_silence(Duration::from_secs(1))?;
    }
    match end {
        End::Killed => broker.kill()?,
        End::ShutDown => broker.shut_down()?,
    }
    broker.restart(scene.lab)?;
    if busy {
        // Records may be lost where the broker that was to keep them was killed; the client must
        // have come to an end either way.
        client.answer("send 60000 1000")?;
    }
    client.must("send 1 100")?;
    cast.curtain(&mut [&mut client])?;
    match (end, busy) {
        // Its process is torn down with requests unread.
        (End::Killed, true) => cast::judge_an_ending(scene, watch, by_broker),
        // Its connections end in order, and whether a client comes back too soon is the client's
        // choice.
        _ => cast::judge(scene, watch, by_broker),
    }
}

/// Whatever ends is the broker's doing, and who knocks while it is away is refused.
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
        // The client gives up what it was told to give up: an answer that comes after that is
        // nobody's trouble.
        What::Received | What::Sent => Ruling::May(vec![Answer::LATE_DATA, Answer::CLIENT_ABORTED]),
        What::Closed | What::Left | What::TimedOut => Ruling::Nothing,
    }
}
