//! What no socket answers: a connection that the host lost, one that it never had because the flow
//! was changed on its way, and one that waited for a full accept queue.

use std::net::{IpAddr, SocketAddr};

use super::{
    device::client_of,
    prelude::*,
    table::Hook,
    unknowable::{LOOKS_LIKE_CLIENT_LOST, LOOKS_LIKE_LOST},
};
use crate::{
    PORT,
    net::{self, endpoint::Listening, packet::Flags},
    trace::wire::Sighting,
};

/// On a broker's host that never had the connection: how long it had been silent elsewhere, and
/// whether this host lost it before it began to remember, nothing here shows.
const STRANGE: &[Answer] = &[
    Answer::MOVED,
    Answer::REBOUND,
    Answer::CONNECTION_LOST,
    Answer::CLOSED_BY_BROKER,
];

/// The same during the first exchange, seen from the client.
const LOOKS_UNACCEPTED: &[Answer] = &[
    Answer::CLOSED_BY_BROKER,
    Answer::NOT_IDLE,
    Answer::MOVED,
    Answer::CONNECTION_LOST,
];

/// A SYN,ACK that this host did not ask for.
const STRAY_ANSWER: &[Answer] = &[Answer::MOVED, Answer::PROBE, Answer::REBOUND];

/// Silences of a flow in use, and of one that a device may have forgotten.
const TWO: &[Silence] = &[Silence::None, Silence::Seconds];

pub(super) fn rows() -> Vec<Row> {
    use Environment::LongIdle;
    vec![
        row("window_update", window_update).environments(&[LongIdle]),
        row("port_reuse_half_open", port_reused),
        row("nat_collision", collision),
        row("moved.listener.{silence}", |context| {
            changed(context, Change::Backend { listens: true })
        })
        .environments(&[LongIdle])
        .silences(TWO),
        row("moved.closed.{silence}", |context| {
            changed(context, Change::Backend { listens: false })
        })
        .environments(&[LongIdle])
        .silences(TWO),
        row("rebind.port.{silence}", |context| {
            changed(context, Change::Port)
        })
        .environments(&[LongIdle])
        .silences(TWO),
        row("rebind.address.{silence}", |context| {
            changed(context, Change::Address)
        })
        .environments(&[LongIdle])
        .silences(TWO),
        row("moved_first_request", moved_first).environments(&[LongIdle]),
        row("k8s_invalid_unnat", untranslated),
        row("rebind_no_listener_side", own_address),
        row("connect_given_up", given_up),
        row("synack_wrong_address", wrong_address),
        row("half_open_scan", half_open),
        row("backlog_full", queue_full),
        named(
            "abort_on_overflow",
            "the accept queue is full, and net.ipv4.tcp_abort_on_overflow is 1",
            overflow,
        )
        .further(),
        row("connect_unanswered", unanswered),
    ]
}

/// A client that reads after a while tells the broker of its window, which has forgotten it: a bare
/// ACK draws the RST.
fn window_update(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    pair.end_of(Broker)?.fill()?;
    let port = pair.port;
    context.seen("a closed window", |seen| {
        let ends = seen.has(Flags::RST);
        seen.client_port() == port && seen.from() == Client && seen.segment.window == 0 && !ends
    })?;
    pair.forget(Broker)?;
    pair.end_of(Client)?.read_until_reset()?;
    Ok(pair.was_reset(Client, Answer::CONNECTION_LOST).undecidable(
        Client,
        &[Answer::CONNECTION_LOST],
        LOOKS_LIKE_LOST,
    ))
}

/// The client's host lost a connection and takes its port again: the broker's host challenges the
/// SYN, and the answer resets what it has.
fn port_reused(context: &Context<'_>) -> Result<Expected> {
    let site = context.site(Device::None)?;
    let mut pair = context.in_use_at(&site)?;
    pair.forget(Client)?;
    let again = context.connected_by(&site, site.address, pair.port)?;
    pair.is_reset(Broker)?;
    drop(again);
    Ok(pair
        .expected()
        .undecidable(Broker, &[Answer::CLIENT_LOST], LOOKS_LIKE_CLIENT_LOST)
        .undecidable(Client, &[Answer::CLIENT_LOST], LOOKS_LIKE_CLIENT_LOST)
        .genuine(Broker))
}

