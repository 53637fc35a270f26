//! The client software, by the `ApiVersions` request that opens a connection:
//! newer clients name themselves in it (KIP-511), kafkajs does not.

use crate::facts::PacketFacts;

const API_VERSIONS: u16 = 18;
/// From this version on the request names the software; its header and strings
/// are the compact ones.
const NAMES_SOFTWARE: u16 = 3;

/// The version that kafkajs 2.2.4 asks with (`protocol/requests/apiVersions`:
/// its newest). Java clients 2.0 to 2.3 do too, so that it proves nothing alone.
const KAFKAJS_ASKS: u16 = 2;

/// The name, such as `apache-kafka-java`; from what was kept of the client's
/// first segment.
#[must_use]
pub fn name(packets: &PacketFacts) -> Option<String> {
    parse(&packets.request_head)
}

/// Whether it is kafkajs, which says so in its default client id only; `process`
/// is the name of the client's process, where it is known.
#[must_use]
pub fn is_kafkajs(packets: &PacketFacts, process: Option<&str>) -> bool {
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

fn parse(head: &[u8]) -> Option<String> {
    if word(head, 4)? != API_VERSIONS || word(head, 6)? < NAMES_SOFTWARE {
        return None;
    }
    let id_len = match word(head, 12)? {
        0xffff => 0,
        len => usize::from(len),
    };
    // An empty tag buffer, then a compact string: its length plus one.
    let at = 14_usize.checked_add(id_len)?;
    if *head.get(at)? != 0 {
        return None;
    }
    let len = usize::from(head.get(at + 1)?.checked_sub(1)?);
    let bytes = head.get(at + 2..at.checked_add(2)?.checked_add(len)?)?;
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    bytes
        .iter()
        .all(is_name)
        .then(|| String::from_utf8_lossy(bytes).into_owned())
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// First segments as seen on the wire.
    fn java() -> Vec<u8> {
        let mut bytes = b"\0\0\0\x2e\0\x12\0\x04\0\0\0\0\0\x0aproducer-1\0".to_vec();
        bytes.extend(b"\x12apache-kafka-java\x064.3.0\0");
        bytes
    }

    #[test]
    fn the_name_is_found() {
        assert_eq!(parse(&java()).as_deref(), Some("apache-kafka-java"));
        let mut kcat = b"\0\0\0\x24\0\x12\0\x03\0\0\0\x01\0\x07rdkafka\0".to_vec();
        kcat.extend(b"\x0blibrdkafka\x062.0.2\0");
        assert_eq!(parse(&kcat).as_deref(), Some("librdkafka"));
    }

    #[test]
    fn older_and_cut_requests_have_none() {
        let kafkajs = b"\0\0\0\x11\0\x12\0\x02\0\0\0\0\0\x07kafkajs";
        assert_eq!(parse(kafkajs), None);
        for len in 0..java().len() - 8 {
            assert_eq!(parse(&java()[..len.min(40)]), None, "{len}");
        }
    }

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
        assert!(!opens_like_kafkajs(&java(), Some("node")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(head in proptest::collection::vec(any::<u8>(), 0..96)) {
            let _known = opens_like_kafkajs(&head, None);
            if let Some(name) = parse(&head) {
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
