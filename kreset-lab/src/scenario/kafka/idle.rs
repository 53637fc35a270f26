//! Devices that forget connections which are silent for long, between real ends.

use std::time::Duration;

use super::{
    cast::{self, Cast},
    with_each,
};
use crate::{
    Side,
    account::{Ending, Ruling, What},
    error::Result,
    judge::Answer,
    kafka::{
        broker::{self, Protocol},
        client::{self, Job, Software},
    },
    middlebox::{Timer, Ttl},
    scenario::{Outcome, Scenario, Scene},
};

/// What a device does when its timer has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Answers who sends next with a reset.
    OnSend,
    /// Resets both ends at once.
    OnTimer,
    /// Drops what comes.
    Silent,
}

/// A device by its name in the world.
#[derive(Clone, Copy, Debug)]
struct Device {
    name: &'static str,
    about: &'static str,
    /// Its default.
    timeout: Duration,
    manner: Manner,
}

const DEVICES: [Device; 7] = [
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
        timeout: Duration::from_secs(240),
        manner: Manner::Silent,
    },
    Device {
        name: "device.azure-lb-reset",
        about: "Azure load balancer with TCP reset (240 s): resets both ends at the timer",
        timeout: Duration::from_secs(240),
        manner: Manner::OnTimer,
    },
    Device {
        name: "device.gcp-nat",
        about: "Google Cloud NAT (1200 s): forgets, and drops what comes",
        timeout: Duration::from_secs(1200),
        manner: Manner::Silent,
    },
    Device {
        name: "device.f5-fastl4",
        about: "F5 BIG-IP fastL4 (300 s): resets both ends at the timer",
        timeout: Duration::from_secs(300),
        manner: Manner::OnTimer,
    },
    Device {
        name: "device.linux-conntrack",
        about: "a Linux firewall that drops what it does not know (432000 s)",
        timeout: Duration::from_secs(432_000),
        manner: Manner::Silent,
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for device in DEVICES {
        let clients: &[_] = match device.name {
            "device.aws-nlb" => &Software::ALL,
            _ => &Software::USUAL,
        };
        all.extend(with_each(
            clients,
            device.name,
            device.about,
            move |scene, software| silent_producer(scene, software, device),
        ));
    }
    all
}

/// A producer that sends, is silent for longer than the device remembers, and sends again.
fn silent_producer(scene: &Scene<'_>, software: Software, device: Device) -> Result<Outcome> {
    let idle = scene.scaled(device.timeout);
    let cast = Cast::new(scene)?;
    let lab = scene.lab;
    let mut timer: Option<Timer> = None;
    match device.manner {
        Manner::OnSend => lab.middlebox().reset_on_send(idle, Ttl::Own)?,
        Manner::OnTimer => timer = Some(lab.middlebox().reset_on_timer(idle, Ttl::Own)?),
        Manner::Silent => {
            lab.middlebox().drop_silently(idle)?;
            // The client's host gives up after about three seconds instead of a quarter of an
            // hour, so that the kernel does before the client does.
            lab.network()
                .host(Side::Client)
                .sysctl(&[("ipv4/tcp_retries2", "3")])?;
        }
    }
    let broker = cast.broker(broker::Plan::new(Protocol::Plaintext))?;
    let watch = cast.watch()?;
    let plan = client::Plan::new(software, Job::Producer);
    let mut client = cast.client(&plan, &broker)?;
    client.must("hello")?;
    client.must("send 1 100")?;
    match device.manner {
        Manner::OnTimer => {
            client.wait_for_reset_words()?;
            // The broker's end is silent for as long, and is reset a moment later.
            cast.wait_for_silence(idle / 2)?;
        }
        Manner::OnSend | Manner::Silent => {
            cast.wait_for_silence(idle + Duration::from_millis(500))?;
            client.must("send 1 100")?;
        }
    }
    if device.manner == Manner::OnSend {
        client.wait_for_reset_words()?;
    }
    cast.curtain(&mut [&mut client])?;
    let outcome = cast::judge(scene, watch, |ending| by_device(ending, device.manner));
    drop(timer);
    outcome
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
