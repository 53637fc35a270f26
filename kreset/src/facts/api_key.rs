//! API keys of Kafka's protocol that verdicts depend on; apache/kafka `ApiKeys`, 4.3.

/// A producer's records: with `acks=0` it waits for no answer.
pub const PRODUCE: u16 = 0;
/// A consumer's or a follower's long poll.
pub const FETCH: u16 = 1;
/// A member of a group waits here for the others.
pub const JOIN_GROUP: u16 = 11;
/// A client's credentials: what is wrong with them is answered since Kafka 1.0 (KIP-152).
pub const SASL_AUTHENTICATE: u16 = 36;
/// Requests that a broker answers at once, whoever asks.
///
/// `ListOffsets`, `Metadata`, `OffsetFetch`, `FindCoordinator`, `Heartbeat`, `LeaveGroup`,
/// `ApiVersions`, `DescribeCluster` and `ConsumerGroupHeartbeat`. Others wait for records,
/// replicas, other members, or a directory of users.
pub const ANSWERED_AT_ONCE: [u16; 9] = [2, 3, 9, 10, 12, 13, 18, 60, 68];
