//! How far a connection had come when it ended.

use crate::{
    event::{ProvokedBy, Role},
    facts::{Facts, FirstBytes, Kind, PacketFacts, State, TlsAlert},
};

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The TCP handshake was under way.
    Connecting,
    /// Established, and not a byte went either way.
    Silent,
    /// The client spoke; no answer came.
    Unanswered,
    /// The first answer was in no protocol of a broker's.
    Foreign,
    /// A TLS handshake was under way.
    Tls,
    /// A SASL exchange was under way.
    Sasl,
    /// The first request was answered, the second drew the broker's close: a
    /// SASL listener answers `ApiVersions` and nothing else before SASL.
    Second,
    /// The first exchange had ended well.
    InUse,
    /// Unknown: the event has no connection, or the client closed before it could
    /// have received an answer.
    Unknown,
}

/// A TLS connection that has turned this often carried application data both
/// ways: hello, flight, Finished, session tickets, request, response.
pub(super) const TLS_TURNS: u16 = 6;
/// From this many turns on the client's handshake was done: what follows shows
/// whether the broker accepted it.
const TLS_FINISHED: u16 = 4;
/// The `change_cipher_spec` of TLS 1.3's compatibility mode (RFC 8446, D.4) can
/// cross the broker's flight, which adds a turn and its answer: up to here a
/// broker whose latest words are as short as an alert has not answered anything.
const TLS_TURNS_AT_MOST: u16 = TLS_TURNS + 1;
/// With fewer turns, one that then rested this long was not in a handshake.
pub(super) const TLS_RESTED_MS: f64 = 2_000.0;
/// An encrypted alert, padding included, is shorter than this; session tickets
/// and Kafka's answers are longer. Measured on Kafka 4.3: 24 and 40 bytes.
const TLS_ALERT_AT_MOST: u32 = 64;
/// Header of a TLS record, bytes.
const TLS_RECORD_HEADER: u64 = 5;
/// A client's encrypted alert, with the `change_cipher_spec` that may go before
/// it, has at most this many bytes (24 to 31, and 6); a Finished has 58 and more
/// (RFC 8446, 4.4.4; 32 bytes of SHA-256 at least).
pub(super) const TLS_CLOSE_NOTIFY_AT_MOST: u32 = 48;
/// What a client of TLS 1.3 sends before its first request: `change_cipher_spec` and a Finished
/// (RFC 8446, 4.4.4; SHA-384 at most), 64 to 80 bytes without a certificate of its own.
const TLS_FINISHED_AT_MOST: u64 = 80;
/// The same in TLS 1.2, with a key of the curve P-521 at most. A second hello is longer.
const TLS_12_FINISHED_AT_MOST: u64 = 200;
/// Types of TLS records.
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// A request that the broker answers by closing is answered this soon, ms.
const CLOSED_AT_ONCE_MS: f64 = 1_500.0;

