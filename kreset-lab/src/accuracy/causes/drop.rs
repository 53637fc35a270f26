//! Devices that forget, and say nothing.

use std::{io::ErrorKind, time::Duration};

use super::{TIMER_NAMES, busy};
use crate::{
    Connection, Side,
    accuracy::{
        case::{Case, Label, Room},
        device::Device,
        stage::Scene,
        traffic::Shape,
    },
    error::{Error, Result},
    judge::Answer,
};

/// How long a kernel that gives up after few retransmissions may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (timer, name) in TIMER_NAMES.into_iter().enumerate() {
        for shape in [Shape::Plain, Shape::Pipelined, Shape::Polls, Shape::Tls] {
            all.extend(Case::each_family(
                Room::Usual,
                &format!("idle_drop.user_timeout.{}.{name}", shape.name()),
                move |scene| client_writes(scene, timer, shape, true),
            ));
        }
        all.extend(Case::each_family(
            Room::GivesUp,
            &format!("idle_drop.retries.{name}"),
            move |scene| client_writes(scene, timer, Shape::Plain, false),
        ));
        for room in [Room::Late, Room::Blind, Room::Bare] {
            all.extend(Case::each_family(
                room,
                &format!("idle_drop.{}.{name}", room.name()),
                move |scene| client_writes(scene, timer, Shape::Plain, true),
            ));
        }
        all.extend(Case::each_family(
            Room::Patient,
            &format!("idle_drop.long_poll.{name}"),
            move |scene| broker_answers(scene, timer),
        ));
    }
    all.extend(Case::each_family(Room::Usual, "drop.busy", while_busy));
    all
}

fn client_writes(
    scene: &Scene<'_>,
    timer: usize,
    shape: Shape,
    limited: bool,
) -> Result<Vec<Label>> {
    let mut talk = scene.converse(Device::Drops { timer }, shape)?;
    if limited {
        talk.ends.client.give_up_after(limit(scene))?;
    }
    scene.silence(scene.outlasting(timer))?;
    shape.ask(&mut talk.ends.client)?;
    time_out(&talk.ends.client)?;
    let label = Label::new(talk.port)
        .told(Side::Client, &[Answer::IDLE_DROP])
        .without_reset();
    scene.keep(talk);
    Ok(vec![label])
}

/// The application's own limit, for a connection that would be retransmitted on for minutes.
fn limit(scene: &Scene<'_>) -> Duration {
    scene.draw.time(1000, 2500)
}

/// Waits until the kernel has given an end up.
fn time_out(end: &Connection) -> Result<()> {
    let error = end.wait_for_failure(PATIENCE)?;
    if error.kind() == ErrorKind::TimedOut {
        return Ok(());
    }
    Err(Error::Staging(format!(
        "a connection that should have timed out failed: {error}"
    )))
}

/// The answer of a long poll is what gets lost.
fn broker_answers(scene: &Scene<'_>, timer: usize) -> Result<Vec<Label>> {
    let mut talk = scene.converse(Device::Drops { timer }, Shape::Plain)?;
    talk.ends.broker.give_up_after(limit(scene))?;
    Shape::Plain.ask(&mut talk.ends.client)?;
    scene.silence(scene.outlasting(timer))?;
    Shape::Plain.answer(&mut talk.ends)?;
    time_out(&talk.ends.broker)?;
    let label = Label::new(talk.port)
        .told(Side::Broker, &[Answer::IDLE_DROP])
        .without_reset();
    scene.keep(talk);
    Ok(vec![label])
}

/// A path that goes away under a busy connection: no idle timer, and no name for what it is.
fn while_busy(scene: &Scene<'_>) -> Result<Vec<Label>> {
    let mut talk = scene.converse(Device::Vanishes, Shape::Plain)?;
    talk.ends.client.give_up_after(limit(scene))?;
    busy(scene, &mut talk, Shape::Plain)?;
    scene.forget(talk.port)?;
    Shape::Plain.ask(&mut talk.ends.client)?;
    time_out(&talk.ends.client)?;
    let label = Label::new(talk.port)
        .if_told(Side::Client, &[Answer::INDETERMINATE])
        .without_reset();
    scene.keep(talk);
    Ok(vec![label])
}
