//! Ends by a live socket that are rarer than those of [`super::broker`] and [`super::client`]: by an
//! administrator, by the end of another process, by rare calls, and with the RST lost on the way.

use super::{
    client::routine_reset,
    prelude::*,
    table::Hook,
    unknowable::{LOOKS_LIKE_CLIENT_LOST, LOOKS_LIKE_LOST},
};
use crate::net::{
    endpoint::{Listening, Transport},
    packet::Flags,
};

/// A FIN, and then a reset of what it left: either is what the client meets.
const CLOSED_OR_ABORTED: Answer = Answer::one("broker_originated", &["aborted", "closed"]);

/// The listener ended, and its process with it: either is true.
const NEVER_ACCEPTED: &[Answer] = &[Answer::CLOSED_BY_BROKER, Answer::SHUTDOWN];

pub(super) fn rows() -> Vec<Row> {
    use Environment::{LongIdle, ShowAll};
    vec![
        row("fork_child_exits", |context| child_exits(context, Broker)),
        row("client_killed_busy", |context| child_exits(context, Client)),
        row("disconnect_af_unspec", disconnected),
        row("linger2_negative", no_linger),
        row("keepalive_timeout_broker", keepalives_unanswered),
        row("ss_kill_broker", |context| destroyed(context, Broker)),
        row("ss_kill_client", |context| destroyed(context, Client)),
        row("listener_closed_unaccepted", listener_closed),
        row("listener_exit_unaccepted", listener_exits),
        row("mptcp_abort", |context| multipath(context, false)),
        row("mptcp_unread", |context| multipath(context, true)),
        row("lost_segment_abort", lost_segment).environments(&[LongIdle]),
        row("abort_rst_lost", lost_reset).environments(&[LongIdle]),
        row("macos_fin_rst", one_too_low),
        row("unaccepted_probe", |context| unaccepted(context, false)).environments(&[ShowAll]),
        row("unaccepted_abort", |context| unaccepted(context, true)),
        row("zero_window_user_timeout", window_closed),
    ]
}

/// A process that was given the socket ends with data unread; the one that listens goes on.
fn child_exits(context: &Context<'_>, side: Side) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    pair.ask()?;
    if side == Client {
        pair.answer()?;
    }
    pair.has_data(side)?;
    let mut child = pair.hand_over(side)?;
    child.kill()?;
    pair.is_reset(side.other())?;
    Ok(pair.was_reset(side.other(), aborted(side)))
}

const fn aborted(side: Side) -> Answer {
    match side {
        Client => Answer::CLIENT_ABORTED,
        Broker => Answer::BROKER_ABORTED,
    }
}

/// `connect()` to an address of no family (kernel: `tcp_disconnect`).
fn disconnected(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    pair.disconnect(Broker)?;
    pair.is_reset(Client)?;
    Ok(pair.was_reset(Client, Answer::BROKER_ABORTED))
}

/// `close()` in `FIN_WAIT2` with `TCP_LINGER2` below 0.
fn no_linger(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    pair.end_of(Broker)?.never_linger_in_fin_wait2()?;
    pair.shut_down(Broker)?;
    pair.has_fin(Client)?;
    pair.close_and_reset(Broker)?;
    Ok(pair.was_reset(Client, CLOSED_OR_ABORTED))
}

/// The path went away; a host that died answers as little.
fn keepalives_unanswered(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::Vanishes)?;
    pair.end_of(Broker)?
        .keep_alive_or_give_up(Duration::from_secs(2))?;
    context.lose_state(pair.port)?;
    pair.times_out(Broker)?;
    Ok(pair
        .expected()
        .undecidable(Broker, &[Answer::IDLE_DROP], &[Answer::CLIENT_LOST])
        .without_reset())
}

/// `ss -K`, or an agent that does the same (kernel: `tcp_abort`).
fn destroyed(context: &Context<'_>, side: Side) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    context.pause()?;
    pair.destroy(side)?;
    pair.is_reset(side.other())?;
    Ok(pair
        .was_reset(side.other(), aborted(side))
        .in_state("ESTABLISHED")
        .provoked_by("nothing"))
}

/// A listener ends with a connection that it has not accepted.
fn listener_closed(context: &Context<'_>) -> Result<Expected> {
    context.attached()?;
    let mut site = context.site(Device::None)?;
    let mut pair = context.unaccepted(&site)?;
    pair.request(Request::ApiVersions)?;
    pair.is_acknowledged()?;
    site.end();
    pair.is_reset(Client)?;
    Ok(pair.was_reset(Client, Answer::CLOSED_BY_BROKER))
}

