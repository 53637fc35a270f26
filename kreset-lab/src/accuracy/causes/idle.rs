//! Devices that reset what was silent for too long.

use super::{outlasting, word};
use crate::{
    Side,
    accuracy::{
        case::{Case, Label, Room},
        device::{Device, TIMERS},
        stage::Scene,
        traffic::Shape,
    },
    error::Result,
    judge::Answer,
    middlebox::Ttl,
};
use std::time::Duration;

/// A device that copies the TTL, a host that lost the connection, and a hop that lost its state
/// answer with the same packet.
pub(super) const LOOKS_LIKE_LOST: &[Answer] = &[
    Answer::IDLE_ON_SEND,
    Answer::CONNECTION_LOST,
    Answer::NOT_IDLE,
];

/// The same packet towards a broker's host.
pub(super) const LOOKS_LIKE_CLIENT_LOST: &[Answer] = &[
    Answer::IDLE_ON_SEND,
    Answer::one("client_originated", &["connection_lost", "late_data"]),
    Answer::NOT_IDLE,
];

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for timer in 0..TIMERS.len() {
        let silence = outlasting(timer);
        let name = word(silence);
        for shape in Shape::ALL {
            all.extend(Case::each_family(
                Room::Usual,
                &format!("idle_on_send.{}.{name}", shape.name()),
                move |scene| on_send(scene, timer, false, shape),
            ));
        }
        for shape in [Shape::Plain, Shape::Tls] {
            all.extend(Case::each_family(
                Room::Patient,
                &format!("idle_on_send.copied_ttl.{}.{name}", shape.name()),
                move |scene| on_send(scene, timer, true, shape),
            ));
            all.extend(Case::each_family(
                Room::Late,
                &format!("idle_on_send.unknown_ttl.{}.{name}", shape.name()),
                move |scene| on_send(scene, timer, false, shape),
            ));
        }
        for shape in [Shape::Plain, Shape::Batches] {
            for ttl in [Ttl::Own, Ttl::Copied] {
                let seen = if ttl == Ttl::Own { "own" } else { "copied" };
                all.extend(Case::each_family(
                    Room::Patient,
                    &format!("idle_on_timer.{seen}_ttl.{}.{name}", shape.name()),
                    move |scene| on_timer(scene, silence, ttl, shape),
                ));
            }
        }
        all.extend(Case::each_family(
            Room::Late,
            &format!("idle_on_timer.unknown_ttl.{name}"),
            move |scene| on_timer(scene, silence, Ttl::Own, Shape::Plain),
        ));
        all.extend(Case::each_family(
            Room::Usual,
            &format!("idle_on_send.long_poll.{name}"),
            move |scene| long_poll(scene, timer, false),
        ));
        all.extend(Case::each_family(
            Room::Patient,
            &format!("idle_on_send.copied_ttl.long_poll.{name}"),
            move |scene| long_poll(scene, timer, true),
        ));
        all.extend(Case::each_family(
            Room::Late,
            &format!("idle_on_send.used_since.{name}"),
            move |scene| used_since(scene, silence),
        ));
        all.extend(Case::each_family(
            Room::Usual,
            &format!("idle_on_send.keepalive.{name}"),
            move |scene| on_keepalive(scene, timer),
        ));
    }
    all
}

fn on_send(scene: &Scene<'_>, timer: usize, copied: bool, shape: Shape) -> Result<Vec<Label>> {
    let device = Device::Resets { timer, copied };
    let mut talk = scene.converse(device, shape)?;
    scene.silence(outlasting(timer))?;
    shape.ask(&mut talk.ends.client)?;
    talk.ends.client.wait_for_reset()?;
    let label = Label::new(talk.port).forged(Side::Client, device.ttl());
    scene.keep(talk);
    // A tracer that came late has no TTL of the broker's to compare with.
    let hidden = copied || scene.came_late();
    Ok(vec![if hidden {
        label.undecidable(Side::Client, &[Answer::IDLE_ON_SEND], LOOKS_LIKE_LOST)
    } else {
        label.told(Side::Client, &[Answer::IDLE_ON_SEND])
    }])
}

fn on_timer(scene: &Scene<'_>, silence: Duration, ttl: Ttl, shape: Shape) -> Result<Vec<Label>> {
    let talk = scene.converse(Device::None, shape)?;
    scene.silence(silence)?;
    scene.reset_both(&talk, ttl)?;
    // A bare RST that nothing drew is no stack's: the TTL need not tell.
    let label = Label::new(talk.port)
        .told(Side::Client, &[Answer::IDLE_ON_TIMER])
        .told(Side::Broker, &[Answer::IDLE_ON_TIMER])
        .forged(Side::Client, ttl)
        .forged(Side::Broker, ttl);
    scene.keep(talk);
    Ok(vec![label])
}

/// The silence lies between a request and its answer, and the answer draws the reset.
fn long_poll(scene: &Scene<'_>, timer: usize, copied: bool) -> Result<Vec<Label>> {
    let device = Device::Resets { timer, copied };
    let mut talk = scene.converse(device, Shape::Plain)?;
    Shape::Plain.ask(&mut talk.ends.client)?;
    scene.silence(outlasting(timer))?;
    Shape::Plain.answer(&mut talk.ends)?;
    talk.ends.broker.wait_for_reset()?;
    let label = Label::new(talk.port).forged(Side::Broker, device.ttl());
    scene.keep(talk);
    Ok(vec![if copied {
        label.undecidable(
            Side::Broker,
            &[Answer::IDLE_ON_SEND],
            LOOKS_LIKE_CLIENT_LOST,
        )
    } else {
        label.told(Side::Broker, &[Answer::IDLE_ON_SEND])
    }])
}

/// The connection is older than the tracers, but they saw a packet of the broker's. The device
/// forgets when a timer would have run out that does not see how long the tracers took to attach.
fn used_since(scene: &Scene<'_>, silence: Duration) -> Result<Vec<Label>> {
    let device = Device::Fails { copied: false };
    let mut talk = scene.converse(device, Shape::Plain)?;
    Shape::Plain.exchange(&mut talk.ends)?;
    scene.silence(silence)?;
    scene.forget(talk.port)?;
    Shape::Plain.ask(&mut talk.ends.client)?;
    talk.ends.client.wait_for_reset()?;
    let label = Label::new(talk.port)
        .told(Side::Client, &[Answer::IDLE_ON_SEND])
        .forged(Side::Client, device.ttl());
    scene.keep(talk);
    Ok(vec![label])
}

/// The client's keepalive probe, a second after the device's timer, draws the reset.
fn on_keepalive(scene: &Scene<'_>, timer: usize) -> Result<Vec<Label>> {
    let device = Device::Resets {
        timer,
        copied: false,
    };
    let talk = scene.converse(device, Shape::Plain)?;
    let idle = Duration::from_secs(TIMERS.get(timer).copied().unwrap_or_default().into())
        + Duration::from_secs(1);
    talk.ends.client.keep_alive(idle)?;
    scene.silence(idle)?;
    talk.ends.client.wait_for_reset()?;
    let label = Label::new(talk.port)
        .told(Side::Client, &[Answer::IDLE_ON_SEND])
        .forged(Side::Client, device.ttl());
    scene.keep(talk);
    Ok(vec![label])
}
