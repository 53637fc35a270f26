//! Which connections of which clients go idle, and which never do; and a broker that ends those
//! that do.

use super::prelude::*;
use crate::trace::connections::Connections;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(with_each(
        &Software::ALL,
        "idle-admin",
        "an AdminClient that asks now and then, past a device that forgets in between",
        |setup, software| now_and_then(setup, software, Job::Admin, "hello"),
    ));
    all.extend(with_each(
        &Software::USUAL,
        "idle-transactions",
        "a transactional producer that sends now and then, past a device that forgets in between",
        |setup, software| now_and_then(setup, software, Job::Transactions, setup::SEND),
    ));
    all.extend(with_each(
        &Software::USUAL,
        "consumer-group",
        "a consumer that fetches and sends heartbeats all the time, past a device that forgets: \
         its connections in use never go idle",
        group,
    ));
    all.extend(with_each(
        &Software::USUAL,
        "long-poll",
        "the broker answers a consumer's long poll later than a device remembers, and is reset \
         itself",
        long_poll,
    ));
    all.extend(with_each(
        &Software::USUAL,
        "max-idle-below-timeout",
        "as device.aws-nlb, with the client's connections.max.idle.ms below the device's timeout: \
         enough for librdkafka, and not for Java",
        max_idle_below,
    ));
    all.extend(with_each(
        &Software::USUAL,
        "keepalive-below-timeout",
        "as device.aws-nlb, with keepalives more often than the device forgets: no reset",
        keepalive_below,
    ));
    all
}

/// A client that does `order` twice, with a silence between that the device does not survive.
fn now_and_then(
    setup: &KafkaSetup<'_>,
    software: Software,
    job: Job,
    order: &str,
) -> Result<Outcome> {
    let idle = setup.session.idle_timeout();
    let broker = setup.behind_device(idle)?;
    let watch = setup.watch()?;
    let mut client = setup.ready_client(&client::Plan::new(software, job), &broker)?;
    client.must(order)?;
    setup.wait_for_silence(idle + Duration::from_millis(500))?;
    match client.ask(order)? {
        // Its admin client alone leaves it to the application to try again.
        Said::Failed(_) if software == Software::Kafkajs => {}
        said => said.done()?,
    }
    client.wait_for_reset_words(Duration::ZERO)?;
    setup.settle(&mut [&mut client])?;
    setup.judge(watch, setup::forged)
}

fn group(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    let idle = setup.session.idle_timeout();
    let broker = setup.behind_device(idle)?;
    let watch = setup.watch()?;
    let plan = client::Plan::new(software, Job::Consumer)
        .with("heartbeat.interval.ms", idle.as_millis() / 3)
        .with("session.timeout.ms", 10_000);
    setup.found_topic(software, &broker)?;
    let mut client = setup.ready_client(&plan, &broker)?;
    client.poll(3 * idle)?;
    setup.settle(&mut [&mut client])?;
    let outcome = setup.judge(watch, setup::forged)?;
    never_idle(&outcome.connections, &["Fetch", "Heartbeat"], idle)?;
    Ok(outcome)
}

/// Makes sure that the connections with these requests were never silent for `idle`.
fn never_idle(connections: &Connections, requests: &[&str], idle: Duration) -> Result<()> {
    let mut any = false;
    for row in connections.with(requests) {
        any = true;
        if row.silence >= idle {
            return Err(Error::Staging(format!(
                "the connection of {} was silent for {:?}",
                row.client, row.silence
            )));
        }
    }
    if any {
        Ok(())
    } else {
        Err(Error::Staging(format!(
            "no client sent {}",
            requests.join(" or ")
        )))
    }
}

fn long_poll(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    let idle = setup.session.idle_timeout();
    let wait = (2 * idle).as_millis();
    let broker = setup.behind_device(idle)?;
    let watch = setup.watch()?;
    let plan = client::Plan::new(software, Job::Consumer)
        .with_if(Software::Java, "fetch.max.wait.ms", wait)
        .with_if(Software::Librdkafka, "fetch.wait.max.ms", wait)
        .with_if(Software::Librdkafka, "socket.timeout.ms", 60_000)
        .with("fetch.min.bytes", 1_000_000);
    setup.found_topic(software, &broker)?;
    let mut client = setup.ready_client(&plan, &broker)?;
    client.order("poll 60000")?;
    setup.lab.wire().wait_for(
        "a reset towards the broker",
        6 * idle + Duration::from_secs(20),
        |seen| seen.resets(Side::Broker) && seen.segment.ttl == Ttl::Own.value(),
    )?;
    setup.settle(&mut [&mut client])?;
    setup.judge_an_ending(watch, setup::forged)
}

/// The Java client looks for idle connections only when it has something to do, so that what it
/// sends after a silence is reset all the same.
fn max_idle_below(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    let idle = setup.session.idle_timeout();
    let plan = client::Plan::new(software, Job::Producer)
        .with("connections.max.idle.ms", (idle / 2).as_millis());
    protected(setup, &plan, |ending| match software {
        Software::Java => setup::forged(ending),
        Software::Librdkafka | Software::Kafkajs => Ruling::Nothing,
    })
}

/// Java's sockets have keepalives by default, librdkafka's on request, and the host says when.
fn keepalive_below(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    let every = (setup.session.idle_timeout().as_secs() / 2)
        .max(1)
        .to_string();
    setup.lab.network().host(Side::Client).sysctl(&[
        ("ipv4/tcp_keepalive_time", &every),
        ("ipv4/tcp_keepalive_intvl", &every),
    ])?;
    let plan = client::Plan::new(software, Job::Producer).with_if(
        Software::Librdkafka,
        "socket.keepalive.enable",
        true,
    );
    protected(setup, &plan, |_| Ruling::Nothing)
}

/// A producer that is silent for longer than the device remembers, and prepared for it.
fn protected(
    setup: &KafkaSetup<'_>,
    plan: &client::Plan,
    rule: impl Fn(&Ending) -> Ruling,
) -> Result<Outcome> {
    let idle = setup.session.idle_timeout();
    let broker = setup.behind_device(idle)?;
    let watch = setup.watch()?;
    let mut client = setup.producer(plan, &broker)?;
    setup.session.outlast_the_device()?;
    client.must(setup::SEND)?;
    setup.settle(&mut [&mut client])?;
    setup.judge(watch, rule)
}
