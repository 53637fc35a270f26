//! Resets that the broker, its host, or its end have caused.

use std::time::Duration;

use super::{Outcome, Scenario, Scene};
use crate::{
    Connection, Family, Moment, Side,
    driver::Options,
    error::Result,
    judge::Answer,
    net::{message::Request, packet::Flags},
};

/// A pause that is too short for any device and long enough to be told from none.
const PAUSE: Duration = Duration::from_millis(300);

/// How long a client takes to notice that it should write again.
const LATE: Duration = Duration::from_secs(1);

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "broker_abort_linger",
            "the broker closes with SO_LINGER 0",
            |scene| abort(scene, Abort::Linger),
        ),
        Scenario::new(
            "broker_abort_unread",
            "the broker closes with a request unread",
            |scene| abort(scene, Abort::Unread),
        ),
        Scenario::new(
            "broker_killed_idle",
            "the broker is killed while its connections are idle, and a client writes later",
            killed_idle,
        ),
        Scenario::new(
            "broker_killed_busy",
            "the broker is killed with a request unread",
            killed_busy,
        ),
        Scenario::new(
            "broker_idle_close",
            "the broker ends a connection that was idle for connections.max.idle.ms, and the client writes later",
            idle_close,
        ),
        Scenario::new(
            "connection_lost",
            "the broker's host forgot the connection, and a new broker listens",
            |scene| lost(scene, true),
        ),
        Scenario::new(
            "connection_lost_no_listener",
            "the broker's host forgot the connection, and nothing listens",
            |scene| lost(scene, false),
        ),
    ]
}

#[derive(Clone, Copy)]
enum Abort {
    Linger,
    Unread,
}

fn abort(scene: &Scene<'_>, how: Abort) -> Result<Outcome> {
    let lab = scene.lab;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Mapped)?;
    let mut talk = lab.converse(&listener, Family::Mapped)?;
    let port = talk.port()?;
    if matches!(how, Abort::Unread) {
        talk.client.request(Request::Metadata)?;
        talk.broker.wait_for_data()?;
    }
    lab.silence(PAUSE)?;
    match how {
        Abort::Linger => talk.broker.abort()?,
        Abort::Unread => drop(talk.broker),
    }
    talk.client.wait_for_reset()?;
    let story = scene.spontaneous(port, Side::Client)?.genuine()?;
    // Whatever the client sent was acknowledged long ago, so nothing drew the reset; it has
    // timestamps, which only a live socket's has.
    watch.judge(
        story
            .received(&[Answer::BROKER_ABORTED])
            .in_state("ESTABLISHED")
            .provoked_by("nothing"),
        story.sent(&[Answer::BROKER_ABORTED]),
    )
}

/// Connections to a broker process, in use. A client has several, and that all of them end at once
/// is what tells the end of a process from the end of a connection.
fn several(scene: &Scene<'_>) -> Result<[Connection; 3]> {
    let connect = || {
        let mut client = scene.lab.connect(Family::Mapped)?;
        for request in [Request::ApiVersions, Request::Metadata] {
            client.request(request)?;
            client.receive()?;
        }
        Ok(client)
    };
    Ok([connect()?, connect()?, connect()?])
}

fn killed_idle(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    let watch = scene.watch()?;
    let mut broker = lab.start_broker(Family::Mapped, u32::MAX)?;
    let [mut client, _idle, _also_idle] = several(scene)?;
    lab.silence(PAUSE)?;
    broker.kill()?;
    let port = client.port()?;
    lab.wire().wait_for("the broker's FIN", PATIENCE, |seen| {
        seen.client_port() == port && seen.comes_from(Side::Broker, Flags::FIN)
    })?;
    lab.silence(LATE)?;
    let acted = Moment::now();
    client.request(Request::Metadata)?;
    client.wait_for_reset()?;
    let story = scene.drawn(port, Side::Client, acted)?.genuine()?;
    watch.judge(
        story
            .received(&[Answer::SHUTDOWN])
            .in_state("CLOSE_WAIT")
            .provoked_by("data"),
        // The socket went with the process; what answers is its remainder, in TIME_WAIT.
        story.sent(&[Answer::SHUTDOWN]).without_socket(),
    )
}

fn killed_busy(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    let watch = scene.watch()?;
    let mut broker = lab.start_broker(Family::Mapped, 2)?;
    // The busy one is reset; the idle ones get a FIN, to which nobody writes.
    let [mut client, _idle, _also_idle] = several(scene)?;
    client.request(Request::Produce(10_000))?;
    lab.silence(PAUSE)?;
    broker.kill()?;
    client.wait_for_reset()?;
    let story = scene.spontaneous(client.port()?, Side::Client)?.genuine()?;
    // The kernel closed a live socket with unread data because its process ended.
    watch.judge(
        story
            .received(&[Answer::SHUTDOWN_OR_ABORTED])
            .in_state("ESTABLISHED")
            .provoked_by("nothing"),
        story.sent(&[Answer::SHUTDOWN_OR_ABORTED]),
    )
}

fn idle_close(scene: &Scene<'_>) -> Result<Outcome> {
    /// Stands for the ten minutes that brokers wait by default.
    const MAX_IDLE: Duration = Duration::from_secs(2);
    let lab = scene.lab;
    let watch = scene.watch_with(&Options::default().broker_max_idle(MAX_IDLE))?;
    let listener = lab.listen(Family::Mapped)?;
    let mut talk = lab.converse(&listener, Family::Mapped)?;
    let port = talk.port()?;
    // Real brokers look now and then, and so are a little late.
    lab.silence(MAX_IDLE + Duration::from_millis(30))?;
    drop(talk.broker);
    lab.wire().wait_for("the broker's FIN", PATIENCE, |seen| {
        seen.client_port() == port && seen.comes_from(Side::Broker, Flags::FIN)
    })?;
    lab.silence(LATE)?;
    let acted = Moment::now();
    talk.client.request(Request::Metadata)?;
    talk.client.wait_for_reset()?;
    let story = scene.drawn(port, Side::Client, acted)?.genuine()?;
    watch.judge(
        story
            .received(&[Answer::IDLE_CLOSE])
            .in_state("CLOSE_WAIT")
            .provoked_by("data"),
        story.sent(&[Answer::IDLE_CLOSE]).without_socket(),
    )
}

fn lost(scene: &Scene<'_>, listening: bool) -> Result<Outcome> {
    let lab = scene.lab;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Mapped)?;
    let mut talk = lab.converse(&listener, Family::Mapped)?;
    let port = talk.port()?;
    lab.silence(LATE)?;
    talk.broker.forget()?;
    let _listener = listening.then_some(listener);
    let acted = Moment::now();
    talk.client.request(Request::Metadata)?;
    talk.client.wait_for_reset()?;
    let story = scene.drawn(port, Side::Client, acted)?.genuine()?;
    // The broker's host answers for a port or for nothing, and knows only what the packet says.
    watch.judge(
        story
            .received(&[Answer::CONNECTION_LOST])
            .in_state("ESTABLISHED")
            .provoked_by("data"),
        story.sent(&[Answer::CONNECTION_LOST]).without_socket(),
    )
}
