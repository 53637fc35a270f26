//! `kreset-trace probe` at real listeners and behind each device, watched by a tracer on both
//! hosts: neither may take what a measurement does on purpose for trouble.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    idle::{self, DEVICES, Device, Manner, PROXIES, Proxy},
    prelude::*,
};
use crate::{
    kafka::{process::Process, proxy},
    util::program::OPENSSL,
};

/// How long the longest of the probes may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// What one that found a device ends with.
const FOUND: i32 = 4;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (name, protocol) in [
        ("probe-listener.plaintext", Protocol::Plaintext),
        ("probe-listener.tls", Protocol::Ssl),
        ("probe-listener.sasl", Protocol::SaslPlaintext),
    ] {
        let scenario = setup::alone(
            name,
            "kreset-trace probe at a listener: the broker logs nothing but connections that came \
             and went",
            move |setup| listener(setup, protocol),
        );
        all.push(match protocol {
            Protocol::Ssl | Protocol::SaslSsl => scenario.needing(OPENSSL),
            Protocol::Plaintext | Protocol::SaslPlaintext => scenario,
        });
    }
    for device in DEVICES {
        all.push(setup::alone(
            &device.name.replace("device.", "probe-device."),
            device.about,
            move |setup| behind_device(setup, device),
        ));
    }
    for proxy in PROXIES {
        let scenario = setup::alone(
            &proxy.name.replace("device.", "probe-device."),
            proxy.about,
            move |setup| behind_proxy(setup, proxy),
        );
        all.push(scenario.needing(proxy.program));
    }
    all
}

/// What a probe found, and the code that it ended with.
struct Found {
    exit: Option<i32>,
    event: Value,
}

impl Found {
    fn text(&self, name: &str) -> &str {
        self.event[name].as_str().unwrap_or_default()
    }

    fn seconds(&self, name: &str) -> f64 {
        self.event[name].as_f64().unwrap_or(f64::NAN) / 1e3
    }

    /// What is wrong with it, where it should have found this.
    fn differences(&self, exit: i32, result: &str, behavior: &str) -> Vec<String> {
        let said = (
            self.exit.unwrap_or(-1),
            self.text("result"),
            self.text("behavior"),
        );
        if said == (exit, result, behavior) {
            return Vec::new();
        }
        vec![format!(
            "probe: (exit code, result, behavior) {said:?}, expected {:?}: {}",
            (exit, result, behavior),
            self.event
        )]
    }

    /// What is wrong with the interval, where this was the timer.
    fn misses(&self, timer: Duration) -> Option<String> {
        let (survived, died) = (
            self.seconds("survived_idle_ms"),
            self.seconds("fatal_idle_ms"),
        );
        let timer = timer.as_secs_f64();
        let holds = survived < timer && timer <= died;
        (!holds).then(|| format!("probe: {survived:.3} to {died:.3} s, the timer is {timer:.3} s"))
    }
}

/// Probes a broker from the client's host.
fn probe(setup: &KafkaSetup<'_>, broker: &Broker, from: Duration, to: Duration) -> Result<Found> {
    let lab = setup.lab;
    let mut command = setup.session.tracer_command()?;
    let ms = |time: Duration| format!("{}ms", time.as_millis());
    command
        .args(["probe", &broker.bootstrap(), "--format", "json"])
        .args(["--from", &ms(from), "--up-to", &ms(to)])
        .args(["--give-up", "3s", "--rate", "100"]);
    lab.status().set("probing the broker");
    let host = lab.network().host(Side::Client);
    let mut process = Process::start(lab, host, "probe", &mut command)?;
    let said = process.wait_for("what the probe found", 0, PATIENCE, |line| {
        line.starts_with('{')
    })?;
    let event = serde_json::from_str(&said.text)
        .map_err(|error| Error::Staging(format!("the probe's event: {error}")))?;
    Ok(Found {
        exit: process.wait_for_end(PATIENCE)?.code(),
        event,
    })
}

/// Judges both tracers, which should report nothing: a device that resets both ends did so to the
/// broker as well, but its host knows whose connections these are. Adds what is wrong with the
/// probe.
fn judge(setup: &KafkaSetup<'_>, watch: Watch<'_>, wrong: Vec<String>) -> Result<Outcome> {
    let mut outcome = setup.judge(watch, |_ending| Ruling::Nothing)?;
    for host in [&mut outcome.client, &mut outcome.broker] {
        let said = host.said.iter().flat_map(|said| &said.events);
        let alerts = said.filter(|event| event.kind == "alert");
        let alerts: Vec<_> = alerts.map(|it| format!("alerted: {}", it.line)).collect();
        host.differences.extend(alerts);
    }
    outcome.client.differences.extend(wrong);
    Ok(outcome)
}

