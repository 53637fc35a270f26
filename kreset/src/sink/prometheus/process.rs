//! The metrics that every program has: `process_*`.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// Of this process.
#[derive(Debug, Default)]
pub(super) struct ProcessMetrics {
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    virtual_size: Gauge,
    descriptors: Gauge,
    threads: Gauge,
}

impl ProcessMetrics {
    /// Registers them.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let seconds = || Unit::Seconds;
        registry.register_with_unit(
            "process_cpu",
            "CPU time used",
            seconds(),
            metrics.cpu.clone(),
        );
        let started = Gauge::<f64, AtomicU64>::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        started.set(now.unwrap_or_default().as_secs_f64());
        registry.register_with_unit(
            "process_start_time",
            "When the process started, since the epoch",
            seconds(),
            started,
        );
        registry.register_with_unit(
            "process_resident_memory",
            "Resident memory",
            Unit::Bytes,
            metrics.resident.clone(),
        );
        registry.register_with_unit(
            "process_virtual_memory",
            "Virtual memory",
            Unit::Bytes,
            metrics.virtual_size.clone(),
        );
        registry.register(
            "process_open_fds",
            "Open descriptors",
            metrics.descriptors.clone(),
        );
        let limit = Gauge::<i64>::default();
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        limit.set(i64::try_from(most).unwrap_or(i64::MAX));
        registry.register("process_max_fds", "The limit of open descriptors", limit);
        registry.register("process_threads", "Threads", metrics.threads.clone());
        metrics
    }

    /// Reads them.
    pub(super) fn update(&self) {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        #[expect(clippy::cast_precision_loss, reason = "exact for 285 years")]
        let seconds = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
        self.cpu.inner().store(seconds.to_bits(), Relaxed);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim_end_matches("kB").trim().parse::<i64>().ok()
        };
        for (gauge, name, factor) in [
            (&self.resident, "VmRSS:", 1024),
            (&self.virtual_size, "VmSize:", 1024),
            (&self.threads, "Threads:", 1),
        ] {
            if let Some(value) = field(name) {
                gauge.set(value * factor);
            }
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // Without the one that reads them.
            gauge_of(&self.descriptors, open.count().saturating_sub(1));
        }
    }
}

fn gauge_of(gauge: &Gauge, value: usize) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
