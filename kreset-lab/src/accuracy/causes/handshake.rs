//! Connections that end before their first exchange ended well, in the shapes that real brokers
//! give them: what was read and what was not, and who ends first, decides what is on the wire.

use super::{Silence, ending::Ending, ms};
use crate::{
    Connection, Conversation, Side,
    accuracy::{
        case::{Case, Label, Room},
        device::Device,
        stage::{Scene, Talk},
        traffic::{self, INTERNAL_ERROR, Way, one_way},
    },
    error::Result,
    judge::Answer,
};

const PLAINTEXT_TO_TLS: Answer = Answer::one("handshake_phase", &["plaintext_to_tls"]);
pub(super) const TLS_TO_PLAINTEXT: Answer = Answer::one("handshake_phase", &["tls_to_plaintext"]);
pub(super) const NOT_KAFKA: Answer = Answer::one("handshake_phase", &["not_kafka"]);
/// HTTP to a TLS listener is both.
pub(super) const HTTP_TO_TLS: Answer =
    Answer::one("handshake_phase", &["not_kafka", "plaintext_to_tls"]);
pub(super) const TLS_ALERT: Answer = Answer::one("handshake_phase", &["tls_alert"]);
pub(super) const AUTHENTICATION: Answer = Answer::one("handshake_phase", &["authentication"]);
/// A broker that wants SASL and is not offered it ends the connection without a word.
const NO_SASL: Answer = Answer::one("handshake_phase", &["authentication", "closed_by_broker"]);

/// TLS alerts.
const CERTIFICATE_REQUIRED: u8 = 42;
const UNKNOWN_CA: u8 = 48;
const PROTOCOL_VERSION: u8 = 70;

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(Case::each_family(Room::Usual, "refused.by_host", refused));
    for copied in [false, true] {
        let ttl = if copied { "copied" } else { "own" };
        all.extend(Case::each_family(
            Room::Patient,
            &format!("refused.by_device.{ttl}_ttl"),
            move |scene| refused_by_device(scene, copied),
        ));
    }
    let api_versions = || traffic::kafka(18, 3, 1, b"\x00\x08rdkafka\x062.3.0\x00");
    let bulk = || {
        let mut bulk = traffic::kafka(18, 3, 1, b"\x00");
        bulk.extend(traffic::kafka(0, 7, 2, &vec![0; 20_000]));
        bulk
    };
    for (name, opening, answer, right) in [
        (
            "plaintext_to_tls.kafka",
            api_versions(),
            traffic::alert(INTERNAL_ERROR).to_vec(),
            PLAINTEXT_TO_TLS,
        ),
        (
            "plaintext_to_tls.http",
            traffic::HTTP.to_vec(),
            traffic::alert(INTERNAL_ERROR).to_vec(),
            HTTP_TO_TLS,
        ),
        (
            "plaintext_to_tls.bulk",
            bulk(),
            traffic::alert(INTERNAL_ERROR).to_vec(),
            PLAINTEXT_TO_TLS,
        ),
        (
            "tls_to_plaintext",
            traffic::client_hello(),
            Vec::new(),
            TLS_TO_PLAINTEXT,
        ),
        (
            "not_kafka.http",
            traffic::HTTP.to_vec(),
            Vec::new(),
            NOT_KAFKA,
        ),
        (
            "not_kafka.ssh",
            b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
            Vec::new(),
            NOT_KAFKA,
        ),
        (
            "tls_alert.protocol_version",
            traffic::client_hello(),
            traffic::alert(PROTOCOL_VERSION).to_vec(),
            TLS_ALERT,
        ),
        (
            "closed_by_broker.after_request",
            api_versions(),
            Vec::new(),
            Answer::CLOSED_BY_BROKER,
        ),
    ] {
        for ending in Ending::ALL {
            let (opening, answer) = (opening.clone(), answer.clone());
            all.extend(Case::each_family(
                if ending == Ending::FinThenReset(ms(0)) {
                    Room::Usual
                } else {
                    Room::Patient
                },
                &format!("{name}.{}", ending.name()),
                move |scene| answered(scene, &opening, &answer, ending, right),
            ));
        }
    }
    for ending in Ending::ALL {
        let name = ending.name();
        all.extend(Case::each_family(
            Room::Usual,
            &format!("tls_alert.certificate_required.{name}"),
            move |scene| no_certificate(scene, ending),
        ));
        all.extend(Case::each_family(
            Room::Usual,
            &format!("authentication.wrong_password.{name}"),
            move |scene| wrong_password(scene, ending),
        ));
        all.extend(Case::each_family(
            Room::Patient,
            &format!("authentication.mechanism.{name}"),
            move |scene| wrong_mechanism(scene, ending),
        ));
        all.extend(Case::each_family(
            Room::Usual,
            &format!("authentication.none.{name}"),
            move |scene| no_sasl(scene, ending),
        ));
        all.extend(Case::each_family(
            Room::Patient,
            &format!("tls_alert.encrypted.{name}"),
            move |scene| encrypted_alert(scene, ending),
        ));
        all.extend(Case::each_family(
            Room::Usual,
            &format!("closed_by_broker.before_request.{name}"),
            move |scene| before_request(scene, ending),
        ));
    }
    for client_resets in [false, true] {
        let name = if client_resets { "reset" } else { "closed" };
        all.extend(Case::each_family(
            Room::Usual,
            &format!("tls_alert.unknown_ca.{name}"),
            move |scene| untrusted(scene, client_resets),
        ));
    }
    all.extend(Case::each_family(
        Room::Usual,
        "tls_alert.broker_aborts",
        tls_aborted,
    ));
    for silence in Silence::BUSY {
        all.extend(Case::each_family(
            Room::Usual,
            &format!("closed_by_broker.silent.{}", silence.name()),
            move |scene| dropped_silent(scene, silence),
        ));
        all.extend(Case::each_family(
            Room::Usual,
            &format!("closed_by_broker.unread.{}", silence.name()),
            move |scene| dropped_unread(scene, silence),
        ));
    }
    all
}

