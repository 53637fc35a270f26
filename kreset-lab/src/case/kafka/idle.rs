//! Devices that forget connections which are silent for long, between real ends.

use super::prelude::*;
use crate::{
    Lab,
    device::Timer,
    kafka::proxy::{self, Kind},
    util::program::{HAPROXY, NGINX, Program},
};

/// What a device does when its timer has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Answers who sends next with a reset.
    OnSend,
    /// Resets both ends at once.
    OnTimer,
    /// Drops what comes.
    Silent,
}

/// A device by its name in the world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Its default.
    pub(super) timeout: Duration,
    pub(super) manner: Manner,
}

pub(super) const DEVICES: [Device; 7] = [
    Device {
        name: "device.aws-nlb",
        about: "AWS network load balancer (350 s): forgets, and resets who sends next",
        timeout: Duration::from_secs(350),
        manner: Manner::OnSend,
    },
    Device {
        name: "device.aws-nat-gateway",
        about: "AWS NAT gateway (350 s): forgets, and resets who sends next",
        timeout: Duration::from_secs(350),
        manner: Manner::OnSend,
    },
    Device {
        name: "device.azure-lb",
        about: "Azure load balancer (240 s): forgets, and drops what comes",
        timeout: Duration::from_mins(4),
        manner: Manner::Silent,
    },
    Device {
        name: "device.azure-lb-reset",
        about: "Azure load balancer with TCP reset (240 s): resets both ends at the timer",
        timeout: Duration::from_mins(4),
        manner: Manner::OnTimer,
    },
    Device {
        name: "device.gcp-nat",
        about: "Google Cloud NAT (1200 s): forgets, and drops what comes",
        timeout: Duration::from_mins(20),
        manner: Manner::Silent,
    },
    Device {
        name: "device.f5-fastl4",
        about: "F5 BIG-IP fastL4 (300 s): resets both ends at the timer",
        timeout: Duration::from_mins(5),
        manner: Manner::OnTimer,
    },
    Device {
        name: "device.linux-conntrack",
        about: "a Linux firewall that drops what it does not know (432000 s)",
        timeout: Duration::from_hours(120),
        manner: Manner::Silent,
    },
];

/// A proxy that ends connections in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proxy {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Its default.
    pub(super) timeout: Duration,
    pub(super) kind: Kind,
    pub(super) program: Program,
}