/// A NAT gives the port of a flow that it forgot to another client.
fn collision(context: &Context<'_>) -> Result<Vec<Expected>> {
    let site = context.site(Device::None)?;
    let mut old = context.in_use_at(&site)?;
    let port = context.port();
    let nat = rewrite(context, site.address, port, Rewrite::Port(old.port));
    let nat = context.on_router(Hook::Arrival, &nat)?;
    let attempt = context.attempt(site.address, port)?;
    old.is_reset(Broker)?;
    drop((attempt, nat));
    Ok(vec![
        old.expected()
            .undecidable(Broker, &[Answer::REBOUND], LOOKS_LIKE_CLIENT_LOST),
        Expected::new(port).undecidable(Client, &[Answer::REBOUND], LOOKS_LIKE_CLIENT_LOST),
    ])
}

/// What changes on the way.
#[derive(Clone, Copy)]
enum Change {
    /// The broker that it is sent to.
    Backend {
        /// Whether a broker listens there.
        listens: bool,
    },
    /// The port that it comes from.
    Port,
    /// The address that it comes from.
    Address,
}

/// What of a flow's addresses is another on the broker's side of the router.
#[derive(Clone, Copy)]
enum Rewrite {
    Broker(IpAddr),
    Client(IpAddr),
    Port(u16),
}

impl Rewrite {
    /// The broker, the client and its port there.
    const fn far(self, broker: IpAddr, port: u16) -> (IpAddr, IpAddr, u16) {
        let client = client_of(broker);
        match self {
            Self::Broker(broker) => (broker, client, port),
            Self::Client(client) => (broker, client, port),
            Self::Port(port) => (broker, client, port),
        }
    }
}

/// Rules that rewrite the flow from `port` to `broker` both ways, whatever is known of it.
fn rewrite(context: &Context<'_>, broker: IpAddr, port: u16, to: Rewrite) -> String {
    let out = to_broker(context, broker, port, to);
    let back = to_client(context, broker, port, to);
    format!("{out}\n{back}")
}

/// The half of [`rewrite`] that the broker's packets meet.
fn to_client(context: &Context<'_>, broker: IpAddr, port: u16, to: Rewrite) -> String {
    let (ip, client) = (context.ip(), client_of(broker));
    let (_, near, near_port) = to.far(broker, port);
    format!(
        "{ip} daddr {near} tcp dport {near_port} tcp sport {PORT} {ip} saddr set {broker} {ip} daddr \
         set {client} tcp dport set {port}"
    )
}

/// The half of [`rewrite`] that the client's packets meet.
fn to_broker(context: &Context<'_>, broker: IpAddr, port: u16, to: Rewrite) -> String {
    let (ip, client) = (context.ip(), client_of(broker));
    let (far, near, near_port) = to.far(broker, port);
    format!(
        "{ip} saddr {client} tcp sport {port} tcp dport {PORT} {ip} daddr set {far} {ip} saddr set \
         {near} tcp sport set {near_port}"
    )
}

/// The flow comes to a host that never had it: after a silence a device had forgotten it, in use
/// one failed over.
fn changed(context: &Context<'_>, change: Change) -> Result<Vec<Expected>> {
    let broker = context.address(Device::None);
    let site = context.site_at(broker)?;
    let mut pair = context.in_use_at(&site)?;
    let other = context.address(Device::None);
    let _site = match change {
        Change::Backend { listens: true } => Some(context.site_at(other)?),
        _ => None,
    };
    let to = match change {
        Change::Backend { .. } => Rewrite::Broker(other),
        Change::Address => Rewrite::Client(client_of(other)),
        Change::Port => Rewrite::Port(context.port()),
    };
    let (.., near_port) = to.far(broker, pair.port);
    context.pause()?;
    let rules = rewrite(context, broker, pair.port, to);
    let rules = context.on_router(Hook::Arrival, &rules)?;
    pair.ask_and_be_reset()?;
    drop(rules);
    let right = &[if context.with.silence.is_busy() {
        Answer::MOVED
    } else {
        Answer::REBOUND
    }];
    let seen = pair
        .expected()
        .undecidable(Client, right, LOOKS_LIKE_LOST)
        .genuine(Client);
    Ok(if near_port == pair.port {
        vec![seen.undecidable(Broker, right, STRANGE)]
    } else {
        vec![
            seen,
            Expected::new(near_port).undecidable(Broker, right, STRANGE),
        ]
    })
}

