//! Bounds by which both sides recognise a request of the Kafka protocol.

/// Largest request that a broker accepts by default, bytes:
/// `socket.request.max.bytes`, 100 MiB.
pub const MAX_REQUEST: u32 = 100 << 20;
/// Above the highest API key in use.
pub const MAX_API_KEY: u16 = 100;
/// Above the highest version of an API in use.
pub const MAX_API_VERSION: u16 = 32;
