//! What scenarios with real programs are written with.

pub(super) use std::time::Duration;

pub(super) use super::setup::{self, KafkaSetup, with_each};
pub(super) use crate::{
    Family, Moment, Side,
    case::{Outcome, Scenario, Watch},
    device::Ttl,
    driver::Options,
    error::{Error, Result},
    judge::{Answer, ruling::Ruling},
    kafka::{
        broker::{self, Broker, Protocol},
        client::{self, Client, Job, Said, Software},
    },
    net::{CLIENT_V4, message::Request, packet::Flags},
    trace::ending::{Ending, What},
};
