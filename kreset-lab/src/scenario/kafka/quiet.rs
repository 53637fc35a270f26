//! Which connections of which clients go idle, and which never do; and a broker that ends those
//! that do.

use std::time::Duration;

use super::{
    cast::{self, Cast},
    with_each,
};
use crate::{
    Side,
    account::{Ending, Ruling, What},
    error::Result,
    judge::Answer,
    kafka::{
        broker::{self, Protocol},
        client::{self, Job, Software},
    },
    middlebox::Ttl,
    packet::Flags,
    scenario::{Outcome, Scenario, Scene},
    tracer::Options,
};

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut add = |name, about, script: fn(&Scene<'_>, Software) -> Result<Outcome>| {
        all.extend(with_each(&Software::USUAL, name, about, script));
    };
    add(
        "broker-idle-close",
        "the broker ends connections that were idle for connections.max.idle.ms, and the client \
         comes back",
        broker_idle_close,
    );
    add(
        "idle-admin",
        "an AdminClient that asks now and then, past a device that forgets in between",
        |scene, software| now_and_then(scene, software, Job::Admin, "hello"),
    );
    add(
        "idle-transactions",
        "a transactional producer that sends now and then, past a device that forgets in between",
        |scene, software| now_and_then(scene, software, Job::Transactions, "send 1 100"),
    );
    add(
        "consumer-group",
        "a consumer that fetches and sends heartbeats all the time, past a device that forgets: \
         its connections in use never go idle",
        group,
    );
    add(
        "long-poll",
        "the broker answers a consumer's long poll later than a device remembers, and is reset \
         itself",
        long_poll,
    );
    add(
        "max-idle-below-timeout",
        "as device.aws-nlb, with the client's connections.max.idle.ms below the device's timeout: \
         enough for librdkafka, and not for Java",
        max_idle_below,
    );
    add(
        "keepalive-below-timeout",
        "as device.aws-nlb, with keepalives more often than the device forgets: no reset",
        keepalive_below,
    );
    add(
        "healthy",
        "produce, consume, rebalance and orderly closes, with and without load: nothing to tell",
        healthy,
    );
    all
}

fn broker_idle_close(scene: &Scene<'_>, software: Software) -> Result<Outcome> {
    /// Stands for the ten minutes that brokers wait by default.
    const MAX_IDLE: Duration = Duration::from_secs(2);
    let cast = Cast::new(scene)?;
    let broker = cast.broker(
        broker::Plan::new(Protocol::Plaintext)
            .with("connections.max.idle.ms", MAX_IDLE.as_millis()),
    )?;
    let watch = cast.watch_with(&Options::default().broker_max_idle(MAX_IDLE))?;
    let mut client = cast.client(&client::Plan::new(software, Job::Producer), &broker)?;
    client.must("hello")?;
    client.must("send 1 100")?;
    scene
        .lab
        .wire()
        .wait_for("the broker's FIN", 5 * MAX_IDLE, |seen| {
            seen.comes_from(Side::Broker, Flags::FIN)
        })?;
    client.must("send 1 100")?;
    cast.curtain(&mut [&mut client])?;
    // Both clients answer the FIN with their own at once, and nothing is ever reset. A write
    // that was on its way at that very moment would be.
    cast::judge(scene, watch, |ending| match ending.what {
        What::Received | What::Sent if ending.was_closed_by(Side::Client) => Ruling::Nothing,
        What::Received | What::Sent => Ruling::Must(vec![Answer::IDLE_CLOSE]),
        What::Closed | What::Left | What::TimedOut => Ruling::Nothing,
    })
}

/// A client that does `order` twice, with a silence between that the device does not survive.
fn now_and_then(scene: &Scene<'_>, software: Software, job: Job, order: &str) -> Result<Outcome> {
    let idle = scene.idle_timeout();
    let cast = Cast::new(scene)?;
    scene.lab.middlebox().reset_on_send(idle, Ttl::Own)?;
    let broker = cast.broker(broker::Plan::new(Protocol::Plaintext))?;
    let watch = cast.watch()?;
    let mut client = cast.client(&client::Plan::new(software, job), &broker)?;
    client.must("hello")?;
    client.must(order)?;
    cast.wait_for_silence(idle + Duration::from_millis(500))?;
    client.must(order)?;
    client.wait_for_reset_words()?;
    cast.curtain(&mut [&mut client])?;
    cast::judge(scene, watch, forged)
}

/// The device's resets are the device's, at whichever end they arrive.
fn forged(ending: &Ending) -> Ruling {
    match ending.what {
        What::Received if ending.is_forged() => Ruling::Must(vec![Answer::IDLE_ON_SEND]),
        _ => Ruling::Nothing,
    }
}

