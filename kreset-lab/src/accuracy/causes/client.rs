//! Clients, and their hosts, that end a connection.

use std::time::Duration;

use super::{SILENCES, ms, word};
use crate::{
    Conversation, Side,
    accuracy::{
        case::{Case, Label, Room},
        device::Device,
        stage::{Scene, Talk},
        traffic::Shape,
    },
    error::Result,
    judge::Answer,
};

const CLIENT_LOST: Answer = Answer::one("client_originated", &["connection_lost"]);

/// The client's host knows of no such connection, and neither how it came to be closed.
const NO_SUCH: Answer = Answer::one("client_originated", &["connection_lost", "late_data"]);

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (number, silence) in SILENCES.into_iter().enumerate() {
        let name = word(silence);
        let shape = Shape::ALL[number.min(Shape::ALL.len() - 1)];
        for room in [Room::Usual, Room::Late] {
            let late = if room == Room::Late { "late." } else { "" };
            all.extend(Case::each_family(
                room,
                &format!("client_aborts.linger.{late}{name}"),
                move |scene| linger(scene, silence, shape),
            ));
        }
        all.extend(Case::each_family(
            Room::Usual,
            &format!("client_aborts.unread.{name}"),
            move |scene| unread(scene, silence, shape),
        ));
        all.extend(Case::each_family(
            Room::Patient,
            &format!("client_lost.{name}"),
            move |scene| lost(scene, silence),
        ));
    }
    for silence in [ms(0), ms(300), ms(1200)] {
        let name = word(silence);
        all.extend(Case::each_family(
            Room::ShowAll,
            &format!("probe.shown.{name}"),
            move |scene| probe(scene, silence, true),
        ));
        all.extend(Case::each_family(
            Room::Usual,
            &format!("probe.noise.{name}"),
            move |scene| probe(scene, silence, false),
        ));
        for shape in [Shape::Plain, Shape::Tls] {
            let name = format!("{}.{name}", shape.name());
            all.extend(Case::each_family(
                Room::ShowAll,
                &format!("late_data.shown.{name}"),
                move |scene| late_data(scene, silence, shape, true),
            ));
            all.extend(Case::each_family(
                Room::Usual,
                &format!("late_data.noise.{name}"),
                move |scene| late_data(scene, silence, shape, false),
            ));
        }
    }
    all
}

fn both(port: u16, right: Answer) -> Label {
    Label::new(port)
        .told(Side::Client, &[right])
        .told(Side::Broker, &[right])
        .genuine(Side::Broker)
}

fn linger(scene: &Scene<'_>, silence: Duration, shape: Shape) -> Result<Vec<Label>> {
    let Talk { ends, port } = scene.converse(Device::None, shape)?;
    scene.silence(silence)?;
    ends.client.abort()?;
    ends.broker.wait_for_reset()?;
    scene.keep_end(ends.broker);
    Ok(vec![both(port, Answer::CLIENT_ABORTED)])
}

/// The client closes with an answer unread.
fn unread(scene: &Scene<'_>, silence: Duration, shape: Shape) -> Result<Vec<Label>> {
    let Talk { mut ends, port } = scene.converse(Device::None, shape)?;
    shape.ask(&mut ends.client)?;
    shape.answer(&mut ends)?;
    ends.client.wait_for_data()?;
    scene.silence(silence)?;
    drop(ends.client);
    ends.broker.wait_for_reset()?;
    scene.keep_end(ends.broker);
    Ok(vec![both(port, Answer::CLIENT_ABORTED)])
}

/// The client's host forgot the connection; the answer of a long poll finds no socket.
fn lost(scene: &Scene<'_>, silence: Duration) -> Result<Vec<Label>> {
    let Talk { mut ends, port } = scene.converse(Device::None, Shape::Plain)?;
    Shape::Plain.ask(&mut ends.client)?;
    ends.broker.wait_for_data()?;
    scene.silence(silence)?;
    let Conversation { client, mut broker } = ends;
    client.forget()?;
    broker.answer()?;
    broker.wait_for_reset()?;
    scene.keep_end(broker);
    Ok(vec![
        Label::new(port)
            .told(Side::Broker, &[CLIENT_LOST])
            .if_told(Side::Client, &[NO_SUCH])
            .genuine(Side::Broker),
    ])
}

/// Opened and reset before a byte went either way.
fn probe(scene: &Scene<'_>, silence: Duration, shown: bool) -> Result<Vec<Label>> {
    scene.attached()?;
    let Talk { ends, port } = scene.greet(Device::None)?;
    scene.silence(silence)?;
    ends.client.abort()?;
    ends.broker.wait_for_reset()?;
    scene.keep_end(ends.broker);
    Ok(vec![if shown {
        both(port, Answer::PROBE)
    } else {
        Label::new(port).genuine(Side::Broker)
    }])
}

/// The client closes in order while an answer is under way: what a healthy TLS client does that
/// does not wait for the broker's goodbye.
fn late_data(
    scene: &Scene<'_>,
    silence: Duration,
    shape: Shape,
    shown: bool,
) -> Result<Vec<Label>> {
    let Talk { mut ends, port } = scene.converse(Device::None, shape)?;
    shape.ask(&mut ends.client)?;
    ends.broker.wait_for_data()?;
    scene.silence(silence)?;
    let Conversation { client, mut broker } = ends;
    drop(client);
    broker.wait_for_end()?;
    if shape == Shape::Tls {
        broker.send(&crate::accuracy::traffic::application_data(30))?;
    } else {
        broker.answer()?;
    }
    broker.wait_for_reset()?;
    scene.keep_end(broker);
    Ok(vec![if shown {
        both(port, Answer::LATE_DATA)
    } else {
        Label::new(port).genuine(Side::Broker)
    }])
}
