//! Brokers that end, with all of their connections at once. Each is a process of its own.

use std::net::IpAddr;

use super::{prelude::*, unknowable::LOOKS_LIKE_LOST};

/// The end of a broker with a single connection looks to a client like any orderly close by it.
const CLOSED: &[Answer] = &[Answer::one("broker_originated", &["closed", "aborted"])];

/// The broker's process ended, and its host no longer knows the connection: both are true.
const DEAD: Answer = Answer::one("broker_originated", &["shutdown", "connection_lost"]);

/// Between the beginnings of connections, so that their silences differ.
const APART: Duration = ms(400);

const WRITTEN: &[Late] = &[
    Late("at_once", 0, 60),
    Late("soon", 100, 600),
    Late("later", 800, 2000),
];

pub(super) fn rows() -> Vec<Row> {
    use Environment::{LongIdle, NoPackets, Usual};
    const THEN: &[Late] = &[Late("then", 300, 900)];
    vec![
        row("shutdown.idle.{environment}.written_{late}", |context| {
            let count = context.draw.number(3, 5);
            killed(context, count, 0, Afterwards::Nothing)
        })
        .environments(&[Usual, LongIdle, NoPackets])
        .lates(WRITTEN)
        .named(
            "broker_killed_idle",
            "the broker is killed while its connections are idle, and its clients write later",
        ),
        row("shutdown.busy.{environment}.written_{late}", |context| {
            let count = context.draw.number(4, 6);
            let unread = context.draw.number(2, 3);
            killed(context, count, unread, Afterwards::Nothing)
        })
        .environments(&[Usual, NoPackets])
        .lates(WRITTEN)
        .named(
            "broker_killed_busy",
            "the broker is killed with requests unread",
        ),
        row("shutdown.refused.several", |context| {
            let count = context.draw.number(3, 5);
            killed(context, count, 1, Afterwards::Refused)
        })
        .lates(THEN),
        row("shutdown.refused.single", |context| {
            killed(context, 1, 0, Afterwards::Refused)
        })
        .lates(THEN),
        row("shutdown.refused.later", refused_later),
        row("shutdown.restarted.several", |context| {
            let count = context.draw.number(3, 5);
            killed(context, count, 1, Afterwards::Restarted)
        })
        .lates(THEN),
        row("shutdown.restarted.single", |context| {
            killed(context, 1, 0, Afterwards::Restarted)
        })
        .lates(THEN),
        row("lost_fin.down", |context| lost_fin(context, false)),
        row("lost_fin.restarted", |context| lost_fin(context, true)),
    ]
}

/// What a client that connects again finds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    /// No client does.
    Nothing,
    /// Nothing listens.
    Refused,
    /// A new broker.
    Restarted,
}

/// Kills a broker with `count` connections that were silent for different times, `unread` of which
/// have a request that it has not read. Those are reset, the others get a FIN, and write late.
fn killed(
    context: &Context<'_>,
    count: u16,
    unread: u16,
    afterwards: Afterwards,
) -> Result<Vec<Expected>> {
    let late = context.with.late.draw(&context.draw);
    let address = context.address(Device::None);
    let mut broker = context.process(address)?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        pairs.push(context.in_use_with_process(address)?);
        context.silence(APART)?;
    }
    context.attached()?;
    let (busy, idle) = pairs.split_at_mut(unread.into());
    for pair in busy.iter_mut() {
        pair.request(Request::Produce(context.draw.number(500, 20_000)))?;
    }
    context.silence(APART)?;
    broker.kill()?;
    busy.iter_mut().try_for_each(|pair| pair.is_reset(Client))?;
    idle.iter_mut().try_for_each(|pair| pair.has_fin(Client))?;
    let mut all = afterwards.act(context, address)?;
    for pair in idle.iter_mut() {
        context.silence(late)?;
        pair.request(Request::Metadata)?;
        pair.is_reset(Client)?;
    }
    // The kernel aborted a live socket with unread data because its process ended: both are true.
    all.extend(busy.iter().map(|pair| {
        pair.was_reset(Client, Answer::SHUTDOWN_OR_ABORTED)
            .in_state("ESTABLISHED")
            .provoked_by("nothing")
    }));
    // A client with one connection sees an orderly close, unless nothing listens any more.
    let single = count == 1 && afterwards != Afterwards::Refused;
    let alike = if single { CLOSED } else { &[] };
    all.extend(idle.iter().map(|pair| {
        pair.was_reset(Client, Answer::SHUTDOWN)
            .undecidable(Client, &[Answer::SHUTDOWN], alike)
            .in_state("CLOSE_WAIT")
            .provoked_by("data")
    }));
    Ok(all)
}

/// The broker is killed with a request unread, and its client comes back only after a second or
/// two, as other brokers do: what was reported of the reset by then has to be corrected.
fn refused_later(context: &Context<'_>) -> Result<Vec<Expected>> {
    let address = context.address(Device::None);
    let mut broker = context.process(address)?;
    let mut pair = context.in_use_with_process(address)?;
    context.attached()?;
    context.silence(APART)?;
    pair.request(Request::Produce(context.draw.number(500, 20_000)))?;
    context.silence(APART)?;
    broker.kill()?;
    pair.is_reset(Client)?;
    context.silence(context.draw.time(900, 2200))?;
    let mut all = Afterwards::Refused.act(context, address)?;
    all.push(pair.was_reset(Client, Answer::SHUTDOWN));
    Ok(all)
}

impl Afterwards {
    /// A client connects again, or none does.
    fn act(self, context: &Context<'_>, address: IpAddr) -> Result<Vec<Expected>> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::Refused => {
                let port = context.be_refused(address)?;
                Ok(Expected::sent_to(Client, port, Answer::REFUSED).into())
            }
            Self::Restarted => {
                let broker = context.process(address)?;
                let pair = context.in_use_with_process(address)?;
                context.keep_process(broker);
                Ok(pair.expected().without_reset().into())
            }
        }
    }
}

/// The broker is killed while nothing that it sends arrives, and the client writes once the way is
/// free again: the orphan of the socket, still in `FIN_WAIT1`, answers.
fn lost_fin(context: &Context<'_>, restarted: bool) -> Result<Expected> {
    let address = context.address(Device::None);
    let mut broker = context.process(address)?;
    let mut pair = context.in_use_with_process(address)?;
    context.attached()?;
    context.silence(context.draw.time(100, 1500))?;
    context.cut(pair.port, true)?;
    broker.kill()?;
    if restarted {
        context.keep_process(context.process(address)?);
    }
    context.cut(pair.port, false)?;
    pair.request(Request::Metadata)?;
    pair.is_reset(Client)?;
    // Without its FIN nothing shows the client's host that the broker closed.
    Ok(pair
        .was_reset(Client, DEAD)
        .undecidable(Client, &[DEAD], LOOKS_LIKE_LOST))
}
