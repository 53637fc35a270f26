//! The devices whose idle timer and behaviour fit what was seen.

use std::sync::LazyLock;

use serde::Deserialize;
use smol_str::SmolStr;

use super::{class::Class, context::PathView};

/// What a device does when its idle timer runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// It forgets, and later packets vanish.
    Drop,
    /// It forgets, and resets whoever sends next.
    RstNext,
    /// It resets both ends there and then.
    RstBoth,
}

/// A kind of device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// As people know it.
    pub name: SmolStr,
    /// Its default idle timer, seconds.
    pub idle_s: u32,
    /// What the timer can be set to, seconds.
    pub range_s: Option<[u32; 2]>,
    /// What it does, in each of its modes.
    pub expiry: Vec<Expiry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    device: Vec<Device>,
}

/// How far from its timer a device may fire, share and seconds: timers are a
/// tick coarse, and the last packet may have crossed the wire after it was
/// counted.
const TOLERANCE: f64 = 0.02;
const TOLERANCE_S: f64 = 1.0;

/// Every device, in the order of the table.
#[must_use]
pub fn all() -> &'static [Device] {
    static TABLE: LazyLock<Vec<Device>> = LazyLock::new(|| {
        // The table is part of the program, and a test reads it.
        toml::from_str::<Table>(include_str!("devices.toml"))
            .map(|table| table.device)
            .unwrap_or_default()
    });
    &TABLE
}

/// The devices whose default timer lies in what the path has shown and that
/// behave as the class says: `(survived, died]` on the next packet, the silence
/// itself at the timer.
#[must_use]
pub fn candidates(class: Class, path: &PathView) -> Vec<&'static Device> {
    let (Some(expiry), Some(fatal_ms)) = (expiry(class), path.fatal_ms) else {
        return Vec::new();
    };
    let died_s = fatal_ms / 1_000.0;
    let survived_s = path.survived_ms.unwrap_or(0.0) / 1_000.0;
    all()
        .iter()
        .filter(|device| device.expiry.contains(&expiry))
        .filter(|device| {
            let timer_s = f64::from(device.idle_s);
            let slack_s = timer_s.mul_add(TOLERANCE, TOLERANCE_S);
            match expiry {
                Expiry::RstBoth => (died_s - timer_s).abs() <= slack_s,
                Expiry::Drop | Expiry::RstNext => {
                    timer_s > survived_s && timer_s <= died_s + slack_s
                }
            }
        })
        .collect()
}

const fn expiry(class: Class) -> Option<Expiry> {
    match class {
        Class::IdleOnSend => Some(Expiry::RstNext),
        Class::IdleOnTimer => Some(Expiry::RstBoth),
        Class::Blackholed => Some(Expiry::Drop),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(class: Class, survived_s: f64, died_s: f64) -> Vec<&'static str> {
        let path = PathView {
            survived_ms: (survived_s > 0.0).then_some(survived_s * 1e3),
            fatal_ms: Some(died_s * 1e3),
            ..PathView::default()
        };
        candidates(class, &path)
            .iter()
            .map(|device| device.name.as_str())
            .collect()
    }

    #[test]
    fn the_table_is_whole() {
        assert!(all().len() >= 20);
        for device in all() {
            assert!(!device.expiry.is_empty(), "{}", device.name);
            if let Some([least, most]) = device.range_s {
                assert!((least..=most).contains(&device.idle_s), "{}", device.name);
            }
        }
    }

    #[test]
    fn several_devices_share_350_seconds_and_all_are_told() {
        assert_eq!(
            names(Class::IdleOnSend, 300.0, 400.0),
            [
                "AWS Network Load Balancer",
                "AWS NAT Gateway",
                "AWS PrivateLink endpoint"
            ]
        );
    }

    #[test]
    fn a_survived_silence_rules_shorter_timers_out() {
        assert!(names(Class::IdleOnSend, 360.0, 800.0).is_empty());
        assert_eq!(
            names(Class::IdleOnSend, 360.0, 1000.0),
            ["Linux IPVS (kube-proxy, Docker Swarm)"]
        );
    }

    #[test]
    fn at_the_timer_the_silence_is_the_timer() {
        assert_eq!(
            names(Class::IdleOnTimer, 0.0, 240.2),
            ["Azure Load Balancer", "Azure Firewall (north-south)"]
        );
        assert!(names(Class::IdleOnTimer, 0.0, 500.0).is_empty());
    }

    #[test]
    fn other_causes_have_no_device() {
        assert!(names(Class::BrokerLost, 0.0, 350.0).is_empty());
    }
}
