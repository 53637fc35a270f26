//! Brokers, and their hosts, that end one connection.

use std::time::Duration;

use super::{FIN_TIMEOUT, LONGER_MAX_IDLE, MAX_IDLE, SILENCES, idle, ms, word};
use crate::{
    Side,
    accuracy::{
        case::{Case, Label, Room},
        device::Device,
        stage::{Scene, Talk},
        traffic::Shape,
    },
    error::Result,
    judge::Answer,
    kafka::Request,
};

/// A broker that closes one connection in order, for a reason of its own (a request it does not
/// serve, authentication that ran out), has no cause of its own: either is near enough.
const ENDED_IT: Answer = Answer::one("broker_originated", &["aborted", "shutdown"]);

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (number, silence) in SILENCES.into_iter().enumerate() {
        let name = word(silence);
        let shape = Shape::ALL[number.min(Shape::ALL.len() - 1)];
        for (listening, how) in [(true, "listener"), (false, "no_listener")] {
            all.extend(Case::each_family(
                Room::Usual,
                &format!("lost.{how}.{name}"),
                move |scene| lost(scene, silence, shape, listening),
            ));
        }
        all.extend(Case::each_family(
            Room::Late,
            &format!("lost.late.{name}"),
            move |scene| lost(scene, silence, Shape::Plain, true),
        ));
        for room in [Room::Patient, Room::Late] {
            let late = if room == Room::Late { "late." } else { "" };
            all.extend(Case::each_family(
                room,
                &format!("broker_aborts.linger.{late}{name}"),
                move |scene| linger(scene, silence, shape),
            ));
        }
        all.extend(Case::each_family(
            Room::Patient,
            &format!("broker_aborts.unread.{name}"),
            move |scene| unread(scene, silence, shape),
        ));
    }
    for late in [ms(0), ms(50), ms(300), ms(1200), ms(3500)] {
        let name = word(late);
        all.extend(Case::each_family(
            Room::Usual,
            &format!("idle_close.max_idle_3s.written_after_{name}"),
            move |scene| idle_close(scene, MAX_IDLE, late, Shape::Plain),
        ));
        all.extend(Case::each_family(
            Room::Patient,
            &format!("idle_close.max_idle_8s.written_after_{name}"),
            move |scene| idle_close(scene, LONGER_MAX_IDLE, late, Shape::Tls),
        ));
    }
    all.extend(Case::each_family(Room::Late, "idle_close.late", |scene| {
        idle_close(scene, MAX_IDLE, ms(500), Shape::Plain)
    }));
    for idle in [1, 2, 5] {
        all.extend(Case::each_family(
            Room::Usual,
            &format!("lost.found_by_keepalive.{idle}s"),
            move |scene| found_by_keepalive(scene, Duration::from_secs(idle)),
        ));
    }
    all.extend(Case::each_family(
        Room::Patient,
        "idle_close.socket_gone",
        socket_gone,
    ));
    all.extend(Case::each_family(
        Room::Usual,
        "broker_aborts.oversized_request",
        oversized,
    ));
    all.extend(Case::each_family(
        Room::Usual,
        "broker_ends.authentication_ran_out",
        ran_out,
    ));
    all
}

/// The broker's host forgot the connection, as after a restart; what the client sends finds no
/// socket.
fn lost(scene: &Scene<'_>, silence: Duration, shape: Shape, listening: bool) -> Result<Vec<Label>> {
    let site = scene.site(Device::None)?;
    let Talk { mut ends, port } = scene.greet_at(&site)?;
    shape.use_it(&mut ends)?;
    scene.attached()?;
    scene.silence(silence)?;
    let crate::Conversation { mut client, broker } = ends;
    broker.forget()?;
    if listening {
        scene.keep_site(site);
    } else {
        drop(site);
    }
    shape.ask(&mut client)?;
    client.wait_for_reset()?;
    scene.keep_end(client);
    let label = Label::new(port)
        .told(Side::Broker, &[Answer::CONNECTION_LOST])
        .genuine(Side::Client);
    // Without the TTL of the broker's other packets it may as well be a device's.
    Ok(vec![if scene.came_late() {
        label.undecidable(
            Side::Client,
            &[Answer::CONNECTION_LOST],
            idle::LOOKS_LIKE_LOST,
        )
    } else {
        label.told(Side::Client, &[Answer::CONNECTION_LOST])
    }])
}

