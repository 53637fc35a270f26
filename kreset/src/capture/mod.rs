//! What a file holds of connections: recordings of raw records, and packet captures.

pub mod broker_log;
pub mod follow;
pub mod input;
pub mod packets;
pub mod recording;
pub mod segment;
pub mod viewpoint;
