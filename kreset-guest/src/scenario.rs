//! Resets of every kind that can be caused on loopback, each at a broker of its own.

use std::{
    io::{Read as _, Write as _},
    iter,
    net::Shutdown,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use kreset_lab::{driver::Tracer, event::Event, net::message::Request};
use socket2::SockRef;

use crate::{
    cost,
    ends::{self, Ends},
    say, tracer,
};

/// Silence before a reset that an idle timer made.
const SILENCE: Duration = Duration::from_millis(3_500);
/// How long an event may take to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first broker's port.
const FIRST_PORT: u16 = 9092;

/// Causes the reset: it gets a port and whether to use IPv6, and yields the
/// client's port.
type Run = fn(u16, bool) -> Result<u16>;

struct Scenario {
    name: &'static str,
    v6: bool,
    run: Run,
    /// The right answer.
    right: &'static str,
    /// What may be said where only handshakes and resets are seen, or no packet
    /// at all: less, and nothing wrong. [`SILENT`] where nothing may be said.
    less: &'static [&'static str],
}

/// No event.
const SILENT: &str = "no event";

impl Scenario {
    const fn new(name: &'static str, run: Run, right: &'static str) -> Self {
        Self {
            name,
            v6: false,
            run,
            right,
            less: UNSURE,
        }
    }

    const fn v6(mut self) -> Self {
        self.v6 = true;
        self
    }

    const fn or_less(mut self, less: &'static [&'static str]) -> Self {
        self.less = less;
        self
    }
}

const SCENARIOS: &[Scenario] = &[
    Scenario::new("idle_on_send", idle_on_send, LOST),
    Scenario::new("idle_on_send_v6", idle_on_send, LOST).v6(),
    Scenario::new("idle_on_timer", idle_on_timer, ON_TIMER),
    Scenario::new("idle_on_timer_v6", idle_on_timer, ON_TIMER).v6(),
    Scenario::new("not_idle", not_idle, "middlebox_reset/not_idle"),
    Scenario::new("abort", abort, ABORTED),
    Scenario::new("abort_v6", abort, ABORTED).v6(),
    Scenario::new("refused", refused, REFUSED).or_less(&[]),
    Scenario::new("refused_v6", refused, REFUSED)
        .v6()
        .or_less(&[]),
    Scenario::new("silent_drop", silent_drop, "middlebox_idle_drop/blackholed"),
    // That the broker closed is true; why is in the first bytes.
    Scenario::new(
        "tls_to_plaintext",
        tls_to_plaintext,
        "handshake_phase/tls_to_plaintext",
    )
    .or_less(&["handshake_phase/closed_by_broker"]),
    // Bytes went both ways, then FINs: an orderly end, but for the bytes.
    Scenario::new(
        "plaintext_to_tls",
        plaintext_to_tls,
        "handshake_phase/plaintext_to_tls",
    )
    .or_less(&[SILENT]),
];

const OLDER: Scenario = Scenario::new("older_than_tracer", idle_on_send, LOST);

/// Both ends are on this kernel, which had the connection, lost it and reset it: what the silence
/// before looks like from the client's end decides nothing.
const LOST: &str = "broker_originated/connection_lost";
const ON_TIMER: &str = "middlebox_idle_reset/reset_on_timer";
const ABORTED: &str = "broker_originated/aborted";
const REFUSED: &str = "handshake_phase/refused";
/// A cause that cannot be known is not guessed.
const UNSURE: &[&str] = &["indeterminate"];

/// Runs all with one source of packet evidence.
pub(crate) fn run_all(source: &str) -> Result<()> {
    // Older than the tracer.
    let older = Ends::connect(FIRST_PORT, false)?.greet()?;
    let mut command = tracer::command();
    command.args(["--packet-evidence", source]);
    let tracer = match tracer::start(command)? {
        Ok(tracer) => tracer,
        Err(refused) => {
            // Only a source that was asked for by name may be refused, and not because
            // of a program of ours that the verifier does not take.
            let is_ours = refused.complaint.contains("refuses to load it");
            let outcome = if source != "auto" && !is_ours && refused.is_orderly() {
                "ok"
            } else {
                "WRONG"
            };
            say(&[
                "limit",
                &format!("packet evidence {source}"),
                outcome,
                &refused.complaint,
            ]);
            return Ok(());
        }
    };
    let Some(start) = tracer::wait_for(&tracer, Duration::ZERO, |event| event.kind == "start")
    else {
        bail!("no start")
    };
    report_start(source, &start)?;
    cost::report(source)?;

    thread::scope(|scope| {
        let tracer = &tracer;
        let older = scope.spawn(move || {
            let outcome = older_than_tracer(older);
            judge(source, &OLDER, FIRST_PORT, outcome, tracer);
        });
        let mut running = vec![older];
        for (scenario, port) in SCENARIOS.iter().zip(FIRST_PORT + 1..) {
            running.push(scope.spawn(move || {
                let outcome = (scenario.run)(port, scenario.v6);
                judge(source, scenario, port, outcome, tracer);
            }));
        }
        for thread in running {
            if thread.join().is_err() {
                say(&["failed", "a scenario panicked"]);
            }
        }
    });
    let skipped = cost::report_misses(source, tracer.id());
    let said = tracer::end(tracer)?;
    report_flows(source, &said)?;
    let summary = said.iter().find(|event| event.kind == "summary");
    let summary = summary.context("no summary")?;
    let json: serde_json::Value = serde_json::from_str(&summary.line).context("summary")?;
    let reported = json["coverage"]["kernel_skipped"].as_u64();
    say(&["reported", source, &reported.unwrap_or(0).to_string()]);
    // More may be skipped between the two readings, and nothing less.
    if reported.is_none_or(|reported| reported < skipped) {
        say(&[
            "failed",
            &format!("{source}: {skipped} calls were skipped, {reported:?} are reported"),
        ]);
    }
    Ok(())
}

