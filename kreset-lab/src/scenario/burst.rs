//! Many resets at once.

use super::{Outcome, Scenario, Scene};
use crate::{
    Family, Side,
    error::Result,
    judge::{Answer, Expected},
    util::limits::allow_open_files,
};

/// How many connections are reset at once.
const CONNECTIONS: u16 = 3000;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::new(
        "burst",
        "the broker resets 3000 connections at once",
        burst,
    )]
}

fn burst(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    allow_open_files(2 * u64::from(CONNECTIONS) + 1000)?;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Ipv4)?;
    let first = lab.converse(&listener, Family::Ipv4)?;
    let port = first.port()?;
    let (mut clients, mut brokers) = (vec![first.client], vec![first.broker]);
    for _ in 1..CONNECTIONS {
        let talk = lab.converse(&listener, Family::Ipv4)?;
        clients.push(talk.client);
        brokers.push(talk.broker);
    }
    for broker in brokers {
        broker.abort()?;
    }
    for client in &clients {
        client.wait_for_reset()?;
    }
    let story = scene.spontaneous(port, Side::Client)?.genuine()?;
    // Each is an abort, and so many at once are what a broker's end looks like: either is true.
    let many = |each| Expected::Many {
        count: CONNECTIONS.into(),
        each: Box::new(each),
    };
    watch.judge(
        many(
            story
                .received(&[Answer::SHUTDOWN_OR_ABORTED])
                .without_idle(),
        ),
        many(story.sent(&[Answer::SHUTDOWN_OR_ABORTED]).without_idle()),
    )
}
