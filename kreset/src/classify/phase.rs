//! How far a connection had come when it ended.

use crate::facts::{Facts, FirstBytes, PacketFacts, State};

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The TCP handshake was under way.
    Connecting,
    /// Established, and not a byte went either way.
    Silent,
    /// The client spoke; no answer came.
    Unanswered,
    /// A TLS handshake was under way.
    Tls,
    /// A SASL exchange was under way.
    Sasl,
    /// The first exchange had ended well.
    InUse,
    /// There is no telling: the event has no connection.
    Unknown,
}

/// Kafka API keys of the SASL exchange.
const SASL_HANDSHAKE: u16 = 17;
const SASL_AUTHENTICATE: u16 = 36;
/// A SASL exchange takes fewer turns than this; the same keys later on are a
/// re-authentication of a connection in use (KIP-368).
const SASL_TURNS: u16 = 14;
/// A TLS connection that has turned this often carried application data both
/// ways: hello, flight, Finished, session tickets, request, response.
const TLS_TURNS: u16 = 6;
/// With fewer turns, one that then rested this long was not in a handshake.
const TLS_RESTED_MS: f64 = 2_000.0;

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
        match &facts.packets {
            Some(packets) if packets.from_start => {
                let rested = facts.idle.map_or(0.0, |idle| idle.data_ms);
                Self::of_packets(packets, rested)
            }
            _ => Self::of_counters(counters.data_segs_in, counters.data_segs_out),
        }
    }

    fn of_packets(packets: &PacketFacts, rested_ms: f64) -> Self {
        let PacketFacts {
            requests,
            responses,
            turns,
            ..
        } = *packets;
        if requests == 0 && responses == 0 {
            return Self::Silent;
        }
        let speaks = packets.client_speaks();
        if speaks == Some(FirstBytes::Tls) {
            let in_use = turns >= TLS_TURNS || (turns >= 4 && rested_ms >= TLS_RESTED_MS);
            return if in_use { Self::InUse } else { Self::Tls };
        }
        if packets.broker_alert.is_some() || packets.client_alert.is_some() {
            return Self::Tls;
        }
        let sasl = matches!(packets.api_key, Some(SASL_HANDSHAKE | SASL_AUTHENTICATE));
        if sasl && turns < SASL_TURNS {
            return Self::Sasl;
        }
        if responses == 0 || requests == 0 {
            Self::Unanswered
        } else {
            Self::InUse
        }
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
            Self::Connecting | Self::Silent | Self::Unanswered | Self::Tls | Self::Sasl
        )
    }

    /// The word in evidence.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Silent => "established, no byte either way",
            Self::Unanswered => "first request unanswered",
            Self::Tls => "TLS handshake",
            Self::Sasl => "SASL exchange",
            Self::InUse => "in use",
            Self::Unknown => "unknown",
        }
    }
}
