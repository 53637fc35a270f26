//! Real brokers and real clients, with real trouble between them.
//!
//! Every scenario is run with Kafka's own Java client and with librdkafka, most with kafkajs as
//! well, and is named after the one it is run with: `tls-to-plaintext.java`. What
//! each host should report is read off the wire ([`crate::judge::ruling`]), since real clients open
//! and retry connections as they like.

mod advice;
mod advised;
mod broker_idle;
mod ended;
mod healthy;
mod idle;
mod incident;
mod limits;
mod load;
mod prelude;
mod probed;
mod quiet;
mod restart;
mod rolling;
mod sasl;
mod setup;
mod silent;
mod tls;
mod together;
mod waves;

use super::scenario::Scenario;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = idle::scenarios();
    all.extend(advised::scenarios());
    all.extend(restart::scenarios());
    all.extend(rolling::scenarios());
    all.extend(ended::scenarios());
    all.extend(load::scenarios());
    all.extend(incident::scenarios());
    all.extend(together::scenarios());
    all.extend(silent::scenarios());
    all.extend(waves::scenarios());
    all.extend(broker_idle::scenarios());
    all.extend(quiet::scenarios());
    all.extend(healthy::scenarios());
    all.extend(tls::scenarios());
    all.extend(sasl::scenarios());
    all.extend(limits::scenarios());
    all.extend(probed::scenarios());
    all
}
