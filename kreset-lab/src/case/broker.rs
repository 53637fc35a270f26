//! Brokers, and their hosts, that end one connection.

use std::net::IpAddr;

use super::{environment::FIN_TIMEOUT, prelude::*, unknowable::LOOKS_LIKE_LOST};
use crate::util::limits::allow_open_files;

/// The broker goes on: its end is excluded where its host looks, and looks the same to a client that
/// has no other connection.
const CLOSED: Answer = Answer::one("broker_originated", &["closed", "aborted"]);
const LOOKS_CLOSED: &[Answer] = &[Answer::SHUTDOWN, Answer::IDLE_CLOSE];

const WRITTEN: &[Late] = &[
    Late("at_once", 0, 20),
    Late("soon", 40, 600),
    Late("later", 1000, 4000),
];

/// How many connections `burst` resets at once.
const BURST: u16 = 3000;

pub(super) fn rows() -> Vec<Row> {
    use Environment::{LateTracers, LongIdle, NoPackets, NoTimestamps, ShowAll};
    vec![
        row("broker_aborts.linger.{environment}.{silence}", linger)
            .environments(&[LongIdle, LateTracers, NoPackets, NoTimestamps])
            .zipped()
            .named("broker_abort_linger", "the broker closes with SO_LINGER 0"),
        row("broker_aborts.unread.{environment}.{silence}", unread)
            .environments(&[LongIdle, NoPackets])
            .zipped()
            .named(
                "broker_abort_unread",
                "the broker closes with a request unread",
            ),
        row("broker_aborts.oversized_request", oversized),
        named("burst", "the broker resets 3000 connections at once", burst),
        row("idle_close.shorter.{shape}.written_{late}", idle_close)
            .shapes(&[Shape::Plain, Shape::Polls])
            .lates(WRITTEN)
            .named(
                "broker_idle_close",
                "the broker ends a connection that was idle for connections.max.idle.ms, and the \
                 client writes later",
            )
            .run_in(ShowAll),
        row("idle_close.longer.written_{late}", idle_close)
            .environments(&[LongIdle])
            .shapes(&[Shape::Tls])
            .lates(WRITTEN),
        row("idle_close.blind.written_{late}", idle_close)
            .environments(&[NoPackets])
            .lates(WRITTEN),
        row("idle_close.late", |context| closed(context, ms(500))).environments(&[LateTracers]),
        row("idle_close.never_spoke.closes", |context| {
            never_spoke(context, false)
        }),
        row("idle_close.never_spoke.writes_late", |context| {
            never_spoke(context, true)
        }),
        row("idle_close.throttled", throttled).shapes(&[Shape::Batches]),
        // So late that the broker's kernel has forgotten even the remainder of the socket: the
        // listener answers.
        row("idle_close.socket_gone", |context| {
            closed(context, FIN_TIMEOUT + ms(1500))
        })
        .environments(&[LongIdle]),
        row("lost.refused_afterwards.listener.{silence}", |context| {
            lost_and_refused(context, true)
        })
        .zipped(),
        row("lost.refused_afterwards.no_listener.{silence}", |context| {
            lost_and_refused(context, false)
        })
        .zipped(),
        named(
            "connection_lost",
            "the broker's host forgot the connection, and a new broker listens",
            |context| lost(context, true),
        )
        .silences(&[Silence::Second]),
        named(
            "connection_lost_no_listener",
            "the broker's host forgot the connection, and nothing listens",
            |context| lost(context, false),
        )
        .silences(&[Silence::Second]),
        row("lost.found_by_keepalive.1s", |context| {
            found_by_keepalive(context, 1)
        }),
        row("lost.found_by_keepalive.2s", |context| {
            found_by_keepalive(context, 2)
        }),
        row("lost.found_by_keepalive.5s", |context| {
            found_by_keepalive(context, 5)
        }),
        row("idle_close.half_request", half_request),
        row("broker_ends.least_recently_used", least_recently_used),
        row("broker_ends.mid_request.{silence}", mid_request).silences(&Silence::SHORT),
        row("broker_ends.authentication_ran_out.late", |context| {
            ran_out(context, false)
        })
        .shapes(&[Shape::Sasl]),
        row("broker_ends.authentication_ran_out.quick", |context| {
            ran_out(context, true)
        })
        .shapes(&[Shape::Sasl]),
    ]
}

/// The broker's end closes in order with a request read and unanswered, as a proxy does whose
/// backend has ended; the client closes as well.
fn mid_request(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    pair.request(Request::Metadata)?;
    pair.end_of(Broker)?.receive()?;
    context.pause()?;
    ends(&mut pair)?;
    pair.close(Client);
    Ok(pair
        .expected()
        .undecidable(Client, &[CLOSED], LOOKS_CLOSED)
        .reported(Broker, &[CLOSED])
        .without_reset())
}

