//! Counts for Prometheus, and whether the tracer is attached.
//!
//! Labels are bounded: verdicts, causes and other words are those of the contract;
//! brokers (and so paths) are the first [`BROKERS`] seen, and `other` for the rest.

mod http;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use serde::{Deserialize, Deserializer, de::Error as _};

use self::http::Answer;
use super::{HostSettings, Parts, Settings};
use crate::{
    delivery::{Observer, SinkError, Status},
    event::{Endpoint, Event, Finding, Summary, Verdict},
};

/// The keys of a sink that Prometheus scrapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PrometheusConfig {
    /// Where `/metrics` and `/healthz` are served.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_not_one| {
        D::Error::custom(format_args!(
            "invalid address \"{text}\": expected IP:PORT, such as 127.0.0.1:9464"
        ))
    })
}

impl Settings for PrometheusConfig {
    // It counts all events.
    const IS_FILTERED: bool = false;
    const REQUIRED: &[(&str, &str)] = &[("listen", "127.0.0.1:9464")];

    fn destination(&self) -> String {
        self.listen.to_string()
    }

    fn open(&self, host: &HostSettings<'_>) -> Result<Parts, SinkError> {
        let attached = Arc::clone(host.attached);
        Ok(Parts::Observer(Box::new(Prometheus {
            listen: self.listen,
            metrics: Arc::new(Metrics::new(attached, host.spool_size)),
        })))
    }
}

/// Counts events for one address.
#[derive(Debug)]
struct Prometheus {
    listen: SocketAddr,
    metrics: Arc<Metrics>,
}

impl Observer for Prometheus {
    fn start(&mut self, sinks: Vec<(String, Arc<Status>)>) -> Result<(), SinkError> {
        self.metrics.watch(sinks);
        serve(Arc::clone(&self.metrics), self.listen)
            .map(drop)
            .map_err(|source| SinkError::Listen {
                address: self.listen,
                source,
            })
    }

    fn observe(&self, event: &Event) {
        self.metrics.observe(event);
    }
}

