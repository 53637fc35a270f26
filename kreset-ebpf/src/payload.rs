//! Reads the payload of a segment: first bytes, Kafka requests, TLS alerts.

use core::mem::MaybeUninit;

use kreset_common::{
    kafka::{MAX_API_KEY, MAX_API_VERSION, MAX_REQUEST},
    record::{LATEST_HEAD, REQUEST_HEAD, packets_flag as seen},
};

use crate::{
    segment::{Packet, Segment},
    shared::{Latest, Shared, SharedPackets, array, set_array},
};

/// Segments in each direction whose first bytes are kept: the handshakes of TLS and
/// SASL are shorter.
const EARLY_SEGMENTS: u32 = 16;
/// First byte of a TLS record: a handshake or an alert (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
const TLS_ALERT: u8 = 0x15;
/// Bytes of the length that precedes each request.
const LENGTH: usize = 4;

/// The direction of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To this host.
    In,
    /// From this host.
    Out,
}

/// Records a segment with payload.
#[inline(always)]
pub fn record_payload(
    packets: &SharedPackets,
    packet: &impl Packet,
    segment: &Segment,
    direction: Direction,
    by_client: bool,
) -> Option<()> {
    let mut flags = packets.flags.get();
    let (data_in, data_out) = (packets.data_in.get(), packets.data_out.get());
    let turned = (flags & seen::LAST_DATA_IN != 0) != (direction == Direction::In);
    if turned || (data_in == 0 && data_out == 0) {
        packets.turns.set(packets.turns.get().saturating_add(1));
    }
    // Some clients write a request's length and the request separately.
    let after_length = by_client && array(&packets.length_end) == segment.sequence.to_ne_bytes();
    let count = match direction {
        Direction::In => {
            flags |= seen::LAST_DATA_IN;
            packets.latest_in_len.set(segment.payload_len);
            let count = data_in.wrapping_add(1);
            packets.data_in.set(count);
            count
        }
        Direction::Out => {
            flags &= !seen::LAST_DATA_IN;
            packets.latest_out_len.set(segment.payload_len);
            let count = data_out.wrapping_add(1);
            packets.data_out.set(count);
            count
        }
    };
    let api_key = packets.api_key.get();
    if !by_client && flags & seen::SASL != 0 && !is_sasl(api_key) {
        flags |= seen::SASL_DONE;
    }
    packets.flags.set(flags);
    if count == 1 {
        first_bytes(packets, packet, segment, by_client);
    } else if after_length && packets.turns.get() == 1 && packets.request_len.get() == LENGTH as u8
    {
        rest_of_first_request(packets, packet, segment);
    }
    let encrypted = packets.request_head[0].get() == TLS_HANDSHAKE;
    if count > EARLY_SEGMENTS && (encrypted || !by_client) {
        return None;
    }
    let latest = match direction {
        Direction::In => &packets.latest_in,
        Direction::Out => &packets.latest_out,
    };
    if by_client && segment.payload_len == LENGTH as u32 {
        return record_length(packets, packet, segment, latest);
    }
    let head: [u8; LATEST_HEAD] = if after_length {
        let mut rest = MaybeUninit::uninit();
        let rest = *packet.load(segment.payload, &mut rest)?;
        let mut head = latest.get();
        *head.last_chunk_mut::<LENGTH>()? = rest;
        head
    } else if segment.payload_len < LATEST_HEAD as u32 {
        // A TLS alert in plaintext is 7 bytes.
        if segment.payload_len != LATEST_HEAD as u32 - 1 {
            return None;
        }
        let mut alert = MaybeUninit::uninit();
        let alert: &[u8; LATEST_HEAD - 1] = packet.load(segment.payload, &mut alert)?;
        [
            alert[0], alert[1], alert[2], alert[3], alert[4], alert[5], alert[6], 0,
        ]
    } else {
        let mut head = MaybeUninit::uninit();
        *packet.load(segment.payload, &mut head)?
    };
    if after_length || count <= EARLY_SEGMENTS {
        // A retransmission still finds its length there.
        latest.set(head);
    }
    if count <= EARLY_SEGMENTS
        && let Some(alert) = tls_alert(head)
    {
        match direction {
            Direction::In => packets.alert_in.set(alert),
            Direction::Out => packets.alert_out.set(alert),
        }
    }
    if !by_client && flags & seen::SASL != 0 && api_key == SASL_AUTHENTICATE {
        sasl_answer(packets, packet, segment, direction);
    }
    if by_client
        && !encrypted
        && let Some(key) = request_key(head)
    {
        packets.api_key.set(key);
        packets.flags.add(if is_sasl(key) {
            seen::API_KEY | seen::SASL
        } else {
            seen::API_KEY
        });
    }
    Some(())
}

