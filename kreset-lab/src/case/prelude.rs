//! What acts are written with.

pub(super) use std::time::Duration;

pub(super) use super::{
    context::Context,
    device::Device,
    environment::Environment,
    pair::ConnectionPair,
    parameters::{Ending, Late, Silence},
    row::{Row, named, row},
    traffic::{self, Shape},
};
pub(super) use crate::{
    Side::{self, Broker, Client},
    device::Ttl,
    error::Result,
    judge::{Answer, Expected},
    net::message::Request,
};

/// Milliseconds.
pub(super) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
