//! Hops that reset what was in use.

use std::time::Duration;

use super::{busy, idle, ms, word};
use crate::{
    Side,
    accuracy::{
        case::{Case, Label, Room},
        device::Device,
        stage::Scene,
        traffic::Shape,
    },
    error::Result,
    judge::Answer,
    middlebox::Ttl,
};

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for shape in Shape::ALL {
        for silence in [ms(0), ms(300)] {
            let name = format!("{}.{}", shape.name(), word(silence));
            all.extend(Case::each_family(
                Room::Usual,
                &format!("hop.lost_state.{name}"),
                move |scene| lost_state(scene, shape, silence, false),
            ));
            all.extend(Case::each_family(
                Room::Patient,
                &format!("hop.both_ends.own_ttl.{name}"),
                move |scene| both_ends(scene, shape, silence, Ttl::Own),
            ));
        }
    }
    for silence in [ms(0), ms(300)] {
        let name = word(silence);
        all.extend(Case::each_family(
            Room::Patient,
            &format!("hop.both_ends.copied_ttl.{name}"),
            move |scene| both_ends(scene, Shape::Plain, silence, Ttl::Copied),
        ));
        all.extend(Case::each_family(
            Room::Usual,
            &format!("hop.lost_state.copied_ttl.{name}"),
            move |scene| lost_state(scene, Shape::Plain, silence, true),
        ));
    }
    for silence in [ms(1200), ms(2200)] {
        all.extend(Case::each_family(
            Room::Usual,
            &format!("hop.lost_state.outlived.{}", word(silence)),
            move |scene| outlived(scene, silence),
        ));
    }
    all
}

/// A failover to a device that knows nothing of a busy connection.
fn lost_state(
    scene: &Scene<'_>,
    shape: Shape,
    silence: Duration,
    copied: bool,
) -> Result<Vec<Label>> {
    let device = Device::Fails { copied };
    let mut talk = scene.converse(device, shape)?;
    busy(scene, &mut talk, shape, ms(20))?;
    scene.forget(talk.port)?;
    scene.silence(silence)?;
    shape.ask(&mut talk.ends.client)?;
    talk.ends.client.wait_for_reset()?;
    let label = Label::new(talk.port).forged(Side::Client, device.ttl());
    scene.keep(talk);
    Ok(vec![if copied {
        label.undecidable(Side::Client, &[Answer::NOT_IDLE], idle::LOOKS_LIKE_LOST)
    } else {
        label.told(Side::Client, &[Answer::NOT_IDLE])
    }])
}

/// A policy, or an operator, resets both ends of a busy connection.
fn both_ends(scene: &Scene<'_>, shape: Shape, silence: Duration, ttl: Ttl) -> Result<Vec<Label>> {
    let mut talk = scene.converse(Device::None, shape)?;
    busy(scene, &mut talk, shape, ms(20))?;
    scene.silence(silence)?;
    scene.reset_both(&talk, ttl)?;
    let label = Label::new(talk.port)
        .told(Side::Client, &[Answer::NOT_IDLE])
        .told(Side::Broker, &[Answer::NOT_IDLE])
        .forged(Side::Client, ttl)
        .forged(Side::Broker, ttl);
    scene.keep(talk);
    Ok(vec![label])
}

/// A failover after a silence far shorter than one that the same path came through: not idle.
fn outlived(scene: &Scene<'_>, silence: Duration) -> Result<Vec<Label>> {
    let device = Device::Fails { copied: false };
    let shape = Shape::Plain;
    let mut talk = scene.converse(device, shape)?;
    for _ in 0..2 {
        scene.silence(3 * silence)?;
        shape.exchange(&mut talk.ends)?;
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