/// Compares the flow of each event with what its connection's sockets said.
fn report_flows(source: &str, said: &[Event]) -> Result<()> {
    for event in said.iter().filter(|event| event.is_about_a_connection()) {
        let json: serde_json::Value = serde_json::from_str(&event.line).context("an event")?;
        let port = |end: &str| u16::try_from(json[end]["port"].as_u64()?).ok();
        let Some((client, broker)) = port("client").zip(port("broker")) else {
            continue;
        };
        let names = iter::once(OLDER.name).chain(SCENARIOS.iter().map(|scenario| scenario.name));
        let names = names.zip(FIRST_PORT..);
        let name = names
            .filter(|(_, port)| *port == broker)
            .map(|(name, _)| name)
            .next();
        // A connection that was refused has none.
        let (Some(name), Some(flow)) = (name, ends::flow(client, broker)) else {
            continue;
        };
        let reported = json["connection"]["flow_id"].as_str();
        let outcome = match reported {
            Some(reported) if reported == flow => "ok",
            Some(_) => "WRONG",
            None => "null",
        };
        let role = event.role.as_deref().unwrap_or_default();
        say(&["flow", source, &format!("{name}, {role}"), outcome]);
        if outcome == "WRONG" {
            say(&["detail", source, name, &flow, &event.line]);
        }
    }
    Ok(())
}

/// The source that `start` names, and what it says is missing.
fn report_start(source: &str, start: &Event) -> Result<()> {
    let json: serde_json::Value = serde_json::from_str(&start.line).context("start")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let seeded = json["seeded"].to_string();
    let attach = json["attach_ms"].to_string();
    say(&[
        "source",
        source,
        &text(&json["packet_evidence"]),
        &seeded,
        &attach,
    ]);
    for degraded in json["degraded"].as_array().into_iter().flatten() {
        say(&[
            "degraded",
            source,
            &text(&degraded["feature"]),
            &text(&degraded["reason"]),
        ]);
    }
    Ok(())
}

/// Compares what the tracer says of the client's socket.
fn judge(source: &str, scenario: &Scenario, broker: u16, ran: Result<u16>, tracer: &Tracer) {
    let name = scenario.name;
    let client = match ran {
        Ok(client) => client,
        Err(error) => {
            say(&[
                "verdict",
                source,
                name,
                "NOT RUN",
                &format!("{error:#}"),
                "",
                "",
                "",
            ]);
            return;
        }
    };
    let packets = tracer::wait_for(tracer, Duration::ZERO, |event| {
        event.line.contains("\"packet_evidence\":\"cgroup_skb\"")
    });
    let packets = packets.is_some();
    let less = if packets { &[] } else { scenario.less };
    let outcome = |answer: &str| match () {
        () if answer == scenario.right => "ok",
        () if less.contains(&answer) => "less",
        () => "WRONG",
    };
    let event = tracer::wait_for(tracer, PATIENCE, |event| {
        // A live broker's packets may draw a RST of the client's host afterwards.
        tracer::is_of_client(event, client)
            && (event.kind != "reset" || event.direction.as_deref() == Some("received"))
            // Another connection, of the other family, may have the same port.
            && event.broker.as_ref().and_then(|end| end.port) == Some(broker)
    });
    let Some(event) = event else {
        say(&["verdict", source, name, outcome(SILENT), SILENT, "", "", ""]);
        return;
    };
    let answer = event.answer();
    let outcome = outcome(&answer);
    let reset = event.reset.clone().unwrap_or_default();
    let number = |value: Option<u8>| value.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let headers = format!(
        "flags {} ttl {} handshake {} window {}",
        reset.flags.as_deref().unwrap_or("-"),
        number(reset.ttl),
        number(reset.handshake_ttl),
        reset
            .window
            .map_or_else(|| "-".to_owned(), |n| n.to_string()),
    );
    let idle = event
        .connection
        .as_ref()
        .and_then(|connection| connection.wire_idle_ms)
        .map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
    say(&[
        "verdict",
        source,
        name,
        outcome,
        &answer,
        &format!("{:.2}", event.confidence.unwrap_or(0.0)),
        &idle,
        &headers,
    ]);
    if outcome == "WRONG" {
        say(&["detail", source, name, &event.line]);
    }
}