pub(super) fn refused(scene: &Scene<'_>) -> Result<Vec<Label>> {
    scene.attached()?;
    let (port, address) = (scene.port(), scene.address(Device::None));
    scene.be_refused(address, port)?;
    Ok(vec![Label::broker_reset(port, Answer::REFUSED)])
}

fn refused_by_device(scene: &Scene<'_>, copied: bool) -> Result<Vec<Label>> {
    scene.attached()?;
    let device = Device::Refuses { copied };
    let (port, address) = (scene.port(), scene.address(device));
    scene.be_refused(address, port)?;
    // Refused either way.
    Ok(vec![
        Label::new(port)
            .told(Side::Client, &[Answer::REFUSED])
            .forged(Side::Client, device.ttl()),
    ])
}

/// One opening, at most one answer.
fn answered(
    scene: &Scene<'_>,
    opening: &[u8],
    answer: &[u8],
    ending: Ending,
    right: Answer,
) -> Result<Vec<Label>> {
    scene.attached()?;
    let mut talk = scene.greet(Device::None)?;
    talk.ends.client.send(opening)?;
    // The size of a Kafka request, or the head of a TLS record, is what makes a broker give up.
    let head = 4;
    talk.ends.broker.receive_bytes(head)?;
    if !answer.is_empty() {
        talk.ends.broker.send(answer)?;
        talk.ends.client.receive_bytes(answer.len())?;
    }
    Ok(vec![ending.end(
        scene,
        talk,
        opening.len() - head,
        right,
    )?])
}

/// TLS 1.2: a server that requires a certificate and gets none.
fn no_certificate(scene: &Scene<'_>, ending: Ending) -> Result<Vec<Label>> {
    scene.attached()?;
    let mut talk = scene.greet(Device::None)?;
    one_way(&mut talk.ends, Way::Up, &traffic::client_hello())?;
    one_way(&mut talk.ends, Way::Down, &traffic::server_hello_12())?;
    one_way(&mut talk.ends, Way::Up, &traffic::client_key_exchange())?;
    one_way(
        &mut talk.ends,
        Way::Down,
        &traffic::alert(CERTIFICATE_REQUIRED),
    )?;
    Ok(vec![ending.end(scene, talk, 0, TLS_ALERT)?])
}

/// TLS 1.3: the client is done, and asks, before it learns that its certificate is missing. Only
/// the length of the broker's last record tells that it is an alert.
fn encrypted_alert(scene: &Scene<'_>, ending: Ending) -> Result<Vec<Label>> {
    const ALERT_RECORD: usize = 19;
    scene.attached()?;
    let mut talk = scene.greet(Device::None)?;
    one_way(&mut talk.ends, Way::Up, &traffic::client_hello())?;
    one_way(&mut talk.ends, Way::Down, &traffic::server_hello())?;
    one_way(&mut talk.ends, Way::Up, &traffic::client_finished())?;
    one_way(&mut talk.ends, Way::Up, &traffic::application_data(90))?;
    let alert = traffic::application_data(ALERT_RECORD);
    one_way(&mut talk.ends, Way::Down, &alert)?;
    Ok(vec![ending.end(scene, talk, 0, TLS_ALERT)?])
}

/// The broker takes no more connections, and the client has said nothing yet.
fn before_request(scene: &Scene<'_>, ending: Ending) -> Result<Vec<Label>> {
    scene.attached()?;
    let talk = scene.greet(Device::None)?;
    Ok(vec![ending.end(
        scene,
        talk,
        0,
        Answer::CLOSED_BY_BROKER,
    )?])
}

/// TLS 1.2: the client does not trust the broker's certificate.
fn untrusted(scene: &Scene<'_>, client_resets: bool) -> Result<Vec<Label>> {
    scene.attached()?;
    let mut talk = scene.greet(Device::None)?;
    one_way(&mut talk.ends, Way::Up, &traffic::client_hello())?;
    one_way(&mut talk.ends, Way::Down, &traffic::server_hello_12())?;
    one_way(&mut talk.ends, Way::Up, &traffic::alert(UNKNOWN_CA))?;
    if !client_resets {
        return Ok(vec![goodbye_to_nobody(
            scene,
            talk,
            &traffic::CLOSE_NOTIFY,
        )?]);
    }
    let Talk { ends, port } = talk;
    ends.client.abort()?;
    ends.broker.wait_for_reset()?;
    scene.keep_end(ends.broker);
    Ok(vec![
        Label::new(port)
            .told(Side::Client, &[TLS_ALERT])
            .told(Side::Broker, &[TLS_ALERT])
            .genuine(Side::Broker),
    ])
}

