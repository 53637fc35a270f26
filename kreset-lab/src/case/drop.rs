//! Devices that forget, and say nothing.

use super::prelude::*;

pub(super) fn rows() -> Vec<Row> {
    use Environment::{FewRetries, LateTracers, LongIdle, NoPackets, NoTimestamps};
    vec![
        row("idle_drop.user_timeout.{shape}.{timer}", user_timeout)
            .shapes(&[Shape::Plain, Shape::Pipelined, Shape::Polls, Shape::Tls])
            .named(
                "idle_drop",
                "a device forgets the silent connection and drops what the client sends afterwards",
            )
            .further(),
        row("idle_drop.retries.{timer}", |context| {
            let mut pair = context.in_use(dropping(context))?;
            drops(context, &mut pair)
        })
        .environments(&[FewRetries]),
        row("idle_drop.{environment}.{timer}", user_timeout).environments(&[
            LateTracers,
            NoPackets,
            NoTimestamps,
        ]),
        row("idle_drop.long_poll.{timer}", broker_answers).environments(&[LongIdle]),
        row("drop.busy", while_busy),
        row("drop.beside_busy", beside_busy).environments(&[LongIdle]),
    ]
}

const fn dropping(context: &Context<'_>) -> Device {
    Device::Drops {
        timer: context.with.timer,
    }
}

/// The application's own limit, for a connection that would be retransmitted on for minutes.
fn limit(context: &Context<'_>, pair: &mut ConnectionPair<'_>, side: Side) -> Result<()> {
    let limit = context.draw.time(1000, 2500);
    pair.end_of(side)?.give_up_after(limit)
}

fn user_timeout(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(dropping(context))?;
    limit(context, &mut pair, Client)?;
    drops(context, &mut pair)
}

/// What the client writes after the silence gets no answer.
fn drops(context: &Context<'_>, pair: &mut ConnectionPair<'_>) -> Result<Expected> {
    context.outlast()?;
    pair.ask()?;
    pair.times_out(Client)?;
    Ok(pair
        .expected()
        .reported(Client, &[Answer::IDLE_DROP])
        .without_reset()
        .provoked_by("data"))
}

/// The answer of a long poll is what gets lost.
fn broker_answers(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(dropping(context))?;
    limit(context, &mut pair, Broker)?;
    pair.ask()?;
    context.outlast()?;
    pair.answer()?;
    pair.times_out(Broker)?;
    Ok(pair
        .expected()
        .reported(Broker, &[Answer::IDLE_DROP])
        .without_reset())
}

/// A path that goes away under a busy connection: no idle timer, and no name for what it is.
fn while_busy(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::Vanishes)?;
    limit(context, &mut pair, Client)?;
    pair.keep_busy()?;
    context.lose_state(pair.port)?;
    pair.ask()?;
    pair.times_out(Client)?;
    Ok(pair
        .expected()
        .optional(Client, &[Answer::INDETERMINATE])
        .without_reset())
}

/// The path goes away under one connection in use and one that was silent: what ended the first one
/// is no idle timer, so that it is none for the second.
fn beside_busy(context: &Context<'_>) -> Result<Vec<Expected>> {
    let site = context.site(Device::Vanishes)?;
    let mut silent = context.in_use_at(&site)?;
    let mut busy = context.connected_to(&site)?;
    busy.begin()?;
    context.silence(context.draw.time(3_000, 6_000))?;
    busy.exchange()?;
    let limit = context.draw.time(1000, 2500);
    for pair in [&mut busy, &mut silent] {
        pair.end_of(Client)?.give_up_after(limit)?;
        context.lose_state(pair.port)?;
    }
    busy.ask()?;
    context.pause()?;
    silent.ask()?;
    busy.times_out(Client)?;
    silent.times_out(Client)?;
    let unclear = |pair: &ConnectionPair<'_>| {
        pair.expected()
            .optional(Client, &[Answer::INDETERMINATE])
            .without_reset()
    };
    Ok(vec![unclear(&busy), unclear(&silent)])
}
