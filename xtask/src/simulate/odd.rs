//! Ends of connections that no scenario recorded, so that every rule has something to judge:
//! hosts that contradict each other, numbers that do not fit, and causes that are rare.

use fastrand::Rng;
use serde_json::{Value, json};

/// Verdicts and causes that one host may report, whatever the other one says.
const ANSWERS: [(&str, Option<&str>); 9] = [
    ("broker_originated", Some("aborted")),
    ("broker_originated", Some("connection_lost")),
    ("client_originated", Some("aborted")),
    ("handshake_phase", Some("refused")),
    ("indeterminate", None),
    ("middlebox_idle_drop", Some("blackholed")),
    ("middlebox_idle_reset", Some("rebound")),
    ("middlebox_reset", Some("moved")),
    ("middlebox_reset", Some("not_idle")),
];

/// The event of one end, with what the other end's host would have reported as what is known of
/// that end: one event of a host that both are on.
pub(super) fn joined(line: &str, other: &str) -> String {
    let parsed = (
        serde_json::from_str::<Value>(line),
        serde_json::from_str::<Value>(other),
    );
    let (Ok(mut event), Ok(other)) = parsed else {
        return line.to_owned();
    };
    let mut seen = json!({
        "state": other["connection"]["state"],
        "idle_ms": other["connection"]["idle_ms"],
        "wire_idle_ms": other["connection"]["wire_idle_ms"],
        "kernel_reason": other["reset"]["kernel_reason"],
        "process": other["process"],
    });
    for name in ["time", "role", "direction", "client", "broker"] {
        seen[name] = other[name].clone();
    }
    event["other_end"] = seen;
    event.to_string()
}

/// An event in which something is another than what was recorded.
pub(super) fn altered(random: &mut Rng, line: &str) -> String {
    let Ok(mut event) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    match random.u32(..20) {
        0..6 => {
            let (verdict, cause) = ANSWERS[random.usize(..ANSWERS.len())];
            event["verdict"] = json!(verdict);
            event["cause"] = json!(cause);
        }
        6..9 => {
            // One that is accepted after a FIN, one that is questioned, and others.
            let ahead = [1, 1_000, 1 << 31, u32::MAX][random.usize(..4)];
            if let Some(sequence) = event["reset"]["sequence"].as_u64() {
                let sequence = u32::try_from(sequence).unwrap_or(0);
                event["reset"]["sequence"] = json!(sequence.wrapping_add(ahead));
            }
        }
        9..11 => {
            let other = if event["direction"] == "sent" {
                "received"
            } else {
                "sent"
            };
            event["direction"] = json!(other);
        }
        11..13 => event["type"] = json!(["reset", "close", "timeout"][random.usize(..3)]),
        13..15 => {
            let silence = [None, Some(0.0), Some(999.9), Some(1_000.0), Some(5_000.0)];
            event["connection"]["wire_idle_ms"] = json!(silence[random.usize(..5)]);
        }
        15 => {
            let drew = [None, Some("data"), Some("keepalive"), Some("nothing")];
            event["connection"]["provoked_by"] = json!(drew[random.usize(..4)]);
        }
        16 => event["kreset_probe"] = json!(["process", "mss"][random.usize(..2)]),
        17 => event["confidence"] = json!([0.5, 0.9, 0.95, 0.999][random.usize(..4)]),
        18 => event["connection"]["flow_id"] = Value::Null,
        _ => {
            // As agents write them: with two digits.
            let mut share = || f64::from(random.u32(..=50)) / 100.0;
            event["candidates"] = json!([
                { "verdict": "middlebox_idle_reset", "share": share() },
                { "verdict": "middlebox_reset", "share": share() },
            ]);
        }
    }
    event.to_string()
}
