//! Brokers, and their hosts, that end one connection.

use std::time::Duration;

use super::{FIN_TIMEOUT, LONGER_MAX_IDLE, MAX_IDLE, Silence, ms, unknowable::LOOKS_LIKE_LOST};
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
    net::message::Request,
};

/// A broker that closes one connection in order, for a reason of its own (a request it does not
/// serve, authentication that ran out), has no cause of its own: either is near enough.
const ENDED_IT: Answer = Answer::one("broker_originated", &["aborted", "shutdown"]);

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (silence, shape) in Silence::ALL.into_iter().zip(Shape::ALL) {
        let name = silence.name();
        for listening in [true, false] {
            let how = if listening { "listener" } else { "no_listener" };
            all.extend(Case::each_family(
                Room::Usual,
                &format!("lost.refused_afterwards.{how}.{name}"),
                move |scene| lost(scene, silence, shape, listening),
            ));
        }
        for room in [Room::Patient, Room::Late, Room::Blind, Room::Bare] {
            all.extend(Case::each_family(
                room,
                &format!("broker_aborts.linger.{}.{name}", room.name()),
                move |scene| linger(scene, silence, shape),
            ));
        }
        for room in [Room::Patient, Room::Blind] {
            all.extend(Case::each_family(
                room,
                &format!("broker_aborts.unread.{}.{name}", room.name()),
                move |scene| unread(scene, silence, shape),
            ));
        }
    }
    for (name, from, to) in [("at_once", 0, 20), ("soon", 40, 600), ("later", 1000, 4000)] {
        let late = move |scene: &Scene<'_>| scene.draw.time(from, to);
        for shape in [Shape::Plain, Shape::Polls] {
            all.extend(Case::each_family(
                Room::Usual,
                &format!("idle_close.shorter.{}.written_{name}", shape.name()),
                move |scene| idle_close(scene, MAX_IDLE, late(scene), shape),
            ));
        }
        all.extend(Case::each_family(
            Room::Patient,
            &format!("idle_close.longer.written_{name}"),
            move |scene| idle_close(scene, LONGER_MAX_IDLE, late(scene), Shape::Tls),
        ));
        all.extend(Case::each_family(
            Room::Blind,
            &format!("idle_close.blind.written_{name}"),
            move |scene| idle_close(scene, MAX_IDLE, late(scene), Shape::Plain),
        ));
    }
    all.extend(Case::each_family(Room::Late, "idle_close.late", |scene| {
        idle_close(scene, MAX_IDLE, ms(500), Shape::Plain)
    }));
    for speaks in [false, true] {
        let how = if speaks { "writes_late" } else { "closes" };
        all.extend(Case::each_family(
            Room::Usual,
            &format!("idle_close.never_spoke.{how}"),
            move |scene| never_spoke(scene, speaks),
        ));
    }
    all.extend(Case::each_family(
        Room::Usual,
        "idle_close.throttled",
        throttled,
    ));
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
    for quick in [false, true] {
        let how = if quick { "quick" } else { "late" };
        all.extend(Case::each_family(
            Room::Usual,
            &format!("broker_ends.authentication_ran_out.{how}"),
            move |scene| ran_out(scene, quick),
        ));
    }
    all
}

/// The broker's host forgot the connection, as after a crash; what the client sends finds no
/// socket, and when it connects again nobody listens: the broker is down, and no device is.
fn lost(scene: &Scene<'_>, silence: Silence, shape: Shape, listening: bool) -> Result<Vec<Label>> {
    let site = scene.site(Device::None)?;
    let address = site.address;
    let Talk { mut ends, port } = scene.greet_at(&site)?;
    shape.use_it(&mut ends, &scene.draw)?;
    scene.attached()?;
    scene.silence(silence.draw(&scene.draw))?;
    let crate::Conversation { mut client, broker } = ends;
    broker.forget()?;
    let site = listening.then_some(site);
    shape.ask(&mut client)?;
    client.wait_for_reset()?;
    drop(site);
    let again = scene.port();
    scene.be_refused(address, again)?;
    scene.keep_end(client);
    Ok(vec![
        Label::broker_reset(port, Answer::CONNECTION_LOST),
        Label::broker_reset(again, Answer::REFUSED),
    ])
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
            // A device that copies the TTL answers a probe alike.
            .undecidable(Side::Client, &[Answer::CONNECTION_LOST], LOOKS_LIKE_LOST)
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
    Label::broker_reset(port, Answer::BROKER_ABORTED)
}

