//! The counts.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::{Instant, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Metric, Registry, Unit},
};

use super::{
    brokers::{Brokers, OTHER, Series},
    held::HeldCounter,
    labels::{
        AlertLabels, BrokerLabels, ClientLabels, FindingLabels, IncidentLabels, KindLabels,
        SinkLabels, SourceLabels, software,
    },
    process::ProcessMetrics,
};
use crate::{
    delivery::{Health, SinkState, Status},
    event::{Endpoint, Event, Finding, IncidentKind, Summary, Verdict},
};

/// Buckets of the fatal idle times, seconds: at and between common timers of
/// devices.
const SILENCES: [f64; 16] = [
    10.0, 30.0, 60.0, 120.0, 180.0, 240.0, 300.0, 330.0, 360.0, 420.0, 540.0, 660.0, 960.0,
    1_860.0, 3_660.0, 7_260.0,
];

/// Where events are lost before they reach the sinks.
const SOURCES: [&str; 6] = [
    "kernel",
    "kernel_skipped",
    "kernel_untracked",
    "decoder",
    "limiter",
    "netns",
];

/// All counts.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    health: Arc<Health>,
    findings: Family<FindingLabels, HeldCounter>,
    clients: Family<ClientLabels, HeldCounter>,
    silences: Family<BrokerLabels, Histogram, fn() -> Histogram>,
    alerts: Family<AlertLabels, Gauge>,
    incidents: Family<IncidentLabels, Counter>,
    noise: Family<KindLabels, Counter>,
    lost: Family<SourceLabels, Counter>,
    attached: Gauge,
    reload: Gauge,
    reloaded: Gauge,
    sinks: SinkMetrics,
    process: ProcessMetrics,
    statuses: Mutex<Vec<(String, Arc<Status>)>>,
    brokers: Mutex<Brokers>,
}

/// A metric that is in `registry` from now on.
fn registered<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// The counts of sinks.
#[derive(Debug, Default)]
struct SinkMetrics {
    delivered: Family<SinkLabels, Counter>,
    failures: Family<SinkLabels, Counter>,
    lost: Family<SinkLabels, Counter>,
    restarts: Family<SinkLabels, Counter>,
    waiting: Family<SinkLabels, Gauge>,
    working: Family<SinkLabels, Gauge>,
    spool: Family<SinkLabels, Gauge>,
}

impl SinkMetrics {
    fn new(registry: &mut Registry) -> Self {
        let spool = Family::default();
        registry.register_with_unit(
            "sink_spool",
            "Size of the spool on disk",
            Unit::Bytes,
            spool.clone(),
        );
        Self {
            delivered: registered(registry, "sink_delivered", "Events delivered"),
            failures: registered(registry, "sink_failures", "Failed attempts to deliver"),
            lost: registered(registry, "sink_lost", "Events that will never be delivered"),
            restarts: registered(
                registry,
                "sink_restarts",
                "Threads that failed and were started again",
            ),
            waiting: registered(registry, "sink_waiting", "Events still to be delivered"),
            working: registered(
                registry,
                "sink_working",
                "Whether the last attempt to deliver was successful",
            ),
            spool,
        }
    }

    fn update(&self, name: &str, status: &Status) {
        let sink = SinkLabels {
            sink: name.to_owned(),
        };
        let now = status.snapshot();
        for (family, count) in [
            (&self.delivered, now.delivered),
            (&self.failures, now.failures),
            (&self.lost, now.lost),
            (&self.restarts, now.restarts),
        ] {
            family.get_or_create(&sink).inner().store(count, Relaxed);
        }
        let working = u64::from(status.state() == SinkState::Working);
        for (family, value) in [
            (&self.waiting, now.waiting),
            (&self.working, working),
            (&self.spool, now.spool_bytes),
        ] {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            family.get_or_create(&sink).set(value);
        }
    }
}

