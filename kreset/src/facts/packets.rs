//! What the packets of a connection showed.

use kreset_common::{
    kafka::{MAX_API_KEY, MAX_API_VERSION, MAX_REQUEST},
    record::{Record, incoming_present, kind, packets_flag as seen, tcp_present},
    sequence::{ResetWindow, is_after},
};

use super::{State, idle::jiffies_ms, settled::is_sampled};
use crate::event::{ClientNames, Role};

/// A RST as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetPacket {
    /// Its TTL or hop limit.
    pub ttl: u8,
    /// Its TCP flags.
    pub flags: u8,
    /// Its window field, unscaled.
    pub window: u16,
    /// Its IPv4 identification.
    pub ip_id: Option<u16>,
}

impl ResetPacket {
    const ACK: u8 = 0x10;

    /// It acknowledges something: RST,ACK.
    #[must_use]
    pub const fn has_ack(self) -> bool {
        self.flags & Self::ACK != 0
    }
}

/// A TLS alert in clear; RFC 8446, 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsAlert {
    /// 1 warning, 2 fatal.
    pub level: u8,
    /// The description's number.
    pub description: u8,
}

impl TlsAlert {
    const FATAL: u8 = 2;

    /// It ends the connection; `close_notify` does not count as a failure.
    #[must_use]
    pub const fn is_fatal(self) -> bool {
        self.level == Self::FATAL
    }

    /// The name of the description; RFC 8446, B.2, and older ones still seen.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.description {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            21 => "decryption_failed",
            22 => "record_overflow",
            30 => "decompression_failure",
            40 => "handshake_failure",
            41 => "no_certificate",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            60 => "export_restriction",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            100 => "no_renegotiation",
            109 => "missing_extension",
            110 => "unsupported_extension",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            _ => "unknown",
        }
    }
}

/// What the first bytes of one side are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstBytes {
    /// A Kafka request (client) or something shaped like a response (broker).
    Kafka,
    /// A TLS handshake record.
    Tls,
    /// A TLS alert.
    TlsAlert,
    /// An HTTP request or response.
    Http,
    /// None of these.
    Other,
}

/// What the packets showed.
#[derive(Clone, Debug, PartialEq)]
pub struct PacketFacts {
    /// The RST, for a received one.
    pub reset: Option<ResetPacket>,
    /// TTL or hop limit of the peer's handshake.
    pub handshake_ttl: Option<u8>,
    /// TTL or hop limit of the peer's last packet before the RST.
    pub peer_ttl: Option<u8>,
    /// Longest silence that this connection came through, ms.
    pub survived_ms: Option<f64>,
    /// First bytes that the client sent, as many as were kept.
    pub request_head: Vec<u8>,
    /// First bytes that the broker sent, as many as were kept.
    pub response_head: Vec<u8>,
    /// First bytes of the client's latest early segment.
    pub latest_request: [u8; 8],
    /// Length of the client's latest segment.
    pub latest_request_len: u32,
    /// First bytes of the broker's latest early segment.
    pub latest_response: [u8; 8],
    /// Length of the broker's latest segment.
    pub latest_response_len: u32,
    /// Segments with payload from the client.
    pub requests: u32,
    /// Segments with payload from the broker.
    pub responses: u32,
    /// Times that the direction of the payload turned, from 1.
    pub turns: u16,
    /// The latest payload came from the broker.
    pub broker_spoke_last: bool,
    /// API key of the client's latest request.
    pub api_key: Option<u16>,
    /// A SASL exchange began, and nothing else was answered after it.
    pub sasl_pending: bool,
    /// The broker's latest answer to `SaslAuthenticate` carried no error.
    pub sasl_accepted: bool,
    /// TLS alert that the client sent in clear.
    pub client_alert: Option<TlsAlert>,
    /// TLS alert that the broker sent in clear.
    pub broker_alert: Option<TlsAlert>,
    /// The peer's latest packet, on this established connection, was a SYN: its host
    /// does not know the connection, and begins another one from the same port.
    pub syn_latest: bool,
    /// The connection was watched from its first packet on.
    pub from_start: bool,
    /// Packets after the last one that was looked at were let pass, as those of a busy
    /// connection are: `peer_ttl` is not that of the peer's last packet.
    pub sampled: bool,
    /// Packets that the kernel did not accept may be among these: anybody who knows both
    /// ends can have sent them.
    pub doubtful: bool,
}

