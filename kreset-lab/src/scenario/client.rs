//! Resets that the client has caused, most of them everyday noise.

use std::time::Duration;

use super::{Outcome, Scenario, Scene, scene};
use crate::{
    Family, Moment, Side,
    driver::Options,
    error::Result,
    judge::{Answer, Expected},
    net::{message::Request, packet::Flags},
};

const PAUSE: Duration = Duration::from_millis(200);

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "client_abort",
            "the client closes a connection in use with SO_LINGER 0",
            abort,
        ),
        Scenario::new(
            "client_close_noise",
            "orderly closes, a probe, and a close with the answer under way, shown without --all",
            noise,
        ),
        Scenario::new(
            "client_probe",
            "the client connects and resets without a byte, shown with --all",
            probe,
        ),
        Scenario::new(
            "client_late_data",
            "the client closes while the answer is under way, shown with --all",
            |scene| late_data(scene, Remainder::TimeWait),
        ),
        Scenario::new(
            "client_late_data_orphan",
            "as client_late_data, but the client's closed socket is still a whole one",
            |scene| late_data(scene, Remainder::Orphan),
        ),
    ]
}

fn abort(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Mapped)?;
    let talk = lab.converse(&listener, Family::Mapped)?;
    let port = talk.port()?;
    lab.silence(PAUSE)?;
    talk.client.abort()?;
    talk.broker.wait_for_reset()?;
    let story = scene.spontaneous(port, Side::Broker)?.genuine()?;
    watch.judge(
        story.sent(&[Answer::CLIENT_ABORTED]),
        story
            .received(&[Answer::CLIENT_ABORTED])
            .in_state("ESTABLISHED")
            .provoked_by("nothing"),
    )
}

fn probe(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Ipv4)?;
    let talk = lab.greet(&listener, Family::Ipv4)?;
    let port = talk.port()?;
    talk.client.abort()?;
    talk.broker.wait_for_reset()?;
    let story = scene.spontaneous(port, Side::Broker)?.genuine()?;
    watch.judge(
        story.sent(&[Answer::PROBE]).without_idle(),
        story.received(&[Answer::PROBE]).without_idle(),
    )
}

/// What a host keeps of a socket that was closed in order and has not seen the other end's FIN.
#[derive(Clone, Copy)]
enum Remainder {
    /// Next to nothing: Linux's default.
    TimeWait,
    /// All of it. When data comes, the kernel resets this socket as if a RST had come, and sends
    /// one: `tcp_receive_reset` fires, though nothing was received.
    Orphan,
}

impl Remainder {
    fn keep(self, scene: &Scene<'_>) -> Result<()> {
        match self {
            Self::TimeWait => Ok(()),
            // A whole socket is kept for what is longer than TIME_WAIT.
            Self::Orphan => scene
                .lab
                .network()
                .host(Side::Client)
                .sysctl(&[("ipv4/tcp_fin_timeout", "120")]),
        }
    }
}

fn late_data(scene: &Scene<'_>, remainder: Remainder) -> Result<Outcome> {
    let lab = scene.lab;
    remainder.keep(scene)?;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Ipv4)?;
    let mut talk = lab.converse(&listener, Family::Ipv4)?;
    let port = talk.port()?;
    talk.client.request(Request::Metadata)?;
    talk.broker.wait_for_data()?;
    drop(talk.client);
    lab.wire().wait_for("the client's FIN", PATIENCE, |seen| {
        seen.client_port() == port && seen.comes_from(Side::Client, Flags::FIN)
    })?;
    lab.silence(PAUSE)?;
    let acted = Moment::now();
    talk.broker.answer()?;
    talk.broker.wait_for_reset()?;
    let story = scene.drawn(port, Side::Broker, acted)?.genuine()?;
    watch.judge(
        // One event, since one reset was sent and none received.
        story.sent(&[Answer::LATE_DATA]).without_socket(),
        story
            .received(&[Answer::LATE_DATA])
            .in_state("CLOSE_WAIT")
            .provoked_by("data"),
    )
}

fn noise(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    let watch = scene.watch_with(&Options::default().without_noise())?;
    let listener = lab.listen(Family::Mapped)?;

    for broker_first in [false, true] {
        let talk = lab.converse(&listener, Family::Mapped)?;
        let port = talk.port()?;
        let (first, second, side) = if broker_first {
            (talk.broker, talk.client, Side::Broker)
        } else {
            (talk.client, talk.broker, Side::Client)
        };
        drop(first);
        lab.wire().wait_for("a FIN", PATIENCE, |seen| {
            seen.client_port() == port && seen.comes_from(side, Flags::FIN)
        })?;
        drop(second);
        scene::wait_for_orderly_end(scene, port)?;
    }

    let talk = lab.greet(&listener, Family::Mapped)?;
    talk.client.abort()?;
    talk.broker.wait_for_reset()?;

    for remainder in [Remainder::TimeWait, Remainder::Orphan] {
        remainder.keep(scene)?;
        let mut talk = lab.converse(&listener, Family::Mapped)?;
        let port = talk.port()?;
        talk.client.request(Request::Metadata)?;
        talk.broker.wait_for_data()?;
        drop(talk.client);
        // A program that is being started elsewhere in this process has the socket as well, for
        // a moment: what came before it is closed there would be unread.
        lab.wire().wait_for("a FIN", PATIENCE, |seen| {
            seen.client_port() == port && seen.comes_from(Side::Client, Flags::FIN)
        })?;
        talk.broker.answer()?;
        talk.broker.wait_for_reset()?;
    }

    watch.judge(Expected::NoEvent, Expected::NoEvent)
}