impl Phase {
    /// The phase of an event's connection.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        if matches!(
            facts.state,
            Some(State::SynSent | State::SynRecv | State::NewSynRecv)
        ) {
            return Self::Connecting;
        }
        let Some(counters) = facts.counters else {
            return Self::Unknown;
        };
        let phase = match &facts.packets {
            Some(packets) if packets.from_start && !first_request_unseen(facts, packets) => {
                Self::of_packets(facts, packets)
            }
            _ => Self::of_counters(counters.data_segs_in, counters.data_segs_out),
        };
        match phase {
            Self::Silent | Self::Unanswered if rested_before_use(facts) => Self::InUse,
            phase => phase,
        }
    }

    fn of_packets(facts: &Facts, packets: &PacketFacts) -> Self {
        let PacketFacts {
            requests,
            responses,
            ..
        } = *packets;
        if requests == 0 && responses == 0 {
            return Self::Silent;
        }
        if packets.client_speaks() == Some(FirstBytes::Tls) {
            return Self::of_tls(facts, packets);
        }
        if packets.broker_speaks() == Some(FirstBytes::TlsAlert) {
            return Self::Tls;
        }
        if is_foreign(packets) {
            return Self::Foreign;
        }
        if packets.sasl_pending && !(packets.sasl_accepted && closed_by_client(facts)) {
            return Self::Sasl;
        }
        if responses == 0 || requests == 0 {
            return Self::Unanswered;
        }
        if second_request_closed(facts, packets) {
            Self::Second
        } else {
            Self::InUse
        }
    }

    /// Hello unanswered, hello answered, or application data both ways.
    fn of_tls(facts: &Facts, packets: &PacketFacts) -> Self {
        if packets.responses == 0 {
            return Self::Unanswered;
        }
        if closed_before_the_answer(facts, packets) {
            return Self::Unknown;
        }
        let fatal = |alert: Option<TlsAlert>| alert.is_some_and(TlsAlert::is_fatal);
        if fatal(packets.broker_alert) || fatal(packets.client_alert) {
            return Self::Tls;
        }
        if client_closed_normally(facts, packets) {
            return Self::InUse;
        }
        if aborted_first_request(facts, packets) {
            return Self::Unanswered;
        }
        let silences = [
            facts.idle.map(|idle| idle.data_ms),
            facts.fin.map(|fin| fin.silence_ms),
        ];
        let rested = silences.into_iter().flatten().any(|ms| ms >= TLS_RESTED_MS);
        let long = packets.latest_response_len > TLS_ALERT_AT_MOST;
        let in_use = packets.turns > TLS_TURNS_AT_MOST
            || aborted_second_request(facts, packets)
            || (packets.turns >= TLS_TURNS && long)
            || (packets.turns >= TLS_FINISHED && (rested || (long && packets.broker_spoke_last)));
        if in_use { Self::InUse } else { Self::Tls }
    }

    /// Without the packets: data went both ways, or it did not.
    const fn of_counters(data_in: u32, data_out: u32) -> Self {
        match (data_in, data_out) {
            (0, 0) => Self::Silent,
            (0, _) | (_, 0) => Self::Unanswered,
            _ => Self::InUse,
        }
    }

    /// The first exchange had not ended well.
    #[must_use]
    pub const fn is_handshake(self) -> bool {
        matches!(
            self,
            Self::Connecting
                | Self::Silent
                | Self::Unanswered
                | Self::Foreign
                | Self::Tls
                | Self::Sasl
                | Self::Second
        )
    }

    /// The word in evidence.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Silent => "established, no byte either way",
            Self::Unanswered => "first request unanswered",
            Self::Foreign => "answered, and not as a broker does",
            Self::Tls => "TLS handshake",
            Self::Sasl => "SASL exchange",
            Self::Second => "second request unanswered",
            Self::InUse => "in use",
            Self::Unknown => "unknown",
        }
    }
}

/// The broker aborted the connection on the request after its first answer. In TLS 1.3, and
/// in a session that is resumed, that is the fifth turn, as the client's Finished carries its
/// first request along; a broker that rejects a client sends an alert, and closes in order.
fn aborted_second_request(facts: &Facts, packets: &PacketFacts) -> bool {
    aborted_by_broker(facts)
        && packets.turns > TLS_FINISHED
        && !packets.broker_spoke_last
        && packets.latest_response_len > TLS_ALERT_AT_MOST
}

/// The broker finished the TLS handshake, with a session ticket in TLS 1.3, and aborted the
/// connection on the first request: a balancer without a healthy target does so. The client has
/// sent nothing but its Finished before that request.
fn aborted_first_request(facts: &Facts, packets: &PacketFacts) -> bool {
    let before_request = sent_after_hello(facts, packets)
        .and_then(|sent| sent.checked_sub(packets.latest_request_len.into()));
    let at_most = match packets.latest_response[0] {
        APPLICATION_DATA if packets.latest_response_len > TLS_ALERT_AT_MOST => TLS_FINISHED_AT_MOST,
        CHANGE_CIPHER_SPEC | HANDSHAKE => TLS_12_FINISHED_AT_MOST,
        _ => return false,
    };
    aborted_by_broker(facts)
        && packets.turns == TLS_FINISHED + 1
        && !packets.broker_spoke_last
        && before_request.is_some_and(|sent| sent <= at_most)
}

/// The client's Finished carried its first request along, and the broker aborted the connection
/// after it had said one thing more: a session ticket, or the answer.
pub(super) fn hides_first_answer(facts: &Facts, packets: &PacketFacts) -> bool {
    packets.client_speaks() == Some(FirstBytes::Tls)
        && aborted_by_broker(facts)
        && packets.turns == TLS_FINISHED
        && packets.broker_spoke_last
        && packets.latest_response[0] == APPLICATION_DATA
        && packets.latest_response_len > TLS_ALERT_AT_MOST
}

/// A live socket of the broker's reset the connection, without a FIN.
fn aborted_by_broker(facts: &Facts) -> bool {
    let by_broker = match facts.kind {
        Kind::ResetReceived => facts.role == Role::Client && facts.reset_is_live() == Some(true),
        Kind::ResetSent => facts.role == Role::Broker && !facts.is_answer(),
        _ => false,
    };
    by_broker && facts.fin.is_none()
}

