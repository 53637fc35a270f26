//! What the payload of a segment says: first bytes, Kafka requests, TLS alerts.
//!
//! Knows nothing of BPF, so that the fuzzer runs the same code on a host.

use core::mem::MaybeUninit;

use kreset_common::{
    kafka::{MAX_API_KEY, MAX_API_VERSION, MAX_REQUEST},
    record::{LATEST_HEAD, Packets, REQUEST_HEAD, packets_flag as seen},
};

use super::segment::{Packet, Segment};

/// Segments each way whose first bytes are kept: the handshakes of TLS and
/// SASL are shorter.
const EARLY_SEGMENTS: u32 = 16;
/// First byte of a TLS record that carries a handshake, or an alert.
const TLS_HANDSHAKE: u8 = 0x16;
const TLS_ALERT: u8 = 0x15;
/// Bytes of the length that stands before each request.
const LENGTH: usize = 4;

/// The direction of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// To this host.
    In,
    /// From this host.
    Out,
}

/// Notes what a segment with payload shows.
#[inline(always)]
pub(crate) fn payload(
    packets: &mut Packets,
    packet: &impl Packet,
    segment: &Segment,
    way: Way,
    by_client: bool,
) -> Option<()> {
    let turned = (packets.flags & seen::LAST_DATA_IN != 0) != (way == Way::In);
    if turned || (packets.data_in == 0 && packets.data_out == 0) {
        packets.turns = packets.turns.saturating_add(1);
    }
    // Some clients write a request's length and the request one by one.
    let after_length = by_client && packets.length_end == segment.sequence.to_ne_bytes();
    let count = match way {
        Way::In => {
            packets.flags |= seen::LAST_DATA_IN;
            packets.data_in = packets.data_in.wrapping_add(1);
            packets.latest_in_len = segment.payload_len;
            packets.data_in
        }
        Way::Out => {
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
        let latest = latest(packets, way);
        *latest = [0; LATEST_HEAD];
        *latest.first_chunk_mut::<LENGTH>()? = length;
        return None;
    }
    let head: [u8; LATEST_HEAD] = if after_length {
        let mut rest = MaybeUninit::uninit();
        let rest = *packet.load(segment.payload, &mut rest)?;
        let mut head = *latest(packets, way);
        *head.last_chunk_mut::<LENGTH>()? = rest;
        head
    } else if segment.payload_len < LATEST_HEAD as u32 {
        // A TLS alert in clear is 7 bytes.
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
        // What was sent again finds its length there still.
        *latest(packets, way) = head;
    }
    if count <= EARLY_SEGMENTS
        && let Some(alert) = tls_alert(head)
    {
        match way {
            Way::In => packets.alert_in = alert,
            Way::Out => packets.alert_out = alert,
        }
    }
    if !by_client && packets.flags & seen::SASL != 0 && packets.api_key == SASL_AUTHENTICATE {
        sasl_answer(packets, packet, segment, way);
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

/// First bytes of the latest early segment that went this way.
#[inline(always)]
const fn latest(packets: &mut Packets, way: Way) -> &mut [u8; LATEST_HEAD] {
    match way {
        Way::In => &mut packets.latest_in,
        Way::Out => &mut packets.latest_out,
    }
}

/// A TLS alert in clear: level << 8 | description (RFC 8446, 6).
#[inline(always)]
fn tls_alert(head: [u8; LATEST_HEAD]) -> Option<u16> {
    let is_alert = head[0] == TLS_ALERT && head[1] == 3 && head[3] == 0 && head[4] == 2;
    is_alert.then_some(u16::from_be_bytes([head[5], head[6]]))
}

/// The API keys of the SASL exchange: `SaslHandshake` and `SaslAuthenticate`.
#[inline(always)]
pub(crate) const fn is_sasl(api_key: u16) -> bool {
    api_key == 17 || api_key == SASL_AUTHENTICATE
}

/// `SaslAuthenticate`.
const SASL_AUTHENTICATE: u16 = 36;

/// Whether the broker's answer to `SaslAuthenticate` carries an error: after the
/// length and the correlation id, and from version 2 on a byte of tags
/// (`SaslAuthenticateResponse.json`, `ResponseHeader.json` of Apache Kafka).
#[inline(always)]
fn sasl_answer(packets: &mut Packets, packet: &impl Packet, segment: &Segment, way: Way) {
    let request = match way {
        Way::In => packets.latest_out,
        Way::Out => packets.latest_in,
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

/// The API key, if the bytes can be the head of a Kafka request: a length that
/// brokers accept, a key and a version that exist.
#[inline(always)]
fn request_key(head: [u8; LATEST_HEAD]) -> Option<u16> {
    let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let key = u16::from_be_bytes([head[4], head[5]]);
    let version = u16::from_be_bytes([head[6], head[7]]);
    let plausible =
        (8..=MAX_REQUEST).contains(&size) && key <= MAX_API_KEY && version <= MAX_API_VERSION;
    plausible.then_some(key)
}

/// Keeps the head of the first segment of one side.
#[inline(always)]
fn first_bytes(packets: &mut Packets, packet: &impl Packet, segment: &Segment, by_client: bool) {
    if by_client {
        packets.request_len = copy_head(packet, segment, &mut packets.request_head);
    } else {
        packets.response_len = copy_head(packet, segment, &mut packets.response_head);
    }
}

/// Keeps the head of the first request behind its length, which came alone.
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

/// What of a request's head is not its length.
const REST: usize = REQUEST_HEAD - LENGTH;

/// Copies the head of the payload, and says how many bytes.
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