fn group(scene: &Scene<'_>, software: Software) -> Result<Outcome> {
    let idle = scene.idle_timeout();
    let cast = Cast::new(scene)?;
    scene.lab.middlebox().reset_on_send(idle, Ttl::Own)?;
    let broker = cast.broker(broker::Plan::new(Protocol::Plaintext))?;
    let watch = cast.watch()?;
    let plan = client::Plan::new(software, Job::Consumer)
        .with("heartbeat.interval.ms", idle.as_millis() / 3)
        .with("session.timeout.ms", 10_000);
    let mut client = cast.client(&plan, &broker)?;
    client.must("hello")?;
    let millis = (3 * idle).as_millis();
    client.must(&format!("poll {millis}"))?;
    cast.curtain(&mut [&mut client])?;
    cast::judge(scene, watch, forged)
}

fn long_poll(scene: &Scene<'_>, software: Software) -> Result<Outcome> {
    let idle = scene.idle_timeout();
    let wait = (2 * idle).as_millis();
    let cast = Cast::new(scene)?;
    scene.lab.middlebox().reset_on_send(idle, Ttl::Own)?;
    let broker = cast.broker(broker::Plan::new(Protocol::Plaintext))?;
    let watch = cast.watch()?;
    let plan = client::Plan::new(software, Job::Consumer)
        .with_if(Software::Java, "fetch.max.wait.ms", wait)
        .with_if(Software::Librdkafka, "fetch.wait.max.ms", wait)
        .with_if(Software::Librdkafka, "socket.timeout.ms", 60_000)
        .with("fetch.min.bytes", 1_000_000);
    // A consumer fetches from topics that exist.
    let mut founder = cast.client(&client::Plan::new(software, Job::Producer), &broker)?;
    founder.must("hello")?;
    founder.must("send 1 100")?;
    founder.close()?;
    let mut client = cast.client(&plan, &broker)?;
    client.must("hello")?;
    client.tell("poll 60000")?;
    scene.lab.wire().wait_for(
        "a reset towards the broker",
        6 * idle + Duration::from_secs(20),
        |seen| seen.resets(Side::Broker) && seen.segment.ttl == Ttl::Own.value(),
    )?;
    cast.curtain(&mut [&mut client])?;
    cast::judge(scene, watch, forged)
}

/// The Java client looks for idle connections only when it has something to do, so that what it
/// sends after a silence is reset all the same.
fn max_idle_below(scene: &Scene<'_>, software: Software) -> Result<Outcome> {
    let idle = scene.idle_timeout();
    let plan = client::Plan::new(software, Job::Producer)
        .with("connections.max.idle.ms", (idle / 2).as_millis());
    protected(scene, &plan, |ending| match software {
        Software::Java => forged(ending),
        Software::Librdkafka | Software::Kafkajs => Ruling::Nothing,
    })
}

/// Java's sockets have keepalives by default, librdkafka's on request, and the host says when.
fn keepalive_below(scene: &Scene<'_>, software: Software) -> Result<Outcome> {
    let every = (scene.idle_timeout().as_secs() / 2).max(1).to_string();
    scene.lab.network().host(Side::Client).sysctl(&[
        ("ipv4/tcp_keepalive_time", &every),
        ("ipv4/tcp_keepalive_intvl", &every),
    ])?;
    let plan = client::Plan::new(software, Job::Producer).with_if(
        Software::Librdkafka,
        "socket.keepalive.enable",
        true,
    );
    protected(scene, &plan, |_| Ruling::Nothing)
}

/// A producer that is silent for longer than the device remembers, and prepared for it.
fn protected(
    scene: &Scene<'_>,
    plan: &client::Plan,
    rule: impl Fn(&Ending) -> Ruling,
) -> Result<Outcome> {
    let idle = scene.idle_timeout();
    let cast = Cast::new(scene)?;
    scene.lab.middlebox().reset_on_send(idle, Ttl::Own)?;
    let broker = cast.broker(broker::Plan::new(Protocol::Plaintext))?;
    let watch = cast.watch()?;
    let mut client = cast.client(plan, &broker)?;
    client.must("hello")?;
    client.must("send 1 100")?;
    scene.outlast_the_device()?;
    client.must("send 1 100")?;
    cast.curtain(&mut [&mut client])?;
    cast::judge(scene, watch, rule)
}

fn healthy(scene: &Scene<'_>, software: Software) -> Result<Outcome> {
    let cast = Cast::new(scene)?;
    let broker = cast.broker(broker::Plan::new(Protocol::Plaintext))?;
    let watch = cast.watch()?;
    let mut producer = cast.client(&client::Plan::new(software, Job::Producer), &broker)?;
    producer.must("hello")?;
    let plan = client::Plan::new(software, Job::Consumer);
    let mut consumer = cast.client(&plan, &broker)?;
    consumer.must("hello")?;
    consumer.tell("poll 12000")?;
    for _ in 0..5 {
        producer.must("send 2000 500")?;
        scene.lab.silence(Duration::from_secs(1))?;
    }
    // Another member of the group comes and goes.
    let mut guest = cast.client(&plan.named("guest"), &broker)?;
    guest.must("hello")?;
    guest.must("poll 2000")?;
    guest.close()?;
    consumer.answer("poll 12000")?;
    consumer.close()?;
    producer.close()?;
    cast.wait_for_silence(Duration::from_secs(1))?;
    cast::judge(scene, watch, |_| Ruling::Nothing)
}