fn aborted_after(scene: &Scene<'_>, port: u16, silence: Silence) -> Label {
    if silence.may_be_handshake(scene) {
        aborted(port).unseen_handshake(true)
    } else {
        aborted(port)
    }
}

fn linger(scene: &Scene<'_>, silence: Silence, shape: Shape) -> Result<Vec<Label>> {
    let Talk { ends, port } = scene.converse(Device::None, shape)?;
    scene.silence(silence.draw(&scene.draw))?;
    ends.broker.abort()?;
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    Ok(vec![aborted_after(scene, port, silence)])
}

fn unread(scene: &Scene<'_>, silence: Silence, shape: Shape) -> Result<Vec<Label>> {
    let Talk { mut ends, port } = scene.converse(Device::None, shape)?;
    shape.ask(&mut ends.client)?;
    ends.broker.wait_for_data()?;
    scene.silence(silence.draw(&scene.draw))?;
    drop(ends.broker);
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    Ok(vec![aborted_after(scene, port, silence)])
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

/// The first request after the session's end is answered with a FIN. The next one finds no socket,
/// or, if it was under way already, makes the close an abort.
fn ran_out(scene: &Scene<'_>, quick: bool) -> Result<Vec<Label>> {
    let Talk { mut ends, port } = scene.converse(Device::None, Shape::Sasl)?;
    scene.silence(scene.draw.time(1100, 2200))?;
    ends.client.request(Request::Metadata)?;
    ends.broker.receive()?;
    if quick {
        ends.client.request(Request::Metadata)?;
        ends.broker.wait_for_data()?;
        ends.broker.end()?;
        ends.client.wait_for_end()?;
        drop(ends.broker);
    } else {
        drop(ends.broker);
        ends.client.wait_for_end()?;
        scene.silence(scene.draw.time(100, 600))?;
        ends.client.request(Request::Metadata)?;
    }
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    let right = if quick {
        Answer::BROKER_ABORTED
    } else {
        ENDED_IT
    };
    Ok(vec![Label::broker_reset(port, right)])
}

/// The broker reaps a connection that never said a word: no failed handshake, and nobody is hurt
/// unless the client writes after all.
fn never_spoke(scene: &Scene<'_>, speaks: bool) -> Result<Vec<Label>> {
    scene.attached()?;
    let Talk { mut ends, port } = scene.greet(Device::None)?;
    scene.silence(MAX_IDLE + scene.draw.time(5, 300))?;
    drop(ends.broker);
    ends.client.wait_for_end()?;
    if !speaks {
        drop(ends.client);
        return Ok(vec![Label::new(port).without_reset()]);
    }
    scene.silence(scene.draw.time(20, 500))?;
    ends.client.request(Request::ApiVersions)?;
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    Ok(vec![Label::broker_reset(port, Answer::IDLE_CLOSE)])
}

/// A throttled client is not read from for so long that the broker takes it for idle: its timer
/// closed the connection, and the unread request made that an abort.
fn throttled(scene: &Scene<'_>) -> Result<Vec<Label>> {
    const REAPED: Answer = Answer::one("broker_originated", &["idle_close", "aborted"]);
    let Talk { mut ends, port } = scene.converse(Device::None, Shape::Batches)?;
    ends.client.request(Request::Produce(30_000))?;
    ends.broker.wait_for_data()?;
    scene.silence(MAX_IDLE + scene.draw.time(5, 300))?;
    ends.broker.end()?;
    ends.client.wait_for_end()?;
    drop(ends.broker);
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    Ok(vec![Label::broker_reset(port, REAPED)])
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
        shape.exchange(&mut ends, &scene.draw)?;
    }
    // Brokers look now and then, and so are a little late.
    scene.silence(max_idle + scene.draw.time(5, 300))?;
    drop(ends.broker);
    ends.client.wait_for_end()?;
    scene.silence(late)?;
    shape.ask(&mut ends.client)?;
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    Ok(vec![Label::broker_reset(port, Answer::IDLE_CLOSE)])
}
