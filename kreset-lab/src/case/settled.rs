//! Connections in use for long enough that the tracer lets most of their packets pass
//! (`kreset_common::settled`): what it did not look at must not change what it reports.

use super::{
    forged::{corrupt, replayed},
    hop::{by_hop, reset_when_kept_alive},
    prelude::*,
};
use crate::net::{forge::Segment, packet};

/// Exchanges after which both ends have sent more segments than it takes to be settled.
const SETTLING: (u16, u16) = (40, 60);

/// More packets than go by between two that are looked at.
const FAR_MORE: (u16, u16) = (70, 140);

pub(super) fn rows() -> Vec<Row> {
    use Environment::LongIdle;
    const SHAPES: &[Shape] = &[Shape::Plain, Shape::Tls];
    vec![
        row("settled.hop.{shape}.{silence}", hop)
            .environments(&[LongIdle])
            .silences(&Silence::BUSY)
            .shapes(SHAPES),
        row("settled.both_ends.{shape}", both_ends)
            .environments(&[LongIdle])
            .shapes(SHAPES),
        row("settled.idle.{shape}.{timer}", idle)
            .shapes(SHAPES)
            .timers(&[0, 1]),
        row("settled.fetch.{timer}", |context| one_way(context, Broker)).timers(&[0]),
        row("settled.produce.{timer}", |context| {
            one_way(context, Client)
        })
        .timers(&[0]),
        row("settled.aborted_after_detour.{shape}", aborted_after_detour)
            .environments(&[LongIdle])
            .shapes(SHAPES),
        row("settled.hop_after_detour.{silence}", hop_after_detour)
            .environments(&[LongIdle])
            .silences(&Silence::BUSY),
        row("settled.kept_alive", kept_alive),
        row("settled.forged.corrupt.{timer}", |context| {
            joined_by_forger(context, corrupt)
        })
        .timers(&[1]),
        row("settled.forged.replayed.{timer}", |context| {
            joined_by_forger(context, replayed)
        })
        .timers(&[1]),
    ]
}

fn settled<'a>(context: &'a Context<'a>, device: Device) -> Result<ConnectionPair<'a>> {
    let mut pair = context.in_use(device)?;
    exchanges(context, &mut pair, SETTLING)?;
    Ok(pair)
}

fn exchanges(
    context: &Context<'_>,
    pair: &mut ConnectionPair<'_>,
    (from, to): (u16, u16),
) -> Result<()> {
    (0..context.draw.number(from, to)).try_for_each(|_| pair.exchange())
}

/// A failover to a device that knows nothing of a busy connection.
fn hop(context: &Context<'_>) -> Result<Expected> {
    let mut pair = settled(context, Device::Fails { copied: false })?;
    context.lose_state(pair.port)?;
    context.pause()?;
    pair.ask_and_be_reset()?;
    Ok(by_hop(&pair))
}

/// A silence about as long as that from which on packets are looked at, then both are reset.
fn both_ends(context: &Context<'_>) -> Result<Expected> {
    let mut pair = settled(context, Device::None)?;
    context.silence(context.draw.time(20, 80))?;
    pair.reset_both(Ttl::Own)?;
    Ok(pair
        .expected()
        .reported(Client, &[Answer::NOT_IDLE])
        .reported(Broker, &[Answer::NOT_IDLE])
        .forged(Client, Ttl::Own)
        .forged(Broker, Ttl::Own)
        .in_state("ESTABLISHED")
        .provoked_by("nothing"))
}

/// The silence that the device ends follows a packet that the tracer let pass.
fn idle(context: &Context<'_>) -> Result<Expected> {
    let mut pair = settled(context, context.resetting())?;
    context.outlast()?;
    pair.ask_and_be_reset()?;
    Ok(idle_reset(&pair))
}

fn idle_reset(pair: &ConnectionPair<'_>) -> Expected {
    pair.expected()
        .reported(Client, &[Answer::IDLE_ON_SEND])
        .forged(Client, Ttl::Own)
        .in_state("ESTABLISHED")
        .provoked_by("data")
}

/// Nearly everything goes one way, as with a long fetch, or a producer that asks for no answers.
fn one_way(context: &Context<'_>, from: Side) -> Result<Expected> {
    const CHUNK: usize = 1_200;
    let mut pair = context.in_use(context.resetting())?;
    for _ in 0..context.draw.number(80, 150) {
        pair.pass(from, &vec![0; CHUNK])?;
    }
    context.outlast()?;
    pair.ask_and_be_reset()?;
    Ok(idle_reset(&pair))
}

/// The broker's packets begin to come from further away, while they are let pass.
fn detour<'a>(context: &'a Context<'a>) -> Result<ConnectionPair<'a>> {
    let mut pair = settled(context, Device::Fails { copied: false })?;
    let ttl = 64 - context.draw.number(3, 20);
    let broker = pair.end_of(Broker)?;
    broker.set_ttl(context.family, u8::try_from(ttl).unwrap_or(u8::MAX))?;
    Ok(pair)
}

/// The last packet that was looked at had another TTL than the RST.
fn aborted_after_detour(context: &Context<'_>) -> Result<Expected> {
    let mut pair = detour(context)?;
    exchanges(context, &mut pair, (1, 20))?;
    pair.abort_and_reset(Broker)?;
    let right = &[Answer::BROKER_ABORTED];
    Ok(pair
        .expected()
        .reported(Client, right)
        .reported(Broker, right))
}

/// Enough packets came the other way for it to be known.
fn hop_after_detour(context: &Context<'_>) -> Result<Expected> {
    let mut pair = detour(context)?;
    exchanges(context, &mut pair, FAR_MORE)?;
    context.lose_state(pair.port)?;
    context.pause()?;
    pair.ask_and_be_reset()?;
    Ok(by_hop(&pair))
}

/// Keepalives make a socket look heard from, and move no data.
fn kept_alive(context: &Context<'_>) -> Result<Expected> {
    reset_when_kept_alive(context, settled(context, Device::None)?)
}

/// Somebody sends a connection in use what its kernel does not accept, until it is silent.
fn joined_by_forger(
    context: &Context<'_>,
    forgery: fn(&packet::Segment) -> Vec<Segment>,
) -> Result<Expected> {
    let mut pair = settled(context, context.resetting())?;
    let ttl = context.testbed.distances.ttl(Ttl::Own, Client);
    for _ in 0..context.draw.number(4, 8) {
        pair.is_forged(Client, ttl, forgery)?;
        pair.exchange()?;
    }
    context.outlast()?;
    pair.ask_and_be_reset()?;
    Ok(idle_reset(&pair))
}
