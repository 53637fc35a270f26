//! Brokers that end, with all of their connections at once. Each is a process of its own.

use std::{net::IpAddr, time::Duration};

use super::ms;
use crate::{
    Connection, Side,
    accuracy::{
        case::{Case, Label, Room},
        device::Device,
        stage::{Held, Scene},
    },
    error::Result,
    judge::Answer,
    net::message::Request,
};

/// The end of a broker with a single connection looks to a client like any orderly close by it.
const ENDED_IT: Answer = Answer::one("broker_originated", &["shutdown", "aborted"]);

/// Between the beginnings of connections, so that their silences differ.
const APART: Duration = ms(400);

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (name, from, to) in [("at_once", 0, 60), ("soon", 100, 600), ("later", 800, 2000)] {
        for room in [Room::Usual, Room::Patient, Room::Blind] {
            all.extend(Case::each_family(
                room,
                &format!("shutdown.idle.{}.written_{name}", room.name()),
                move |scene| {
                    let count = scene.draw.number(3, 5).into();
                    let late = scene.draw.time(from, to);
                    killed(scene, count, 0, late, Afterwards::Nothing)
                },
            ));
        }
        for room in [Room::Usual, Room::Blind] {
            all.extend(Case::each_family(
                room,
                &format!("shutdown.busy.{}.written_{name}", room.name()),
                move |scene| {
                    let count = scene.draw.number(4, 6).into();
                    let unread = scene.draw.number(2, 3).into();
                    let late = scene.draw.time(from, to);
                    killed(scene, count, unread, late, Afterwards::Nothing)
                },
            ));
        }
    }
    for (afterwards, name) in [
        (Afterwards::Refused, "refused"),
        (Afterwards::Restarted, "restarted"),
    ] {
        all.extend(Case::each_family(
            Room::Usual,
            &format!("shutdown.{name}.several"),
            move |scene| {
                let count = scene.draw.number(3, 5).into();
                killed(scene, count, 1, scene.draw.time(300, 900), afterwards)
            },
        ));
        all.extend(Case::each_family(
            Room::Usual,
            &format!("shutdown.{name}.single"),
            move |scene| killed(scene, 1, 0, scene.draw.time(300, 900), afterwards),
        ));
    }
    all
}

/// What a client that connects again finds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    /// No client does.
    Nothing,
    /// Nobody listens.
    Refused,
    /// A new broker.
    Restarted,
}

/// Kills a broker with `count` connections of unlike silences, `unread` of which have a request
/// that it has not read. Those are reset, the others get a FIN, and write `late`.
fn killed(
    scene: &Scene<'_>,
    count: usize,
    unread: usize,
    late: Duration,
    afterwards: Afterwards,
) -> Result<Vec<Label>> {
    let address = scene.address(Device::None);
    let mut broker = scene.process(address, 2)?;
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(in_use(scene, address)?);
        scene.silence(APART)?;
    }
    scene.attached()?;
    for (client, _) in clients.iter_mut().take(unread) {
        client.request(Request::Produce(scene.draw.number(500, 20_000)))?;
    }
    scene.silence(APART)?;
    broker.kill()?;
    let mut labels = Vec::new();
    for (number, (client, port)) in clients.iter_mut().enumerate() {
        if number < unread {
            client.wait_for_reset()?;
        } else {
            client.wait_for_end()?;
        }
        let port = *port;
        labels.push(label(port, number < unread, count, afterwards));
    }
    match afterwards {
        Afterwards::Nothing => {}
        Afterwards::Refused => labels.push(refused(scene, address)?),
        Afterwards::Restarted => {
            let broker = scene.process(address, 2)?;
            let (client, port) = in_use(scene, address)?;
            scene.stage.hold(Held::Process(broker));
            scene.keep_end(client);
            labels.push(Label::new(port).without_reset());
        }
    }
    for (client, _) in clients.iter_mut().skip(unread) {
        scene.silence(late)?;
        client.request(Request::Metadata)?;
        client.wait_for_reset()?;
    }
    for (client, _) in clients {
        scene.keep_end(client);
    }
    Ok(labels)
}

fn label(port: u16, unread: bool, count: usize, afterwards: Afterwards) -> Label {
    // The kernel aborted a live socket with unread data because its process ended: both are true.
    // A client with one connection sees an orderly close, unless it finds nobody there.
    let single = count == 1 && afterwards != Afterwards::Refused;
    let client = if unread {
        Answer::SHUTDOWN_OR_ABORTED
    } else if single {
        ENDED_IT
    } else {
        Answer::SHUTDOWN
    };
    let broker = if unread {
        Answer::SHUTDOWN_OR_ABORTED
    } else {
        Answer::SHUTDOWN
    };
    Label::new(port)
        .told(Side::Client, &[client])
        .told(Side::Broker, &[broker])
        .genuine(Side::Client)
}

fn in_use(scene: &Scene<'_>, address: IpAddr) -> Result<(Connection, u16)> {
    let port = scene.port();
    let mut client = scene.connect(address, port)?;
    for request in [Request::ApiVersions, Request::Metadata] {
        client.request(request)?;
        client.receive()?;
    }
    Ok((client, port))
}

fn refused(scene: &Scene<'_>, address: IpAddr) -> Result<Label> {
    let port = scene.port();
    scene.be_refused(address, port)?;
    Ok(Label::broker_reset(port, Answer::REFUSED))
}