impl PacketFacts {
    /// From the kernel's record; `None` where no packet was seen.
    pub(super) fn new(record: &Record, state: Option<State>, role: Role, hz: u32) -> Option<Self> {
        let packets = &record.packets;
        let flag = |bit: u32| packets.flags & bit != 0;
        if !packets.has_any() {
            return None;
        }
        let client = role == Role::Client;
        let pick = |inbound, outbound| {
            if client {
                (outbound, inbound)
            } else {
                (inbound, outbound)
            }
        };
        let (latest_request, latest_response) = pick(packets.latest_in, packets.latest_out);
        let (latest_request_len, latest_response_len) =
            pick_u32(client, packets.latest_in_len, packets.latest_out_len);
        let (requests, responses) = pick_u32(client, packets.data_in, packets.data_out);
        let (client_alert, broker_alert) = if client {
            (alert(packets.alert_out), alert(packets.alert_in))
        } else {
            (alert(packets.alert_in), alert(packets.alert_out))
        };
        Some(Self {
            reset: has_accepted_reset(record, state).then(|| ResetPacket {
                ttl: packets.reset_ttl,
                flags: packets.reset_flags,
                window: packets.reset_window,
                ip_id: flag(seen::RESET_IP_ID).then_some(packets.reset_ip_id),
            }),
            handshake_ttl: flag(seen::HANDSHAKE_TTL).then_some(packets.handshake_ttl),
            peer_ttl: flag(seen::PEER_TTL).then_some(packets.peer_ttl),
            survived_ms: (packets.silence_max > 0).then(|| jiffies_ms(packets.silence_max, 0, hz)),
            request_head: head(&packets.request_head, packets.request_len),
            response_head: head(&packets.response_head, packets.response_len),
            latest_request,
            latest_request_len,
            latest_response,
            latest_response_len,
            requests,
            responses,
            turns: packets.turns,
            broker_spoke_last: responses > 0 && flag(seen::LAST_DATA_IN) == client,
            api_key: flag(seen::API_KEY).then_some(packets.api_key),
            sasl_pending: flag(seen::SASL) && !flag(seen::SASL_DONE),
            sasl_accepted: flag(seen::SASL_ACCEPTED),
            client_alert,
            broker_alert,
            syn_latest: flag(seen::SYN_LATEST),
            from_start: flag(seen::FROM_START),
            sampled: is_sampled(record),
            doubtful: flag(seen::UNCHECKED) || has_rejected_payload(record),
        })
    }

    /// The TTL to compare the RST's with: of the handshake where it was seen,
    /// else of the peer's last packet.
    #[must_use]
    pub fn baseline_ttl(&self) -> Option<u8> {
        self.handshake_ttl.or(self.peer_ttl)
    }

    /// What the client calls itself.
    #[must_use]
    pub fn client_names(&self) -> ClientNames {
        super::client_names::read(&self.request_head)
    }

    /// What the client began with.
    #[must_use]
    pub fn client_speaks(&self) -> Option<FirstBytes> {
        first_bytes(&self.request_head, true)
    }

    /// What the broker began with.
    #[must_use]
    pub fn broker_speaks(&self) -> Option<FirstBytes> {
        Some(match first_bytes(&self.response_head, false)? {
            FirstBytes::Kafka if is_http2(&self.response_head) => FirstBytes::Http,
            FirstBytes::Kafka if self.answers_another_request() => FirstBytes::Other,
            speaks => speaks,
        })
    }

    /// The first answer has another correlation id than the client's first request: a
    /// broker answers in order (Kafka protocol guide, "Network").
    fn answers_another_request(&self) -> bool {
        let requested = number(&self.request_head, 8);
        let answered = number(&self.response_head, 4);
        self.client_speaks() == Some(FirstBytes::Kafka)
            && requested
                .zip(answered)
                .is_some_and(|(requested, answered)| requested != answered)
    }
}