/// The client's keepalive probe finds that the broker's host forgot the connection.
fn found_by_keepalive(scene: &Scene<'_>, idle: Duration) -> Result<Vec<Label>> {
    let Talk { ends, port } = scene.converse(Device::None, Shape::Plain)?;
    ends.broker.forget()?;
    ends.client.keep_alive(idle)?;
    scene.silence(idle)?;
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    Ok(vec![
        Label::new(port)
            .told(Side::Client, &[Answer::CONNECTION_LOST])
            .told(Side::Broker, &[Answer::CONNECTION_LOST])
            .genuine(Side::Client),
    ])
}

/// The client writes so late after the broker's idle timer that the broker's kernel has forgotten
/// even the remainder of the socket: the listener answers.
fn socket_gone(scene: &Scene<'_>) -> Result<Vec<Label>> {
    idle_close(scene, LONGER_MAX_IDLE, FIN_TIMEOUT + ms(1500), Shape::Plain)
}

fn aborted(port: u16) -> Label {
    Label::new(port)
        .told(Side::Client, &[Answer::BROKER_ABORTED])
        .told(Side::Broker, &[Answer::BROKER_ABORTED])
        .genuine(Side::Client)
}

fn linger(scene: &Scene<'_>, silence: Duration, shape: Shape) -> Result<Vec<Label>> {
    let Talk { ends, port } = scene.converse(Device::None, shape)?;
    scene.silence(silence)?;
    ends.broker.abort()?;
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    Ok(vec![aborted(port)])
}

fn unread(scene: &Scene<'_>, silence: Duration, shape: Shape) -> Result<Vec<Label>> {
    let Talk { mut ends, port } = scene.converse(Device::None, shape)?;
    shape.ask(&mut ends.client)?;
    ends.broker.wait_for_data()?;
    scene.silence(silence)?;
    drop(ends.broker);
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    Ok(vec![aborted(port)])
}

/// A request that the broker refuses to read: FIN, then RST,ACK from the live socket.
fn oversized(scene: &Scene<'_>) -> Result<Vec<Label>> {
    let Talk { mut ends, port } = scene.converse(Device::None, Shape::Plain)?;
    ends.client.request(Request::Produce(60_000))?;
    ends.broker.receive_bytes(4)?;
    ends.broker.end()?;
    ends.client.wait_for_end()?;
    drop(ends.broker);
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    Ok(vec![aborted(port)])
}

/// The first request after the session's end is answered with a FIN, the next finds no socket.
fn ran_out(scene: &Scene<'_>) -> Result<Vec<Label>> {
    let Talk { mut ends, port } = scene.converse(Device::None, Shape::Sasl)?;
    scene.silence(ms(1200))?;
    ends.client.request(Request::Metadata)?;
    ends.broker.receive()?;
    drop(ends.broker);
    ends.client.wait_for_end()?;
    scene.silence(ms(300))?;
    ends.client.request(Request::Metadata)?;
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    Ok(vec![
        Label::new(port)
            .told(Side::Client, &[ENDED_IT])
            .told(Side::Broker, &[ENDED_IT])
            .genuine(Side::Client),
    ])
}

/// The broker's own idle timer: FIN, and the client writes later.
fn idle_close(
    scene: &Scene<'_>,
    max_idle: Duration,
    late: Duration,
    shape: Shape,
) -> Result<Vec<Label>> {
    let Talk { mut ends, port } = scene.converse(Device::None, shape)?;
    if scene.came_late() {
        // The silence has to begin under the tracers' eyes, for they are told its length.
        shape.exchange(&mut ends)?;
    }
    // Brokers look now and then, and so are a little late.
    scene.silence(max_idle + ms(20))?;
    drop(ends.broker);
    ends.client.wait_for_end()?;
    scene.silence(late)?;
    shape.ask(&mut ends.client)?;
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    Ok(vec![
        Label::new(port)
            .told(Side::Client, &[Answer::IDLE_CLOSE])
            .told(Side::Broker, &[Answer::IDLE_CLOSE])
            .genuine(Side::Client),
    ])
}
