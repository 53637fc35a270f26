//! The advice that kreset gives, taken from its event and followed.

use super::{
    advice::{self, Change},
    prelude::*,
};
use crate::event::Event;

/// How long a tracer may take to report a reset.
const REPORTED: Duration = Duration::from_secs(10);

pub(super) fn scenarios() -> Vec<Scenario> {
    with_each(
        &Software::ALL,
        "advised",
        "as device.aws-nlb; then each setting that kreset's event advises is tried on a new client, \
         and the same silence draws no reset",
        advised,
    )
    .collect()
}

fn advised(setup: &KafkaSetup<'_>, software: Software) -> Result<Outcome> {
    let broker = setup.behind_device(setup.session.idle_timeout())?;
    let watch = setup.watch()?;
    let mut client = pause(setup, &broker, &client::Plan::new(software, Job::Producer))?;
    client.wait_for_reset_words(Duration::ZERO)?;
    let advice = advice_of(&watch)?;
    let changes = advice.as_deref().map(advice::changes).unwrap_or_default();
    if advice.is_some() && changes.is_empty() {
        return Err(Error::Staging(format!(
            "no setting is named in the advice {advice:?}"
        )));
    }
    // Closed before anything is changed, so that what is reset later is not its.
    client.close()?;
    let mut tried = Vec::new();
    for change in changes {
        let began = Moment::now();
        take(setup, &broker, software, &change)?.close()?;
        tried.push((change, began));
    }
    setup.settle(&mut [])?;
    let mut outcome = setup.judge(watch, setup::forged)?;
    outcome
        .client
        .differences
        .extend(useless(setup, &tried, advice.as_deref()));
    Ok(outcome)
}

/// What the tracer on the client's host advises, if there is one.
fn advice_of(watch: &Watch<'_>) -> Result<Option<String>> {
    let event = watch.wait_for(
        Side::Client,
        "an advice",
        REPORTED,
        Event::is_about_a_connection,
    )?;
    Ok(event.and_then(|event| event.advice))
}

/// A producer that is silent for longer than the device remembers.
fn pause(setup: &KafkaSetup<'_>, broker: &Broker, plan: &client::Plan) -> Result<Client> {
    let mut client = setup.producer(plan, broker)?;
    setup.session.outlast_the_device()?;
    client.must(setup::SEND)?;
    Ok(client)
}

/// The same with a change, which is undone afterwards.
fn take(
    setup: &KafkaSetup<'_>,
    broker: &Broker,
    software: Software,
    change: &Change,
) -> Result<Client> {
    let mut before = Vec::new();
    for (side, settings) in [(Side::Client, &change.host), (Side::Broker, &change.broker)] {
        let host = setup.lab.network().host(side);
        for (name, value) in settings {
            let path = format!("ipv4/{name}");
            before.push((host, path.clone(), host.read_sysctl(&path)?));
            host.sysctl(&[(&path, value)])?;
        }
    }
    let mut plan = client::Plan::new(software, Job::Producer).named("advised");
    for (name, value) in &change.client {
        plan = plan.with(name, value);
    }
    let client = pause(setup, broker, &plan);
    for (host, path, value) in before {
        host.sysctl(&[(&path, &value)])?;
    }
    client
}

/// The changes with which a connection was reset all the same.
fn useless(
    setup: &KafkaSetup<'_>,
    tried: &[(Change, Moment)],
    advice: Option<&str>,
) -> Vec<String> {
    let forged: Vec<_> = Side::BOTH
        .into_iter()
        .flat_map(|side| Ending::all(setup.lab.wire(), side))
        .filter(Ending::is_forged)
        .collect();
    let next = |number: usize| tried.get(number + 1).map(|(_, began)| *began);
    tried
        .iter()
        .enumerate()
        .filter_map(|(number, (change, began))| {
            let during = |at: Moment| at >= *began && next(number).is_none_or(|next| at < next);
            let reset = forged.iter().find(|ending| during(ending.last().at))?;
            Some(format!(
                "advised {:?}: with {change} the connection of {} was reset all the same",
                advice.unwrap_or_default(),
                reset.client
            ))
        })
        .collect()
}
