//! Connections that were there before the tracer.

use std::time::Duration;

use super::{Outcome, Scenario, Scene};
use crate::{
    Family, Moment, Side,
    device::Ttl,
    error::Result,
    judge::{Answer, Expected},
    net::message::Request,
};

/// How much older than the tracer: enough that an age counted from its start would be wrong.
const BEFORE: Duration = Duration::from_secs(1);

/// Longer than everything here.
const NEVER: Duration = Duration::from_hours(1);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "older_than_tracer",
            "as idle_reset_on_send, on a connection that is older than the tracer and used since",
            |scene| older(scene, true),
        ),
        Scenario::new(
            "older_and_silent",
            "as idle_reset_on_send, on a connection of which the tracer never saw a packet",
            |scene| older(scene, false),
        )
        .further(),
    ]
}

fn older(scene: &Scene<'_>, used_since: bool) -> Result<Outcome> {
    let lab = scene.lab;
    // The tracers take their time to attach, which the device's timer must not see: it has none,
    // and loses what it knew when that timer would have run out.
    lab.middlebox().reset_on_send(NEVER, Ttl::Own)?;
    let listener = lab.listen(Family::Mapped)?;
    let mut talk = lab.converse(&listener, Family::Mapped)?;
    lab.silence(BEFORE)?;
    let watch = scene.watch()?;
    let attached = Moment::now();
    if used_since {
        talk.exchange(Request::Metadata)?;
    }
    scene.outlast_the_device()?;
    lab.middlebox().lose_state()?;
    let acted = Moment::now();
    talk.client.request(Request::Metadata)?;
    talk.client.wait_for_reset()?;
    let story = scene
        .drawn(talk.port()?, Side::Client, acted)?
        .forged(Ttl::Own)?;
    let seen = story.reset.at.since(attached);
    let answers: &[_] = if used_since {
        &[Answer::IDLE_ON_SEND]
    } else {
        // No packet of the broker to compare the reset's TTL with: abstaining is honest.
        &[Answer::IDLE_ON_SEND, Answer::INDETERMINATE]
    };
    watch.judge(
        story
            .received(answers)
            .in_state("ESTABLISHED")
            .provoked_by("data")
            .at_least(seen),
        Expected::NoEvent,
    )
}
