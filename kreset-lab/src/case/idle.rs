//! Devices that reset what was silent for too long.

use super::{prelude::*, unknowable::LOOKS_LIKE_LOST};

pub(super) fn rows() -> Vec<Row> {
    use Environment::{LateTracers, LongIdle, NoPackets, NoTimestamps};
    const ABOUT_LATE: &str =
        "as idle_reset_on_send, on a connection that is older than the tracer and used since";
    vec![
        row("idle_on_send.{shape}.{timer}", on_send)
            .named(
                "idle_reset_on_send",
                "a device forgets the silent connection and answers the client's next request \
                 with a reset",
            )
            .in_each_family(),
        row("idle_on_send.no_timestamps.{timer}", on_send).environments(&[NoTimestamps]),
        row("idle_on_timer.{ttl}_ttl.{shape}.{timer}", on_timer)
            .environments(&[LongIdle])
            .shapes(&[Shape::Plain, Shape::Batches])
            .named(
                "idle_reset_on_timer",
                "a device resets both ends when its idle timer runs out",
            )
            .in_each_family(),
        row("idle_on_timer.{environment}.{timer}", on_timer)
            .environments(&[LateTracers, NoPackets, NoTimestamps])
            .shapes(&[Shape::Tls]),
        row("idle_on_send.keepalive.{timer}", on_keepalive).named(
            "idle_reset_on_keepalive",
            "a device forgets the silent connection and answers the client's keepalive probe",
        ),
        row("idle_on_send.long_poll.{timer}", long_poll)
            .shapes(&[Shape::Polls])
            .named(
                "idle_reset_long_poll",
                "the broker's answer comes later than a device remembers, and draws the reset \
                 itself",
            ),
        row("noise.own_fin.{environment}.{timer}", on_close)
            .environments(&[Environment::Usual, NoPackets])
            .named(
                "idle_reset_on_close",
                "a device forgot the silent connection, and the client's own FIN draws the reset",
            ),
        named(
            "idle_reset_after_retransmissions",
            "the request after the silence is lost several times before a device answers it",
            after_retransmissions,
        ),
        named(
            "idle_reset_copied_ttl",
            "as idle_reset_on_send, but the device's reset has the TTL of the broker's packets",
            copied_ttl,
        )
        .further(),
        row("idle_on_send.used_since.{timer}", |context| {
            older(context, true)
        })
        .environments(&[LateTracers])
        .named("older_than_tracer", ABOUT_LATE)
        .run_in(LateTracers),
        named(
            "older_and_silent",
            "as idle_reset_on_send, on a connection of which the tracer never saw a packet",
            |context| older(context, false),
        )
        .run_in(LateTracers)
        .further(),
        row("idle_on_send.after_brokers_fin.{timer}", after_brokers_fin),
    ]
}

/// The device of the case forgot the silent connection, and resets the end that sends.
fn by_device(pair: &ConnectionPair<'_>, victim: Side, trigger: &'static str) -> Expected {
    pair.expected()
        .reported(victim, &[Answer::IDLE_ON_SEND])
        .forged(victim, Ttl::Own)
        .in_state("ESTABLISHED")
        .provoked_by(trigger)
}

/// The broker's end lives on and gets no packet.
fn on_send(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(context.resetting())?;
    context.outlast()?;
    pair.ask_and_be_reset()?;
    Ok(by_device(&pair, Client, "data"))
}

/// The same packet as from a broker's host that lost the connection.
fn copied_ttl(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::Resets {
        timer: context.with.timer,
        copied: true,
    })?;
    context.outlast()?;
    pair.ask_and_be_reset()?;
    let alike = &[Answer::CONNECTION_LOST];
    Ok(pair
        .expected()
        .undecidable(Client, &[Answer::IDLE_ON_SEND], alike)
        .forged(Client, Ttl::Copied)
        .provoked_by("data"))
}

/// A bare RST that nothing drew is sent by no stack: the TTL is not needed.
fn on_timer(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    context.outlast()?;
    both_at_timer(context, &mut pair)
}

/// A device's timer has run out, and it resets both ends.
pub(super) fn both_at_timer(
    context: &Context<'_>,
    pair: &mut ConnectionPair<'_>,
) -> Result<Expected> {
    let ttl = context.with.ttl;
    pair.reset_both(ttl)?;
    Ok(pair
        .expected()
        .reported(Client, &[Answer::IDLE_ON_TIMER])
        .reported(Broker, &[Answer::IDLE_ON_TIMER])
        .forged(Client, ttl)
        .forged(Broker, ttl)
        .in_state("ESTABLISHED")
        .provoked_by("nothing"))
}

/// The client's keepalive probe, a second after the device's timer, draws the reset.
fn on_keepalive(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(context.resetting())?;
    let idle = context.timer() + Duration::from_secs(1);
    pair.end_of(Client)?.keep_alive(idle)?;
    context.silence(idle)?;
    pair.is_reset(Client)?;
    Ok(by_device(&pair, Client, "keepalive"))
}

/// The silence lies between a request and its answer. The client goes on waiting: it will see a
/// timeout, never a reset.
fn long_poll(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(context.resetting())?;
    pair.ask()?;
    context.outlast()?;
    pair.answer_and_be_reset()?;
    Ok(by_device(&pair, Broker, "data"))
}

/// The application closes a connection that the device forgot: harmless, so that only tracers that
/// show all show it.
fn on_close(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(context.resetting())?;
    context.outlast()?;
    pair.shut_down(Client)?;
    pair.is_reset(Client)?;
    if context.environment().shows_all() {
        return Ok(by_device(&pair, Client, "close").in_state("FIN_WAIT1"));
    }
    Ok(pair.expected().forged(Client, Ttl::Own))
}

/// The silence ended with the first transmission; the time to the reset is another figure.
fn after_retransmissions(context: &Context<'_>) -> Result<Expected> {
    let device = context.testbed.lab.middlebox();
    let mut pair = context.in_use(Device::None)?;
    context.outlast()?;
    device.drop_everything()?;
    pair.ask()?;
    // Retransmissions at about 0.2, 0.4 and 0.8 s, each twice as late as the one before.
    context.silence(Duration::from_secs(1))?;
    device.reset_on_sight(Ttl::Own)?;
    pair.is_reset(Client)?;
    Ok(by_device(&pair, Client, "data"))
}

/// The connection is older than the tracers. The device forgets when a timer would have run out
/// that does not see how long the tracers took to attach.
fn older(context: &Context<'_>, used_since: bool) -> Result<Expected> {
    let mut pair = context.in_use(Device::Fails { copied: false })?;
    if used_since {
        pair.exchange()?;
    }
    context.outlast()?;
    context.lose_state(pair.port)?;
    pair.ask_and_be_reset()?;
    let expected = by_device(&pair, Client, "data");
    if used_since {
        return Ok(expected);
    }
    // No packet of the broker to compare the reset's TTL with: abstaining is honest.
    Ok(expected.undecidable(Client, &[Answer::IDLE_ON_SEND], LOOKS_LIKE_LOST))
}

/// The broker's own timer runs out after the device's: its FIN draws a reset, which is harmless,
/// and never arrives. The client writes later.
fn after_brokers_fin(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(context.resetting())?;
    context.outlast()?;
    pair.shut_down(Broker)?;
    pair.is_reset(Broker)?;
    context.silence(context.draw.time(100, 900))?;
    pair.ask_and_be_reset()?;
    Ok(by_device(&pair, Client, "data").forged(Broker, Ttl::Own))
}
