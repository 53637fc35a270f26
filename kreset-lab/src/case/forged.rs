//! What anybody can send who knows both ends of a connection, and what an end can do to its own
//! packets: neither may change what is said of the end.

use super::{prelude::*, unknowable::LOOKS_LIKE_LOST};
use crate::net::{
    forge::{ACK, FIN, PSH, RST, SYN, Segment},
    packet,
};

/// No broker answers so. Longer than what the kernel verifies the checksum of at once
/// (`CHECKSUM_BREAK`, 76 bytes with the TCP header).
const BANNER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\n\r\n400 Bad Request";

/// Numbers that are in no window.
const FAR: [u32; 4] = [1 << 29, 1 << 30, 3 << 29, 1 << 31];

pub(super) fn rows() -> Vec<Row> {
    use Environment::{LateTracers, LongIdle, NoTimestamps, Usual};
    const PAUSES: &[Silence] = &[Silence::Second, Silence::Seconds];
    vec![
        row("forged.junk.{environment}.{silence}", |context| {
            lost(context, junk)
        })
        .environments(&[LongIdle, LateTracers])
        .silences(PAUSES),
        row("forged.replayed.{environment}.{silence}", |context| {
            lost(context, replayed)
        })
        .environments(&[LongIdle, LateTracers])
        .silences(PAUSES),
        row("forged.corrupt.{environment}.{silence}", |context| {
            lost(context, corrupt)
        })
        .environments(&[LongIdle, LateTracers])
        .silences(PAUSES),
        row("forged.first_bytes.junk", |context| {
            unanswered(context, junk)
        }),
        row("forged.first_bytes.corrupt", |context| {
            unanswered(context, corrupt)
        }),
        row("forged.first_answer.corrupt.{silence}", first_answer).silences(&Silence::BUSY),
        row("forged.survived.{timer}", survived).timers(&[0, 1]),
        row("forged.resets.{timer}", resets).timers(&[0, 1]),
        row("forged.own_ttl.broker.{environment}.{silence}", |context| {
            own_ttl(context, Broker)
        })
        .environments(&[Usual, LongIdle])
        .silences(&[Silence::None, Silence::Second, Silence::Long]),
        row("forged.own_ttl.client.{environment}.{silence}", |context| {
            own_ttl(context, Client)
        })
        .environments(&[Usual, LongIdle])
        .silences(&[Silence::None, Silence::Second, Silence::Long]),
        row("forged.own_ttl.no_timestamps.{silence}", |context| {
            own_ttl(context, Broker)
        })
        .environments(&[NoTimestamps])
        .silences(&[Silence::None, Silence::Second]),
    ]
}

/// Makes segments in the name of whoever sent this one last.
type Forgery = fn(&packet::Segment) -> Vec<Segment>;

/// Every kind of segment at numbers that are in no window.
fn junk(last: &packet::Segment) -> Vec<Segment> {
    let next = last.next_sequence();
    let kinds = [
        (PSH | ACK, BANNER),
        (ACK, &[][..]),
        (FIN | ACK, &[]),
        (0, BANNER),
        (RST, &[]),
        (RST | ACK, &[]),
    ];
    let mut all = Vec::new();
    for far in FAR {
        for (flags, payload) in kinds {
            all.push(Segment {
                sequence: next.wrapping_add(far),
                acknowledgement: last.acknowledgement.wrapping_sub(far),
                flags,
                payload: payload.to_vec(),
                ..Segment::default()
            });
        }
    }
    all
}

/// What came last, once more, as an observer of the path can send it.
pub(super) fn replayed(last: &packet::Segment) -> Vec<Segment> {
    vec![
        Segment {
            sequence: last.next_sequence().wrapping_sub(last.payload.max(1)),
            acknowledgement: last.acknowledgement,
            flags: PSH | ACK,
            payload: vec![0; usize::try_from(last.payload.max(1)).unwrap_or(1)],
            ..Segment::default()
        };
        2
    ]
}

/// Nobody takes it: the checksum is wrong, and so is one of the numbers.
pub(super) fn corrupt(last: &packet::Segment) -> Vec<Segment> {
    FAR.map(|far| Segment {
        sequence: last.next_sequence().wrapping_add(far),
        acknowledgement: last.acknowledgement,
        flags: PSH | ACK,
        payload: BANNER.to_vec(),
        corrupt: true,
        ..Segment::default()
    })
    .to_vec()
}

/// RSTs inside the window at any number but the one that counts, and a SYN: the kernel asks the
/// peer (RFC 5961).
fn blind_resets(last: &packet::Segment) -> Vec<Segment> {
    let resets = [100, 5_000, 20_000].map(|ahead| Segment {
        sequence: last.next_sequence().wrapping_add(ahead),
        acknowledgement: last.acknowledgement,
        flags: RST | ACK,
        ..Segment::default()
    });
    let syn = Segment {
        flags: SYN,
        ..resets[0].clone()
    };
    resets.into_iter().chain([syn]).collect()
}

