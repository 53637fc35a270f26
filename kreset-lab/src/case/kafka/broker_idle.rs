//! Brokers that end unused connections, and writes that come too late.

use super::prelude::*;

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
    all.push(setup::alone(
        "broker-idle-close-late-write",
        "the same, of a client that reads only when it has asked, as some do: it writes late",
        late_write,
    ));
    all.extend(with_each(
        &Software::USUAL,
        "broker-idle-close-lost-fin",
        "the same, and the broker's FIN is lost on the way: the client writes late, and is reset \
         with no FIN before",
        lost_fin,
    ));
    all
}

fn prepare<'a>(setup: &KafkaSetup<'a>) -> Result<(Broker, Watch<'a>)> {
    let broker = setup.broker(
        broker::Plan::new(Protocol::Plaintext)
            .with("connections.max.idle.ms", MAX_IDLE.as_millis()),
    )?;
    let watch = setup.watch_with(&Options::default().broker_max_idle(MAX_IDLE))?;
    Ok((broker, watch))
}

fn wait_for_a_fin(setup: &KafkaSetup<'_>) -> Result<()> {
    let wire = setup.lab.wire();
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

fn idle_close(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    let (broker, watch) = prepare(setup)?;
    let mut client = setup.producer(&client::Plan::new(software, Job::Producer), &broker)?;
    wait_for_a_fin(setup)?;
    client.must(setup::SEND)?;
    setup.settle(&mut [&mut client])?;
    setup.judge(watch, by_timer)
}

fn late_write(setup: &KafkaSetup<'_>) -> Result<Outcome> {
    let (_broker, watch) = prepare(setup)?;
    let mut client = setup.lab.connect(Family::Ipv4)?;
    for _ in 0..2 {
        client.request(Request::ApiVersions)?;
        client.receive()?;
    }
    wait_for_a_fin(setup)?;
    // The FIN is acknowledged, and the application does not read it.
    setup.wait_for_silence(Duration::from_secs(1))?;
    client.request(Request::ApiVersions)?;
    setup.wait_for_reset(Side::Client, MAX_IDLE)?;
    setup.settle(&mut [])?;
    setup.judge_an_ending(watch, by_timer)
}

/// Without the FIN the client's host sees a bare reset of the broker's host, which knows no such
/// connection: why is beyond it, and it may say so.
fn lost_fin(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    let (broker, watch) = prepare(setup)?;
    let mut client = setup.ready_client(&client::Plan::new(software, Job::Producer), &broker)?;
    setup.lab.middlebox().drop_fins_to(Side::Client)?;
    client.must(setup::SEND)?;
    // The connection in use is the last to end.
    setup.wait_for_end_of_all(Side::Broker, 5 * MAX_IDLE)?;
    client.order(setup::SEND)?;
    setup.wait_for_reset(Side::Client, 5 * MAX_IDLE)?;
    setup.lab.middlebox().forward_everything()?;
    client.answer(setup::SEND)?;
    setup.settle(&mut [&mut client])?;
    setup.judge_an_ending(watch, |ending| match (ending.what, ending.host) {
        (What::Received, Side::Client) => Ruling::Must(vec![
            Answer::IDLE_CLOSE,
            Answer::CONNECTION_LOST,
            Answer::INDETERMINATE,
        ]),
        _ => by_timer(ending),
    })
}
