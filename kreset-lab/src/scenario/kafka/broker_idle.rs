//! Brokers that end connections which nobody uses, and writes that come too late.

use std::time::Duration;

use super::{
    cast::{self, Cast},
    with_each,
};
use crate::{
    Family, Side,
    driver::Options,
    error::Result,
    judge::{Answer, ruling::Ruling},
    kafka::{
        broker::{self, Broker, Protocol},
        client::{self, Job, Software},
    },
    net::{message::Request, packet::Flags},
    scenario::{Outcome, Scenario, Scene, Watch},
    trace::ending::{Ending, What},
};

/// `connections.max.idle.ms`: stands for the ten minutes that brokers wait by default.
const MAX_IDLE: Duration = Duration::from_secs(2);

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(with_each(
        &Software::ALL,
        "broker-idle-close",
        "the broker ends connections that were idle for connections.max.idle.ms, and the client \
         comes back",
        idle_close,
    ));
    all.push(
        Scenario::new(
            "broker-idle-close-late-write",
            "the same, of a client that reads only when it has asked, as some do: it writes late",
            late_write,
        )
        .with_real_parts(),
    );
    all.extend(with_each(
        &Software::USUAL,
        "broker-idle-close-lost-fin",
        "the same, and the broker's FIN is lost on the way: the client writes late, and is reset \
         with no FIN before",
        lost_fin,
    ));
    all
}

fn stage<'a>(scene: &'a Scene<'a>) -> Result<(Cast<'a>, Broker, Watch<'a>)> {
    let cast = Cast::new(scene)?;
    let broker = cast.broker(
        broker::Plan::new(Protocol::Plaintext)
            .with("connections.max.idle.ms", MAX_IDLE.as_millis()),
    )?;
    let watch = cast.watch_with(&Options::default().broker_max_idle(MAX_IDLE))?;
    Ok((cast, broker, watch))
}

fn wait_for_a_fin(scene: &Scene<'_>) -> Result<()> {
    let wire = scene.lab.wire();
    wire.wait_for("the broker's FIN", 5 * MAX_IDLE, |seen| {
        seen.comes_from(Side::Broker, Flags::FIN)
    })
    .map(drop)
}

/// The clients answer the FIN with their own at once, and nothing is ever reset. A write that was
/// on its way at that very moment would be.
fn by_timer(ending: &Ending) -> Ruling {
    match ending.what {
        What::Received | What::Sent if ending.was_closed_by(Side::Client) => Ruling::Nothing,
        What::Received | What::Sent => Ruling::Must(vec![Answer::IDLE_CLOSE]),
        What::Closed | What::Left | What::TimedOut => Ruling::Nothing,
    }
}

fn idle_close(scene: &Scene<'_>, software: Software) -> Result<Outcome> {
    let (cast, broker, watch) = stage(scene)?;
    let mut client = cast.client(&client::Plan::new(software, Job::Producer), &broker)?;
    client.must("hello")?;
    client.must("send 1 100")?;
    wait_for_a_fin(scene)?;
    client.must("send 1 100")?;
    cast.curtain(&mut [&mut client])?;
    cast::judge(scene, watch, by_timer)
}

fn late_write(scene: &Scene<'_>) -> Result<Outcome> {
    let (cast, _broker, watch) = stage(scene)?;
    let mut client = scene.lab.connect(Family::Ipv4)?;
    for _ in 0..2 {
        client.request(Request::ApiVersions)?;
        client.receive()?;
    }
    wait_for_a_fin(scene)?;
    // The FIN is acknowledged, and nobody looks.
    cast.wait_for_silence(Duration::from_secs(1))?;
    client.request(Request::ApiVersions)?;
    scene
        .lab
        .wire()
        .wait_for("a reset", MAX_IDLE, |seen| seen.resets(Side::Client))?;
    cast.curtain(&mut [])?;
    cast::judge_an_ending(scene, watch, by_timer)
}

/// Without the FIN the client's host sees a bare reset of the broker's host, which knows no such
/// connection: why is beyond it, and it may say so.
fn lost_fin(scene: &Scene<'_>, software: Software) -> Result<Outcome> {
    let (cast, broker, watch) = stage(scene)?;
    let mut client = cast.client(&client::Plan::new(software, Job::Producer), &broker)?;
    client.must("hello")?;
    scene.lab.middlebox().drop_fins_to(Side::Client)?;
    client.must("send 1 100")?;
    // The connection in use is the last to end.
    cast.wait_for_end_of_all(Side::Broker, 5 * MAX_IDLE)?;
    client.tell("send 1 100")?;
    scene
        .lab
        .wire()
        .wait_for("a reset", 5 * MAX_IDLE, |seen| seen.resets(Side::Client))?;
    scene.lab.middlebox().forward_everything()?;
    client.answer("send 1 100")?;
    cast.curtain(&mut [&mut client])?;
    cast::judge_an_ending(scene, watch, |ending| match (ending.what, ending.host) {
        (What::Received, Side::Client) => Ruling::Must(vec![
            Answer::IDLE_CLOSE,
            Answer::CONNECTION_LOST,
            Answer::INDETERMINATE,
        ]),
        _ => by_timer(ending),
    })
}
