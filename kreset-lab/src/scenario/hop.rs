//! Resets by a device of connections that were not idle at all.

use std::time::Duration;

use super::{Outcome, Scenario, Scene};
use crate::{
    Conversation, Family, Moment, Side,
    device::Ttl,
    error::Result,
    judge::{Answer, Expected},
    net::message::Request,
};

/// Longer than every silence here; the device never forgets.
const NEVER: Duration = Duration::from_hours(1);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "hop_reset_busy",
            "a device resets both ends of a busy connection",
            both_ends,
        )
        .further(),
        Scenario::new(
            "hop_reset_kept_alive",
            "a device resets both ends of a connection that only keepalives use",
            keepalives,
        )
        .further(),
        Scenario::new(
            "hop_lost_state",
            "a device loses the state of a busy connection and answers the next request",
            lost_state,
        )
        .further(),
    ]
}

fn keepalives(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Ipv4)?;
    let talk = lab.converse(&listener, Family::Ipv4)?;
    talk.client.keep_alive(Duration::from_secs(1))?;
    scene.outlast_the_device()?;
    let port = talk.port()?;
    lab.middlebox().reset_now(port, Ttl::Own)?;
    talk.client.wait_for_reset()?;
    talk.broker.wait_for_reset()?;
    let told = |side, answers: &[_]| {
        let story = scene.spontaneous(port, side)?.forged(Ttl::Own)?;
        Ok(story.received(answers).provoked_by("nothing"))
    };
    watch.judge(
        told(Side::Client, &[Answer::NOT_IDLE])?,
        // The probes of the other end leave no trace in a socket: here the connection looks idle.
        told(
            Side::Broker,
            &[
                Answer::NOT_IDLE,
                Answer::IDLE_ON_TIMER,
                Answer::INDETERMINATE,
            ],
        )?
        .without_wire_idle(),
    )
}

/// A steady stream of requests, and nothing under way at its end.
fn keep_busy(scene: &Scene<'_>, talk: &mut Conversation) -> Result<()> {
    for _ in 0..50 {
        talk.exchange(Request::Produce(1000))?;
        scene.lab.silence(Duration::from_millis(10))?;
    }
    Ok(())
}

fn both_ends(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Mapped)?;
    let mut talk = lab.converse(&listener, Family::Mapped)?;
    keep_busy(scene, &mut talk)?;
    let port = talk.port()?;
    lab.middlebox().reset_now(port, Ttl::Own)?;
    talk.client.wait_for_reset()?;
    talk.broker.wait_for_reset()?;
    let [client, broker] = [Side::Client, Side::Broker].map(|side| {
        scene
            .spontaneous(port, side)
            .and_then(|story| story.forged(Ttl::Own))
            .map(|story| {
                story
                    .received(&[Answer::NOT_IDLE])
                    .in_state("ESTABLISHED")
                    .provoked_by("nothing")
            })
    });
    watch.judge(client?, broker?)
}

fn lost_state(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    lab.middlebox().reset_on_send(NEVER, Ttl::Own)?;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Mapped)?;
    let mut talk = lab.converse(&listener, Family::Mapped)?;
    keep_busy(scene, &mut talk)?;
    lab.middlebox().lose_state()?;
    let acted = Moment::now();
    talk.client.request(Request::Produce(1000))?;
    talk.client.wait_for_reset()?;
    let story = scene
        .drawn(talk.port()?, Side::Client, acted)?
        .forged(Ttl::Own)?;
    watch.judge(
        story
            .received(&[Answer::NOT_IDLE])
            .in_state("ESTABLISHED")
            .provoked_by("data"),
        Expected::NoEvent,
    )
}
