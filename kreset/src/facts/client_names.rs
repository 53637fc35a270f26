//! The names that a client gives itself in its first request.
//!
//! The header of a request has the `client.id`, and an `ApiVersions` request of newer
//! clients the software and its version (KIP-511). User names of SASL are never in
//! either, and what follows is not looked at.

use kreset_common::kafka::{MAX_API_KEY, MAX_API_VERSION, MAX_REQUEST};
use smol_str::{SmolStr, SmolStrBuilder};

use crate::event::ClientNames;

/// The API key of `ApiVersions`.
const API_VERSIONS: u16 = 18;
/// From this version on the request names the software; its header and strings
/// are the compact ones.
const NAMES_SOFTWARE: u16 = 3;
/// Where the `client.id` begins: after size (0), API key (4), version (6), correlation id
/// (8), and its own length (12).
const CLIENT_ID: usize = 14;
/// Length of a `client.id` that is null.
const NULL: u16 = 0xffff;

/// Reads the names from the first bytes that a client sent, as many as were kept. Bytes
/// that cannot be a request of Kafka's have none.
#[must_use]
pub fn read(head: &[u8]) -> ClientNames {
    let names = ClientNames::default();
    // That of a TLS hello is longer than brokers accept.
    let Some(size) = number(head).filter(|size| *size <= MAX_REQUEST as usize) else {
        return names;
    };
    let (Some(key), Some(version)) = (word(head, 4), word(head, 6)) else {
        return names;
    };
    let Some(length) = word(head, 12) else {
        return names;
    };
    let id_length = if length == NULL { 0 } else { length };
    let fits = usize::from(id_length) + CLIENT_ID - 4 <= size;
    if key > MAX_API_KEY || version > MAX_API_VERSION || !fits || id_length > i16::MAX as u16 {
        return names;
    }
    let rest = head.get(CLIENT_ID..).unwrap_or_default();
    let id = text(rest, id_length.into());
    let (software, version) = rest
        .get(usize::from(id_length)..)
        .filter(|_| key == API_VERSIONS && version >= NAMES_SOFTWARE)
        .map(software)
        .unwrap_or_default();
    ClientNames {
        id,
        software,
        version,
    }
}

/// The name and version after the header's end: an empty buffer of tags, then two compact
/// strings.
fn software(rest: &[u8]) -> (Option<SmolStr>, Option<SmolStr>) {
    let Some((0, rest)) = rest.split_first() else {
        return (None, None);
    };
    let Some((name, rest)) = word_of_software(rest) else {
        return (None, None);
    };
    let version = word_of_software(rest).map(|(version, _)| version);
    (Some(name), version)
}

/// A compact string, its length plus one before it, of the characters that brokers accept
/// here; and what follows.
fn word_of_software(bytes: &[u8]) -> Option<(SmolStr, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let length = usize::from(length.checked_sub(1)?);
    let (word, rest) = rest.split_at_checked(length)?;
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    if word.is_empty() || !word.iter().all(is_name) {
        return None;
    }
    Some((str::from_utf8(word).ok()?.into(), rest))
}