pub(super) const PROXIES: [Proxy; 2] = [
    Proxy {
        name: "device.haproxy",
        about: "HAProxy with the timeouts of Debian's sample (50 s): closes both sides",
        timeout: Duration::from_secs(50),
        kind: Kind::Haproxy,
        program: HAPROXY,
    },
    Proxy {
        name: "device.nginx-stream",
        about: "nginx as a TCP proxy (600 s): closes both sides",
        timeout: Duration::from_mins(10),
        kind: Kind::Nginx,
        program: NGINX,
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for device in DEVICES {
        all.extend(with_each(
            &Software::ALL,
            device.name,
            device.about,
            move |setup, software| silent_producer(setup, software, device),
        ));
    }
    for proxy in PROXIES {
        let each = with_each(
            &Software::ALL,
            proxy.name,
            proxy.about,
            move |setup, software| proxied(setup, software, proxy),
        );
        all.extend(each.map(|scenario| scenario.needing(proxy.program)));
    }
    all
}

/// A producer behind a proxy that ends what is silent.
fn proxied(setup: &KafkaSetup<'_>, software: Software, proxy: Proxy) -> Result<Outcome> {
    let idle = setup.session.scaled(proxy.timeout);
    let broker = setup.broker(patient_broker(idle).advertised(proxy::ADDRESS))?;
    let _proxy = proxy::start(setup.lab, &setup.scratch, proxy.kind, idle)?;
    let watch = setup.watch_past(idle)?;
    let mut client = setup.producer(&patient_producer(software, idle), &broker)?;
    let status = setup.lab.status();
    status.set(format!("waiting for the proxy's timer of {idle:?}"));
    setup.wait_for_end_of_all(Side::Client, idle + Duration::from_secs(5))?;
    client.must(setup::SEND)?;
    setup.settle(&mut [&mut client])?;
    // The client's host sees a FIN, and closes in order. To the broker the proxy is the client:
    // one that closes and then aborts.
    setup.judge(watch, |ending| match (ending.what, ending.host) {
        (What::Received, Side::Broker) => {
            Ruling::May(vec![Answer::CLIENT_ABORTED, Answer::LATE_DATA])
        }
        (What::Sent, Side::Broker) => Ruling::May(vec![Answer::LATE_DATA]),
        _ => Ruling::Nothing,
    })
}

/// A producer that sends, is silent for longer than the device remembers, and sends again.
fn silent_producer(setup: &KafkaSetup<'_>, software: Software, device: Device) -> Result<Outcome> {
    let idle = setup.session.scaled(device.timeout);
    let timer = install(setup.lab, device.manner, idle)?;
    if device.manner == Manner::Silent {
        // The client's host gives up after about three seconds instead of a quarter of an
        // hour, so that the kernel does before the client does.
        setup
            .lab
            .network()
            .host(Side::Client)
            .sysctl(&[("ipv4/tcp_retries2", "3")])?;
    }
    let broker = setup.broker(patient_broker(idle))?;
    let watch = setup.watch_past(idle)?;
    let mut client = setup.producer(&patient_producer(software, idle), &broker)?;
    match device.manner {
        Manner::OnTimer => {
            let status = setup.lab.status();
            status.set(format!("waiting for the device's timer of {idle:?}"));
            setup.wait_for_reset(Side::Client, idle + Duration::from_secs(20))?;
            // librdkafka logs the reset of a connection that idled this long at its debug level only
            // (`rd_kafka_broker_conn_closed`, 2.16).
            if software != Software::Librdkafka || idle < Duration::from_mins(1) {
                client.wait_for_reset_words(Duration::ZERO)?;
            }
            // The broker's end is silent for as long, and is reset a moment later.
            setup.wait_for_silence(idle / 2)?;
        }
        Manner::OnSend | Manner::Silent => {
            setup.wait_for_silence(idle + Duration::from_millis(500))?;
            client.must(setup::SEND)?;
        }
    }
    if device.manner == Manner::OnSend {
        client.wait_for_reset_words(Duration::ZERO)?;
    }
    setup.settle(&mut [&mut client])?;
    let outcome = setup.judge_an_ending(watch, |ending| by_device(ending, device.manner));
    drop(timer);
    outcome
}

/// Makes the router a device; the timer works until it is dropped.
pub(super) fn install(lab: &Lab, manner: Manner, idle: Duration) -> Result<Option<Timer>> {
    let middlebox = lab.middlebox();
    match manner {
        Manner::OnSend => middlebox.reset_on_send(idle, Ttl::Own)?,
        Manner::OnTimer => return middlebox.reset_on_timer(idle, Ttl::Own).map(Some),
        Manner::Silent => middlebox.drop_silently(idle)?,
    }
    Ok(None)
}

/// A broker that does not end connections before the device does.
pub(super) fn patient_broker(idle: Duration) -> broker::Plan {
    const DEFAULT: Duration = Duration::from_mins(10);
    broker::Plan::new(Protocol::Plaintext).with(
        "connections.max.idle.ms",
        (4 * idle).max(DEFAULT).as_millis(),
    )
}

/// A producer that neither ends its connections before the device does nor breaks their silence,
/// with keepalives or for metadata, which it would ask of one broker of many only.
fn patient_producer(software: Software, idle: Duration) -> client::Plan {
    const IDLE: Duration = Duration::from_mins(9);
    const AGE: Duration = Duration::from_mins(5);
    const KEEPALIVE: Duration = Duration::from_mins(1);
    let at_least = |default: Duration| (4 * idle).max(default).as_millis();
    client::Plan::new(software, Job::Producer)
        .with_if(Software::Java, "connections.max.idle.ms", at_least(IDLE))
        .with_if(Software::Java, "metadata.max.age.ms", at_least(AGE))
        .with_if(Software::Kafkajs, "keepalive.ms", at_least(KEEPALIVE))
}

/// The resets that the device made up are the device's, and there are no others.
fn by_device(ending: &Ending, manner: Manner) -> Ruling {
    match (ending.what, manner) {
        (What::Received, Manner::OnSend) if ending.is_forged() => {
            Ruling::Must(vec![Answer::IDLE_ON_SEND])
        }
        (What::Received, Manner::OnTimer) if ending.is_forged() => {
            Ruling::Must(vec![Answer::IDLE_ON_TIMER])
        }
        (What::TimedOut, Manner::Silent) => Ruling::Must(vec![Answer::IDLE_DROP]),
        _ => Ruling::Nothing,
    }
}
