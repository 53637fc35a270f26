//! Devices that reset what was silent for too long.

use super::TIMER_NAMES;
use crate::{
    Conversation, Side,
    accuracy::{
        case::{Case, Label, Room},
        device::Device,
        stage::Scene,
        traffic::Shape,
    },
    device::Ttl,
    error::Result,
    judge::Answer,
};
use std::time::Duration;

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (timer, name) in TIMER_NAMES.into_iter().enumerate() {
        for shape in Shape::ALL {
            all.extend(Case::each_family(
                Room::Usual,
                &format!("idle_on_send.{}.{name}", shape.name()),
                move |scene| on_send(scene, timer, shape),
            ));
        }
        all.extend(Case::each_family(
            Room::Bare,
            &format!("idle_on_send.no_timestamps.{name}"),
            move |scene| on_send(scene, timer, Shape::Plain),
        ));
        for shape in [Shape::Plain, Shape::Batches] {
            for ttl in [Ttl::Own, Ttl::Copied] {
                let seen = if ttl == Ttl::Own { "own" } else { "copied" };
                all.extend(Case::each_family(
                    Room::Patient,
                    &format!("idle_on_timer.{seen}_ttl.{}.{name}", shape.name()),
                    move |scene| on_timer(scene, timer, ttl, shape),
                ));
            }
        }
        for room in [Room::Late, Room::Blind, Room::Bare] {
            all.extend(Case::each_family(
                room,
                &format!("idle_on_timer.{}.{name}", room.name()),
                move |scene| on_timer(scene, timer, Ttl::Own, Shape::Tls),
            ));
        }
        all.extend(Case::each_family(
            Room::Usual,
            &format!("idle_on_send.long_poll.{name}"),
            move |scene| long_poll(scene, timer),
        ));
        all.extend(Case::each_family(
            Room::Late,
            &format!("idle_on_send.used_since.{name}"),
            move |scene| used_since(scene, timer),
        ));
        all.extend(Case::each_family(
            Room::Usual,
            &format!("idle_on_send.keepalive.{name}"),
            move |scene| on_keepalive(scene, timer),
        ));
        all.extend(Case::each_family(
            Room::Usual,
            &format!("idle_on_send.after_brokers_fin.{name}"),
            move |scene| after_brokers_fin(scene, timer),
        ));
    }
    all
}

fn on_send(scene: &Scene<'_>, timer: usize, shape: Shape) -> Result<Vec<Label>> {
    let device = Device::Resets {
        timer,
        copied: false,
    };
    let mut talk = scene.converse(device, shape)?;
    scene.silence(scene.outlasting(timer))?;
    shape.ask(&mut talk.ends.client)?;
    talk.ends.client.wait_for_reset()?;
    let label = Label::new(talk.port)
        .told(Side::Client, &[Answer::IDLE_ON_SEND])
        .forged(Side::Client, device.ttl());
    scene.keep(talk);
    Ok(vec![label])
}

fn on_timer(scene: &Scene<'_>, timer: usize, ttl: Ttl, shape: Shape) -> Result<Vec<Label>> {
    let talk = scene.converse(Device::None, shape)?;
    scene.silence(scene.outlasting(timer))?;
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
fn long_poll(scene: &Scene<'_>, timer: usize) -> Result<Vec<Label>> {
    let device = Device::Resets {
        timer,
        copied: false,
    };
    let mut talk = scene.converse(device, Shape::Polls)?;
    Shape::Plain.ask(&mut talk.ends.client)?;
    scene.silence(scene.outlasting(timer))?;
    Shape::Plain.answer(&mut talk.ends)?;
    talk.ends.broker.wait_for_reset()?;
    let label = Label::new(talk.port)
        .told(Side::Broker, &[Answer::IDLE_ON_SEND])
        .forged(Side::Broker, device.ttl());
    scene.keep(talk);
    Ok(vec![label])
}

/// The connection is older than the tracers, but they saw a packet of the broker's. The device
/// forgets when a timer would have run out that does not see how long the tracers took to attach.
fn used_since(scene: &Scene<'_>, timer: usize) -> Result<Vec<Label>> {
    let device = Device::Fails { copied: false };
    let mut talk = scene.converse(device, Shape::Plain)?;
    Shape::Plain.exchange(&mut talk.ends, &scene.draw)?;
    scene.silence(scene.outlasting(timer))?;
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
    let idle = scene.timer(timer) + Duration::from_secs(1);
    talk.ends.client.keep_alive(idle)?;
    scene.silence(idle)?;
    talk.ends.client.wait_for_reset()?;
    let label = Label::new(talk.port)
        .told(Side::Client, &[Answer::IDLE_ON_SEND])
        .forged(Side::Client, device.ttl());
    scene.keep(talk);
    Ok(vec![label])
}

/// The broker's own timer runs out after the device's: its FIN draws a reset, which hurts nobody,
/// and never arrives. The client writes later.
fn after_brokers_fin(scene: &Scene<'_>, timer: usize) -> Result<Vec<Label>> {
    let device = Device::Resets {
        timer,
        copied: false,
    };
    let Conversation { mut client, broker } = {
        let talk = scene.converse(device, Shape::Plain)?;
        scene.silence(scene.outlasting(timer))?;
        talk.ends
    };
    let port = client.port()?;
    broker.end()?;
    broker.wait_for_reset()?;
    scene.keep_end(broker);
    scene.silence(scene.draw.time(100, 900))?;
    Shape::Plain.ask(&mut client)?;
    client.wait_for_reset()?;
    scene.keep_end(client);
    Ok(vec![
        Label::new(port)
            .told(Side::Client, &[Answer::IDLE_ON_SEND])
            .forged(Side::Broker, device.ttl())
            .forged(Side::Client, device.ttl()),
    ])
}
