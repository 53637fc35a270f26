//! Network namespaces with a real stateful middlebox between a Kafka client and a broker, named
//! scenarios in which a connection is reset, and a judge of what `kreset-trace` says of it.
//!
//! ```no_run
//! # use std::{path::Path, time::Duration};
//! # use kreset_lab::{device::Ttl, driver, Family, Lab, net::message::Request, Side, Stop};
//! # fn main() -> kreset_lab::Result<()> {
//! let lab = Lab::new(&Stop::default())?;
//! lab.middlebox().reset_on_send(Duration::from_secs(3), Ttl::Own)?;
//! let program = Path::new("target/release/kreset-trace");
//! let tracer = lab.trace(Side::Client, program, &driver::Options::default())?;
//!
//! let listener = lab.listen(Family::Ipv4)?;
//! let mut conversation = lab.converse(&listener, Family::Ipv4)?;
//! lab.silence(Duration::from_secs(4))?;
//! conversation.client.request(Request::Metadata)?;
//! conversation.client.wait_for_reset()?;
//!
//! let event = tracer.wait_for("a reset", Duration::from_secs(1), |event| event.is_about_a_connection())?;
//! println!("{} {:?}", event.verdict.unwrap_or_default(), event.cause);
//! # Ok(())
//! # }
//! ```
//!
//! Everything that a [`Lab`] makes (namespaces, processes, threads) is gone when it is dropped.
//! What only `Drop` of a killed process could have removed, the next [`sweep`] removes.

#![cfg_attr(
    not(feature = "full"),
    expect(dead_code, reason = "some is for the soak alone")
)]

#[macro_use]
mod named;

pub mod accuracy;
#[cfg(feature = "full")]
pub mod bench;
pub mod case;
pub mod crowd;
pub mod device;
pub mod driver;
pub mod error;
pub mod event;
mod judge;
pub mod kafka;
mod lab;
pub mod net;
pub mod report;
pub mod runner;
mod side;
#[cfg(feature = "full")]
pub mod soak;
pub mod trace;
pub mod util;

pub use crate::{
    error::{Error, Result},
    lab::{Lab, check},
    net::{
        endpoint::{Connection, Conversation, Family, Listener},
        sweep,
    },
    side::{PORT, Side},
    util::{moment::Moment, status::Status, stop::Stop},
};