/// The same by the end of its process.
fn listener_exits(context: &Context<'_>) -> Result<Expected> {
    context.attached()?;
    let address = context.address(Device::None);
    let mut process = context.process(address)?;
    process.freeze()?;
    let mut pair = context.connected_from(address, context.port())?;
    pair.request(Request::ApiVersions)?;
    pair.is_acknowledged()?;
    process.kill()?;
    pair.is_reset(Client)?;
    let expected = pair.was_reset(Client, Answer::CLOSED_BY_BROKER);
    Ok(expected.reported(Broker, NEVER_ACCEPTED))
}

/// Multipath TCP: `MP_FASTCLOSE`, or a close with data unread.
fn multipath(context: &Context<'_>, unread: bool) -> Result<Expected> {
    let how = Listening {
        transport: Transport::Mptcp,
        ..Listening::default()
    };
    let site = context.site_with(context.address(Device::None), how)?;
    let mut pair = context.connected_to(&site)?;
    pair.begin()?;
    context.attached()?;
    if unread {
        pair.ask()?;
        pair.has_data(Broker)?;
        pair.close(Broker);
    } else {
        pair.abort(Broker)?;
    }
    pair.is_reset(Client)?;
    Ok(pair.was_reset(Client, Answer::BROKER_ABORTED))
}

/// What the broker sent last is lost, so that its RST is out of order: the challenge ACK draws the
/// bare one that ends the connection.
fn lost_segment(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    pair.ask()?;
    pair.has_data(Broker)?;
    let loss = format!(
        "tcp dport {} tcp flags & rst != rst meta length > 90 drop",
        pair.port
    );
    let loss = context.on_router(Hook::Forward, &loss)?;
    pair.send(Broker, &traffic::kafka_answer(9, &[0; 600]))?;
    pair.abort_and_reset(Broker)?;
    drop(loss);
    Ok(pair.was_reset(Client, Answer::BROKER_ABORTED).undecidable(
        Client,
        &[Answer::BROKER_ABORTED],
        LOOKS_LIKE_LOST,
    ))
}

/// The RST of an abort is lost, and the client's next request draws another one, of no socket.
fn lost_reset(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    context.cut(pair.port, true)?;
    pair.abort(Broker)?;
    context.cut(pair.port, false)?;
    pair.ask_and_be_reset()?;
    Ok(pair.was_reset(Client, Answer::BROKER_ABORTED).undecidable(
        Client,
        &[Answer::BROKER_ABORTED],
        LOOKS_LIKE_LOST,
    ))
}

/// After its FIN a Mac resets with a number one below the expected one (kernel: `tcp_reset_check`).
/// The client had closed: nothing is lost.
fn one_too_low(context: &Context<'_>) -> Result<Expected> {
    const EITHER: Answer = Answer::one("client_originated", &["aborted", "late_data"]);
    let mut pair = context.in_use(Device::None)?;
    pair.shut_down(Client)?;
    pair.has_fin(Broker)?;
    let port = pair.port;
    let fin = context.seen("the client's FIN", |seen| {
        seen.client_port() == port && seen.comes_from(Client, Flags::FIN)
    })?;
    let sequence = fin.segment.sequence.wrapping_add(fin.segment.payload);
    let ttl = context.testbed.distances.ttl(Ttl::Copied, Broker);
    let (source, destination) = (fin.segment.source, fin.segment.destination);
    let device = context.testbed.lab.middlebox();
    device.forge_bare(source, destination, Flags::RST, sequence, ttl)?;
    pair.is_reset(Broker)?;
    Ok(pair.expected().optional(Broker, &[EITHER]).genuine(Broker))
}

/// A client resets what the broker has not accepted yet.
fn unaccepted(context: &Context<'_>, spoke: bool) -> Result<Expected> {
    context.attached()?;
    let site = context.site(Device::None)?;
    let mut pair = context.unaccepted(&site)?;
    if spoke {
        pair.request(Request::ApiVersions)?;
        pair.is_acknowledged()?;
    }
    pair.abort(Client)?;
    context.is_on_wire(pair.port, Broker)?;
    Ok(if spoke {
        pair.was_reset(Broker, Answer::CLIENT_ABORTED)
    } else {
        routine_reset(context, &pair, Answer::PROBE)
    })
}

/// A client that does not read, until the broker's kernel gives up: the peer answers all probes, so
/// no path has died.
fn window_closed(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    pair.end_of(Broker)?.give_up_after(ms(1500))?;
    pair.end_of(Broker)?.fill()?;
    pair.times_out(Broker)?;
    Ok(pair.expected().undecidable(
        Broker,
        &[Answer::INDETERMINATE, Answer::CLIENT_ABORTED],
        LOOKS_LIKE_CLIENT_LOST,
    ))
}
