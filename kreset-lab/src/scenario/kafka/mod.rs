//! Real brokers and real clients, with real trouble between them.
//!
//! Every scenario is run with Kafka's own Java client and with librdkafka, most with kafkajs as
//! well, and is named after the one it is run with: `tls-to-plaintext.java`. What each host should tell is read off the wire
//! ([`crate::judge::ruling`]), since real clients open and retry connections as they like.

mod advice;
mod advised;
mod broker_idle;
mod cast;
mod healthy;
mod idle;
mod limits;
mod quiet;
mod restart;
mod rolling;
mod sasl;
mod tls;

use super::{Outcome, Scenario, Scene};
use crate::{
    error::Result,
    kafka::{client::Software, home::Home},
    util::program::{self, JAVA},
};

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = idle::scenarios();
    all.extend(advised::scenarios());
    all.extend(restart::scenarios());
    all.extend(rolling::scenarios());
    all.extend(broker_idle::scenarios());
    all.extend(quiet::scenarios());
    all.extend(healthy::scenarios());
    all.extend(tls::scenarios());
    all.extend(sasl::scenarios());
    all.extend(limits::scenarios());
    all
}

/// Makes sure that the broker and the client of a scenario are installed.
pub(super) fn check_parts(name: &str) -> Result<()> {
    let home = Home::find()?;
    program::command(JAVA)?;
    match name.rsplit_once('.') {
        Some((_, "librdkafka")) => home.python().map(drop),
        Some((_, "kafkajs")) => home.node().map(drop),
        _ => Ok(()),
    }
}

/// The same scenario with each client, as `name.java`, `name.librdkafka`.
fn with_each(
    clients: &'static [Software],
    name: &str,
    about: &'static str,
    script: impl Fn(&Scene<'_>, Software) -> Result<Outcome> + Clone + Send + Sync + 'static,
) -> impl Iterator<Item = Scenario> {
    let name = name.to_owned();
    clients.iter().map(move |&software| {
        let script = script.clone();
        let name = format!("{name}.{}", software.name());
        Scenario::new(&name, about, move |scene| script(scene, software)).with_real_parts()
    })
}
