//! API keys of Kafka's protocol that verdicts depend on; apache/kafka `ApiKeys`, 4.3.

/// A producer's records: with `acks=0` it waits for no answer.
pub const PRODUCE: u16 = 0;
/// A consumer's or a follower's long poll.
pub const FETCH: u16 = 1;
/// A member of a group waits here for the others.
pub const JOIN_GROUP: u16 = 11;
