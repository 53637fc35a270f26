//! What the network between the ends, or a host's own packet filter, does to a connection.

use super::{
    prelude::*,
    table::Hook,
    unknowable::{LOOKS_LIKE_CLIENT_LOST, LOOKS_LIKE_LOST},
};

/// Whether a flow in use met a device or its peer died, one host cannot know.
const GAVE_UP: &[Answer] = &[
    Answer::INDETERMINATE,
    Answer::NOT_IDLE,
    Answer::IDLE_DROP,
    Answer::CONNECTION_LOST,
];

/// During the first exchange a device and the other end look alike, by the TTL.
const EARLY: [&[Answer]; 2] = [
    &[Answer::NOT_IDLE, Answer::CLOSED_BY_BROKER],
    &[Answer::NOT_IDLE, Answer::CLIENT_ABORTED, Answer::PROBE],
];

pub(super) fn rows() -> Vec<Row> {
    use Environment::LongIdle;
    let mut all = vec![
        row("host_firewall_input", by_brokers_host).environments(&[LongIdle]),
        row("host_firewall_output", by_own_host).environments(&[LongIdle]),
        row("host_firewall_new", new_by_brokers_host),
        row("reset_one_half", one_half).environments(&[LongIdle]),
        row("device_resets_first_request.{ttl}_ttl", first_request).environments(&[LongIdle]),
        row("strict_conntrack_answer", answer_lost_state).environments(&[LongIdle]),
        row("mtu_blackhole", too_large),
        row("one_way_drop", one_way),
        row("synproxy_refused", refused_behind_proxy).environments(&[LongIdle]),
        row("proxy_without_backend", no_backend),
        row("proxy_idle_timer", proxy_timer).environments(&[LongIdle]),
    ];
    for (name, icmp) in [
        ("port", "port-unreachable"),
        ("host", "host-unreachable"),
        ("admin", "admin-prohibited"),
    ] {
        all.push(row(format!("icmp_syn.{name}"), move |context| {
            syn_answered(context, icmp)
        }));
        all.push(row(format!("icmp_established.{name}"), move |context| {
            data_answered(context, icmp)
        }));
    }
    all
}

/// An attempt that the network answers by ICMP.
fn syn_answered(context: &Context<'_>, icmp: &str) -> Result<Expected> {
    context.attached()?;
    let address = context.address(Device::None);
    let port = context.port();
    let rules = format!("tcp sport {port} reject with icmpx type {icmp}");
    let rules = context.on_router(Hook::Forward, &rules)?;
    context.fail_to_connect(address, port)?;
    drop(rules);
    Ok(Expected::new(port)
        .reported(Client, &[Answer::REFUSED])
        .without_reset())
}

/// The same of a connection in use, until its kernel gives up.
fn data_answered(context: &Context<'_>, icmp: &str) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    pair.end_of(Client)?.give_up_after(ms(1500))?;
    let rules = format!("tcp sport {} reject with icmpx type {icmp}", pair.port);
    let rules = context.on_router(Hook::Forward, &rules)?;
    pair.ask()?;
    pair.fails(Client)?;
    drop(rules);
    Ok(pair
        .expected()
        .undecidable(Client, &[Answer::NOT_IDLE, Answer::INDETERMINATE], GAVE_UP)
        .without_reset())
}

/// The broker's host rejects what it accepted before: to the client it is the broker's own word.
fn by_brokers_host(context: &Context<'_>) -> Result<Expected> {
    Ok(rejected_in_use(context, Broker, Hook::Input)?.genuine(Client))
}

/// The client's own host does: its RST has crossed no hop, which by chance may be as far as the
/// broker is.
fn by_own_host(context: &Context<'_>) -> Result<Expected> {
    Ok(rejected_in_use(context, Client, Hook::Output)?.without_reset())
}

/// A host's own packet filter rejects a connection in use.
fn rejected_in_use(context: &Context<'_>, host: Side, hook: Hook) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    let rules = format!("tcp sport {} reject with tcp reset", pair.port);
    let rules = context.on_host(host, hook, &rules)?;
    pair.ask_and_be_reset()?;
    drop(rules);
    Ok(pair
        .expected()
        .undecidable(Client, &[Answer::NOT_IDLE], LOOKS_LIKE_LOST))
}

/// A new connection is rejected by the broker's host.
fn new_by_brokers_host(context: &Context<'_>) -> Result<Expected> {
    context.attached()?;
    let site = context.site(Device::None)?;
    let port = context.port();
    let rules = format!("tcp sport {port} reject with tcp reset");
    let rules = context.on_host(Broker, Hook::Input, &rules)?;
    context.fail_to_connect(site.address, port)?;
    drop(rules);
    Ok(Expected::new(port)
        .reported(Client, &[Answer::REFUSED])
        .genuine(Client))
}

