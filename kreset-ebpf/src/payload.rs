//! Reads the payload of a segment: first bytes, Kafka requests, TLS alerts.

use core::mem::MaybeUninit;

use kreset_common::{
    kafka::{MAX_API_KEY, MAX_API_VERSION, MAX_REQUEST},
    record::{LATEST_HEAD, Packets, REQUEST_HEAD, packets_flag as seen},
};

use crate::segment::{Packet, Segment};

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
    packets: &mut Packets,
    packet: &impl Packet,
    segment: &Segment,
    direction: Direction,
    by_client: bool,
) -> Option<()> {
    let turned = (packets.flags & seen::LAST_DATA_IN != 0) != (direction == Direction::In);
    if turned || (packets.data_in == 0 && packets.data_out == 0) {
        packets.turns = packets.turns.saturating_add(1);
    }
    // Some clients write a request's length and the request separately.
    let after_length = by_client && packets.length_end == segment.sequence.to_ne_bytes();
    let count = match direction {
        Direction::In => {
            packets.flags |= seen::LAST_DATA_IN;
            packets.data_in = packets.data_in.wrapping_add(1);
            packets.latest_in_len = segment.payload_len;
            packets.data_in
        }
        Direction::Out => {
            packets.flags &= !seen::LAST_DATA_IN;
            packets.data_out = packets.data_out.wrapping_add(1);
            packets.latest_out_len = segment.payload_len;
            packets.data_out
        }
    };
    if count == 1 {
        first_bytes(packets, packet, segment, by_client);
    } else if after_length && packets.turns == 1 && packets.request_len == LENGTH as u8 {
        rest_of_first_request(packets, packet, segment);
    }
    if !by_client && packets.flags & seen::SASL != 0 && !is_sasl(packets.api_key) {
        packets.flags |= seen::SASL_DONE;
    }
    let encrypted = packets.request_head[0] == TLS_HANDSHAKE;
    if count > EARLY_SEGMENTS && (encrypted || !by_client) {
        return None;
    }
    if by_client && segment.payload_len == LENGTH as u32 {
        let mut length = MaybeUninit::uninit();
        let length = *packet.load(segment.payload, &mut length)?;
        packets.length_end = segment.sequence.wrapping_add(LENGTH as u32).to_ne_bytes();
        let latest = latest(packets, direction);
        *latest = [0; LATEST_HEAD];
        *latest.first_chunk_mut::<LENGTH>()? = length;
        return None;
    }
    let head: [u8; LATEST_HEAD] = if after_length {
        let mut rest = MaybeUninit::uninit();
        let rest = *packet.load(segment.payload, &mut rest)?;
        let mut head = *latest(packets, direction);
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
        *latest(packets, direction) = head;
    }
    if count <= EARLY_SEGMENTS
        && let Some(alert) = tls_alert(head)
    {
        match direction {
            Direction::In => packets.alert_in = alert,
            Direction::Out => packets.alert_out = alert,
        }
    }
    if !by_client && packets.flags & seen::SASL != 0 && packets.api_key == SASL_AUTHENTICATE {
        sasl_answer(packets, packet, segment, direction);
    }
    if by_client
        && !encrypted
        && let Some(key) = request_key(head)
    {
        packets.flags |= seen::API_KEY;
        packets.api_key = key;
        if is_sasl(key) {
            packets.flags |= seen::SASL;
        }
    }
    Some(())
}

/// First bytes of the latest early segment in this direction.
#[inline(always)]
const fn latest(packets: &mut Packets, direction: Direction) -> &mut [u8; LATEST_HEAD] {
    match direction {
        Direction::In => &mut packets.latest_in,
        Direction::Out => &mut packets.latest_out,
    }
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
    packets: &mut Packets,
    packet: &impl Packet,
    segment: &Segment,
    direction: Direction,
) {
    let request = match direction {
        Direction::In => packets.latest_out,
        Direction::Out => packets.latest_in,
    };
    let is_flexible = u16::from_be_bytes([request[6], request[7]]) >= 2;
    let mut error = MaybeUninit::uninit();
    let at = segment.payload + 8 + u32::from(is_flexible);
    if packet.load(at, &mut error) == Some(&[0, 0]) {
        packets.flags |= seen::SASL_ACCEPTED;
    } else {
        packets.flags &= !seen::SASL_ACCEPTED;
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
fn first_bytes(packets: &mut Packets, packet: &impl Packet, segment: &Segment, by_client: bool) {
    if by_client {
        packets.request_len = copy_head(packet, segment, &mut packets.request_head);
    } else {
        packets.response_len = copy_head(packet, segment, &mut packets.response_head);
    }
}

/// Keeps the first request after its length, which was a segment of its own.
#[inline(always)]
fn rest_of_first_request(
    packets: &mut Packets,
    packet: &impl Packet,
    segment: &Segment,
) -> Option<()> {
    let rest = packets.request_head.last_chunk_mut::<REST>()?;
    packets.request_len += copy_head(packet, segment, rest);
    Some(())
}

/// Bytes kept of a request after its length.
const REST: usize = REQUEST_HEAD - LENGTH;

/// Copies the first bytes of the payload, and returns how many.
#[inline(always)]
fn copy_head<const ROOM: usize>(
    packet: &impl Packet,
    segment: &Segment,
    into: &mut [u8; ROOM],
) -> u8 {
    packet
        .load_over(segment.payload, segment.payload_len, into)
        .unwrap_or(0)
}