fn idle_on_send(port: u16, v6: bool) -> Result<u16> {
    lost_in_silence(Ends::connect(port, v6)?.greet()?)
}

/// The connection was there before; it was in use since.
fn older_than_tracer(mut ends: Ends) -> Result<u16> {
    ends.exchange(Request::Metadata, 50)?;
    lost_in_silence(ends)
}

/// The broker's end is lost, and the client writes after a silence.
fn lost_in_silence(ends: Ends) -> Result<u16> {
    let client = ends.port()?;
    let mut lost = ends.lose()?;
    thread::sleep(SILENCE);
    lost.send()?;
    ends::reset(&lost.client)?;
    Ok(client)
}

fn idle_on_timer(port: u16, v6: bool) -> Result<u16> {
    let ends = Ends::connect(port, v6)?.greet()?;
    let client = ends.port()?;
    let lost = ends.lose()?;
    thread::sleep(SILENCE);
    lost.forge()?;
    ends::reset(&lost.client)?;
    Ok(client)
}

fn not_idle(port: u16, v6: bool) -> Result<u16> {
    let mut ends = Ends::connect(port, v6)?.greet()?;
    let from = ends.broker.local_addr()?;
    ends.exchange(Request::Metadata, 50)?;
    ends::forge(from, &ends.client, ends.sequence()?)?;
    ends::reset(&ends.client)?;
    ends.port()
}

/// A live broker aborts.
pub(crate) fn abort(port: u16, v6: bool) -> Result<u16> {
    let mut ends = Ends::connect(port, v6)?.greet()?;
    ends.abort()?;
    ends::reset(&ends.client)?;
    ends.port()
}

fn refused(port: u16, v6: bool) -> Result<u16> {
    ends::refused(port, v6)
}

fn silent_drop(port: u16, v6: bool) -> Result<u16> {
    let mut ends = Ends::connect(port, v6)?.greet()?;
    thread::sleep(SILENCE);
    ends.deafen()?;
    SockRef::from(&ends.client).set_tcp_user_timeout(Some(Duration::from_millis(1_500)))?;
    ends.send()?;
    let error = ends::failure(&ends.client)?;
    if error.raw_os_error() != Some(libc::ETIMEDOUT) {
        bail!("failed, but not of a timeout: {error}");
    }
    ends.port()
}

/// A client that speaks TLS to a broker that does not: the broker reads a
/// length from the record, and closes with the rest unread.
fn tls_to_plaintext(port: u16, v6: bool) -> Result<u16> {
    let mut ends = Ends::connect_near(port, v6)?;
    let client = ends.port()?;
    ends.client.write_all(&client_hello())?;
    ends.broker.read_exact(&mut [0; 4])?;
    ends.broker.shutdown(Shutdown::Write)?;
    thread::sleep(Duration::from_millis(5));
    let Ends {
        client: socket,
        broker,
        listener,
    } = ends;
    // With the rest unread.
    drop(broker);
    ends::reset(&socket)?;
    drop(listener);
    Ok(client)
}

/// A client that speaks plaintext to a broker that wants TLS: the broker
/// answers with an alert and closes.
fn plaintext_to_tls(port: u16, v6: bool) -> Result<u16> {
    let mut ends = Ends::connect_near(port, v6)?;
    let client = ends.port()?;
    ends.send()?;
    thread::sleep(Duration::from_millis(100));
    // Fatal, unexpected message.
    ends.broker.write_all(&[0x15, 3, 3, 0, 2, 2, 10])?;
    thread::sleep(Duration::from_millis(50));
    drain(&ends.broker);
    ends.broker.shutdown(Shutdown::Write)?;
    thread::sleep(Duration::from_millis(50));
    drain(&ends.client);
    let Ends { client: socket, .. } = ends;
    drop(socket);
    Ok(client)
}

/// Reads what is there, so that a close is a FIN and no reset.
fn drain(mut stream: &std::net::TcpStream) {
    let mut bytes = [0; 1024];
    let _count = stream.read(&mut bytes);
}

/// The head of a TLS 1.2 `ClientHello`, padded with zeroes.
fn client_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    hello.resize(205, 0);
    hello
}
