//! Several connections of one path: what happens to one says something of the others.

use std::time::Duration;

use super::{TIMER_NAMES, ms, unknowable};
use crate::{
    Conversation, Side,
    accuracy::{
        case::{Case, Label, Room},
        device::Device,
        stage::{Scene, Talk},
        traffic::Shape,
    },
    device::Ttl,
    error::Result,
    judge::Answer,
};

/// Connections of one path, one after the other.
const COUNT: usize = 4;

/// Between two things that must not look like one.
const APART: Duration = ms(1300);

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for copied in [false, true] {
        let ttl = if copied { "copied" } else { "own" };
        all.extend(Case::each_family(
            Room::Patient,
            &format!("group.learned.{ttl}_ttl"),
            move |scene| learned(scene, copied),
        ));
    }
    for (timer, name) in TIMER_NAMES.into_iter().enumerate() {
        all.extend(Case::each_family(
            Room::Usual,
            &format!("group.idle_alike.{name}"),
            move |scene| idle_alike(scene, timer),
        ));
        all.extend(Case::each_family(
            Room::Patient,
            &format!("group.timer_alike.{name}"),
            move |scene| timer_alike(scene, scene.outlasting(timer)),
        ));
    }
    for (name, from, to) in [("at_once", 0, 50), ("soon", 100, 500)] {
        all.extend(Case::each_family(
            Room::Usual,
            &format!("group.failover.{name}"),
            move |scene| failover(scene, scene.draw.time(from, to)),
        ));
        all.extend(Case::each_family(
            Room::Patient,
            &format!("group.all_at_once.same_ttl.{name}"),
            move |scene| all_at_once(scene, scene.draw.time(from, to)),
        ));
    }
    all
}

/// Connections to one broker, in use.
fn several(scene: &Scene<'_>, device: Device) -> Result<Vec<Talk>> {
    let site = scene.site(device)?;
    let mut talks = Vec::new();
    for _ in 0..scene.draw.number(3, 6) {
        let mut talk = scene.greet_at(&site)?;
        Shape::Plain.use_it(&mut talk.ends, &scene.draw)?;
        talks.push(talk);
    }
    scene.draw.shuffle(&mut talks);
    scene.keep_site(site);
    scene.attached()?;
    Ok(talks)
}

/// One after the other comes through silences of a share of the fatal one, and dies of that.
fn learned(scene: &Scene<'_>, copied: bool) -> Result<Vec<Label>> {
    // Three seconds at least: none of the shorter silences comes near it on a busy machine.
    let timer = 1;
    let device = Device::Resets { timer, copied };
    let site = scene.site(device)?;
    let share = f64::from(scene.draw.number(30, 70)) / 100.0;
    let survived = scene.timer(timer).mul_f64(share);
    let mut labels = Vec::new();
    for _ in 0..COUNT {
        let mut talk = scene.greet_at(&site)?;
        Shape::Plain.use_it(&mut talk.ends, &scene.draw)?;
        scene.attached()?;
        for _ in 0..2 {
            scene.silence(survived)?;
            Shape::Plain.exchange(&mut talk.ends, &scene.draw)?;
        }
        scene.silence(scene.outlasting(timer))?;
        Shape::Plain.ask(&mut talk.ends.client)?;
        talk.ends.client.wait_for_reset()?;
        let label = Label::new(talk.port).forged(Side::Client, device.ttl());
        labels.push(if copied {
            let right = &[Answer::IDLE_ON_SEND];
            label.learnable(Side::Client, right, unknowable::LOOKS_LIKE_LOST)
        } else {
            label.told(Side::Client, &[Answer::IDLE_ON_SEND])
        });
        scene.keep(talk);
        scene.silence(APART)?;
    }
    scene.keep_site(site);
    Ok(labels)
}