/// A balancer sends the first request to another backend than the handshake: to both hosts it looks
/// like a connection that was never accepted.
fn moved_first(context: &Context<'_>) -> Result<Expected> {
    context.attached()?;
    let first = context.site(Device::None)?;
    let mut pair = context.connected_to(&first)?;
    let site = context.site(Device::None)?;
    let to = Rewrite::Broker(site.address);
    let rules = rewrite(context, first.address, pair.port, to);
    let rules = context.on_router(Hook::Arrival, &rules)?;
    pair.request(Request::ApiVersions)?;
    pair.is_reset(Client)?;
    drop(rules);
    Ok(pair
        .expected()
        .undecidable(Client, &[Answer::MOVED], LOOKS_UNACCEPTED)
        .undecidable(Broker, &[Answer::MOVED], STRANGE)
        .genuine(Client))
}

/// A service address that a node translates: an answer that it takes for invalid passes as it is,
/// and the client's kernel, which knows no such connection, resets it.
fn untranslated(context: &Context<'_>) -> Result<Expected> {
    const LOOKS_LATE: &[Answer] = &[Answer::MOVED, Answer::REBOUND, Answer::LATE_DATA];
    let site = context.site(Device::None)?;
    let service = context.address(Device::None);
    let port = context.port();
    let to = Rewrite::Broker(site.address);
    let both = context.on_router(Hook::Arrival, &rewrite(context, service, port, to))?;
    let mut pair = context.connected_by(&site, service, port)?;
    pair.begin()?;
    context.attached()?;
    pair.ask()?;
    pair.has_data(Broker)?;
    let one = to_broker(context, service, port, to);
    let _one = context.on_router(Hook::Arrival, &one)?;
    drop(both);
    pair.answer_and_be_reset()?;
    Ok(pair
        .expected()
        .undecidable(
            Broker,
            &[Answer::MOVED, Answer::NOT_IDLE],
            LOOKS_LIKE_CLIENT_LOST,
        )
        .undecidable(Client, &[Answer::MOVED], LOOKS_LATE)
        .genuine(Broker))
}

/// A NAT with an address of its own forgets a flow, and its kernel answers what the broker sends.
fn own_address(context: &Context<'_>) -> Result<Expected> {
    let site = context.site(Device::None)?;
    let port = context.port();
    let nat = net::router_address(Broker, context.ip() == "ip6");
    let to = Rewrite::Client(nat);
    // The router routes no packet that comes from outside in its own name.
    let out = to_broker(context, site.address, port, to);
    let back = to_client(context, site.address, port, to);
    let rules = [
        context.on_router(Hook::Departure, &out)?,
        context.on_router(Hook::Arrival, &back)?,
    ];
    let mut pair = context.connected_by(&site, site.address, port)?;
    pair.begin()?;
    context.attached()?;
    pair.ask()?;
    pair.has_data(Broker)?;
    pair.is_acknowledged()?;
    drop(rules);
    pair.answer_and_be_reset()?;
    Ok(pair
        .expected()
        // How long a NAT had waited before it forgot, on a busy machine the test decides.
        .reported(Broker, &[Answer::NOT_IDLE, Answer::IDLE_ON_SEND])
        .forged(Broker, Ttl::Own))
}

/// The client gives up while the broker's SYN,ACK is lost, and the next one meets no socket.
fn given_up(context: &Context<'_>) -> Result<Expected> {
    context.attached()?;
    let site = context.site(Device::None)?;
    let port = context.port();
    context.cut(port, true)?;
    let attempt = context.attempt(site.address, port)?;
    let from_broker =
        |seen: &Sighting| seen.client_port() == port && seen.comes_from(Broker, Flags::SYN);
    context.seen("a SYN,ACK", from_broker)?;
    drop(attempt);
    context.cut(port, false)?;
    context.is_on_wire(port, Broker)?;
    let expected = Expected::new(port).genuine(Broker);
    Ok(expected.optional(Client, &[Answer::PROBE, Answer::INDETERMINATE]))
}

