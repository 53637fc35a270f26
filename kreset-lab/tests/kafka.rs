//! Real brokers and clients, judged on both hosts. As root, with what `cargo xtask setup --kafka`
//! installs and the tracer that `KRESET_TRACE` names.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use kreset_lab::{
    Stop, runner,
    scenario::{self, Scenario, Settings},
};

/// Runs the scenarios of that name, with Java and with librdkafka.
fn run(name: &str) {
    let tracer = std::env::var_os("KRESET_TRACE").expect("KRESET_TRACE names the tracer to judge");
    let settings = Settings {
        tracer: Some(PathBuf::from(tracer)),
        idle_timeout: Duration::from_secs(3),
        scale: None,
        shell: false,
        keep: None,
        own_binary: Some(env!("CARGO_BIN_EXE_kreset-lab").into()),
    };
    let both = |scenario: &Scenario| {
        ["java", "librdkafka"]
            .iter()
            .any(|client| scenario.name() == format!("{name}.{client}"))
    };
    let scenarios: Vec<_> = scenario::catalogue().into_iter().filter(both).collect();
    assert_eq!(scenarios.len(), 2, "{name}");
    let one = NonZeroUsize::MIN;
    let reports = runner::run(&scenarios, one, &settings, &Stop::default(), |_| {});
    let wrong = reports.iter().filter(|report| !report.is_right());
    let stories: String = wrong.map(|report| report.story().to_string()).collect();
    assert!(stories.is_empty(), "{stories}");
}

#[test]
fn a_device_that_resets_on_send_is_named() {
    run("device.aws-nlb");
}

#[test]
fn a_broker_that_restarts_is_named() {
    run("broker-restart-busy");
}

#[test]
fn a_broker_that_is_killed_is_named() {
    run("broker-killed-busy");
}

#[test]
fn a_client_with_tls_at_a_plaintext_listener_is_named() {
    run("tls-to-plaintext");
}

#[test]
fn a_client_without_tls_at_a_tls_listener_is_named() {
    run("plaintext-to-tls");
}
