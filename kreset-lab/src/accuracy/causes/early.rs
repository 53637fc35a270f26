//! More ways for a connection to end early: by its client, and before tracers that see no packets.

use super::{
    Silence,
    ending::Ending,
    handshake::{
        AUTHENTICATION, TLS_ALERT, TLS_TO_PLAINTEXT, api_versions, goodbye_to_nobody, refused,
        wrong_password,
    },
};
use crate::{
    Side,
    accuracy::{
        case::{Case, Label, Room},
        device::Device,
        stage::{Scene, Talk},
        traffic::{self, Way, one_way},
    },
    error::Result,
    judge::Answer,
};

/// A TLS alert that a client sends.
const CERTIFICATE_EXPIRED: u8 = 45;

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(Case::each_family(
        Room::Usual,
        "tls_alert.unknown_ca_1_3",
        untrusted_13,
    ));
    all.extend(Case::each_family(
        Room::Usual,
        "tls_alert.expired.fin",
        expired,
    ));
    all.extend(Case::each_family(
        Room::Usual,
        "authentication.not_wanted",
        sasl_not_wanted,
    ));
    all.extend(Case::each_family(Room::Blind, "refused.blind", refused));
    for silence in Silence::BUSY {
        all.extend(Case::each_family(
            Room::Blind,
            &format!("closed_by_broker.silent.blind.{}", silence.name()),
            move |scene| dropped(scene, silence),
        ));
    }
    for ending in Ending::ALL {
        let name = ending.name();
        all.extend(Case::each_family(
            Room::Blind,
            &format!("tls_to_plaintext.blind.{name}"),
            move |scene| unseen_hello(scene, ending),
        ));
        all.extend(Case::each_family(
            Room::Blind,
            &format!("closed_by_broker.blind.{name}"),
            move |scene| unseen_request(scene, ending),
        ));
        all.extend(Case::each_family(
            Room::Blind,
            &format!("authentication.blind.{name}"),
            move |scene| Ok(unseen(wrong_password(scene, ending)?)),
        ));
    }
    all
}

fn unseen(labels: Vec<Label>) -> Vec<Label> {
    labels
        .into_iter()
        .map(|label| label.unseen_handshake(false))
        .collect()
}

/// TLS 1.3: the client does not trust the certificate, says so in a record that nobody else can
/// read, and is gone when the broker says goodbye.
fn untrusted_13(scene: &Scene<'_>) -> Result<Vec<Label>> {
    const ALERT_RECORD: usize = 19;
    scene.attached()?;
    let mut talk = scene.greet(Device::None)?;
    one_way(&mut talk.ends, Way::Up, &traffic::client_hello())?;
    one_way(&mut talk.ends, Way::Down, &traffic::server_hello())?;
    let alert = traffic::application_data(ALERT_RECORD);
    one_way(&mut talk.ends, Way::Up, &alert)?;
    Ok(vec![goodbye_to_nobody(scene, talk, &alert)?])
}

/// TLS 1.2: the certificate has expired, and both ends close in order.
fn expired(scene: &Scene<'_>) -> Result<Vec<Label>> {
    scene.attached()?;
    let mut talk = scene.greet(Device::None)?;
    one_way(&mut talk.ends, Way::Up, &traffic::client_hello())?;
    one_way(&mut talk.ends, Way::Down, &traffic::server_hello_12())?;
    one_way(
        &mut talk.ends,
        Way::Up,
        &traffic::alert(CERTIFICATE_EXPIRED),
    )?;
    Ok(vec![
        left_in_order(talk)?
            .told(Side::Broker, &[TLS_ALERT])
            .if_told(Side::Client, &[TLS_ALERT]),
    ])
}

/// A client with SASL at a listener without: an error, the connection stays open, and the client
/// ends it in order. Its own log says why.
fn sasl_not_wanted(scene: &Scene<'_>) -> Result<Vec<Label>> {
    /// `ILLEGAL_SASL_STATE`.
    const ILLEGAL_STATE: u8 = 34;
    scene.attached()?;
    let mut talk = scene.greet(Device::None)?;
    api_versions(&mut talk)?;
    one_way(&mut talk.ends, Way::Up, &traffic::sasl_handshake(2))?;
    one_way(
        &mut talk.ends,
        Way::Down,
        &traffic::sasl_mechanisms(2, ILLEGAL_STATE),
    )?;
    Ok(vec![
        left_in_order(talk)?
            .if_told(Side::Broker, &[AUTHENTICATION])
            .if_told(Side::Client, &[AUTHENTICATION]),
    ])
}

/// The client ends the connection in order, and so does the broker.
fn left_in_order(Talk { ends, port }: Talk) -> Result<Label> {
    drop(ends.client);
    ends.broker.wait_for_end()?;
    drop(ends.broker);
    Ok(Label::new(port).without_reset())
}

/// Accepted and reset before the client has said anything: no packets are needed to see that.
fn dropped(scene: &Scene<'_>, silence: Silence) -> Result<Vec<Label>> {
    scene.attached()?;
    let Talk { ends, port } = scene.greet(Device::None)?;
    scene.silence(silence.draw(&scene.draw))?;
    ends.broker.abort()?;
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    Ok(vec![Label::broker_reset(port, Answer::CLOSED_BY_BROKER)])
}

fn unseen_hello(scene: &Scene<'_>, ending: Ending) -> Result<Vec<Label>> {
    let opening = traffic::client_hello();
    let label = unanswered(scene, &opening, ending, TLS_TO_PLAINTEXT)?;
    Ok(unseen(vec![label]))
}

fn unseen_request(scene: &Scene<'_>, ending: Ending) -> Result<Vec<Label>> {
    let opening = traffic::kafka(18, 3, 1, b"\x00\x08rdkafka\x062.3.0\x00");
    let label = unanswered(scene, &opening, ending, Answer::CLOSED_BY_BROKER)?;
    Ok(unseen(vec![label]))
}

fn unanswered(scene: &Scene<'_>, opening: &[u8], ending: Ending, right: Answer) -> Result<Label> {
    const HEAD: usize = 4;
    scene.attached()?;
    let mut talk = scene.greet(Device::None)?;
    talk.ends.client.send(opening)?;
    talk.ends.broker.receive_bytes(HEAD)?;
    ending.end(scene, talk, opening.len() - HEAD, right)
}
