//! Resets of which one host alone cannot tell who sent them: a bare answer to its data, from as far
//! away as the other host or from nobody knows how far.
//!
//! What is said of them can be right only as often as such things happen, so the truth is drawn,
//! with the odds that the classifier's weights claim. Nobody has figures from the field: these are
//! assumptions, and what is measured is whether the stated confidence follows from them.

use super::{Silence, busy};
use crate::{
    Conversation, Side,
    accuracy::{
        case::{Case, Label, Room},
        device::Device,
        draw::Draw,
        stage::{Scene, Talk},
        traffic::Shape,
    },
    error::Result,
    judge::Answer,
};

/// A device that copies the TTL, a host that lost the connection, and a hop that lost its state
/// answer with the same packet.
pub(super) const LOOKS_LIKE_LOST: &[Answer] = &[
    Answer::IDLE_ON_SEND,
    Answer::CONNECTION_LOST,
    Answer::NOT_IDLE,
];

const CLIENT_LOST: Answer = Answer::one("client_originated", &["connection_lost"]);

/// The same packet towards a broker's host.
const LOOKS_LIKE_CLIENT_LOST: &[Answer] = &[Answer::IDLE_ON_SEND, CLIENT_LOST, Answer::NOT_IDLE];

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for silence in Silence::ALL {
        for shape in Shape::ALL {
            let name = format!("{}.{}", shape.name(), silence.name());
            all.extend(Case::each_family(
                Room::Patient,
                &format!("unknowable.same_ttl.{name}"),
                move |scene| asked(scene, silence, shape),
            ));
        }
        for room in [Room::Late, Room::Blind] {
            // What a tracer that came late knows begins with a silence.
            if room == Room::Late && !matches!(silence, Silence::Second | Silence::Long) {
                continue;
            }
            for shape in [Shape::Plain, Shape::Tls] {
                let name = format!("{}.{}.{}", room.name(), shape.name(), silence.name());
                all.extend(Case::each_family(
                    room,
                    &format!("unknowable.{name}"),
                    move |scene| asked(scene, silence, shape),
                ));
            }
        }
        for room in [Room::Patient, Room::Blind] {
            all.extend(Case::each_family(
                room,
                &format!("unknowable.long_poll.{}.{}", room.name(), silence.name()),
                move |scene| answered(scene, silence),
            ));
        }
    }
    all
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Truth {
    /// A device's idle timer ran out.
    Idle,
    /// A device lost its state for another reason.
    NotIdle,
    /// The other host lost the connection.
    Lost,
}

/// For each host that lost a connection: devices whose timer ran out, and devices that failed.
const fn odds(silence: Silence) -> (f64, f64) {
    match silence {
        Silence::None | Silence::Brief => (0.0, 0.9),
        Silence::Second | Silence::Seconds => (1.6, 0.1),
        Silence::Long => (4.5, 0.1),
    }
}

/// Of eight devices, one copies the TTL of the host that it speaks for.
const COPIES: f64 = 1.0 / 8.0;

fn truth(draw: &Draw, silence: Silence, same_ttl: bool) -> Truth {
    let (idle, not_idle) = odds(silence);
    let rate = if same_ttl { COPIES } else { 1.0 };
    let (idle, not_idle) = (idle * rate, not_idle * rate);
    let all = 1.0 + idle + not_idle;
    if draw.chance(1.0 / all) {
        Truth::Lost
    } else if draw.chance(idle / (idle + not_idle)) {
        Truth::Idle
    } else {
        Truth::NotIdle
    }
}

/// Which of the two it is for a group whose connections all end in mid-use.
pub(super) fn is_lost_in_use(draw: &Draw) -> bool {
    truth(draw, Silence::None, true) == Truth::Lost
}

/// A connection, the truth about its end, and the silence before it.
fn staged(scene: &Scene<'_>, silence: Silence, shape: Shape) -> Result<(Talk, Truth, Device)> {
    let same_ttl = scene.knows_distance();
    let truth = truth(&scene.draw, silence, same_ttl);
    let device = if truth == Truth::Lost {
        Device::None
    } else {
        Device::Fails { copied: same_ttl }
    };
    let mut talk = scene.converse(device, shape)?;
    if Silence::BUSY.contains(&silence) {
        busy(scene, &mut talk, shape)?;
    }
    Ok((talk, truth, device))
}

/// The client's request draws it.
fn asked(scene: &Scene<'_>, silence: Silence, shape: Shape) -> Result<Vec<Label>> {
    let (talk, truth, device) = staged(scene, silence, shape)?;
    scene.silence(silence.draw(&scene.draw))?;
    let Talk { ends, port } = talk;
    let Conversation { mut client, broker } = ends;
    let label = Label::new(port);
    let label = match truth {
        Truth::Lost => {
            broker.forget()?;
            label
                .undecidable(Side::Client, &[Answer::CONNECTION_LOST], LOOKS_LIKE_LOST)
                .told(Side::Broker, &[Answer::CONNECTION_LOST])
                .genuine(Side::Client)
        }
        Truth::Idle | Truth::NotIdle => {
            scene.forget(port)?;
            scene.keep_end(broker);
            let right = if truth == Truth::Idle {
                Answer::IDLE_ON_SEND
            } else {
                Answer::NOT_IDLE
            };
            label
                .undecidable(Side::Client, &[right], LOOKS_LIKE_LOST)
                .forged(Side::Client, device.ttl())
        }
    };
    shape.ask(&mut client)?;
    client.wait_for_reset()?;
    scene.keep_end(client);
    Ok(vec![label])
}

/// The broker's answer draws it.
fn answered(scene: &Scene<'_>, silence: Silence) -> Result<Vec<Label>> {
    let (mut talk, truth, device) = staged(scene, silence, Shape::Plain)?;
    Shape::Plain.ask(&mut talk.ends.client)?;
    talk.ends.broker.wait_for_data()?;
    scene.silence(silence.draw(&scene.draw))?;
    let Talk { ends, port } = talk;
    let Conversation { client, mut broker } = ends;
    let label = Label::new(port);
    let label = match truth {
        Truth::Lost => {
            client.forget()?;
            label
                .undecidable(Side::Broker, &[CLIENT_LOST], LOOKS_LIKE_CLIENT_LOST)
                // The client's host knows of no such connection, and neither how it came to be
                // closed.
                .if_told(
                    Side::Client,
                    &[Answer::one(
                        "client_originated",
                        &["connection_lost", "late_data"],
                    )],
                )
                .genuine(Side::Broker)
        }
        Truth::Idle | Truth::NotIdle => {
            scene.forget(port)?;
            scene.keep_end(client);
            let right = if truth == Truth::Idle {
                Answer::IDLE_ON_SEND
            } else {
                Answer::NOT_IDLE
            };
            label
                .undecidable(Side::Broker, &[right], LOOKS_LIKE_CLIENT_LOST)
                .forged(Side::Broker, device.ttl())
        }
    };
    broker.answer()?;
    broker.wait_for_reset()?;
    scene.keep_end(broker);
    Ok(vec![label])
}