/// After its alert the client is gone when the broker says `goodbye`: its kernel answers with a
/// reset.
pub(super) fn goodbye_to_nobody(
    scene: &Scene<'_>,
    Talk { ends, port }: Talk,
    goodbye: &[u8],
) -> Result<Label> {
    let Conversation { client, mut broker } = ends;
    drop(client);
    broker.wait_for_end()?;
    broker.send(goodbye)?;
    broker.wait_for_reset()?;
    scene.keep_end(broker);
    Ok(Label::new(port)
        .told(Side::Broker, &[TLS_ALERT])
        .if_told(Side::Client, &[TLS_ALERT])
        .genuine(Side::Broker))
}

/// The broker gives up in the middle of the TLS handshake.
fn tls_aborted(scene: &Scene<'_>) -> Result<Vec<Label>> {
    scene.attached()?;
    let mut talk = scene.greet(Device::None)?;
    one_way(&mut talk.ends, Way::Up, &traffic::client_hello())?;
    one_way(&mut talk.ends, Way::Down, &traffic::server_hello())?;
    let Talk { ends, port } = talk;
    ends.broker.abort()?;
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    Ok(vec![Label::broker_reset(port, TLS_ALERT)])
}

pub(super) fn api_versions(talk: &mut Talk) -> Result<()> {
    talk.ends
        .exchange(crate::net::message::Request::ApiVersions)
}

pub(super) fn wrong_password(scene: &Scene<'_>, ending: Ending) -> Result<Vec<Label>> {
    scene.attached()?;
    let mut talk = scene.greet(Device::None)?;
    api_versions(&mut talk)?;
    one_way(&mut talk.ends, Way::Up, &traffic::sasl_handshake(2))?;
    one_way(&mut talk.ends, Way::Down, &traffic::sasl_mechanisms(2, 0))?;
    one_way(&mut talk.ends, Way::Up, &traffic::sasl_authenticate(3))?;
    one_way(&mut talk.ends, Way::Down, &traffic::sasl_failed(3))?;
    Ok(vec![ending.end(scene, talk, 0, AUTHENTICATION)?])
}

fn wrong_mechanism(scene: &Scene<'_>, ending: Ending) -> Result<Vec<Label>> {
    /// `UNSUPPORTED_SASL_MECHANISM`.
    const UNSUPPORTED: u8 = 33;
    scene.attached()?;
    let mut talk = scene.greet(Device::None)?;
    api_versions(&mut talk)?;
    one_way(&mut talk.ends, Way::Up, &traffic::sasl_handshake(2))?;
    one_way(
        &mut talk.ends,
        Way::Down,
        &traffic::sasl_mechanisms(2, UNSUPPORTED),
    )?;
    Ok(vec![ending.end(scene, talk, 0, AUTHENTICATION)?])
}

/// A client without SASL at a listener that requires it.
fn no_sasl(scene: &Scene<'_>, ending: Ending) -> Result<Vec<Label>> {
    scene.attached()?;
    let mut talk = scene.greet(Device::None)?;
    api_versions(&mut talk)?;
    let metadata = traffic::kafka(3, 1, 2, &[0xff; 4]);
    talk.ends.client.send(&metadata)?;
    talk.ends.broker.receive_bytes(4)?;
    Ok(vec![ending.end(
        scene,
        talk,
        metadata.len() - 4,
        NO_SASL,
    )?])
}

/// Accepted and reset before the client has said anything.
fn dropped_silent(scene: &Scene<'_>, silence: Silence) -> Result<Vec<Label>> {
    scene.attached()?;
    let Talk { ends, port } = scene.greet(Device::None)?;
    scene.silence(silence.draw(&scene.draw))?;
    ends.broker.abort()?;
    ends.client.wait_for_reset()?;
    scene.keep_end(ends.client);
    Ok(vec![Label::broker_reset(port, Answer::CLOSED_BY_BROKER)])
}

/// Accepted and closed with the first request unread, as above a limit of connections.
fn dropped_unread(scene: &Scene<'_>, silence: Silence) -> Result<Vec<Label>> {
    scene.attached()?;
    let Talk { ends, port } = scene.greet(Device::None)?;
    let Conversation { mut client, broker } = ends;
    first_request(&mut client)?;
    broker.wait_for_data()?;
    scene.silence(silence.draw(&scene.draw))?;
    drop(broker);
    client.wait_for_reset()?;
    scene.keep_end(client);
    Ok(vec![Label::broker_reset(port, Answer::CLOSED_BY_BROKER)])
}

fn first_request(client: &mut Connection) -> Result<()> {
    client.request(crate::net::message::Request::ApiVersions)
}
