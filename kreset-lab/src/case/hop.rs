//! Hops that reset what was in use.

use std::time::Instant;

use super::prelude::*;

pub(super) fn rows() -> Vec<Row> {
    use Environment::{LongIdle, NoPackets, NoTimestamps};
    vec![
        row("hop.both_ends.own_ttl.{shape}.{silence}", both_ends)
            .environments(&[LongIdle])
            .silences(&Silence::BUSY)
            .named(
                "hop_reset_busy",
                "a device resets both ends of a busy connection",
            )
            .further(),
        row("hop.both_ends.copied_ttl.{silence}", both_ends)
            .environments(&[LongIdle])
            .silences(&Silence::BUSY)
            .ttls(&[Ttl::Copied]),
        row("hop.both_ends.blind.{silence}", both_ends)
            .environments(&[NoPackets])
            .silences(&Silence::BUSY),
        row("hop.both_ends.no_timestamps.{ttl}_ttl.{silence}", both_ends)
            .environments(&[NoTimestamps])
            .silences(&Silence::BUSY)
            .shapes(&[Shape::Tls]),
        named(
            "hop_reset_kept_alive",
            "a device resets both ends of a connection that only keepalives use",
            kept_alive,
        )
        .further(),
        row("hop.lost_state.{shape}.{silence}", lost_state)
            .silences(&Silence::BUSY)
            .named(
                "hop_lost_state",
                "a device loses the state of a busy connection and answers the next request",
            )
            .further(),
        row("hop.lost_state.no_timestamps.{silence}", lost_state)
            .environments(&[NoTimestamps])
            .silences(&Silence::BUSY),
        row("hop.lost_state.outlived.{shape}", outlived).shapes(&[Shape::Plain, Shape::Polls]),
    ]
}

/// A failover to a device that knows nothing of a busy connection.
fn lost_state(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::Fails { copied: false })?;
    pair.keep_busy()?;
    // What it takes to lose the state, on a busy machine long, is silence as well.
    let (began, pause) = (Instant::now(), context.with.silence.draw(&context.draw));
    context.lose_state(pair.port)?;
    context.silence(pause.saturating_sub(began.elapsed()))?;
    pair.ask_and_be_reset()?;
    Ok(by_hop(&pair))
}

/// The client's next request drew a device's reset, however active the connection was.
pub(super) fn by_hop(pair: &ConnectionPair<'_>) -> Expected {
    pair.expected()
        .reported(Client, &[Answer::NOT_IDLE])
        .forged(Client, Ttl::Own)
        .in_state("ESTABLISHED")
        .provoked_by("data")
}

/// Without timestamps, and from as far away as the other host, a RST that nothing drew may be the
/// abort of a stack that is not Linux.
const MAY_BE_ABORT: [&[Answer]; 2] = [
    &[Answer::NOT_IDLE, Answer::BROKER_ABORTED],
    &[Answer::NOT_IDLE, Answer::CLIENT_ABORTED],
];

/// A policy, or an operator, resets both ends of a busy connection.
fn both_ends(context: &Context<'_>) -> Result<Expected> {
    let ttl = context.with.ttl;
    let mut pair = context.in_use(Device::None)?;
    pair.keep_busy()?;
    context.pause()?;
    pair.reset_both(ttl)?;
    let hidden = context.environment() == Environment::NoTimestamps && ttl == Ttl::Copied;
    let mut expected = pair
        .expected()
        .in_state("ESTABLISHED")
        .provoked_by("nothing");
    for (side, alike) in Side::BOTH.into_iter().zip(MAY_BE_ABORT) {
        let alike = if hidden { alike } else { &[] };
        expected = expected
            .undecidable(side, &[Answer::NOT_IDLE], alike)
            .forged(side, ttl);
    }
    Ok(expected)
}

/// The probes of the other end leave no trace in a socket: to the broker's host the connection
/// looks idle.
fn kept_alive(context: &Context<'_>) -> Result<Expected> {
    reset_when_kept_alive(context, context.in_use(Device::None)?)
}

/// Only keepalives of the client use the connection for a while, then a device resets both ends.
pub(super) fn reset_when_kept_alive(
    context: &Context<'_>,
    mut pair: ConnectionPair<'_>,
) -> Result<Expected> {
    const LOOKS_IDLE: &[Answer] = &[
        Answer::NOT_IDLE,
        Answer::IDLE_ON_TIMER,
        Answer::INDETERMINATE,
    ];
    pair.end_of(Client)?.keep_alive(Duration::from_secs(1))?;
    context.outlast()?;
    pair.reset_both(Ttl::Own)?;
    Ok(pair
        .expected()
        .reported(Client, &[Answer::NOT_IDLE])
        .reported(Broker, LOOKS_IDLE)
        .forged(Client, Ttl::Own)
        .forged(Broker, Ttl::Own)
        .provoked_by("nothing")
        .without_wire_idle(Broker))
}

/// A failover after a silence far shorter than one that the same path came through: not idle.
fn outlived(context: &Context<'_>) -> Result<Expected> {
    let silence = context.draw.time(1100, 4000);
    let mut pair = context.in_use(Device::Fails { copied: false })?;
    for _ in 0..context.draw.number(1, 2) {
        context.silence(silence.mul_f64(f64::from(context.draw.number(12, 25)) / 10.0))?;
        pair.exchange()?;
    }
    context.silence(silence)?;
    context.lose_state(pair.port)?;
    pair.ask_and_be_reset()?;
    Ok(by_hop(&pair))
}
