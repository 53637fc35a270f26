//! What a file holds of connections: recordings of raw records, packet captures, and logs.

pub mod follow;
pub mod input;
pub mod logs;
pub mod packets;
pub mod recording;
pub mod segment;
pub mod viewpoint;