fn number(head: &[u8], at: usize) -> Option<u32> {
    let bytes = head.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

/// A SETTINGS frame, with which every HTTP/2 server begins (RFC 9113, 3.4 and 6.5): settings
/// of 6 bytes, with ids up to 9 (RFC 9218). Its length and type look like a length of
/// Kafka's.
fn is_http2(head: &[u8]) -> bool {
    const SETTINGS: u8 = 4;
    const LAST_ID: u8 = 9;
    match *head {
        [0, 0, length, SETTINGS, 0, 0, 0, 0, 0, 0, id, ..] => {
            length % 6 == 0 && length > 0 && (1..=LAST_ID).contains(&id)
        }
        _ => false,
    }
}

/// The RST that was seen is the one that was accepted. Anybody can send others,
/// which the kernel drops or questions ([`ResetWindow`]); in `SYN_SENT` it takes those that
/// acknowledge the SYN, and others are not recorded. One with timestamps is not the one that
/// the kernel saw without.
fn has_accepted_reset(record: &Record, state: Option<State>) -> bool {
    const PLAIN_HEADER: u8 = 20;
    let Record {
        event,
        tcp,
        packets,
        incoming,
        ..
    } = record;
    let window = ResetWindow {
        rcv_nxt: tcp.rcv_nxt,
        after_fin: matches!(
            state,
            Some(State::CloseWait | State::LastAck | State::Closing)
        ),
        sack_end: if incoming.present & incoming_present::SACK == 0 {
            tcp.rcv_nxt
        } else {
            incoming.sack_end
        },
    };
    let is_other = tcp.present & tcp_present::TIMESTAMPS != 0
        && tcp.tstamp_ok != 0
        && tcp.saw_tstamp != 0
        && packets.reset_header == PLAIN_HEADER;
    packets.flags & seen::RESET != 0
        && event.kind == kind::RESET_RECEIVED
        && !is_other
        && (state == Some(State::SynSent) || window.accepts(packets.reset_seq))
}

/// The latest payload that was recorded was not accepted: its checksum was wrong, or
/// something before it is missing.
const fn has_rejected_payload(record: &Record) -> bool {
    let Record { tcp, packets, .. } = record;
    packets.flags & seen::DATA_IN_SEQ != 0
        && record.event.kind != kind::SURVIVED
        && !is_after(tcp.rcv_nxt, packets.data_in_seq)
}

/// The sequence number of the accepted RST, where that is known.
pub(super) fn accepted_sequence(record: &Record, state: Option<State>) -> Option<u32> {
    has_accepted_reset(record, state).then_some(record.packets.reset_seq)
}

const fn pick_u32(client: bool, inbound: u32, outbound: u32) -> (u32, u32) {
    if client {
        (outbound, inbound)
    } else {
        (inbound, outbound)
    }
}

fn alert(packed: u16) -> Option<TlsAlert> {
    let [level, description] = packed.to_be_bytes();
    (level != 0).then_some(TlsAlert { level, description })
}

fn head(bytes: &[u8], len: u8) -> Vec<u8> {
    bytes.get(..usize::from(len)).unwrap_or(bytes).to_vec()
}

/// Largest length that the protocol can say: an int32.
const MAX_LENGTH: u32 = 0x7fff_ffff;
/// Words that an HTTP message begins with.
const HTTP_WORDS: [&[u8]; 8] = [
    b"GET ", b"POST", b"HEAD", b"PUT ", b"DELE", b"OPTI", b"CONN", b"HTTP",
];

fn first_bytes(head: &[u8], by_client: bool) -> Option<FirstBytes> {
    let first: [u8; 4] = head.get(..4)?.try_into().ok()?;
    Some(match first {
        [0x16, 3, 0..=4, _] => FirstBytes::Tls,
        [0x15, 3, 0..=4, _] => FirstBytes::TlsAlert,
        _ if HTTP_WORDS.iter().any(|word| head.starts_with(word)) => FirstBytes::Http,
        _ if is_kafka(head, by_client) => FirstBytes::Kafka,
        _ => FirstBytes::Other,
    })
}

/// A length that brokers accept and, from a client, an API key that exists. With
/// a version that exists as well it is Kafka at any length: some requests are too
/// large.
fn is_kafka(head: &[u8], by_client: bool) -> bool {
    let Some(size) = head
        .first_chunk::<4>()
        .map(|bytes| u32::from_be_bytes(*bytes))
    else {
        return false;
    };
    let length_fits = (4..=MAX_REQUEST).contains(&size);
    if !by_client {
        return length_fits;
    }
    let number = |at: usize| {
        let bytes = head.get(at..)?.first_chunk::<2>()?;
        Some(u16::from_be_bytes(*bytes))
    };
    match (number(4), number(6)) {
        (Some(key), Some(version)) if version <= MAX_API_VERSION => {
            key <= MAX_API_KEY && (4..=MAX_LENGTH).contains(&size)
        }
        (Some(key), _) => key <= MAX_API_KEY && length_fits,
        // A client may send the length in a segment of its own.
        (None, _) => length_fits,
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    fn heads(request: &[u8], response: &[u8]) -> PacketFacts {
        let mut record = Record::new_zeroed();
        let packets = &mut record.packets;
        packets.flags = seen::SEEN_IN | seen::SEEN_OUT | seen::FROM_START;
        for (head, len, bytes) in [
            (
                &mut packets.request_head[..],
                &mut packets.request_len,
                request,
            ),
            (
                &mut packets.response_head[..],
                &mut packets.response_len,
                response,
            ),
        ] {
            head[..bytes.len()].copy_from_slice(bytes);
            *len = u8::try_from(bytes.len()).unwrap();
        }
        PacketFacts::new(&record, Some(State::Established), Role::Client, 250).unwrap()
    }

    #[test]
    fn an_answer_to_another_request_is_not_a_brokers() {
        const REQUEST: &[u8] = &[0, 0, 0, 46, 0, 18, 0, 4, 0, 0, 0, 7, 0, 10];
        let speaks = |response: &[u8]| heads(REQUEST, response).broker_speaks();
        assert_eq!(
            speaks(&[0, 0, 1, 244, 0, 0, 0, 7, 0, 0, 60]),
            Some(FirstBytes::Kafka)
        );
        assert_eq!(
            speaks(&[0, 0, 1, 244, 0, 0, 0, 8, 0, 0, 60]),
            Some(FirstBytes::Other)
        );
        // As much as has come so far.
        assert_eq!(speaks(&[0, 0, 1, 244]), Some(FirstBytes::Kafka));
    }

    #[test]
    fn the_settings_of_http_2_are_no_length_of_kafkas() {
        const REQUEST: &[u8] = &[0, 0, 0, 46, 0, 18, 0, 4, 0, 0, 0, 0, 0, 10];
        let speaks = |response: &[u8]| heads(REQUEST, response).broker_speaks();
        let settings = [0, 0, 18, 4, 0, 0, 0, 0, 0, 0, 3, 0x7f, 0xff, 0xff, 0xff];
        assert_eq!(speaks(&settings), Some(FirstBytes::Http));
        // 516 bytes to the first request of a Java client: no error, 60 API keys.
        for versions in [[0, 60], [0, 0]] {
            let [a, b] = versions;
            let kafka = [0, 0, 18, 4, 0, 0, 0, 0, 0, a, b, 0, 0, 0, 0];
            assert_eq!(speaks(&kafka), Some(FirstBytes::Kafka));
        }
    }

    #[test]
    fn only_the_rst_that_the_kernel_took_is_described() {
        let mut record = Record::new_zeroed();
        record.event.kind = kind::RESET_RECEIVED;
        record.packets.flags = seen::RESET;
        record.packets.reset_ttl = 61;
        record.tcp.rcv_nxt = 5;
        let ttl = |record: &Record, state| {
            let facts = PacketFacts::new(record, Some(state), Role::Client, 250);
            facts.unwrap().reset.map(|reset| reset.ttl)
        };
        for (sequence, state, known) in [
            (4, State::Established, false),
            (5, State::Established, true),
            (4, State::CloseWait, true),
            (6, State::Established, false),
            (u32::MAX, State::Established, false),
            (77, State::SynSent, true),
        ] {
            record.packets.reset_seq = sequence;
            assert_eq!(ttl(&record, state), known.then_some(61), "{sequence}");
        }
        record.packets.reset_seq = 5;
        (record.tcp.tstamp_ok, record.tcp.saw_tstamp) = (1, 1);
        record.tcp.present = tcp_present::TIMESTAMPS;
        record.packets.reset_header = 20;
        let other = ttl(&record, State::Established);
        assert_eq!(other, None, "the kernel saw timestamps");
        record.packets.reset_header = 32;
        assert_eq!(ttl(&record, State::Established), Some(61));
        record.event.kind = kind::TIMEOUT;
        assert_eq!(ttl(&record, State::Established), None, "none came");
    }

    /// A segment went missing, and the RST came at the end of what came after it.
    #[test]
    fn a_rst_after_a_gap_is_the_one_that_was_taken() {
        let mut record = Record::new_zeroed();
        record.event.kind = kind::RESET_RECEIVED;
        record.packets.flags = seen::RESET;
        record.tcp.rcv_nxt = 5;
        record.packets.reset_seq = 900;
        let is_known = |record: &Record| has_accepted_reset(record, Some(State::Established));
        assert!(!is_known(&record));
        record.incoming.present = incoming_present::SACK;
        record.incoming.sack_end = 900;
        assert!(is_known(&record));
    }

    #[test]
    fn payload_that_the_kernel_did_not_take_makes_the_rest_doubtful() {
        let mut record = Record::new_zeroed();
        record.packets.flags = seen::SEEN_IN | seen::DATA_IN_SEQ;
        record.packets.data_in_seq = 10;
        let is_doubtful = |record: &Record| {
            let facts = PacketFacts::new(record, Some(State::Established), Role::Client, 250);
            facts.unwrap().doubtful
        };
        record.tcp.rcv_nxt = 11;
        assert!(!is_doubtful(&record));
        record.tcp.rcv_nxt = 10;
        assert!(is_doubtful(&record));
    }
}
