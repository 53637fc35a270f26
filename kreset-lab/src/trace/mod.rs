//! What crossed the wire: the tap in the router, and what is read from it.

pub mod connections;
pub mod ending;
pub mod follow;
mod packet_loss;
mod pcap;
pub mod timeline;
pub mod wire;
