//! Everyday teardown, of which an operator must hear nothing.

use std::time::Duration;

use super::{MAX_IDLE, Silence, TIMER_NAMES};
use crate::{
    Conversation, Side,
    accuracy::{
        case::{Case, Label, Room},
        device::Device,
        stage::{Scene, Talk},
        traffic::Shape,
    },
    error::Result,
};

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for shape in Shape::ALL {
        for silence in Silence::SHORT {
            let name = format!("{}.{}", shape.name(), silence.name());
            all.extend(Case::each_family(
                Room::Usual,
                &format!("noise.client_closes.{name}"),
                move |scene| orderly(scene, shape, silence.draw(&scene.draw), Side::Client),
            ));
            all.extend(Case::each_family(
                Room::Usual,
                &format!("noise.broker_closes.{name}"),
                move |scene| orderly(scene, shape, silence.draw(&scene.draw), Side::Broker),
            ));
        }
    }
    for first in Side::BOTH {
        all.extend(Case::each_family(
            Room::Blind,
            &format!("noise.blind.{first}_closes"),
            move |scene| orderly(scene, Shape::Polls, scene.draw.time(0, 2000), first),
        ));
    }
    for (timer, name) in TIMER_NAMES.into_iter().enumerate() {
        for room in [Room::Usual, Room::Blind] {
            all.extend(Case::each_family(
                room,
                &format!("noise.own_fin.{}.{name}", room.name()),
                move |scene| own_fin(scene, timer),
            ));
        }
    }
    all.extend(Case::each_family(
        Room::Usual,
        "noise.broker_idle_timer",
        |scene| {
            let silence = MAX_IDLE + scene.draw.time(5, 300);
            orderly(scene, Shape::Plain, silence, Side::Broker)
        },
    ));
    all.extend(Case::each_family(
        Room::Usual,
        "noise.kept_alive",
        kept_alive,
    ));
    all.extend(Case::each_family(
        Room::Usual,
        "noise.client_opens_and_closes",
        unused,
    ));
    all
}

/// FIN answered by FIN, everything read.
fn orderly(scene: &Scene<'_>, shape: Shape, silence: Duration, first: Side) -> Result<Vec<Label>> {
    let Talk { ends, port } = scene.converse(Device::None, shape)?;
    scene.silence(silence)?;
    close(ends, first)?;
    Ok(vec![Label::new(port).without_reset()])
}

fn close(ends: Conversation, first: Side) -> Result<()> {
    let Conversation { client, broker } = ends;
    let (first, second) = match first {
        Side::Client => (client, broker),
        Side::Broker => (broker, client),
    };
    drop(first);
    second.wait_for_end()
}

/// A device forgot the connection that its application closes: nobody is hurt.
fn own_fin(scene: &Scene<'_>, timer: usize) -> Result<Vec<Label>> {
    let device = Device::Resets {
        timer,
        copied: false,
    };
    let talk = scene.converse(device, Shape::Plain)?;
    scene.silence(scene.outlasting(timer))?;
    talk.ends.client.end()?;
    talk.ends.client.wait_for_reset()?;
    let label = Label::new(talk.port).forged(Side::Client, device.ttl());
    scene.keep(talk);
    Ok(vec![label])
}

/// Keepalives carry a connection past a device's timer.
fn kept_alive(scene: &Scene<'_>) -> Result<Vec<Label>> {
    let device = Device::Resets {
        timer: 1,
        copied: false,
    };
    let mut talk = scene.converse(device, Shape::Plain)?;
    talk.ends.client.keep_alive(Duration::from_secs(1))?;
    scene.silence(2 * scene.outlasting(1))?;
    Shape::Plain.exchange(&mut talk.ends, &scene.draw)?;
    let port = talk.port;
    close(talk.ends, Side::Client)?;
    Ok(vec![Label::new(port).without_reset()])
}

/// A health check that closes in order, without a byte.
fn unused(scene: &Scene<'_>) -> Result<Vec<Label>> {
    scene.attached()?;
    let Talk { ends, port } = scene.greet(Device::None)?;
    close(ends, Side::Client)?;
    Ok(vec![Label::new(port).without_reset()])
}