impl Metrics {
    /// Nothing counted yet. Each sink may spool `spool_size` bytes.
    pub(super) fn new(health: Arc<Health>, spool_size: u64) -> Self {
        let mut root = Registry::default();
        let process = ProcessMetrics::new(&mut root);
        let registry = root.sub_registry_with_prefix("kreset");
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The running version", Info::new(build));
        let findings = registered(
            registry,
            "findings",
            "Connections that were reset, closed early or timed out",
        );
        let clients = registered(
            registry,
            "client_findings",
            "The same findings by the client's software, where its first request names it",
        );
        let histogram: fn() -> Histogram = || Histogram::new(SILENCES);
        let silences = Family::new_with_constructor(histogram);
        registry.register_with_unit(
            "fatal_idle",
            "Idle times after which a flow was dead on its path, for middlebox_idle_reset and middlebox_idle_drop",
            Unit::Seconds,
            silences.clone(),
        );
        let alerts = registered(
            registry,
            "alert_active",
            "Whether resets of a path are sustained or periodic",
        );
        let incidents = registered(
            registry,
            "incidents",
            "Incidents that began: ends of connections that have one cause",
        );
        let noise = registered(registry, "noise", "Routine closes, as of the last summary");
        let lost = registered(
            registry,
            "lost",
            "Events lost before they reached the sinks, by source",
        );
        let attached = registered(
            registry,
            "attached",
            "Whether the tracer is attached and its event loop turns",
        );
        let reload = registered(
            registry,
            "config_last_reload_successful",
            "Whether the configuration was valid when it was read last",
        );
        let reloaded = Gauge::default();
        registry.register_with_unit(
            "config_last_reload_success_timestamp",
            "When the configuration was read successfully last, since the epoch",
            Unit::Seconds,
            reloaded.clone(),
        );
        let sinks = SinkMetrics::new(registry);
        let spool_limit = Gauge::<i64>::default();
        spool_limit.set(i64::try_from(spool_size).unwrap_or(i64::MAX));
        registry.register_with_unit(
            "spool_limit",
            "Size limit of the spool of each sink",
            Unit::Bytes,
            spool_limit,
        );
        let metrics = Self {
            registry: root,
            health,
            findings,
            clients,
            silences,
            alerts,
            incidents,
            noise,
            lost,
            attached,
            reload,
            reloaded,
            sinks,
            process,
            statuses: Mutex::default(),
            brokers: Mutex::new(Brokers::new()),
        };
        // A counter whose first value is above 0 shows no increase.
        for source in SOURCES {
            metrics.has_lost(source, 0);
        }
        for kind in IncidentKind::ALL {
            let incident = kind.as_str();
            let _at_zero = metrics
                .incidents
                .get_or_create(&IncidentLabels { incident });
        }
        metrics
    }

    /// Shows the counts of `sinks`.
    pub(super) fn watch(&self, sinks: Vec<(String, Arc<Status>)>) {
        *self.statuses.lock().unwrap_or_else(PoisonError::into_inner) = sinks;
    }

