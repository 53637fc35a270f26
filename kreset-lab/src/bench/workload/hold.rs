//! Connections that are open and do nothing.

use std::env;

use crate::net::holder::{EACH, Holder, Task};
use anyhow::{Context as _, Result};

use super::loopback;

/// Opens `count` connections at `port`, each of which has answered one request; they are closed
/// when what comes back is dropped.
pub fn open(port: u16, count: u32) -> Result<Vec<Holder>> {
    let own = env::current_exe().context("the path of this program is unknown")?;
    // Each process has an address of its own, which its clients have all ports towards.
    let addresses = (1..=u8::MAX).map(|last| loopback(last, port));
    let (mut holders, mut left) = (Vec::new(), count);
    for broker in addresses {
        if left == 0 {
            break;
        }
        let count = left.min(EACH);
        left -= count;
        let task = Task {
            broker,
            count,
            clients: None,
            busy: false,
        };
        holders.push(Holder::start(&own, &task)?);
    }
    Ok(holders)
}