/// Keeps a request's length, which is a segment of its own.
#[inline(always)]
fn record_length(
    packets: &SharedPackets,
    packet: &impl Packet,
    segment: &Segment,
    latest: &Latest,
) -> Option<()> {
    let mut length = MaybeUninit::uninit();
    let [a, b, c, d]: [u8; LENGTH] = *packet.load(segment.payload, &mut length)?;
    let end = segment.sequence.wrapping_add(LENGTH as u32);
    set_array(&packets.length_end, end.to_ne_bytes());
    latest.set([a, b, c, d, 0, 0, 0, 0]);
    None
}

/// A TLS alert in plaintext: level << 8 | description (RFC 8446, 6).
#[inline(always)]
fn tls_alert(head: [u8; LATEST_HEAD]) -> Option<u16> {
    let is_alert = head[0] == TLS_ALERT && head[1] == 3 && head[3] == 0 && head[4] == 2;
    is_alert.then_some(u16::from_be_bytes([head[5], head[6]]))
}

/// The API keys of the SASL exchange: `SaslHandshake` and `SaslAuthenticate`.
#[inline(always)]
pub const fn is_sasl(api_key: u16) -> bool {
    api_key == 17 || api_key == SASL_AUTHENTICATE
}

/// `SaslAuthenticate`.
const SASL_AUTHENTICATE: u16 = 36;

/// Records whether the broker's answer to `SaslAuthenticate` has an error code:
/// after the length and the correlation id, and from version 2 on a byte of tags
/// (`SaslAuthenticateResponse.json`, `ResponseHeader.json` of Apache Kafka).
#[inline(always)]
fn sasl_answer(
    packets: &SharedPackets,
    packet: &impl Packet,
    segment: &Segment,
    direction: Direction,
) {
    let request = match direction {
        Direction::In => &packets.latest_out,
        Direction::Out => &packets.latest_in,
    }
    .get();
    let is_flexible = u16::from_be_bytes([request[6], request[7]]) >= 2;
    let mut error = MaybeUninit::uninit();
    let at = segment.payload + 8 + u32::from(is_flexible);
    if packet.load(at, &mut error) == Some(&[0, 0]) {
        packets.flags.add(seen::SASL_ACCEPTED);
    } else {
        packets.flags.clear(seen::SASL_ACCEPTED);
    }
}

/// The API key, if the bytes can begin a Kafka request: a length that brokers
/// accept, and a key and a version that exist.
#[inline(always)]
fn request_key(head: [u8; LATEST_HEAD]) -> Option<u16> {
    let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let key = u16::from_be_bytes([head[4], head[5]]);
    let version = u16::from_be_bytes([head[6], head[7]]);
    let plausible =
        (8..=MAX_REQUEST).contains(&size) && key <= MAX_API_KEY && version <= MAX_API_VERSION;
    plausible.then_some(key)
}

/// Keeps the first bytes of one side.
#[inline(always)]
fn first_bytes(packets: &SharedPackets, packet: &impl Packet, segment: &Segment, by_client: bool) {
    if by_client {
        let len = copy_head(packet, segment, &packets.request_head);
        packets.request_len.set(len);
    } else {
        let len = copy_head(packet, segment, &packets.response_head);
        packets.response_len.set(len);
    }
}

/// Keeps the first request after its length, which was a segment of its own.
#[inline(always)]
fn rest_of_first_request(
    packets: &SharedPackets,
    packet: &impl Packet,
    segment: &Segment,
) -> Option<()> {
    let rest = packets.request_head.last_chunk::<REST>()?;
    let len = LENGTH as u8 + copy_head(packet, segment, rest);
    packets.request_len.set(len);
    Some(())
}

/// Bytes kept of a request after its length.
const REST: usize = REQUEST_HEAD - LENGTH;

/// Copies the first bytes of the payload, and returns how many.
#[inline(always)]
fn copy_head<const ROOM: usize>(
    packet: &impl Packet,
    segment: &Segment,
    into: &[Shared<u8>; ROOM],
) -> u8 {
    packet
        .load_over(segment.payload, segment.payload_len, into)
        .unwrap_or(0)
}