/// The TTL of a device between the ends.
const fn forged_ttl(context: &Context<'_>, victim: Side) -> u8 {
    context.testbed.distances.ttl(Ttl::Own, victim)
}

/// The broker's host loses a silent connection, and just before a third party sends the client packets
/// in its name, from another distance.
fn lost(context: &Context<'_>, forgery: Forgery) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    context.pause()?;
    pair.is_forged(Client, forged_ttl(context, Client), forgery)?;
    context.silence(ms(50))?;
    pair.forget(Broker)?;
    pair.ask_and_be_reset()?;
    Ok(pair
        .expected()
        .undecidable(Client, &[Answer::CONNECTION_LOST], LOOKS_LIKE_LOST)
        .reported(Broker, &[Answer::CONNECTION_LOST]))
}

/// The broker closes without an answer, and a third party has answered for it.
fn unanswered(context: &Context<'_>, forgery: Forgery) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    pair.request(Request::ApiVersions)?;
    pair.has_data(Broker)?;
    pair.is_forged(Client, forged_ttl(context, Client), forgery)?;
    pair.close_and_reset(Broker)?;
    Ok(pair
        .expected()
        .reported(Client, &[Answer::CLOSED_BY_BROKER])
        .reported(Broker, &[Answer::CLOSED_BY_BROKER]))
}

/// The first answer was damaged on its way, and is sent again; later the broker aborts.
fn first_answer(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    pair.request(Request::ApiVersions)?;
    pair.has_data(Broker)?;
    let damaged = |last: &packet::Segment| {
        vec![Segment {
            sequence: last.next_sequence(),
            acknowledgement: last.acknowledgement,
            flags: PSH | ACK,
            payload: BANNER.to_vec(),
            corrupt: true,
            ..Segment::default()
        }]
    };
    pair.is_forged(Client, forged_ttl(context, Client), damaged)?;
    pair.end_of(Broker)?.answer()?;
    pair.end_of(Client)?.receive()?;
    pair.request_and_answer(Request::Metadata)?;
    pair.request_and_answer(Request::Metadata)?;
    context.pause()?;
    pair.abort_and_reset(Broker)?;
    Ok(pair.was_reset(Client, Answer::BROKER_ABORTED))
}

/// A device forgets a silent connection, to which a third party sends what draws no answer: the path
/// has survived nothing. Another one dies of a shorter silence.
fn survived(context: &Context<'_>) -> Result<Vec<Expected>> {
    let site = context.site(context.resetting())?;
    context.attached()?;
    let mut first = context.connected_to(&site)?;
    first.begin()?;
    context.silence(context.timer().mul_f64(0.6))?;
    let mut second = context.connected_to(&site)?;
    second.begin()?;
    context.outlast()?;
    first.is_forged(Client, forged_ttl(context, Client), corrupt)?;
    context.silence(ms(50))?;
    second.ask_and_be_reset()?;
    let expected = second.expected();
    Ok(vec![
        first.expected(),
        expected
            .reported(Client, &[Answer::IDLE_ON_SEND])
            .forged(Client, Ttl::Own),
    ])
}

/// RSTs that do not count come long before the one that does.
fn resets(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(context.resetting())?;
    pair.is_forged(
        Client,
        forged_ttl(context, Client).wrapping_sub(3),
        blind_resets,
    )?;
    pair.exchange()?;
    context.outlast()?;
    pair.ask_and_be_reset()?;
    Ok(pair.expected().reported(Client, &[Answer::IDLE_ON_SEND]))
}

/// An end gives its packets another TTL, and aborts.
fn own_ttl(context: &Context<'_>, side: Side) -> Result<Expected> {
    let right = match side {
        Broker => Answer::BROKER_ABORTED,
        Client => Answer::CLIENT_ABORTED,
    };
    let victim = side.other();
    let ttl = context.draw.number(30, 250);
    let mut pair = context.in_use(Device::None)?;
    context.pause()?;
    let ttl = u8::try_from(ttl).unwrap_or(u8::MAX);
    pair.end_of(side)?.set_ttl(context.family, ttl)?;
    pair.abort_and_reset(side)?;
    let expected = pair.expected().reported(side, &[right]);
    Ok(if context.environment() == Environment::NoTimestamps {
        // Nothing in the packet says more than its distance.
        expected.undecidable(victim, &[right], &[Answer::NOT_IDLE, Answer::IDLE_ON_TIMER])
    } else {
        expected.reported(victim, &[right])
    })
}