/// A device resets the client alone; what the broker then sends meets no socket there.
fn one_half(context: &Context<'_>) -> Result<Expected> {
    const GONE: Answer = Answer::one("client_originated", &["connection_lost", "late_data"]);
    let mut pair = context.in_use(Device::None)?;
    pair.ask()?;
    pair.has_data(Broker)?;
    pair.is_acknowledged()?;
    pair.reset_one(Client, Ttl::Own)?;
    pair.answer_and_be_reset()?;
    Ok(pair
        .expected()
        .reported(Client, &[Answer::NOT_IDLE])
        .forged(Client, Ttl::Own)
        .undecidable(Broker, &[Answer::NOT_IDLE, GONE], LOOKS_LIKE_CLIENT_LOST)
        .genuine(Broker))
}

/// A device resets both ends at the client's first request.
fn first_request(context: &Context<'_>) -> Result<Expected> {
    let ttl = context.with.ttl;
    let mut pair = context.fresh(Device::None)?;
    pair.request(Request::ApiVersions)?;
    pair.is_acknowledged()?;
    pair.reset_both(ttl)?;
    let mut expected = pair.expected();
    for (side, alike) in Side::BOTH.into_iter().zip(EARLY) {
        let alike = if ttl == Ttl::Copied { alike } else { &[] };
        expected = expected
            .undecidable(side, &[Answer::NOT_IDLE], alike)
            .forged(side, ttl);
    }
    Ok(expected)
}

/// A device loses the state of a flow in use, and the broker's answer meets it first.
fn answer_lost_state(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.in_use(Device::Fails { copied: false })?;
    pair.ask()?;
    pair.has_data(Broker)?;
    context.lose_state(pair.port)?;
    pair.answer_and_be_reset()?;
    Ok(pair
        .expected()
        .reported(Broker, &[Answer::NOT_IDLE])
        .forged(Broker, Ttl::Own))
}

/// What is larger than the link is lost, and no ICMP says so.
fn too_large(context: &Context<'_>) -> Result<Expected> {
    let rules = |port| format!("tcp sport {port} meta length > 1300 drop");
    unanswered_data(context, rules, Request::Produce(1380))
}

/// The way back is gone.
fn one_way(context: &Context<'_>) -> Result<Expected> {
    let rules = |port| format!("tcp dport {port} drop");
    unanswered_data(context, rules, Request::Metadata)
}

/// A client that gives up in mid-use: no timer, and no name for what it is.
fn unanswered_data(
    context: &Context<'_>,
    rules: impl Fn(u16) -> String,
    request: Request,
) -> Result<Expected> {
    let mut pair = context.in_use(Device::None)?;
    pair.end_of(Client)?.give_up_after(ms(1500))?;
    let rules = context.on_router(Hook::Forward, &rules(pair.port))?;
    pair.request(request)?;
    pair.times_out(Client)?;
    drop(rules);
    Ok(pair
        .expected()
        .undecidable(Client, &[Answer::INDETERMINATE], GAVE_UP))
}

/// A device completes the handshake for a broker that is down (netfilter's `SYNPROXY`), whose
/// refusal then meets an established connection.
fn refused_behind_proxy(context: &Context<'_>) -> Result<Expected> {
    const REFUSED: &[Answer] = &[Answer::REFUSED, Answer::CLOSED_BY_BROKER];
    context.attached()?;
    let address = context.address(Device::None);
    let port = context.port();
    let untracked = format!("tcp sport {port} tcp flags syn notrack");
    let proxy = format!(
        "tcp sport {port} ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm"
    );
    let untracked = context.on_router(Hook::Arrival, &untracked)?;
    let proxy = context.on_router(Hook::Forward, &proxy)?;
    let attempt = context.attempt(address, port)?;
    context.is_on_wire(port, Client)?;
    drop((attempt, untracked, proxy));
    Ok(Expected::new(port)
        .undecidable(Client, REFUSED, &[Answer::NOT_IDLE, Answer::PROBE])
        .reported(Broker, &[Answer::REFUSED]))
}

/// A proxy reads the request, tries its backends in vain, and closes.
fn no_backend(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    pair.request(Request::ApiVersions)?;
    pair.end_of(Broker)?.receive()?;
    context.silence(context.draw.time(1000, 3000))?;
    super::broker::ends(&mut pair)?;
    pair.close(Client);
    let right = &[Answer::CLOSED_BY_BROKER];
    Ok(pair
        .expected()
        .reported(Client, right)
        .optional(Broker, right)
        .without_reset())
}

/// A proxy's idle timer closes one connection after the other, and each client writes late: a timer
/// that kreset was not given.
fn proxy_timer(context: &Context<'_>) -> Result<Vec<Expected>> {
    const TIMER: Duration = ms(3000);
    const CLOSED: Answer = Answer::one("broker_originated", &["idle_close", "closed"]);
    let site = context.site(Device::None)?;
    let mut all = Vec::new();
    for _ in 0..3 {
        let mut pair = context.in_use_at(&site)?;
        context.silence(TIMER)?;
        super::broker::ends(&mut pair)?;
        context.silence(ms(200))?;
        pair.ask_and_be_reset()?;
        all.push(pair.was_reset(Client, CLOSED));
    }
    Ok(all)
}