/// The text of `length` bytes that `bytes` begin with. Where fewer were kept, it ends in `…`.
fn text(bytes: &[u8], length: usize) -> Option<SmolStr> {
    let kept = bytes.get(..length.min(bytes.len()))?;
    if kept.is_empty() {
        return None;
    }
    let is_cut = kept.len() < length;
    let mut text = SmolStrBuilder::new();
    for chunk in kept.utf8_chunks() {
        text.push_str(chunk.valid());
        // The last character may have been cut in two.
        let is_half = is_cut && kept.ends_with(chunk.invalid());
        if !chunk.invalid().is_empty() && !is_half {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    if is_cut {
        text.push('…');
    }
    Some(text.finish())
}

fn number(head: &[u8]) -> Option<usize> {
    let size = u32::from_be_bytes(*head.first_chunk::<4>()?);
    usize::try_from(size).ok()
}

fn word(head: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*head.get(at..)?.first_chunk::<2>()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// First segments as seen on the wire.
    const JAVA: &[u8] =
        b"\0\0\0\x2e\0\x12\0\x04\0\0\0\0\0\x0aproducer-1\0\x12apache-kafka-java\x064.3.0\0";
    const KCAT: &[u8] = b"\0\0\0\x24\0\x12\0\x03\0\0\0\x01\0\x07rdkafka\0\x0blibrdkafka\x062.0.2\0";
    const KAFKAJS: &[u8] = b"\0\0\0\x11\0\x12\0\x02\0\0\0\0\0\x07kafkajs";

    fn names(head: &[u8]) -> [Option<String>; 3] {
        let ClientNames {
            id,
            software,
            version,
        } = read(head);
        [id, software, version].map(|name| name.map(String::from))
    }

    #[test]
    fn the_names_are_found() {
        assert_eq!(
            names(JAVA),
            ["producer-1", "apache-kafka-java", "4.3.0"].map(|it| Some(it.to_owned()))
        );
        assert_eq!(
            names(KCAT),
            ["rdkafka", "librdkafka", "2.0.2"].map(|it| Some(it.to_owned()))
        );
        assert_eq!(names(KAFKAJS), [Some("kafkajs".to_owned()), None, None]);
        // Metadata, version 12, of a client that asks for no versions first.
        let metadata = b"\0\0\0\x1a\0\x03\0\x0c\0\0\0\x07\0\x0aorders-api\0\x01\0\0\0";
        assert_eq!(names(metadata), [Some("orders-api".to_owned()), None, None]);
    }

    #[test]
    fn a_client_without_an_id_has_its_software() {
        for length in [[0xff, 0xff], [0, 0]] {
            let mut head = b"\0\0\0\x24\0\x12\0\x04\0\0\0\0".to_vec();
            head.extend(length);
            head.extend(b"\0\x12apache-kafka-java\x064.3.0\0");
            assert_eq!(
                names(&head),
                [
                    None,
                    Some("apache-kafka-java".to_owned()),
                    Some("4.3.0".to_owned())
                ]
            );
        }
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(names(&JAVA[..20]), [Some("produc…".to_owned()), None, None]);
        assert_eq!(names(&JAVA[..14]), [None, None, None]);
        // Within the name of the software, and within its version.
        assert_eq!(
            names(&JAVA[..40]),
            [Some("producer-1".to_owned()), None, None]
        );
        let of_version = [
            Some("producer-1".to_owned()),
            Some("apache-kafka-java".to_owned()),
            None,
        ];
        assert_eq!(names(&JAVA[..45]), of_version);
        // Within a character of two bytes.
        let head = b"\0\0\0\x2e\0\x12\0\x04\0\0\0\0\0\x0agr\xc3\xb6\xc3";
        assert_eq!(names(head)[0], Some("grö…".to_owned()));
    }

    #[test]
    fn what_is_no_request_has_no_names() {
        let tls = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0\0\x05hello world";
        let http = b"GET /metrics HTTP/1.1\r\nHost: broker-1:9092\r\n\r\n";
        // A length of the id that reaches beyond the request.
        let long = b"\0\0\0\x11\0\x12\0\x02\0\0\0\0\0\x17kafkajs";
        for head in [tls.as_slice(), http, long, b"", b"\0\0\0\x2e"] {
            assert_eq!(names(head), [None, None, None], "{head:?}");
        }
    }

    #[test]
    fn other_characters_than_a_brokers_are_no_software() {
        let mut head = JAVA.to_vec();
        head[30] = b' ';
        assert_eq!(names(&head), [Some("producer-1".to_owned()), None, None]);
        head[18] = 0xff;
        assert_eq!(names(&head)[0], Some("prod\u{fffd}cer-1".to_owned()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(head in proptest::collection::vec(any::<u8>(), 0..=96)) {
            check(&read(&head), head.len());
        }

        #[test]
        fn any_request_is_survived(
            version in 0..6_u8,
            length in any::<u8>(),
            rest in proptest::collection::vec(any::<u8>(), 0..82),
        ) {
            let mut head = vec![0, 0, 1, 0, 0, 18, 0, version, 0, 0, 0, 0, 0, length];
            head.extend(&rest);
            check(&read(&head), head.len());
        }
    }

    /// No name is empty or longer than what it was read from.
    fn check(names: &ClientNames, kept: usize) {
        let replaced = char::REPLACEMENT_CHARACTER.len_utf8();
        if let Some(id) = &names.id {
            assert!(!id.is_empty() && id.len() <= kept * replaced, "{id}");
        }
        for name in [&names.software, &names.version].into_iter().flatten() {
            assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
            assert!(!name.is_empty() && name.len() <= kept, "{name}");
        }
    }
}