/// A Kafka client was answered in another protocol, or greeted in one.
fn is_foreign(packets: &PacketFacts) -> bool {
    let client_is_kafka = matches!(packets.client_speaks(), None | Some(FirstBytes::Kafka));
    let answer = packets.broker_speaks();
    client_is_kafka && matches!(answer, Some(FirstBytes::Http | FirstBytes::Other))
}

/// What comes with a SYN is for the listener, whose packets are not watched: the socket
/// has counted it (kernel: `tcp_fastopen_add_skb`).
pub(super) fn first_request_unseen(facts: &Facts, packets: &PacketFacts) -> bool {
    let counted = facts.counters.map_or(0, |counters| match facts.role {
        Role::Client => counters.data_segs_out,
        Role::Broker => counters.data_segs_in,
    });
    packets.requests == 0 && counted > 0
}

/// The connection was made and then rested: a RST that no live socket sent has
/// nothing to do with how it was accepted. A broker that turns clients away does
/// so within half a second (its quota holds them no longer), or its live socket
/// aborts a connection that it never served.
fn rested_before_use(facts: &Facts) -> bool {
    const RESTED_MS: f64 = 2_000.0;
    facts.kind == Kind::ResetReceived
        && facts.reset_is_live() != Some(true)
        && facts.role == Role::Client
        && facts.state == Some(State::Established)
        && facts.idle.is_some_and(|idle| idle.wire_ms >= RESTED_MS)
}

/// The client closed in order, and the broker's first answer, which it never
/// acknowledged, met no socket: it had heard nothing that it could have rejected.
fn closed_before_the_answer(facts: &Facts, packets: &PacketFacts) -> bool {
    let drawn_by_data = match (facts.kind, facts.role) {
        (Kind::ResetReceived, Role::Broker) => facts
            .idle
            .is_some_and(|idle| idle.provoked_by == ProvokedBy::Data),
        (Kind::ResetSent, Role::Client) => facts.trigger.is_some_and(|trigger| trigger.payload > 0),
        _ => false,
    };
    drawn_by_data && packets.responses == 1 && closed_by_client(facts)
}

/// The client finished the TLS handshake and closed first, and nothing shows that the
/// broker rejected it: the broker's last segment drew a RST, so it came after the
/// client's close, or the client closed with a `close_notify`. Checks of a certificate
/// and clients of one request end like this.
fn client_closed_normally(facts: &Facts, packets: &PacketFacts) -> bool {
    let is_reset = matches!(facts.kind, Kind::ResetSent | Kind::ResetReceived);
    let close_notified = packets.latest_request_len <= TLS_CLOSE_NOTIFY_AT_MOST;
    // A broker that answers the `close_notify` may be first with its FIN; one that
    // rejects the client has sent its error before the client's last segment.
    let was_first = closed_by_client(facts) || (close_notified && packets.broker_spoke_last);
    was_first && client_finished(facts, packets) && (is_reset || close_notified)
}

/// More came from the client after its hello than an alert: its Finished.
fn client_finished(facts: &Facts, packets: &PacketFacts) -> bool {
    sent_after_hello(facts, packets).is_some_and(|sent| sent > TLS_CLOSE_NOTIFY_AT_MOST.into())
}

/// Bytes that came from the client after its TLS hello.
fn sent_after_hello(facts: &Facts, packets: &PacketFacts) -> Option<u64> {
    let &[high, low] = packets.request_head.get(3..5)? else {
        return None;
    };
    let hello = u64::from(u16::from_be_bytes([high, low])) + TLS_RECORD_HEADER;
    let sent = facts.counters.and_then(|counters| match facts.role {
        Role::Client => counters.bytes_sent,
        Role::Broker => counters.bytes_received,
    });
    sent?.checked_sub(hello)
}

/// The client's FIN came first.
fn closed_by_client(facts: &Facts) -> bool {
    facts
        .fin
        .is_some_and(|fin| fin.by_peer != (facts.role == Role::Client))
}

/// Exactly one request was answered, and right after the next one the broker
/// closed its side.
fn second_request_closed(facts: &Facts, packets: &PacketFacts) -> bool {
    const API_VERSIONS: [u8; 2] = [0, 18];
    let began_with_versions = packets.request_head.get(4..6) == Some(API_VERSIONS.as_slice());
    let closed_at_once = facts.fin.is_some_and(|fin| {
        fin.by_peer == (facts.role == Role::Client) && fin.silence_ms <= CLOSED_AT_ONCE_MS
    });
    began_with_versions && packets.turns == 3 && !packets.broker_spoke_last && closed_at_once
}
