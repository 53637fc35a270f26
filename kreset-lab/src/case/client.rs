//! Clients, and their hosts, that end a connection; most of it routine.

use super::{noise, prelude::*};

pub(super) fn rows() -> Vec<Row> {
    use Environment::{LateTracers, NoPackets, NoTimestamps, ShowAll, Usual};
    const SHAPES: &[Shape] = &[Shape::Plain, Shape::Polls, Shape::Tls];
    vec![
        row("client_aborts.linger.{environment}.{silence}", linger)
            .environments(&[Usual, LateTracers, NoPackets, NoTimestamps])
            .zipped()
            .named(
                "client_abort",
                "the client closes a connection in use with SO_LINGER 0",
            ),
        row("client_aborts.unread.{silence}", unread).zipped(),
        row("client_aborts.after_first_answer", health_check),
        row("client_aborts.after_its_fin.{silence}", after_its_fin).silences(&Silence::SHORT),
        named(
            "client_close_noise",
            "orderly closes, a probe, and a close with the answer under way, shown without --all",
            routine,
        )
        .run_in(Usual),
        row("probe.shown.{silence}", probe)
            .environments(&[ShowAll])
            .silences(&Silence::SHORT)
            .named(
                "client_probe",
                "the client connects and resets without a byte, shown with --all",
            ),
        row("probe.noise.{silence}", probe).silences(&Silence::SHORT),
        row("late_data.shown.{shape}.{silence}", late_data)
            .environments(&[ShowAll])
            .shapes(SHAPES)
            .silences(&Silence::SHORT)
            .named(
                "client_late_data",
                "the client closes while the answer is under way, shown with --all",
            ),
        row("late_data.noise.{shape}.{silence}", late_data)
            .shapes(SHAPES)
            .silences(&Silence::SHORT),
        named(
            "client_late_data_orphan",
            "as client_late_data, but the client's closed socket is still a whole one",
            late_data_orphan,
        ),
    ]
}

fn linger(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    context.pause()?;
    pair.abort_and_reset(Client)?;
    let expected = pair
        .was_reset(Broker, Answer::CLIENT_ABORTED)
        .in_state("ESTABLISHED")
        .provoked_by("nothing");
    Ok(if context.may_be_handshake() {
        expected.unseen_handshake(true)
    } else if context.may_be_timer() {
        let timer = &[Answer::IDLE_ON_TIMER];
        expected.undecidable(Broker, &[Answer::CLIENT_ABORTED], timer)
    } else {
        expected
    })
}

/// The client closes with an answer unread.
fn unread(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    pair.ask()?;
    pair.answer()?;
    pair.has_data(Client)?;
    context.pause()?;
    pair.close_and_reset(Client)?;
    Ok(pair.was_reset(Broker, Answer::CLIENT_ABORTED))
}

/// A health check that speaks Kafka (`HAProxy`'s `tcp-check`): reset once the first request is
/// answered.
fn health_check(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    pair.request_and_answer(Request::ApiVersions)?;
    pair.abort_and_reset(Client)?;
    Ok(pair.was_reset(Broker, Answer::CLIENT_ABORTED))
}

/// What HAProxy does to a broker when its server timer runs out: FIN, and at once a reset. The
/// broker has lost nothing that it did not know of; the proxy's own host may report it.
fn after_its_fin(context: &Context<'_>) -> Result<Expected> {
    const EITHER: Answer = Answer::one("client_originated", &["aborted", "late_data"]);
    let mut pair = context.in_use(Device::None)?;
    context.pause()?;
    pair.shut_down(Client)?;
    pair.has_fin(Broker)?;
    pair.abort_and_reset(Client)?;
    Ok(pair.expected().optional(Client, &[EITHER]).genuine(Broker))
}

/// Routine: reported only where all is shown.
pub(super) fn routine_reset(
    context: &Context<'_>,
    pair: &ConnectionPair<'_>,
    right: Answer,
) -> Expected {
    if context.environment().shows_all() {
        pair.was_reset(Broker, right)
    } else {
        pair.expected().genuine(Broker)
    }
}

/// Opened and reset before a byte went either way.
fn probe(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    context.pause()?;
    pair.abort_and_reset(Client)?;
    Ok(routine_reset(context, &pair, Answer::PROBE))
}

/// The client closes in order while an answer is under way: what a healthy TLS client does that
/// does not wait for the broker's `close_notify`. One reset is sent, and none received.
fn late_data(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    pair.ask()?;
    pair.has_data(Broker)?;
    context.pause()?;
    pair.close(Client);
    pair.has_fin(Broker)?;
    if context.with.shape == Shape::Tls {
        pair.send(Broker, &traffic::application_data(30))?;
    } else {
        pair.answer()?;
    }
    pair.is_reset(Broker)?;
    Ok(routine_reset(context, &pair, Answer::LATE_DATA)
        .in_state("CLOSE_WAIT")
        .provoked_by("data"))
}

/// By default next to nothing is kept of a socket that was closed in order and has not got the
/// other end's FIN. A whole socket is kept for what is longer than `TIME_WAIT`: when data comes, the
/// kernel resets this socket as if a RST had come, and sends one. `tcp_receive_reset` fires, though
/// nothing was received.
fn late_data_orphan(context: &Context<'_>) -> Result<Expected> {
    let host = context.testbed.lab.network().host(Client);
    host.sysctl(&[("ipv4/tcp_fin_timeout", "120")])?;
    late_data(context)
}

/// What happens thousands of times an hour, and no operator wants to see.
fn routine(context: &Context<'_>) -> Result<Vec<Expected>> {
    Ok(vec![
        noise::orderly(context, Client, ms(0))?,
        noise::orderly(context, Broker, ms(0))?,
        probe(context)?,
        late_data(context)?,
        late_data_orphan(context)?,
    ])
}
