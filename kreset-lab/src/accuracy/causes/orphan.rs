//! A broker whose FIN was lost: the client goes on as if nothing had happened.

use crate::{
    Side,
    accuracy::{
        case::{Case, Label, Room},
        device::Device,
        stage::{Held, Scene},
    },
    error::Result,
    judge::Answer,
    net::message::Request,
};

use super::unknowable::LOOKS_LIKE_LOST;

/// The broker's process ended, and its host no longer knows the connection: both are true.
const DEAD: Answer = Answer::one("broker_originated", &["shutdown", "connection_lost"]);

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for restarted in [false, true] {
        let how = if restarted { "restarted" } else { "down" };
        all.extend(Case::each_family(
            Room::Usual,
            &format!("lost_fin.{how}"),
            move |scene| lost_fin(scene, restarted),
        ));
    }
    all
}

/// The broker is killed while nothing that it sends arrives, and the client writes once the way is
/// free again: the orphan of the socket, still in `FIN_WAIT1`, answers.
fn lost_fin(scene: &Scene<'_>, restarted: bool) -> Result<Vec<Label>> {
    let address = scene.address(Device::None);
    let mut broker = scene.process(address, 2)?;
    let port = scene.port();
    let mut client = scene.connect(address, port)?;
    for request in [Request::ApiVersions, Request::Metadata] {
        client.request(request)?;
        client.receive()?;
    }
    scene.attached()?;
    scene.silence(scene.draw.time(100, 1500))?;
    scene.cut(port, true)?;
    broker.kill()?;
    if restarted {
        scene.stage.hold(Held::Process(scene.process(address, 2)?));
    }
    scene.cut(port, false)?;
    client.request(Request::Metadata)?;
    client.wait_for_reset()?;
    scene.keep_end(client);
    Ok(vec![
        Label::new(port)
            // Without its FIN nothing tells the client's host that the broker closed.
            .undecidable(Side::Client, &[DEAD], LOOKS_LIKE_LOST)
            .told(Side::Broker, &[DEAD])
            .genuine(Side::Client),
    ])
}
