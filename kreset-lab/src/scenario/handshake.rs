//! Connections that are over before they were in use.

use super::{Outcome, Scenario, Scene};
use crate::{
    Family, Side,
    device::Ttl,
    error::{Error, Result},
    judge::{Answer, Expected},
    net::{message::Request, packet::Flags},
};
use std::time::Duration;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all: Vec<_> =
        Scenario::for_each_family("refused", "nothing listens on the broker", refused).collect();
    all.extend([
        Scenario::new(
            "closed_by_broker",
            "the broker accepts, and closes with the first request unread",
            |scene| closed(scene, true),
        ),
        Scenario::new(
            "closed_by_broker_silent",
            "the broker accepts, and aborts before the client has said anything",
            |scene| closed(scene, false),
        ),
        Scenario::new(
            "refused_by_device",
            "a device before the broker refuses the connection",
            refused_by_device,
        )
        .further(),
    ]);
    all
}

/// Tries to connect where that must fail, and returns the client's port.
fn attempt(scene: &Scene<'_>, family: Family) -> Result<u16> {
    match scene.lab.connect(family) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::ConnectionRefused => {
        }
        Err(other) => return Err(other),
        Ok(_) => {
            return Err(Error::Staging(
                "a connection that should have been refused was not".to_owned(),
            ));
        }
    }
    // The socket is gone, and with it its port; the wire remembers.
    let syn = scene
        .lab
        .wire()
        .wait_for("a SYN", Duration::from_secs(5), |seen| {
            seen.comes_from(Side::Client, Flags::SYN)
        })?;
    Ok(syn.client_port())
}

fn refused(scene: &Scene<'_>, family: Family) -> Result<Outcome> {
    let watch = scene.watch()?;
    let port = attempt(scene, family)?;
    let story = scene.spontaneous(port, Side::Client)?.genuine()?;
    watch.judge(
        story
            .received(&[Answer::REFUSED])
            .in_state("SYN_SENT")
            .without_idle(),
        // Sent by no socket: the address is in the packet alone.
        story
            .sent(&[Answer::REFUSED])
            .without_socket()
            .without_idle(),
    )
}

fn refused_by_device(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    lab.middlebox().refuse(Ttl::Own)?;
    let watch = scene.watch()?;
    let _listener = lab.listen(Family::Ipv4)?;
    let port = attempt(scene, Family::Ipv4)?;
    let story = scene.spontaneous(port, Side::Client)?.forged(Ttl::Own)?;
    // Refused either way, and nothing of the broker to compare the TTL with.
    watch.judge(
        story
            .received(&[Answer::REFUSED])
            .in_state("SYN_SENT")
            .without_idle(),
        Expected::NoEvent,
    )
}

fn closed(scene: &Scene<'_>, request: bool) -> Result<Outcome> {
    let lab = scene.lab;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Mapped)?;
    let mut talk = lab.greet(&listener, Family::Mapped)?;
    let port = talk.port()?;
    if request {
        talk.client.request(Request::ApiVersions)?;
        talk.broker.wait_for_data()?;
        drop(talk.broker);
    } else {
        talk.broker.abort()?;
    }
    talk.client.wait_for_reset()?;
    let story = scene.spontaneous(port, Side::Client)?.genuine()?;
    watch.judge(
        story
            .received(&[Answer::CLOSED_BY_BROKER])
            .in_state("ESTABLISHED"),
        story.sent(&[Answer::CLOSED_BY_BROKER]),
    )
}