/// Several fell silent together and die together: a burst that is nobody's shutdown.
fn idle_alike(scene: &Scene<'_>, timer: usize) -> Result<Vec<Label>> {
    let device = Device::Resets {
        timer,
        copied: false,
    };
    let mut talks = several(scene, device)?;
    scene.silence(scene.outlasting(timer))?;
    let mut labels = Vec::new();
    for talk in &mut talks {
        Shape::Plain.ask(&mut talk.ends.client)?;
        talk.ends.client.wait_for_reset()?;
        labels.push(
            Label::new(talk.port)
                .told(Side::Client, &[Answer::IDLE_ON_SEND])
                .forged(Side::Client, device.ttl()),
        );
    }
    for talk in talks {
        scene.keep(talk);
    }
    Ok(labels)
}

/// The same by a device that resets at the timer.
fn timer_alike(scene: &Scene<'_>, silence: Duration) -> Result<Vec<Label>> {
    let talks = several(scene, Device::None)?;
    scene.silence(silence)?;
    let mut labels = Vec::new();
    for talk in talks {
        scene.reset_both(&talk, Ttl::Own)?;
        labels.push(
            Label::new(talk.port)
                .told(Side::Client, &[Answer::IDLE_ON_TIMER])
                .told(Side::Broker, &[Answer::IDLE_ON_TIMER])
                .forged(Side::Client, Ttl::Own)
                .forged(Side::Broker, Ttl::Own),
        );
        scene.keep(talk);
    }
    Ok(labels)
}

/// Lets the silences of connections differ, the last one being `silence`.
fn fall_silent(scene: &Scene<'_>, talks: &mut [Talk], silence: Duration) -> Result<()> {
    for talk in talks {
        super::busy(scene, talk, Shape::Plain)?;
    }
    scene.silence(silence)
}

/// A device loses the state of all connections, all of them in use a moment ago.
fn failover(scene: &Scene<'_>, silence: Duration) -> Result<Vec<Label>> {
    let device = Device::Fails { copied: false };
    let mut talks = several(scene, device)?;
    fall_silent(scene, &mut talks, silence)?;
    for talk in &talks {
        scene.forget(talk.port)?;
    }
    let mut labels = Vec::new();
    for talk in &mut talks {
        Shape::Plain.ask(&mut talk.ends.client)?;
        talk.ends.client.wait_for_reset()?;
        labels.push(
            Label::new(talk.port)
                .told(Side::Client, &[Answer::NOT_IDLE])
                .forged(Side::Client, device.ttl()),
        );
    }
    for talk in talks {
        scene.keep(talk);
    }
    Ok(labels)
}

/// The broker's host loses all connections, all of them in use a moment ago, or a device that
/// copies its TTL does.
fn all_at_once(scene: &Scene<'_>, silence: Duration) -> Result<Vec<Label>> {
    let lost = unknowable::is_lost_in_use(&scene.draw);
    let device = if lost {
        Device::None
    } else {
        Device::Fails { copied: true }
    };
    let mut talks = several(scene, device)?;
    fall_silent(scene, &mut talks, silence)?;
    let mut clients = Vec::new();
    for Talk { ends, port } in talks {
        let Conversation { client, broker } = ends;
        if lost {
            broker.forget()?;
        } else {
            scene.forget(port)?;
            scene.keep_end(broker);
        }
        clients.push((client, port));
    }
    let mut labels = Vec::new();
    for (mut client, port) in clients {
        Shape::Plain.ask(&mut client)?;
        client.wait_for_reset()?;
        scene.keep_end(client);
        let (label, alike) = (Label::new(port), unknowable::LOOKS_LIKE_LOST);
        labels.push(if lost {
            label
                .undecidable(Side::Client, &[Answer::CONNECTION_LOST], alike)
                .told(Side::Broker, &[Answer::CONNECTION_LOST])
                .genuine(Side::Client)
        } else {
            label
                .undecidable(Side::Client, &[Answer::NOT_IDLE], alike)
                .forged(Side::Client, device.ttl())
        });
    }
    Ok(labels)
}
