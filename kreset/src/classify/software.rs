//! Client software that does not name itself, by the `ApiVersions` request that opens a
//! connection.

use crate::facts::PacketFacts;

const API_VERSIONS: u16 = 18;
/// The version that kafkajs 2.2.4 asks with (`protocol/requests/apiVersions`:
/// its newest). Java clients 2.0 to 2.3 do too, so that it proves nothing alone.
const KAFKAJS_ASKS: u16 = 2;

/// Whether it is kafkajs, which says so in its default client id only; `process`
/// is the name of the client's process, where it is known.
#[must_use]
pub(super) fn is_kafkajs(packets: &PacketFacts, process: Option<&str>) -> bool {
    opens_like_kafkajs(&packets.request_head, process)
}

fn opens_like_kafkajs(head: &[u8], process: Option<&str>) -> bool {
    const DEFAULT_ID: &[u8] = b"kafkajs";
    // Of so short a request the first 16 bytes are kept.
    let is_default_id = word(head, 12).map(usize::from) == Some(DEFAULT_ID.len())
        && head
            .get(14..)
            .is_some_and(|id| id.len() >= 2 && DEFAULT_ID.starts_with(id));
    (word(head, 4), word(head, 6)) == (Some(API_VERSIONS), Some(KAFKAJS_ASKS))
        && (process == Some("node") || is_default_id)
}

/// Two bytes of the request: size (0), API key (4), version (6), correlation id
/// (8), length of the client id (12).
fn word(head: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*head.get(at)?, *head.get(at + 1)?]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first segment of a client that names itself, as seen on the wire.
    const JAVA: &[u8] =
        b"\0\0\0\x2e\0\x12\0\x04\0\0\0\0\0\x0aproducer-1\0\x12apache-kafka-java\x064.3.0\0";

    #[test]
    fn kafkajs_is_known_by_its_first_request() {
        let kafkajs = b"\0\0\0\x11\0\x12\0\x02\0\0\0\0\0\x07kafkajs";
        assert!(opens_like_kafkajs(kafkajs, None));
        assert!(opens_like_kafkajs(&kafkajs[..16], None));
        assert!(!opens_like_kafkajs(&kafkajs[..14], None));
        let renamed = b"\0\0\0\x0e\0\x12\0\x02\0\0\0\0\0\x04shop";
        assert!(opens_like_kafkajs(renamed, Some("node")));
        // Java 2.0 to 2.3 ask with the same version.
        assert!(!opens_like_kafkajs(renamed, Some("java")));
        assert!(!opens_like_kafkajs(renamed, None));
        // Other clients on Node.js name themselves.
        assert!(!opens_like_kafkajs(JAVA, Some("node")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(head in proptest::collection::vec(any::<u8>(), 0..96)) {
            let by_id = opens_like_kafkajs(&head, None);
            prop_assert!(!by_id || opens_like_kafkajs(&head, Some("node")));
        }
    }
}
