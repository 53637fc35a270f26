//! Just enough of Kafka's protocol for a connection to look, from outside, like one of Kafka's:
//! real requests, and answers that a client could read.

use std::io::{self, Read, Write};

/// A request, without what [`request`] adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `ApiVersions` v3, the first thing that modern clients say.
    ApiVersions,
    /// Metadata v1 for all topics.
    Metadata,
    /// Heartbeat v3 of a group's member.
    Heartbeat,
    /// Fetch v4 of nothing.
    Fetch,
    /// Produce v7 with this many bytes instead of a record batch.
    Produce(u16),
}

impl Request {
    const fn key_and_version(self) -> (u16, u16) {
        match self {
            Self::ApiVersions => (18, 3),
            Self::Metadata => (3, 1),
            Self::Heartbeat => (12, 3),
            Self::Fetch => (1, 4),
            Self::Produce(_) => (0, 7),
        }
    }
}

const CLIENT_ID: &str = "kreset-lab";

/// Receives one message, a request or an answer, without its size.
pub fn receive(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut message = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Receives a request and answers it.
pub fn serve(stream: &mut (impl Read + Write)) -> io::Result<()> {
    let request = receive(stream)?;
    let no_request = || io::Error::other("what came is not a request of Kafka's");
    stream.write_all(&answer(&request).ok_or_else(no_request)?)
}

/// A whole request: size, header and body.
pub fn request(request: Request, correlation_id: u32) -> Vec<u8> {
    let (key, version) = request.key_and_version();
    let mut message = Vec::new();
    message.extend(key.to_be_bytes());
    message.extend(version.to_be_bytes());
    message.extend(correlation_id.to_be_bytes());
    push_string(&mut message, CLIENT_ID);
    match request {
        Request::ApiVersions => {
            // From v3 on: no tags, compact strings (length + 1), no tags.
            message.push(0);
            push_compact_string(&mut message, CLIENT_ID);
            push_compact_string(&mut message, env!("CARGO_PKG_VERSION"));
            message.push(0);
        }
        // A null array: all topics.
        Request::Metadata => message.extend((-1_i32).to_be_bytes()),
        Request::Heartbeat => {
            push_string(&mut message, "lab");
            message.extend(1_i32.to_be_bytes());
            push_string(&mut message, "member");
            message.extend((-1_i16).to_be_bytes());
        }
        // A consumer, half a second, one byte at least, all committed, no topics.
        Request::Fetch => {
            message.extend((-1_i32).to_be_bytes());
            message.extend(500_i32.to_be_bytes());
            message.extend(1_i32.to_be_bytes());
            message.extend(i32::MAX.to_be_bytes());
            message.push(1);
            message.extend(0_i32.to_be_bytes());
        }
        Request::Produce(bytes) => {
            // No transaction, acks=all, 30 s, one topic, one partition.
            message.extend((-1_i16).to_be_bytes());
            message.extend((-1_i16).to_be_bytes());
            message.extend(30_000_i32.to_be_bytes());
            message.extend(1_i32.to_be_bytes());
            push_string(&mut message, "lab");
            message.extend(1_i32.to_be_bytes());
            message.extend(0_i32.to_be_bytes());
            message.extend(u32::from(bytes).to_be_bytes());
            message.resize(message.len() + usize::from(bytes), 0);
        }
    }
    framed(&message)
}

/// The answer to a request, given without its size. `None` if it is too short to be one.
pub fn answer(request: &[u8]) -> Option<Vec<u8>> {
    let api_key = u16::from_be_bytes(request.get(0..2)?.try_into().ok()?);
    let mut message = request.get(4..8)?.to_vec();
    if api_key == Request::ApiVersions.key_and_version().0 {
        // No error, three APIs (a compact array), no throttling, no tags. The response header of
        // ApiVersions alone has no tags of its own.
        message.extend(0_i16.to_be_bytes());
        message.push(3 + 1);
        for (key, newest) in [(0_u16, 7_u16), (3, 1), (18, 3)] {
            message.extend(key.to_be_bytes());
            message.extend(0_u16.to_be_bytes());
            message.extend(newest.to_be_bytes());
            message.push(0);
        }
        message.extend(0_i32.to_be_bytes());
        message.push(0);
    } else {
        // Metadata: no brokers, controller 0, no topics. The others: no throttling, and no error or
        // no topics.
        let nothing: &[u8] = if api_key == Request::Metadata.key_and_version().0 {
            &[0; 12]
        } else {
            &[0; 8]
        };
        message.extend(nothing);
    }
    Some(framed(&message))
}

/// What a request is called that begins `bytes`, if they look like the beginning of one.
///
/// Names are those of Kafka's protocol, for the requests that clients make.
pub fn request_name(bytes: &[u8]) -> Option<&'static str> {
    /// The shortest header, and the longest request that brokers accept by default.
    const SIZES: std::ops::RangeInclusive<u32> = 8..=104_857_600;
    const NEWEST_VERSION: u16 = 30;
    let size = u32::from_be_bytes(bytes.get(0..4)?.try_into().ok()?);
    let version = u16::from_be_bytes(bytes.get(6..8)?.try_into().ok()?);
    if !SIZES.contains(&size) || version > NEWEST_VERSION {
        return None;
    }
    Some(
        match u16::from_be_bytes(bytes.get(4..6)?.try_into().ok()?) {
            0 => "Produce",
            1 => "Fetch",
            2 => "ListOffsets",
            3 => "Metadata",
            8 => "OffsetCommit",
            9 => "OffsetFetch",
            10 => "FindCoordinator",
            11 => "JoinGroup",
            12 => "Heartbeat",
            13 => "LeaveGroup",
            14 => "SyncGroup",
            17 => "SaslHandshake",
            18 => "ApiVersions",
            22 => "InitProducerId",
            24 => "AddPartitionsToTxn",
            26 => "EndTxn",
            36 => "SaslAuthenticate",
            60 => "DescribeCluster",
            68 => "ConsumerGroupHeartbeat",
            _ => return None,
        },
    )
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = length::<u32>(message).to_be_bytes().to_vec();
    frame.extend(message);
    frame
}

