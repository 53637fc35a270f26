//! A cluster whose brokers are restarted one after the other.

use std::thread;

use super::{prelude::*, restart::by_broker};

/// How many brokers there are.
const NODES: u8 = 3;

pub(super) fn scenarios() -> Vec<Scenario> {
    with_each(
        &Software::USUAL,
        "rolling-restart",
        "the brokers of a cluster of three are restarted in order, one after the other, under load",
        rolling,
    )
    .collect()
}

fn rolling(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    let mut brokers = cluster(setup, |plan| plan)?;
    let watch = setup.watch()?;
    let plan = client::Plan::new(software, Job::Producer)
        .with("linger.ms", "0")
        .with("reconnect.backoff.max.ms", "1000");
    let mut client = setup.producer(&plan, &brokers[0])?;
    for broker in &mut brokers {
        client.order("send 40000 1000")?;
        // It is under way when more has crossed than acknowledgements.
        let so_far = setup.lab.wire().sightings().len();
        setup.lab.wire().wait_for_count(
            so_far + 300,
            "a producer to be busy",
            setup::BUSY,
            |_| true,
        )?;
        broker.shut_down()?;
        broker.restart(setup.lab)?;
        // However many got through: the cluster was never without two of its brokers.
        client.answer("send 40000 1000")?;
    }
    client.must(setup::SEND)?;
    setup.settle(&mut [&mut client])?;
    setup.judge(watch, by_broker)
}

/// Starts all brokers at once, since none serves before most of them are there; `settings` are
/// added to the plan of each.
pub(super) fn cluster(
    setup: &KafkaSetup<'_>,
    settings: impl Fn(broker::Plan) -> broker::Plan,
) -> Result<Vec<Broker>> {
    let lab = setup.lab;
    let plans: Vec<_> = (1..=NODES)
        .map(|node| settings(broker::Plan::new(Protocol::Plaintext).node(node, NODES)))
        .collect();
    for plan in plans.iter().skip(1) {
        lab.network().add_broker_address(plan.address())?;
    }
    let mut brokers = plans
        .into_iter()
        .map(|plan| Broker::begin(lab, &setup.home, &setup.scratch, plan, None))
        .collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let waiting: Vec<_> = brokers
            .iter_mut()
            .map(|broker| scope.spawn(|| broker.wait_until_ready(0)))
            .collect();
        waiting.into_iter().try_for_each(|waiting| {
            waiting
                .join()
                .unwrap_or_else(|_| Err(Error::Staging("a thread died".to_owned())))
        })
    })?;
    Ok(brokers)
}
