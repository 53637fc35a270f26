//! Resets of which one host alone cannot know who sent them: a bare answer to its data, from as far
//! away as the other host or from an unknown distance.
//!
//! What is said of them can be right only as often as such things happen, so the truth is drawn,
//! with the odds that the classifier's weights claim. There are no figures from the field: these
//! are assumptions, and what is measured is whether the stated confidence follows from them.

use super::{draw::Draw, prelude::*};

/// A device that copies the TTL, a host that lost the connection, a host that the flow was moved
/// to, and a hop that lost its state answer with the same packet.
pub(super) const LOOKS_LIKE_LOST: &[Answer] = &[
    Answer::IDLE_ON_SEND,
    Answer::CONNECTION_LOST,
    Answer::NOT_IDLE,
    Answer::MOVED,
    Answer::REBOUND,
];

/// The same packet towards a broker's host.
pub(super) const LOOKS_LIKE_CLIENT_LOST: &[Answer] = &[
    Answer::IDLE_ON_SEND,
    Answer::CLIENT_LOST,
    Answer::NOT_IDLE,
    Answer::MOVED,
    Answer::REBOUND,
];

pub(super) fn rows() -> Vec<Row> {
    use Environment::{LateTracers, LongIdle, NoPackets};
    vec![
        row("unknowable.same_ttl.{shape}.{silence}", asked).environments(&[LongIdle]),
        // What a tracer that came late knows begins with a silence.
        row("unknowable.{environment}.{shape}.{silence}", asked)
            .environments(&[LateTracers])
            .shapes(&[Shape::Plain, Shape::Tls])
            .silences(&[Silence::Second, Silence::Long]),
        row("unknowable.{environment}.{shape}.{silence}", asked)
            .environments(&[NoPackets])
            .shapes(&[Shape::Plain, Shape::Tls]),
        row("unknowable.long_poll.{environment}.{silence}", answered)
            .environments(&[LongIdle, NoPackets]),
    ]
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

impl Truth {
    const fn answer(self, lost: Answer) -> Answer {
        match self {
            Self::Idle => Answer::IDLE_ON_SEND,
            Self::NotIdle => Answer::NOT_IDLE,
            Self::Lost => lost,
        }
    }
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

/// A connection, the truth about its end, and whether the device before it copies TTLs.
fn staged<'a>(context: &'a Context<'a>) -> Result<(ConnectionPair<'a>, Truth, Device)> {
    let same_ttl = context.knows_distance();
    let truth = truth(&context.draw, context.with.silence, same_ttl);
    let device = if truth == Truth::Lost {
        Device::None
    } else {
        Device::Fails { copied: same_ttl }
    };
    let mut pair = context.in_use(device)?;
    if context.with.silence.is_busy() {
        pair.keep_busy()?;
    }
    Ok((pair, truth, device))
}

/// The other host than `victim` loses the connection, or the device its state.
fn lose(
    context: &Context<'_>,
    pair: &mut ConnectionPair<'_>,
    truth: Truth,
    victim: Side,
) -> Result<()> {
    if truth == Truth::Lost {
        pair.forget(victim.other())
    } else {
        context.lose_state(pair.port)
    }
}

/// The client's request draws it.
fn asked(context: &Context<'_>) -> Result<Expected> {
    let (mut pair, truth, device) = staged(context)?;
    context.pause()?;
    lose(context, &mut pair, truth, Client)?;
    pair.ask_and_be_reset()?;
    let right = truth.answer(Answer::CONNECTION_LOST);
    let expected = pair
        .expected()
        .undecidable(Client, &[right], LOOKS_LIKE_LOST);
    Ok(if truth == Truth::Lost {
        expected.reported(Broker, &[right]).genuine(Client)
    } else {
        expected.forged(Client, device.ttl())
    })
}

/// The broker's answer draws it.
fn answered(context: &Context<'_>) -> Result<Expected> {
    let (mut pair, truth, device) = staged(context)?;
    pair.ask()?;
    pair.has_data(Broker)?;
    context.pause()?;
    lose(context, &mut pair, truth, Broker)?;
    pair.answer_and_be_reset()?;
    let right = truth.answer(Answer::CLIENT_LOST);
    let expected = pair
        .expected()
        .undecidable(Broker, &[right], LOOKS_LIKE_CLIENT_LOST);
    Ok(if truth == Truth::Lost {
        // The client's host knows of no such connection, and neither how it came to be closed.
        let either = Answer::one("client_originated", &["connection_lost", "late_data"]);
        expected.optional(Client, &[either]).genuine(Broker)
    } else {
        expected.forged(Broker, device.ttl())
    })
}