/// No message of the lab is too long for its length field.
fn length<T: TryFrom<usize> + Default>(bytes: &[u8]) -> T {
    debug_assert!(T::try_from(bytes.len()).is_ok(), "a message is too long");
    T::try_from(bytes.len()).unwrap_or_default()
}

fn push_string(message: &mut Vec<u8>, text: &str) {
    message.extend(length::<u16>(text.as_bytes()).to_be_bytes());
    message.extend(text.as_bytes());
}

fn push_compact_string(message: &mut Vec<u8>, text: &str) {
    message.push(length::<u8>(text.as_bytes()) + 1);
    message.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_is_laid_out_as_clients_do_it() {
        let bytes = request(Request::ApiVersions, 7);
        assert_eq!(bytes[..4], length::<u32>(&bytes[4..]).to_be_bytes());
        assert_eq!(bytes[4..12], [0, 18, 0, 3, 0, 0, 0, 7]);
        assert_eq!(&bytes[12..24], b"\x00\x0akreset-lab");
    }

    #[test]
    fn requests_are_named_and_nothing_else_is() {
        let named = |kind| request_name(&request(kind, 1));
        assert_eq!(named(Request::ApiVersions), Some("ApiVersions"));
        assert_eq!(named(Request::Produce(100)), Some("Produce"));
        for other in [
            &b"GET / HTTP/1.1"[..],
            b"\x16\x03\x01\x05\xef\x01\0\0\0",
            &[0; 64],
            b"\0",
        ] {
            assert_eq!(request_name(other), None);
        }
    }

    #[test]
    fn an_answer_carries_the_correlation_id() {
        for kind in [
            Request::ApiVersions,
            Request::Metadata,
            Request::Produce(100),
        ] {
            let answer = answer(&request(kind, 0x0102_0304)[4..]).expect("a request");
            assert_eq!(answer[..4], length::<u32>(&answer[4..]).to_be_bytes());
            assert_eq!(answer[4..8], [1, 2, 3, 4]);
        }
        assert_eq!(answer(&[0, 18, 0]), None);
    }
}