/// The broker's host forgot the connection, as after a crash; what the client sends finds no
/// socket: a listener answers, or nothing does but the host.
fn lost(context: &Context<'_>, listening: bool) -> Result<Expected> {
    lost_at(context, context.address(Device::None), listening)
}

fn lost_at(context: &Context<'_>, address: IpAddr, listening: bool) -> Result<Expected> {
    let mut site = context.site_at(address)?;
    let mut pair = context.connected_to(&site)?;
    pair.begin()?;
    context.attached()?;
    context.pause()?;
    pair.forget(Broker)?;
    if !listening {
        site.end();
    }
    pair.ask_and_be_reset()?;
    site.end();
    // A host that the flow was moved to, or a device that copies the TTL, answers alike.
    Ok(pair
        .was_reset(Client, Answer::CONNECTION_LOST)
        .undecidable(Client, &[Answer::CONNECTION_LOST], LOOKS_LIKE_LOST)
        .in_state("ESTABLISHED")
        .provoked_by("data"))
}

/// When the client connects again nothing listens: the broker is down, and no device is.
fn lost_and_refused(context: &Context<'_>, listening: bool) -> Result<Vec<Expected>> {
    let address = context.address(Device::None);
    let lost = lost_at(context, address, listening)?.reported(Client, &[Answer::CONNECTION_LOST]);
    let again = context.be_refused(address)?;
    Ok(vec![
        lost,
        Expected::sent_to(Client, again, Answer::REFUSED),
    ])
}

/// The client's keepalive probe finds that the broker's host forgot the connection.
fn found_by_keepalive(context: &Context<'_>, seconds: u64) -> Result<Expected> {
    let idle = Duration::from_secs(seconds);
    let mut pair = context.in_use(Device::None)?;
    pair.forget(Broker)?;
    pair.end_of(Client)?.keep_alive(idle)?;
    context.silence(idle)?;
    pair.is_reset(Client)?;
    // A device that copies the TTL answers a probe alike.
    Ok(pair.was_reset(Client, Answer::CONNECTION_LOST).undecidable(
        Client,
        &[Answer::CONNECTION_LOST],
        LOOKS_LIKE_LOST,
    ))
}

fn aborted(context: &Context<'_>, pair: &ConnectionPair<'_>) -> Expected {
    let expected = pair
        .was_reset(Client, Answer::BROKER_ABORTED)
        .in_state("ESTABLISHED")
        .provoked_by("nothing");
    if context.may_be_handshake() {
        expected.unseen_handshake(true)
    } else {
        expected
    }
}

/// Whatever the client sent was acknowledged long ago, so nothing drew the reset; it has
/// timestamps, which only a live socket's has.
fn linger(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    context.pause()?;
    pair.abort_and_reset(Broker)?;
    let expected = aborted(context, &pair);
    Ok(if context.may_be_timer() {
        let timer = &[Answer::IDLE_ON_TIMER];
        expected.undecidable(Client, &[Answer::BROKER_ABORTED], timer)
    } else {
        expected
    })
}

fn unread(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    pair.ask()?;
    pair.has_data(Broker)?;
    context.pause()?;
    pair.close_and_reset(Broker)?;
    Ok(aborted(context, &pair))
}

/// Each is an abort, and so many at once are what a broker's end looks like: either is true.
fn burst(context: &Context<'_>) -> Result<Vec<Expected>> {
    allow_open_files(2 * u64::from(BURST) + 1000)?;
    context.attached()?;
    let site = context.site(Device::None)?;
    let mut pairs = Vec::new();
    for _ in 0..BURST {
        let mut pair = context.connected_to(&site)?;
        pair.introduce()?;
        pairs.push(pair);
    }
    pairs.iter_mut().try_for_each(|pair| pair.abort(Broker))?;
    pairs
        .iter_mut()
        .try_for_each(|pair| pair.is_reset(Client))?;
    let expected =
        |pair: &ConnectionPair<'_>| pair.was_reset(Client, Answer::SHUTDOWN_OR_ABORTED).coarse();
    Ok(pairs.iter().map(expected).collect())
}

/// A request that the broker refuses to read: FIN, then RST,ACK from the live socket.
fn oversized(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    pair.request(Request::Produce(60_000))?;
    pair.end_of(Broker)?.receive_bytes(4)?;
    ends_unread(&mut pair)?;
    Ok(pair.was_reset(Client, Answer::BROKER_ABORTED))
}

