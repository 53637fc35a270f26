//! The client software that an `ApiVersions` request names (KIP-511).

use crate::facts::PacketFacts;

const API_VERSIONS: u16 = 18;
/// From this version on the request names the software; its header and strings
/// are the compact ones.
const NAMES_SOFTWARE: u16 = 3;

/// The name, such as `apache-kafka-java`; from what was kept of the client's
/// first segment.
#[must_use]
pub fn name(packets: &PacketFacts) -> Option<String> {
    parse(&packets.request_head)
}

fn parse(head: &[u8]) -> Option<String> {
    // size, API key, version, correlation id, length of the client id
    let word = |at: usize| Some(u16::from_be_bytes([*head.get(at)?, *head.get(at + 1)?]));
    if word(4)? != API_VERSIONS || word(6)? < NAMES_SOFTWARE {
        return None;
    }
    let id_len = match word(12)? {
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

    proptest! {
        #[test]
        fn any_bytes_are_survived(head in proptest::collection::vec(any::<u8>(), 0..96)) {
            if let Some(name) = parse(&head) {
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
