//! Counts for Prometheus, and whether the agent works.
//!
//! Labels are bounded: verdicts, causes and other words are those of the contract;
//! brokers (and so paths) are the [`brokers::BROKERS`] used last, and `other` for the rest.

mod brokers;
mod exposition;
mod held;
mod http;
mod labels;
mod metrics;
mod process;
#[cfg(test)]
mod tests;

use std::{
    fmt::Write as _,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Instant,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use self::{
    exposition::Exposition,
    http::{Answer, Request},
    metrics::Metrics,
};
use super::{HostSettings, Parts, Settings};
use crate::{
    delivery::{Health, Observer, SinkError, SinkState, Status},
    event::Event,
};

/// The keys of a sink that Prometheus scrapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PrometheusConfig {
    /// Where `/metrics` is served; also `/healthz`, if this is a loopback address.
    #[serde(default = "default_listen", deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Where `/healthz` is served instead: strangers must not be able to keep a
    /// liveness probe out.
    #[serde(default, deserialize_with = "some_address")]
    pub health: Option<SocketAddr>,
}

/// Only this host.
const fn default_listen() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464)
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_not_one| {
        D::Error::custom(format_args!(
            "invalid address \"{text}\": expected IP:PORT, such as 127.0.0.1:9464"
        ))
    })
}

fn some_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    address(deserializer).map(Some)
}

impl Settings for PrometheusConfig {
    // It counts all events.
    const IS_FILTERED: bool = false;

    fn destination(&self) -> String {
        match self.health {
            Some(health) => format!("{}, /healthz {health}", self.listen),
            None => self.listen.to_string(),
        }
    }

    fn open(&self, host: &HostSettings<'_>) -> Result<Parts, SinkError> {
        let health = Arc::clone(host.health);
        Ok(Parts::Observer(Box::new(Prometheus {
            config: *self,
            pages: Arc::new(Pages {
                metrics: Metrics::new(Arc::clone(&health), host.spool_size),
                health,
            }),
        })))
    }
}

/// Counts events for one address.
#[derive(Debug)]
struct Prometheus {
    config: PrometheusConfig,
    pages: Arc<Pages>,
}

impl Observer for Prometheus {
    fn start(&mut self, sinks: Vec<(String, Arc<Status>)>) -> Result<(), SinkError> {
        self.pages.metrics.watch(sinks);
        let PrometheusConfig { listen, health } = self.config;
        let with_health = health.is_none() && listen.ip().is_loopback();
        let serve = |address, metrics, health| {
            serve(&self.pages, address, metrics, health)
                .map_err(|source| SinkError::Listen { address, source })
        };
        serve(listen, true, with_health)?;
        if let Some(health) = health {
            serve(health, false, true)?;
        }
        Ok(())
    }

    fn observe(&self, event: &Event) {
        self.pages.metrics.observe(event);
    }
}

/// What is served.
#[derive(Debug)]
struct Pages {
    metrics: Metrics,
    health: Arc<Health>,
}

const PLAIN: &str = "text/plain; charset=utf-8";

impl Pages {
    fn metrics(&self, request: Request<'_>) -> Answer {
        let exposition = Exposition::accepted(request.accept);
        Answer {
            status: "200 OK",
            content_type: exposition.content_type(),
            body: exposition.of(self.metrics.text()),
        }
    }

    /// 200 while events can flow: the event loop turns, and no sink is stuck. A
    /// receiver that is down is not this agent's fault, and is only named.
    fn healthz(&self) -> Answer {
        let states = self.metrics.states();
        let is_stuck = states.iter().any(|(_, state)| *state == SinkState::Stuck);
        let stalled = self.health.stalled(Instant::now());
        let mut body = match stalled {
            _ if !self.health.is_attached() => "not attached\n".to_owned(),
            Some(time) => format!("the event loop has not turned for {} s\n", time.as_secs()),
            None => "attached\n".to_owned(),
        };
        for (name, state) in states {
            // Writing to a string cannot fail.
            let _written = writeln!(body, "sink {name}: {}", state.as_str());
        }
        let healthy = self.health.is_attached() && stalled.is_none() && !is_stuck;
        Answer {
            status: if healthy {
                "200 OK"
            } else {
                "503 Service Unavailable"
            },
            content_type: PLAIN,
            body,
        }
    }
}

/// Serves `pages` on `listen`; the address in use.
fn serve(
    pages: &Arc<Pages>,
    listen: SocketAddr,
    with_metrics: bool,
    with_health: bool,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen)?;
    let address = listener.local_addr()?;
    let pages = Arc::clone(pages);
    http::serve(listener, move |request| match request.path {
        "/metrics" if with_metrics => pages.metrics(request),
        "/healthz" if with_health => pages.healthz(),
        _ => Answer {
            status: "404 Not Found",
            content_type: PLAIN,
            body: match (with_metrics, with_health) {
                (true, true) => "expected /metrics or /healthz\n",
                (true, false) => "expected /metrics; set \"health\" for /healthz\n",
                (false, _) => "expected /healthz\n",
            }
            .to_owned(),
        },
    })?;
    Ok(address)
}