/// The way back does not translate: the SYN,ACK comes from an address that was not asked.
fn wrong_address(context: &Context<'_>) -> Result<Expected> {
    context.attached()?;
    let site = context.site(Device::None)?;
    let service = context.address(Device::None);
    let port = context.port();
    let rules = to_broker(context, service, port, Rewrite::Broker(site.address));
    let rules = context.on_router(Hook::Arrival, &rules)?;
    let attempt = context.attempt(service, port)?;
    context.is_on_wire(port, Broker)?;
    drop((attempt, rules));
    Ok(Expected::new(port)
        .undecidable(Client, &[Answer::MOVED], STRAY_ANSWER)
        .genuine(Broker))
}

/// A scan by raw socket: the kernel of the scanner's host resets the SYN,ACK.
fn half_open(context: &Context<'_>) -> Result<Expected> {
    context.attached()?;
    let site = context.site(Device::None)?;
    let port = context.port();
    let source = SocketAddr::new(client_of(site.address), port);
    let destination = SocketAddr::new(site.address, PORT);
    let device = context.testbed.lab.middlebox();
    device.forge_bare(source, destination, Flags::SYN, 1, 63)?;
    context.is_on_wire(port, Broker)?;
    Ok(Expected::new(port)
        .undecidable(Client, &[Answer::PROBE], STRAY_ANSWER)
        .genuine(Broker))
}

/// The handshake's last ACK is held back until the queue is full. The request is kept for some
/// seconds; what the client sends afterwards meets the listener.
fn queue_full(context: &Context<'_>) -> Result<Expected> {
    let mut pair = overflowing(context)?;
    pair.request(Request::ApiVersions)?;
    pair.fails(Client)?;
    Ok(pair
        .expected()
        .undecidable(Client, &[Answer::CLOSED_BY_BROKER], LOOKS_UNACCEPTED)
        .undecidable(Broker, &[Answer::CLOSED_BY_BROKER], STRANGE)
        .genuine(Client))
}

/// With `tcp_abort_on_overflow` the kernel resets what does not fit at once.
fn overflow(context: &Context<'_>) -> Result<Expected> {
    context
        .host(Broker)
        .sysctl(&[("ipv4/tcp_abort_on_overflow", "1")])?;
    let mut pair = overflowing(context)?;
    pair.request(Request::ApiVersions)?;
    pair.is_reset(Client)?;
    // The silence until the request is as long as the machine takes to fill the queue.
    Ok(pair
        .was_reset(Client, Answer::CLOSED_BY_BROKER)
        .undecidable(Client, &[Answer::CLOSED_BY_BROKER], LOOKS_UNACCEPTED)
        .coarse())
}

/// A listener whose queue is full, and a client whose last ACK has not arrived.
fn overflowing<'a>(context: &'a Context<'a>) -> Result<ConnectionPair<'a>> {
    context.attached()?;
    let how = Listening {
        backlog: 1,
        ..Listening::default()
    };
    let site = context.site_with(context.address(Device::None), how)?;
    let port = context.port();
    let held = format!("tcp sport {port} tcp flags & syn != syn drop");
    let held = context.on_router(Hook::Forward, &held)?;
    let pair = context.unaccepted_from(&site, port)?;
    for _ in 0..=how.backlog {
        // What waits there stays open until the tracers have ended.
        context.unaccepted(&site)?;
    }
    drop(held);
    Ok(pair)
}

/// A SYN that is never answered is no end of a connection.
fn unanswered(context: &Context<'_>) -> Result<Expected> {
    context.attached()?;
    let address = context.address(Device::None);
    let port = context.port();
    let lost = format!("tcp sport {port} drop");
    let lost = context.on_router(Hook::Forward, &lost)?;
    let attempt = context.attempt(address, port)?;
    let again = |seen: &Sighting| seen.client_port() == port && seen.comes_from(Client, Flags::SYN);
    context.seen("a SYN", again)?;
    drop((attempt, lost));
    Ok(Expected::new(port).without_reset())
}
