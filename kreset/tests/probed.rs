//! Connections of `kreset-trace probe`, as a tracer on either host meets them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod replay;

use kreset::{
    classify::{Classifier, Config},
    event::{Cause, KresetProbe, PROBE_BYTES, PROBE_MSS, PROBE_PROCESS, Role, Verdict},
    facts::Facts,
};
use replay::judging::{alone, reset, said};

/// A device that resets both ends, on the broker's host; `marked` as the probe's.
fn on_broker(marked: bool) -> Facts {
    let mut facts = reset("idle_reset_on_timer.ipv4.broker");
    assert_eq!(facts.role, Role::Broker);
    let counters = facts.counters.as_mut().unwrap();
    counters.bytes_received = Some(0);
    counters.peer_mss = Some(if marked { PROBE_MSS } else { 1_460 });
    facts
}

#[test]
fn the_announced_size_tells_the_brokers_host() {
    assert_eq!(on_broker(true).kreset_probe(), Some(KresetProbe::Mss));
    assert_eq!(on_broker(false).kreset_probe(), None);
    let mut unknown = on_broker(true);
    unknown.counters = None;
    assert_eq!(unknown.kreset_probe(), None);
}

/// Who writes the size into the SYN of a connection hides its end only while it carries nothing.
#[test]
fn a_connection_in_use_is_never_taken_for_the_probes() {
    let with_bytes = |bytes| {
        let mut facts = on_broker(true);
        facts.counters.as_mut().unwrap().bytes_received = bytes;
        facts.kreset_probe()
    };
    assert_eq!(with_bytes(Some(PROBE_BYTES)), Some(KresetProbe::Mss));
    assert_eq!(with_bytes(Some(PROBE_BYTES + 1)), None);
    assert_eq!(with_bytes(None), None);
}

#[test]
fn the_process_tells_the_clients_host() {
    let mut facts = reset("idle_reset_on_send.ipv4.client");
    assert_eq!(facts.kreset_probe(), None);
    facts.owner.name = Some(PROBE_PROCESS.into());
    assert_eq!(facts.kreset_probe(), Some(KresetProbe::Process));
    // A program of that name that listens is somebody's broker.
    let mut broker = on_broker(false);
    broker.owner.name = Some(PROBE_PROCESS.into());
    assert_eq!(broker.kreset_probe(), None);
}

/// Ends a connection a minute for half an hour; whether that raised an alert.
fn alerts(ended: &Facts) -> bool {
    const MINUTE_NS: u64 = 60_000_000_000;
    let mut classifier = Classifier::new(Config::default());
    let mut turned = false;
    for number in 0..30_u16 {
        let mut facts = ended.clone();
        facts.at_ns += u64::from(number) * MINUTE_NS;
        facts.remote.port = 20_000 + number;
        facts.id = None;
        classifier.observe(&facts);
        assert!(classifier.judge(&facts).is_some());
        turned |= !classifier.turns(facts.at_ns).is_empty();
    }
    turned
}

#[test]
fn a_measurement_raises_no_alert_on_the_brokers_host() {
    assert!(alerts(&on_broker(false)));
    assert!(!alerts(&on_broker(true)));
}

/// The device's timer ends a dozen connections of the probe in the same second.
#[test]
fn what_the_probe_draws_says_nothing_about_other_connections() {
    let lost = reset("connection_lost.client");
    let beside = |marked: bool| {
        let mut classifier = Classifier::new(Config::default());
        let mut other = on_broker(marked);
        (other.role, other.local, other.remote) = (Role::Client, lost.local, lost.remote);
        (other.netns, other.id) = (lost.netns, None);
        for number in 0..12 {
            other.local.port = 20_000 + number;
            other.at_ns = lost.at_ns - u64::from(number) * 1_000_000;
            classifier.observe(&other);
        }
        classifier.observe(&lost);
        let (judgement, context) = classifier.judge(&lost).unwrap();
        (said(&judgement), context.concurrent.count)
    };
    assert_eq!(beside(true), (said(&alone(&lost)), 0));
    assert_eq!(beside(false).1, 12);
}

#[test]
fn the_verdict_is_that_of_any_other_connection() {
    let (verdict, cause) = said(&alone(&on_broker(true)));
    assert_eq!(verdict, Verdict::MiddleboxIdleReset);
    assert_eq!(cause, Some(Cause::ResetOnTimer));
}
