//! Clients, and their hosts, that end a connection.

use super::Silence;
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

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (silence, shape) in Silence::ALL.into_iter().zip(Shape::ALL) {
        let name = silence.name();
        for room in [Room::Usual, Room::Late, Room::Blind, Room::Bare] {
            all.extend(Case::each_family(
                room,
                &format!("client_aborts.linger.{}.{name}", room.name()),
                move |scene| linger(scene, silence, shape),
            ));
        }
        all.extend(Case::each_family(
            Room::Usual,
            &format!("client_aborts.unread.{name}"),
            move |scene| unread(scene, silence, shape),
        ));
    }
    for silence in Silence::SHORT {
        let name = silence.name();
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
        for shape in [Shape::Plain, Shape::Polls, Shape::Tls] {
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
        all.extend(Case::each_family(
            Room::Usual,
            &format!("client_aborts.after_its_fin.{name}"),
            move |scene| after_its_fin(scene, silence),
        ));
    }
    all
}

fn both(port: u16, right: Answer) -> Label {
    Label::new(port)
        .told(Side::Client, &[right])
        .told(Side::Broker, &[right])
        .genuine(Side::Broker)
}

fn linger(scene: &Scene<'_>, silence: Silence, shape: Shape) -> Result<Vec<Label>> {
    let Talk { ends, port } = scene.converse(Device::None, shape)?;
    scene.silence(silence.draw(&scene.draw))?;
    ends.client.abort()?;
    ends.broker.wait_for_reset()?;
    scene.keep_end(ends.broker);
    let label = both(port, Answer::CLIENT_ABORTED);
    Ok(vec![if silence.may_be_handshake(scene) {
        label.unseen_handshake(true)
    } else {
        label
    }])
}

/// The client closes with an answer unread.
fn unread(scene: &Scene<'_>, silence: Silence, shape: Shape) -> Result<Vec<Label>> {
    let Talk { mut ends, port } = scene.converse(Device::None, shape)?;
    shape.ask(&mut ends.client)?;
    shape.answer(&mut ends)?;
    ends.client.wait_for_data()?;
    scene.silence(silence.draw(&scene.draw))?;
    drop(ends.client);
    ends.broker.wait_for_reset()?;
    scene.keep_end(ends.broker);
    Ok(vec![both(port, Answer::CLIENT_ABORTED)])
}

/// What HAProxy does to a broker when its server timer runs out: FIN, and at once a reset. The
/// broker has lost nothing that it was not told of; the proxy's own host may tell.
fn after_its_fin(scene: &Scene<'_>, silence: Silence) -> Result<Vec<Label>> {
    let Talk { ends, port } = scene.converse(Device::None, Shape::Plain)?;
    scene.silence(silence.draw(&scene.draw))?;
    ends.client.end()?;
    ends.broker.wait_for_end()?;
    ends.client.abort()?;
    ends.broker.wait_for_reset()?;
    scene.keep_end(ends.broker);
    Ok(vec![
        Label::new(port)
            .if_told(
                Side::Client,
                &[Answer::one("client_originated", &["aborted", "late_data"])],
            )
            .genuine(Side::Broker),
    ])
}

/// Opened and reset before a byte went either way.
fn probe(scene: &Scene<'_>, silence: Silence, shown: bool) -> Result<Vec<Label>> {
    scene.attached()?;
    let Talk { ends, port } = scene.greet(Device::None)?;
    scene.silence(silence.draw(&scene.draw))?;
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
fn late_data(scene: &Scene<'_>, silence: Silence, shape: Shape, shown: bool) -> Result<Vec<Label>> {
    let Talk { mut ends, port } = scene.converse(Device::None, shape)?;
    shape.ask(&mut ends.client)?;
    ends.broker.wait_for_data()?;
    scene.silence(silence.draw(&scene.draw))?;
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
