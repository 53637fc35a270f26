//! The brokers that have labels of their own: those that were used last.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    num::NonZeroUsize,
};

use lru::LruCache;

use super::labels::{AlertLabels, FindingLabels};
use crate::event::Endpoint;

/// Brokers that have a label of their own.
pub(super) const BROKERS: NonZeroUsize = NonZeroUsize::new(200).expect("not zero");
/// The label of all other brokers.
pub(super) const OTHER: &str = "other";

/// The series of each broker.
#[derive(Debug)]
pub(super) struct Brokers {
    series: LruCache<Endpoint, Series>,
}

/// The series of one broker.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) label: String,
    pub(super) counters: HashSet<FindingLabels>,
    /// Whether each alert is active.
    pub(super) alerts: HashMap<AlertLabels, bool>,
}

impl Series {
    fn has_alert(&self) -> bool {
        self.alerts.values().any(|active| *active)
    }
}

impl Brokers {
    pub(super) fn new() -> Self {
        Self {
            series: LruCache::unbounded(),
        }
    }

    /// The series of `broker`, and those of the broker that it replaces. `None` if
    /// alerts are active for all others.
    pub(super) fn get(&mut self, broker: Endpoint) -> (Option<&mut Series>, Option<Series>) {
        let mut replaced = None;
        if !self.series.contains(&broker) {
            if self.series.len() >= BROKERS.get() {
                // An alert that vanished would look as if it had ended.
                let oldest = self.series.iter().rev().find(|(_, it)| !it.has_alert());
                let Some(oldest) = oldest.map(|(broker, _)| *broker) else {
                    return (None, None);
                };
                replaced = self.series.pop(&oldest);
            }
            let series = Series {
                label: SocketAddr::new(broker.address, broker.port).to_string(),
                counters: HashSet::new(),
                alerts: HashMap::new(),
            };
            self.series.put(broker, series);
        }
        (self.series.get_mut(&broker), replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn broker(port: u16) -> Endpoint {
        Endpoint {
            address: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            port,
        }
    }

    fn active(series: &mut Series) {
        let labels = AlertLabels {
            broker: series.label.clone(),
            verdict: "",
            cause: "",
            pattern: String::new(),
        };
        series.alerts.insert(labels, true);
    }

    #[test]
    fn the_least_recently_used_makes_room_unless_its_alert_is_active() {
        let mut brokers = Brokers::new();
        let all = u16::try_from(BROKERS.get()).unwrap();
        for port in 0..all {
            let (series, replaced) = brokers.get(broker(port));
            assert!(series.is_some() && replaced.is_none());
        }
        active(brokers.get(broker(1)).0.unwrap());
        brokers.get(broker(0));
        for port in 2..all {
            let (_, replaced) = brokers.get(broker(all + port));
            assert_eq!(replaced.unwrap().label, format!("127.0.0.1:{port}"));
        }
        let (series, replaced) = brokers.get(broker(2 * all));
        assert_eq!(series.unwrap().label, format!("127.0.0.1:{}", 2 * all));
        assert_eq!(replaced.unwrap().label, "127.0.0.1:0");
        for port in 0..u16::MAX {
            if let (Some(series), _) = brokers.get(broker(port)) {
                active(series);
            }
        }
        assert!(brokers.get(broker(u16::MAX)).0.is_none());
    }
}
