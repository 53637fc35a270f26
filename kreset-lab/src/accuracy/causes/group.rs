//! Several connections of one path: what happens to one says something of the others.

use std::time::Duration;

use super::{idle, ms, outlasting, word};
use crate::{
    Conversation, Side,
    accuracy::{
        case::{Case, Label, Room},
        device::{Device, TIMERS},
        stage::{Scene, Talk},
        traffic::Shape,
    },
    error::Result,
    judge::Answer,
    middlebox::Ttl,
};

/// Connections in a group.
const COUNT: usize = 4;

/// Between two things that must not look like one.
const APART: Duration = ms(1300);

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for copied in [false, true] {
        let ttl = if copied { "copied" } else { "own" };
        for timer in [0, 1] {
            all.extend(Case::each_family(
                Room::Patient,
                &format!("group.learned.{ttl}_ttl.{}", word(outlasting(timer))),
                move |scene| learned(scene, timer, copied),
            ));
        }
    }
    for timer in 0..TIMERS.len() - 1 {
        let name = word(outlasting(timer));
        all.extend(Case::each_family(
            Room::Usual,
            &format!("group.idle_alike.{name}"),
            move |scene| idle_alike(scene, timer),
        ));
        all.extend(Case::each_family(
            Room::Patient,
            &format!("group.timer_alike.{name}"),
            move |scene| timer_alike(scene, outlasting(timer)),
        ));
    }
    for silence in [ms(0), ms(200)] {
        let name = word(silence);
        all.extend(Case::each_family(
            Room::Usual,
            &format!("group.failover.{name}"),
            move |scene| failover(scene, silence),
        ));
        all.extend(Case::each_family(
            Room::Patient,
            &format!("group.host_lost.{name}"),
            move |scene| host_lost(scene, silence),
        ));
    }
    all
}

/// Connections to one broker, in use.
fn several(scene: &Scene<'_>, device: Device) -> Result<Vec<Talk>> {
    let site = scene.site(device)?;
    let mut talks = Vec::new();
    for _ in 0..COUNT {
        let mut talk = scene.greet_at(&site)?;
        Shape::Plain.use_it(&mut talk.ends)?;
        talks.push(talk);
    }
    scene.keep_site(site);
    scene.attached()?;
    Ok(talks)
}

/// One after the other comes through shorter silences, and dies of one that is longer than the
/// device's timer.
fn learned(scene: &Scene<'_>, timer: usize, copied: bool) -> Result<Vec<Label>> {
    let device = Device::Resets { timer, copied };
    let site = scene.site(device)?;
    let survived = outlasting(timer).mul_f64(0.6);
    let mut labels = Vec::new();
    for _ in 0..COUNT {
        let mut talk = scene.greet_at(&site)?;
        Shape::Plain.use_it(&mut talk.ends)?;
        scene.attached()?;
        for _ in 0..2 {
            scene.silence(survived)?;
            Shape::Plain.exchange(&mut talk.ends)?;
        }
        scene.silence(outlasting(timer))?;
        Shape::Plain.ask(&mut talk.ends.client)?;
        talk.ends.client.wait_for_reset()?;
        let label = Label::new(talk.port).forged(Side::Client, device.ttl());
        labels.push(if copied {
            let right = &[Answer::IDLE_ON_SEND];
            label.learnable(Side::Client, right, idle::LOOKS_LIKE_LOST)
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
    scene.silence(outlasting(timer))?;
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
        scene.reset_both(talk.port, Ttl::Own)?;
        talk.ends.client.wait_for_reset()?;
        talk.ends.broker.wait_for_reset()?;
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
        super::busy(scene, talk, Shape::Plain, ms(20))?;
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

/// The broker's host loses all connections, all of them in use a moment ago.
fn host_lost(scene: &Scene<'_>, silence: Duration) -> Result<Vec<Label>> {
    let mut talks = several(scene, Device::None)?;
    fall_silent(scene, &mut talks, silence)?;
    let mut clients = Vec::new();
    for Talk { ends, port } in talks {
        let Conversation { client, broker } = ends;
        broker.forget()?;
        clients.push((client, port));
    }
    let mut labels = Vec::new();
    for (mut client, port) in clients {
        Shape::Plain.ask(&mut client)?;
        client.wait_for_reset()?;
        scene.keep_end(client);
        labels.push(
            Label::new(port)
                .told(Side::Client, &[Answer::CONNECTION_LOST])
                .told(Side::Broker, &[Answer::CONNECTION_LOST])
                .genuine(Side::Client),
        );
    }
    Ok(labels)
}