/// The broker sends FIN, and then closes with data unread.
pub(super) fn ends_unread(pair: &mut ConnectionPair<'_>) -> Result<()> {
    pair.shut_down(Broker)?;
    pair.has_fin(Client)?;
    pair.close_and_reset(Broker)
}

/// The broker closes in order.
pub(super) fn ends(pair: &mut ConnectionPair<'_>) -> Result<()> {
    pair.close(Broker);
    pair.has_fin(Client)
}

/// The first request after the session's end is answered with a FIN. The next one finds no socket,
/// or, if it was under way already, makes the close an abort.
fn ran_out(context: &Context<'_>, quick: bool) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    context.silence(context.draw.time(1100, 2200))?;
    pair.request(Request::Metadata)?;
    pair.end_of(Broker)?.receive()?;
    if quick {
        pair.request(Request::Metadata)?;
        pair.has_data(Broker)?;
        ends_unread(&mut pair)?;
        return Ok(pair.was_reset(Client, Answer::BROKER_ABORTED));
    }
    ends(&mut pair)?;
    context.silence(context.draw.time(100, 600))?;
    pair.request(Request::Metadata)?;
    pair.is_reset(Client)?;
    Ok(pair
        .was_reset(Client, CLOSED)
        .undecidable(Client, &[CLOSED], LOOKS_CLOSED))
}

/// A little longer than the broker's `connections.max.idle.ms`: brokers look now and then.
fn until_reaped(context: &Context<'_>) -> Result<()> {
    let max_idle = context.environment().max_idle();
    context.silence(max_idle + context.draw.time(5, 300))
}

/// The broker reaps a connection that never said a word: no failed handshake, and harmless unless
/// the client writes after all.
fn never_spoke(context: &Context<'_>, speaks: bool) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    until_reaped(context)?;
    ends(&mut pair)?;
    if !speaks {
        pair.close(Client);
        return Ok(pair.expected().without_reset());
    }
    context.silence(context.draw.time(20, 500))?;
    pair.request(Request::ApiVersions)?;
    pair.is_reset(Client)?;
    Ok(pair.was_reset(Client, Answer::IDLE_CLOSE))
}

/// A throttled client is not read from for so long that the broker takes it for idle: its timer
/// closed the connection, and the unread request made that an abort.
fn throttled(context: &Context<'_>) -> Result<Expected> {
    const REAPED: Answer = Answer::one("broker_originated", &["idle_close", "aborted"]);
    let mut pair = context.in_use(Device::None)?;
    pair.request(Request::Produce(30_000))?;
    pair.has_data(Broker)?;
    until_reaped(context)?;
    ends_unread(&mut pair)?;
    Ok(pair.was_reset(Client, REAPED))
}

/// A producer stands still in the middle of a batch, as in a paused container: the broker's idle
/// timer closes, and the rest of the batch comes later.
fn half_request(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    let batch = traffic::kafka(0, 7, 90, &[0; 4_000]);
    let (first, rest) = batch.split_at(1_000);
    pair.pass(Client, first)?;
    until_reaped(context)?;
    ends(&mut pair)?;
    context.silence(context.draw.time(20, 500))?;
    pair.send(Client, rest)?;
    pair.is_reset(Client)?;
    Ok(pair.was_reset(Client, Answer::IDLE_CLOSE))
}

/// At `max.connections` the broker closes what was silent longest to make room, and goes on with
/// the others. A timer does the same.
fn least_recently_used(context: &Context<'_>) -> Result<Expected> {
    const ONE_CLOSED: Answer = Answer::one("broker_originated", &["closed"]);
    let site = context.site(Device::None)?;
    let mut pair = context.in_use_at(&site)?;
    let mut busy = context.connected_to(&site)?;
    busy.begin()?;
    context.silence(context.draw.time(1_200, 2_200))?;
    busy.exchange()?;
    ends(&mut pair)?;
    busy.exchange()?;
    pair.request(Request::Metadata)?;
    pair.is_reset(Client)?;
    Ok(pair
        .was_reset(Client, ONE_CLOSED)
        .alike_on_both(LOOKS_CLOSED))
}

/// The broker's own idle timer: FIN, and the client writes later.
fn idle_close(context: &Context<'_>) -> Result<Expected> {
    closed(context, context.with.late.draw(&context.draw))
}

fn closed(context: &Context<'_>, late: Duration) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    if context.environment() == Environment::LateTracers {
        // The silence has to begin after the tracers, for they are given its length.
        pair.exchange()?;
    }
    until_reaped(context)?;
    ends(&mut pair)?;
    context.silence(late)?;
    pair.ask_and_be_reset()?;
    Ok(pair
        .was_reset(Client, Answer::IDLE_CLOSE)
        .in_state("CLOSE_WAIT")
        .provoked_by("data"))
}
