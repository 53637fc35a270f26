//! Devices that forget, and say nothing.

use std::{io::ErrorKind, time::Duration};

use super::{ms, outlasting, word};
use crate::{
    Connection, Side,
    accuracy::{
        case::{Case, Label, Room},
        device::{Device, TIMERS},
        stage::Scene,
        traffic::Shape,
    },
    error::{Error, Result},
    judge::Answer,
};

/// The application's own limit, for a connection that would be retransmitted on for minutes.
const LIMIT: Duration = ms(1500);

/// How long a kernel that gives up after few retransmissions may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for timer in 0..TIMERS.len() {
        let name = word(outlasting(timer));
        for shape in [Shape::Plain, Shape::Pipelined, Shape::Tls] {
            all.extend(Case::each_family(
                Room::Usual,
                &format!("idle_drop.user_timeout.{}.{name}", shape.name()),
                move |scene| client_writes(scene, timer, shape, Some(LIMIT)),
            ));
        }
        all.extend(Case::each_family(
            Room::GivesUp,
            &format!("idle_drop.retries.{name}"),
            move |scene| client_writes(scene, timer, Shape::Plain, None),
        ));
        all.extend(Case::each_family(
            Room::Late,
            &format!("idle_drop.late.{name}"),
            move |scene| client_writes(scene, timer, Shape::Plain, Some(LIMIT)),
        ));
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
    limit: Option<Duration>,
) -> Result<Vec<Label>> {
    let mut talk = scene.converse(Device::Drops { timer }, shape)?;
    if let Some(limit) = limit {
        talk.ends.client.give_up_after(limit)?;
    }
    scene.silence(outlasting(timer))?;
    shape.ask(&mut talk.ends.client)?;
    time_out(&talk.ends.client)?;
    let label = Label::new(talk.port)
        .told(Side::Client, &[Answer::IDLE_DROP])
        .without_reset();
    scene.keep(talk);
    Ok(vec![label])
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
    talk.ends.broker.give_up_after(LIMIT)?;
    Shape::Plain.ask(&mut talk.ends.client)?;
    scene.silence(outlasting(timer))?;
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
    talk.ends.client.give_up_after(LIMIT)?;
    super::busy(scene, &mut talk, Shape::Plain, ms(20))?;
    scene.forget(talk.port)?;
    Shape::Plain.ask(&mut talk.ends.client)?;
    time_out(&talk.ends.client)?;
    let label = Label::new(talk.port)
        .if_told(Side::Client, &[Answer::INDETERMINATE])
        .without_reset();
    scene.keep(talk);
    Ok(vec![label])
}