    /// The state of each sink.
    pub(super) fn states(&self) -> Vec<(String, SinkState)> {
        self.statuses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(name, it)| (name.clone(), it.state()))
            .collect()
    }

    /// Counts `event`.
    pub(super) fn observe(&self, event: &Event) {
        match event {
            Event::Reset(it) | Event::Close(it) | Event::Timeout(it) => {
                self.count(event.kind().as_str(), it);
            }
            Event::Alert(alert) => {
                let begins = alert.phase == "begin";
                let mut labels = AlertLabels {
                    broker: String::new(),
                    verdict: alert.verdict.as_str(),
                    cause: alert.cause.map_or("", |cause| cause.as_str()),
                    pattern: alert.pattern.to_string(),
                };
                labels.broker = self.of_broker(alert.broker, |series| {
                    let labels = AlertLabels {
                        broker: series.label.clone(),
                        ..labels.clone()
                    };
                    series.alerts.insert(labels, begins);
                });
                self.alerts.get_or_create(&labels).set(i64::from(begins));
            }
            Event::Incident(it) => {
                if it.begins() {
                    let incident = it.incident.as_str();
                    self.incidents
                        .get_or_create(&IncidentLabels { incident })
                        .inc();
                }
            }
            // What sinks lost is theirs: no event is counted under two names.
            Event::Loss(loss) if loss.source.starts_with("sink ") => {}
            Event::Loss(loss) => self.has_lost(&loss.source, loss.lost),
            Event::Summary(summary) => self.sum_up(summary),
            // A counter does not go back: what was counted stays under its first name.
            Event::Start(_) | Event::Correction(_) | Event::Probe(_) | Event::Finding(_) => {}
        }
    }

    fn has_lost(&self, source: &str, count: u64) {
        let labels = SourceLabels {
            source: source.to_owned(),
        };
        self.lost.get_or_create(&labels).inc_by(count);
    }

    fn count(&self, kind: &'static str, finding: &Finding) {
        let mut labels = FindingLabels {
            r#type: kind,
            verdict: finding.verdict.as_str(),
            cause: finding.cause.map_or("", |cause| cause.as_str()),
            role: finding.role.as_str(),
            broker: String::new(),
        };
        let broker = self.of_broker(finding.broker, |series| {
            labels.broker.clone_from(&series.label);
            if !series.counters.contains(&labels) {
                series.counters.insert(labels.clone());
            }
        });
        labels.broker.clone_from(&broker);
        self.findings.get_or_create(&labels).add(1);
        let client = ClientLabels {
            verdict: labels.verdict,
            cause: labels.cause,
            software: software(finding.client.software.as_deref()),
        };
        self.clients.get_or_create(&client).add(1);
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

    /// The label of a broker, whose series are changed.
    fn of_broker(&self, broker: Endpoint, change: impl FnOnce(&mut Series)) -> String {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        let (series, replaced) = brokers.get(broker);
        let label = series.map(|series| {
            change(series);
            series.label.clone()
        });
        drop(brokers);
        if let Some(replaced) = replaced {
            self.forget(replaced);
        }
        label.unwrap_or_else(|| OTHER.to_owned())
    }

    /// Adds the counts of a broker to those of all others: their sum must not fall.
    fn forget(&self, replaced: Series) {
        for labels in replaced.counters {
            let count = self.findings.get_or_create(&labels).get();
            self.findings.remove(&labels);
            let other = FindingLabels {
                broker: OTHER.to_owned(),
                ..labels
            };
            self.findings.get_or_create(&other).add(count);
        }
        for labels in replaced.alerts.keys() {
            self.alerts.remove(labels);
        }
        let broker = replaced.label;
        self.silences.remove(&BrokerLabels { broker });
    }

    /// All of it, in the `OpenMetrics` text format.
    pub(super) fn text(&self) -> String {
        let attached = self.health.is_attached() && self.health.stalled(Instant::now()).is_none();
        self.attached.set(i64::from(attached));
        let (successful, at) = self.health.last_reload();
        self.reload.set(i64::from(successful));
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.reloaded.set(i64::try_from(at).unwrap_or(i64::MAX));
        self.process.update();
        for (name, status) in &*self.statuses.lock().unwrap_or_else(PoisonError::into_inner) {
            self.sinks.update(name, status);
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _written = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{super::brokers::BROKERS, *};
    use crate::event::{Alert, samples};

    fn alert() -> Box<Alert> {
        let alert = samples::all().into_iter().find_map(|event| match event {
            Event::Alert(alert) => Some(alert),
            _ => None,
        });
        alert.unwrap()
    }

    #[test]
    fn clients_are_counted_by_software_and_by_no_other_name() {
        let metrics = Metrics::new(Arc::default(), 0);
        for number in 0..1_000 {
            let mut finding = samples::finding();
            finding.client.id = Some(format!("client-{number}").into());
            finding.client.software = match number {
                0..10 => Some("apache-kafka-java".into()),
                10..30 => None,
                _ => Some(format!("made-up-{number}").into()),
            };
            metrics.observe(&Event::Reset(Box::new(finding)));
        }
        let counted = |software| {
            let labels = ClientLabels {
                verdict: "middlebox_idle_reset",
                cause: "reset_on_send",
                software,
            };
            metrics.clients.get_or_create(&labels).get()
        };
        let all = ["apache-kafka-java", "other", "unknown"].map(counted);
        assert_eq!(all, [10, 970, 20]);
        let text = metrics.text();
        let series = text
            .lines()
            .filter(|line| line.starts_with("kreset_client_findings_total"));
        assert_eq!(series.count(), all.len(), "{text}");
        assert!(!text.contains("client-1"), "{text}");
    }

    #[test]
    fn brokers_beyond_the_bound_are_summed_up_and_the_latest_have_their_own() {
        let metrics = Metrics::new(Arc::default(), 0);
        for port in 0..=u16::MAX {
            let mut finding = samples::finding();
            finding.broker.port = port;
            metrics.observe(&Event::Reset(Box::new(finding)));
            let mut alert = alert();
            alert.broker.port = port;
            for phase in ["begin", "end"] {
                alert.phase = phase.into();
                metrics.observe(&Event::Alert(alert.clone()));
            }
        }
        let text = metrics.text();
        let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(series("kreset_findings_total"), BROKERS.get() + 1);
        assert_eq!(series("kreset_alert_active{"), BROKERS.get());
        assert_eq!(series("kreset_fatal_idle_seconds_count"), BROKERS.get());
        assert!(text.contains("broker=\"10.0.2.7:65535\"}"), "{text}");
        assert!(!text.contains("broker=\"10.0.2.7:1\"}"), "{text}");
        let finding = samples::finding();
        let counted = |broker: String| {
            let labels = FindingLabels {
                r#type: "reset",
                verdict: finding.verdict.as_str(),
                cause: finding.cause.map_or("", |cause| cause.as_str()),
                role: finding.role.as_str(),
                broker,
            };
            metrics.findings.get_or_create(&labels).get()
        };
        let others = u64::from(u16::MAX) + 1 - BROKERS.get() as u64;
        assert_eq!(counted(OTHER.to_owned()), others);
        assert_eq!(counted("10.0.2.7:65535".to_owned()), 1);
    }
}
