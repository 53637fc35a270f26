//! Hops that reset what was in use.

use super::{Silence, busy};
use crate::{
    Side,
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

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for silence in Silence::BUSY {
        for shape in Shape::ALL {
            let name = format!("{}.{}", shape.name(), silence.name());
            all.extend(Case::each_family(
                Room::Usual,
                &format!("hop.lost_state.{name}"),
                move |scene| lost_state(scene, shape, silence),
            ));
            all.extend(Case::each_family(
                Room::Patient,
                &format!("hop.both_ends.own_ttl.{name}"),
                move |scene| both_ends(scene, shape, silence, Ttl::Own),
            ));
        }
        let name = silence.name();
        all.extend(Case::each_family(
            Room::Patient,
            &format!("hop.both_ends.copied_ttl.{name}"),
            move |scene| both_ends(scene, Shape::Plain, silence, Ttl::Copied),
        ));
        all.extend(Case::each_family(
            Room::Blind,
            &format!("hop.both_ends.blind.{name}"),
            move |scene| both_ends(scene, Shape::Plain, silence, Ttl::Own),
        ));
        for ttl in [Ttl::Own, Ttl::Copied] {
            let seen = if ttl == Ttl::Own { "own" } else { "copied" };
            all.extend(Case::each_family(
                Room::Bare,
                &format!("hop.both_ends.no_timestamps.{seen}_ttl.{name}"),
                move |scene| both_ends(scene, Shape::Tls, silence, ttl),
            ));
        }
        all.extend(Case::each_family(
            Room::Bare,
            &format!("hop.lost_state.no_timestamps.{name}"),
            move |scene| lost_state(scene, Shape::Plain, silence),
        ));
    }
    for shape in [Shape::Plain, Shape::Polls] {
        all.extend(Case::each_family(
            Room::Usual,
            &format!("hop.lost_state.outlived.{}", shape.name()),
            move |scene| outlived(scene, shape),
        ));
    }
    all
}

/// A failover to a device that knows nothing of a busy connection.
fn lost_state(scene: &Scene<'_>, shape: Shape, silence: Silence) -> Result<Vec<Label>> {
    let device = Device::Fails { copied: false };
    let mut talk = scene.converse(device, shape)?;
    busy(scene, &mut talk, shape)?;
    scene.forget(talk.port)?;
    scene.silence(silence.draw(&scene.draw))?;
    shape.ask(&mut talk.ends.client)?;
    talk.ends.client.wait_for_reset()?;
    let label = Label::new(talk.port)
        .told(Side::Client, &[Answer::NOT_IDLE])
        .forged(Side::Client, device.ttl());
    scene.keep(talk);
    Ok(vec![label])
}

/// Without timestamps, and from as far away as the other host, a RST that nothing drew may be the
/// abort of a stack that is not Linux.
const MAY_BE_ABORT: [&[Answer]; 2] = [
    &[Answer::NOT_IDLE, Answer::BROKER_ABORTED],
    &[Answer::NOT_IDLE, Answer::CLIENT_ABORTED],
];

/// A policy, or an operator, resets both ends of a busy connection.
fn both_ends(scene: &Scene<'_>, shape: Shape, silence: Silence, ttl: Ttl) -> Result<Vec<Label>> {
    let mut talk = scene.converse(Device::None, shape)?;
    busy(scene, &mut talk, shape)?;
    scene.silence(silence.draw(&scene.draw))?;
    scene.reset_both(&talk, ttl)?;
    let hidden = scene.stage.room == Room::Bare && ttl == Ttl::Copied;
    let mut label = Label::new(talk.port);
    for (side, alike) in Side::BOTH.into_iter().zip(MAY_BE_ABORT) {
        let right = &[Answer::NOT_IDLE];
        label = if hidden {
            label.undecidable(side, right, alike)
        } else {
            label.told(side, right)
        };
        label = label.forged(side, ttl);
    }
    scene.keep(talk);
    Ok(vec![label])
}

/// A failover after a silence far shorter than one that the same path came through: not idle.
fn outlived(scene: &Scene<'_>, shape: Shape) -> Result<Vec<Label>> {
    let device = Device::Fails { copied: false };
    let silence = scene.draw.time(1100, 4000);
    let mut talk = scene.converse(device, shape)?;
    for _ in 0..scene.draw.number(1, 2) {
        scene.silence(silence.mul_f64(f64::from(scene.draw.number(12, 25)) / 10.0))?;
        shape.exchange(&mut talk.ends, &scene.draw)?;
    }
    scene.silence(silence)?;
    scene.forget(talk.port)?;
    shape.ask(&mut talk.ends.client)?;
    talk.ends.client.wait_for_reset()?;
    let label = Label::new(talk.port)
        .told(Side::Client, &[Answer::NOT_IDLE])
        .forged(Side::Client, device.ttl());
    scene.keep(talk);
    Ok(vec![label])
}
