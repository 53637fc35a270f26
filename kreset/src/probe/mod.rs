//! Measures, on purpose and without privileges, after which silence a device
//! between this host and a broker forgets a connection, and at which hop it is.
//!
//! What is to be tried and what the outcomes mean is pure: [`ladder`], [`rounds`],
//! [`bracket`], [`finding`], [`walk`], [`settings`]. Sockets are in `line`, `hops`
//! and `info`; [`measure`] and [`hold`] run them.

pub mod bracket;
pub mod clients;
mod connection;
pub mod earlier;
pub mod finding;
pub mod hold;
mod hops;
mod info;
pub mod ladder;
pub mod log;
pub mod measure;
mod names;
pub mod options;
mod plan_text;
pub mod progress;
mod report;
mod round;
pub mod rounds;
mod run;
pub mod rung;
mod screen;
pub mod settings;
mod sniff;
pub mod stop;
pub mod target;
mod terminal;
pub mod walk;

pub use round::Trigger;
pub use run::{ProbeError, run};
