//! Routine closes, of which an operator must see nothing.

use super::prelude::*;

pub(super) fn rows() -> Vec<Row> {
    use Environment::NoPackets;
    vec![
        row("noise.client_closes.{shape}.{silence}", |context| {
            orderly(context, Client, context.with.silence.draw(&context.draw))
        })
        .silences(&Silence::SHORT),
        row("noise.broker_closes.{shape}.{silence}", |context| {
            orderly(context, Broker, context.with.silence.draw(&context.draw))
        })
        .silences(&Silence::SHORT),
        row("noise.blind.client_closes", |context| {
            orderly(context, Client, context.draw.time(0, 2000))
        })
        .environments(&[NoPackets])
        .shapes(&[Shape::Polls]),
        row("noise.blind.broker_closes", |context| {
            orderly(context, Broker, context.draw.time(0, 2000))
        })
        .environments(&[NoPackets])
        .shapes(&[Shape::Polls]),
        row("noise.broker_idle_timer", |context| {
            let max_idle = context.environment().max_idle();
            orderly(context, Broker, max_idle + context.draw.time(5, 300))
        }),
        row("noise.kept_alive", kept_alive).timers(&[1]),
        row("noise.client_opens_and_closes", unused),
    ]
}

/// FIN answered by FIN, everything read.
pub(super) fn orderly(context: &Context<'_>, first: Side, silence: Duration) -> Result<Expected> {
    let pair = context.in_use(Device::None)?;
    context.silence(silence)?;
    close(pair, first)
}

fn close(mut pair: ConnectionPair<'_>, first: Side) -> Result<Expected> {
    pair.close(first);
    pair.has_fin(first.other())?;
    pair.close(first.other());
    Ok(pair.expected().without_reset())
}

/// Keepalives carry a connection past a device's timer.
fn kept_alive(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(context.resetting())?;
    pair.end_of(Client)?.keep_alive(Duration::from_secs(1))?;
    context.silence(2 * context.outlasting())?;
    pair.exchange()?;
    close(pair, Client)
}

/// A health check that closes in order, without a byte.
fn unused(context: &Context<'_>) -> Result<Expected> {
    let pair = context.fresh(Device::None)?;
    close(pair, Client)
}