fn listener(setup: &KafkaSetup<'_>, protocol: Protocol) -> Result<Outcome> {
    let broker = setup.broker(broker::Plan::new(protocol).logging(NETWORK))?;
    let watch = setup.watch()?;
    let from = broker.log().length();
    let found = probe(
        setup,
        &broker,
        Duration::from_secs(1),
        Duration::from_secs(4),
    )?;
    setup.wait_for_silence(Duration::from_secs(1))?;
    let mut wrong = found.differences(0, "none", "");
    let address = format!("/{CLIENT_V4}");
    let log = broker.log().lines();
    let mut closed = 0;
    for line in log.iter().skip(from) {
        if line.text.contains(&address) && line.text.contains("disconnected") {
            closed += 1;
        } else if line.text.contains(&address) || is_complaint(&line.text) {
            wrong.push(format!("the broker logs {:?}", line.text));
        }
    }
    let used = found.event["rungs"].as_array().map_or(0, Vec::len);
    if closed < used || used == 0 {
        wrong.push(format!(
            "the broker logs the end of {closed} connections, of {used}"
        ));
    }
    judge(setup, watch, wrong)
}

/// Logs each connection that ends, at level debug, and with what error.
const NETWORK: &str = "org.apache.kafka.common.network.Selector=debug";

/// What follows a line of level debug, such as a stack trace, is none.
fn is_complaint(line: &str) -> bool {
    ["WARN", "ERROR", "FATAL"]
        .iter()
        .any(|word| line.contains(word))
}

fn behind_device(setup: &KafkaSetup<'_>, device: Device) -> Result<Outcome> {
    let idle = setup.session.scaled(device.timeout);
    let timer = idle::install(setup.lab, device.manner, idle)?;
    let broker = setup.broker(idle::patient_broker(idle))?;
    let watch = setup.watch_past(3 * idle)?;
    let found = probe(setup, &broker, idle / 3, 2 * idle)?;
    let behavior = match device.manner {
        Manner::OnSend => "reset_on_send",
        Manner::OnTimer => "reset_on_timer",
        Manner::Silent => "blackholed",
    };
    let mut wrong = found.differences(FOUND, "device", behavior);
    let truth = timer.as_ref().map_or(Ok(idle), |_| first_end(setup))?;
    wrong.extend(found.misses(truth));
    setup.wait_for_silence(idle)?;
    let outcome = judge(setup, watch, wrong);
    drop(timer);
    outcome
}

fn behind_proxy(setup: &KafkaSetup<'_>, proxy: Proxy) -> Result<Outcome> {
    let idle = setup.session.scaled(proxy.timeout);
    let broker = setup.broker(idle::patient_broker(idle).advertised(proxy::ADDRESS))?;
    let _proxy = proxy::start(setup.lab, &setup.scratch, proxy.kind, idle)?;
    let watch = setup.watch_past(3 * idle)?;
    let found = probe(setup, &broker, idle / 3, 2 * idle)?;
    let mut wrong = found.differences(FOUND, "closed", "idle_close");
    wrong.extend(found.misses(first_end(setup)?));
    setup.wait_for_silence(Duration::from_secs(1))?;
    judge(setup, watch, wrong)
}

/// The shortest silence on the client's wire after which the device or the proxy ended a
/// connection.
fn first_end(setup: &KafkaSetup<'_>) -> Result<Duration> {
    let mut last: BTreeMap<u16, Moment> = BTreeMap::new();
    let mut ended = Vec::new();
    let seen = setup.lab.wire().sightings();
    for seen in seen.iter().filter(|seen| seen.leg == Side::Client) {
        let flags = seen.segment.flags;
        let is_end = flags.contain(Flags::FIN) || flags.contain(Flags::RST);
        match last.insert(seen.client_port(), seen.at) {
            Some(before) if seen.leaving && is_end => ended.push(seen.at.since(before)),
            _ => {}
        }
    }
    // What answers the client's own end comes at once.
    let by_itself = ended
        .into_iter()
        .filter(|it| *it > Duration::from_millis(500));
    by_itself
        .min()
        .ok_or_else(|| Error::Staging("no connection was ended".to_owned()))
}