/// Brokers that have a label of their own.
const BROKERS: usize = 200;
/// The label of all other brokers.
const OTHER: &str = "other";
/// Buckets of the fatal idle times, seconds: at and between common timers of
/// devices.
const SILENCES: [f64; 16] = [
    10.0, 30.0, 60.0, 120.0, 180.0, 240.0, 300.0, 330.0, 360.0, 420.0, 540.0, 660.0, 960.0,
    1_860.0, 3_660.0, 7_260.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabels {
    r#type: &'static str,
    verdict: &'static str,
    cause: &'static str,
    role: &'static str,
    broker: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BrokerLabels {
    broker: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertLabels {
    broker: String,
    verdict: &'static str,
    cause: &'static str,
    pattern: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkLabels {
    sink: String,
}

/// All counts.
#[derive(Debug)]
struct Metrics {
    registry: Registry,
    attached: Arc<AtomicBool>,
    findings: Family<FindingLabels, Counter>,
    silences: Family<BrokerLabels, Histogram, fn() -> Histogram>,
    alerts: Family<AlertLabels, Gauge>,
    noise: Family<KindLabels, Counter>,
    lost: Family<SourceLabels, Counter>,
    attached_gauge: Gauge,
    delivered: Family<SinkLabels, Counter>,
    failures: Family<SinkLabels, Counter>,
    undelivered: Family<SinkLabels, Counter>,
    waiting: Family<SinkLabels, Gauge>,
    spool: Family<SinkLabels, Gauge>,
    spool_limit: Gauge,
    sinks: Mutex<Vec<(String, Arc<Status>)>>,
    brokers: Mutex<HashSet<Endpoint>>,
}

impl Metrics {
    /// Nothing counted yet. Each sink may spool `spool_size` bytes.
    fn new(attached: Arc<AtomicBool>, spool_size: u64) -> Self {
        let silences: fn() -> Histogram = || Histogram::new(SILENCES);
        let mut metrics = Self {
            registry: Registry::default(),
            attached,
            findings: Family::default(),
            silences: Family::new_with_constructor(silences),
            alerts: Family::default(),
            noise: Family::default(),
            lost: Family::default(),
            attached_gauge: Gauge::default(),
            delivered: Family::default(),
            failures: Family::default(),
            undelivered: Family::default(),
            waiting: Family::default(),
            spool: Family::default(),
            spool_limit: Gauge::default(),
            sinks: Mutex::default(),
            brokers: Mutex::default(),
        };
        let mut registry = Registry::with_prefix("kreset");
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The running version", Info::new(build));
        registry.register(
            "findings",
            "Connections that were reset, closed early or timed out",
            metrics.findings.clone(),
        );
        registry.register_with_unit(
            "fatal_idle",
            "Idle times after which a flow was dead on its path, for middlebox_idle_reset and middlebox_idle_drop",
            Unit::Seconds,
            metrics.silences.clone(),
        );
        registry.register(
            "alert_active",
            "Whether resets of a path are sustained or periodic",
            metrics.alerts.clone(),
        );
        registry.register(
            "noise",
            "Routine closes, as of the last summary",
            metrics.noise.clone(),
        );
        registry.register("lost", "Events lost, by source", metrics.lost.clone());
        registry.register(
            "attached",
            "Whether the tracer is attached",
            metrics.attached_gauge.clone(),
        );
        registry.register(
            "sink_delivered",
            "Events delivered",
            metrics.delivered.clone(),
        );
        registry.register(
            "sink_failures",
            "Failed attempts to deliver",
            metrics.failures.clone(),
        );
        registry.register(
            "sink_lost",
            "Events that will never be delivered",
            metrics.undelivered.clone(),
        );
        registry.register(
            "sink_waiting",
            "Events still to be delivered",
            metrics.waiting.clone(),
        );
        registry.register_with_unit(
            "sink_spool",
            "Size of the spool on disk",
            Unit::Bytes,
            metrics.spool.clone(),
        );
        registry.register_with_unit(
            "spool_limit",
            "Size limit of the spool of each sink",
            Unit::Bytes,
            metrics.spool_limit.clone(),
        );
        // A counter whose first value is above 0 shows no increase.
        for source in ["kernel", "kernel_skipped", "kernel_untracked", "decoder"] {
            metrics.has_lost(source, 0);
        }
        metrics
            .spool_limit
            .set(i64::try_from(spool_size).unwrap_or(i64::MAX));
        metrics.registry = registry;
        metrics
    }

    /// Shows the counts of `sinks`.
    fn watch(&self, sinks: Vec<(String, Arc<Status>)>) {
        for (name, _) in &sinks {
            self.has_lost(&format!("sink {name}"), 0);
        }
        *self.sinks.lock().unwrap_or_else(PoisonError::into_inner) = sinks;
    }

    /// Counts `event`.
    fn observe(&self, event: &Event) {
        match event {
            Event::Reset(it) | Event::Close(it) | Event::Timeout(it) => {
                self.count(event.kind().as_str(), it);
            }
            Event::Alert(alert) => {
                let labels = AlertLabels {
                    broker: self.broker(alert.broker),
                    verdict: alert.verdict.as_str(),
                    cause: alert.cause.map_or("", |cause| cause.as_str()),
                    pattern: alert.pattern.to_string(),
                };
                self.alerts
                    .get_or_create(&labels)
                    .set(i64::from(alert.phase == "begin"));
            }
            Event::Loss(loss) => self.has_lost(&loss.source, loss.lost),
            Event::Summary(summary) => self.sum_up(summary),
            Event::Start(_) | Event::Probe(_) => {}
        }
    }

    fn has_lost(&self, source: &str, count: u64) {
        let labels = SourceLabels {
            source: source.to_owned(),
        };
        self.lost.get_or_create(&labels).inc_by(count);
    }

    fn count(&self, kind: &'static str, finding: &Finding) {
        let broker = self.broker(finding.broker);
        let labels = FindingLabels {
            r#type: kind,
            verdict: finding.verdict.as_str(),
            cause: finding.cause.map_or("", |cause| cause.as_str()),
            role: finding.role.as_str(),
            broker: broker.clone(),
        };
        self.findings.get_or_create(&labels).inc();
        let idle = matches!(
            finding.verdict,
            Verdict::MiddleboxIdleReset | Verdict::MiddleboxIdleDrop
        );
        if let Some(silence) = finding.connection.idle_ms.filter(|_| idle) {
            self.silences
                .get_or_create(&BrokerLabels { broker })
                .observe(silence / 1_000.0);
        }
    }

    fn sum_up(&self, summary: &Summary) {
        for (kind, count) in &summary.noise {
            let counter = self
                .noise
                .get_or_create_owned(&KindLabels { kind: kind.clone() });
            counter.inner().store(*count, Relaxed);
        }
    }

    /// The label of a broker.
    fn broker(&self, endpoint: Endpoint) -> String {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        let known =
            brokers.contains(&endpoint) || (brokers.len() < BROKERS && brokers.insert(endpoint));
        drop(brokers);
        if known {
            SocketAddr::new(endpoint.address, endpoint.port).to_string()
        } else {
            OTHER.to_owned()
        }
    }

    /// All of it, in the `OpenMetrics` text format.
    fn text(&self) -> String {
        self.attached_gauge
            .set(i64::from(self.attached.load(Relaxed)));
        for (name, status) in &*self.sinks.lock().unwrap_or_else(PoisonError::into_inner) {
            let sink = SinkLabels { sink: name.clone() };
            let now = status.snapshot();
            self.delivered
                .get_or_create(&sink)
                .inner()
                .store(now.delivered, Relaxed);
            self.failures
                .get_or_create(&sink)
                .inner()
                .store(now.failures, Relaxed);
            self.undelivered
                .get_or_create(&sink)
                .inner()
                .store(now.lost, Relaxed);
            let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            self.waiting.get_or_create(&sink).set(gauge(now.waiting));
            self.spool.get_or_create(&sink).set(gauge(now.spool_bytes));
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _written = encode(&mut text, &self.registry);
        text
    }

    fn answer(&self, path: &str) -> Answer {
        const PLAIN: &str = "text/plain; charset=utf-8";
        match path {
            "/metrics" => Answer {
                status: "200 OK",
                content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
                body: self.text(),
            },
            "/healthz" if self.attached.load(Relaxed) => Answer {
                status: "200 OK",
                content_type: PLAIN,
                body: "attached\n".to_owned(),
            },
            "/healthz" => Answer {
                status: "503 Service Unavailable",
                content_type: PLAIN,
                body: "not attached\n".to_owned(),
            },
            _ => Answer {
                status: "404 Not Found",
                content_type: PLAIN,
                body: "expected /metrics or /healthz\n".to_owned(),
            },
        }
    }
}

/// Serves `metrics` on `listen`; the address in use.
fn serve(metrics: Arc<Metrics>, listen: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen)?;
    let address = listener.local_addr()?;
    http::serve(listener, move |path| metrics.answer(path))?;
    Ok(address)
}
