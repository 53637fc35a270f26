//! The packaged files fit the program: configurations, unit, manifest.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has to fail"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kreset::{
    cli::{self, Command},
    run::options::Options,
    sink::{FileConfig, PrometheusConfig, Target},
};
use tempfile::TempDir;

fn packaged(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../packaging")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The options of a run with this configuration.
fn options(config: &str) -> Options {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("kreset.toml");
    fs::write(&file, config).unwrap();
    match cli::parse(["kreset-trace", "--config", file.to_str().unwrap()]) {
        Ok(Command::Run(options)) => *options,
        other => panic!("{other:?} of\n{config}"),
    }
}

/// The words after `begin`, wherever a line begins so.
fn words_after(text: &str, begin: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix(begin))
        .flat_map(|rest| rest.split([' ', ',', '[', ']']))
        .filter(|word| !word.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn the_default_configuration_writes_where_the_unit_lets_it() {
    let options = options(&packaged("kreset.toml"));
    assert_eq!(options.ports.to_string(), "9092");
    let [sink] = options.sinks().try_into().unwrap();
    let Target::File(FileConfig { path, .. }) = sink.target else {
        panic!("{:?}", sink.target);
    };
    let unit = packaged("kreset.service");
    for (directory, directive) in [
        (path.parent().unwrap(), "LogsDirectory=kreset"),
        (options.spool.parent().unwrap(), "StateDirectory=kreset"),
    ] {
        assert!(unit.lines().any(|line| line == directive), "{directive}");
        assert!(directory.ends_with("kreset"), "{}", directory.display());
    }
    let rotated = packaged("kreset.logrotate");
    let begin = format!("{} {{", path.display());
    assert!(rotated.starts_with(&begin), "{rotated}");
}

/// Commented-out examples are valid, and show the defaults.
#[test]
fn every_example_of_the_default_configuration_is_right() {
    let text = packaged("kreset.toml");
    let (settings, sinks) = text.split_once("[[sink]]").unwrap();
    let uncommented = |text: &str| {
        let lines = text.lines().map(|line| match line.strip_prefix('#') {
            // An example has no blank after its number sign, prose has.
            Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest,
            _ => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let plain = options(&text);
    let spelled = options(&uncommented(settings));
    // Those of keys above the sinks are the defaults.
    assert_eq!(spelled.broker_max_idle, plain.broker_max_idle);
    assert_eq!(spelled.packet_evidence, plain.packet_evidence);
    assert_eq!(spelled.summary_interval, plain.summary_interval);
    assert_eq!(
        (&spelled.spool, spelled.spool_size, spelled.drain),
        (&plain.spool, plain.spool_size, plain.drain)
    );
    let all = options(&uncommented(&format!("{settings}[[sink]]{sinks}")));
    let kinds: Vec<_> = all
        .configured
        .iter()
        .map(|sink| sink.target.kind())
        .collect();
    assert_eq!(kinds, ["file", "syslog", "otlp", "prometheus", "syslog"]);
}

#[test]
fn the_manifest_has_the_rights_of_the_unit_and_a_right_configuration() {
    let manifest = packaged("kreset-daemonset.yaml");
    let unit = packaged("kreset.service");
    let added: BTreeSet<_> = words_after(&manifest, "add: ")
        .iter()
        .map(|name| format!("CAP_{name}"))
        .collect();
    assert!(!added.is_empty());
    assert_eq!(words_after(&unit, "AmbientCapabilities="), added);
    assert_eq!(words_after(&unit, "CapabilityBoundingSet="), added);

    let config = manifest.split_once("kreset.toml: |\n").unwrap().1;
    let config = config.split_once("\n---").unwrap().0;
    let config: Vec<_> = config.lines().map(str::trim_start).collect();
    // Its image is of this version, and the chart that it comes from as well.
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        manifest.contains(&format!("/kreset:{version}\"")),
        "{version}"
    );
    let chart = include_str!("../../contrib/helm/kreset/Chart.yaml");
    for key in ["version: ", "appVersion: "] {
        let words = words_after(chart, key);
        let words: Vec<_> = words.iter().map(|it| it.trim_matches('"')).collect();
        assert!(words.contains(&version), "{key}{words:?}");
    }
    let options = options(&config.join("\n"));
    let listens = options
        .configured
        .iter()
        .find_map(|sink| match sink.target {
            Target::Prometheus(PrometheusConfig { listen, health }) => Some((listen, health)),
            _ => None,
        });
    let (listen, health) = listens.unwrap();
    assert_eq!(
        words_after(&manifest, "containerPort: "),
        BTreeSet::from([listen.port().to_string()])
    );
    // The probes do not share a socket with strangers.
    let health = health.unwrap();
    assert!(health.ip().is_loopback(), "{health}");
    assert_eq!(
        words_after(&manifest, "host: "),
        BTreeSet::from([health.ip().to_string()])
    );
    let probes = manifest.split("httpGet:").skip(1);
    let ports = probes.filter_map(|probe| words_after(probe, "port: ").pop_first());
    assert_eq!(
        ports.collect::<Vec<_>>(),
        [health.port().to_string(), health.port().to_string()]
    );
    let spool = format!("mountPath: {}", options.spool.parent().unwrap().display());
    assert!(manifest.contains(&spool), "{spool}");
}

#[test]
fn the_unit_starts_what_is_packaged() {
    let unit = packaged("kreset.service");
    let start = words_after(&unit, "ExecStart=");
    assert!(start.contains("/usr/bin/kreset-trace"), "{start:?}");
    let config = start.iter().find(|word| word.starts_with("/etc/")).unwrap();
    let package = packaged("nfpm.yaml");
    assert!(words_after(&package, "dst: ").contains(config), "{config}");
    let stop = words_after(&unit, "TimeoutStopSec=");
    let drain = options(&packaged("kreset.toml")).drain;
    let seconds: u64 = stop.first().unwrap().trim_end_matches('s').parse().unwrap();
    // A run that still writes takes four times as long at most.
    assert!(4 * drain.as_secs() < seconds, "{drain:?}");
}

/// The kernel charges what it keeps of connections to the agent's control group: with 40,000 of
/// them it was killed in one of 20 MB.
#[test]
fn unit_and_manifest_have_memory_for_the_connections_that_are_tracked() {
    const AGENT: u64 = 96_000_000;
    const CONNECTION: u64 = 721;
    let tracked = options(&packaged("kreset.toml")).max_connections.get();
    let needed = AGENT + CONNECTION * u64::from(tracked);
    let unit = packaged("kreset.service");
    let manifest = packaged("kreset-daemonset.yaml");
    let limits = manifest.split("limits:").nth(1).unwrap();
    let limits = limits.split("requests:").next().unwrap();
    for (limit, suffix) in [
        (words_after(&unit, "MemoryMax=").pop_first().unwrap(), "M"),
        (words_after(limits, "memory: ").pop_last().unwrap(), "Mi"),
    ] {
        let mebibytes: u64 = limit.strip_suffix(suffix).unwrap().parse().unwrap();
        assert!(mebibytes << 20 >= needed, "{limit} for {needed} bytes");
    }
}

/// Every alert has a section in the runbook that its annotation links to.
#[test]
fn every_alert_links_to_its_section() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let rules = text("contrib/prometheus/kreset-rules.yml");
    let runbook = text("docs/fleet.md");
    let repository = env!("CARGO_PKG_REPOSITORY");
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 11, "{}", alerts.len());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        let link = format!(
            "runbook_url: {repository}/blob/main/docs/fleet.md#{}\n",
            name.to_lowercase()
        );
        assert!(alert.contains(&link), "{name}: {link}");
        assert!(runbook.contains(&format!("\n### {name}\n")), "{name}");
    }
}
