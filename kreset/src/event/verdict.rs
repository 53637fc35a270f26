//! The words of a judgement: verdict, cause, role, direction.

use serde::Serialize;
use thiserror::Error;

/// A word that is none of those expected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown {kind} \"{given}\"; expected one of {expected}")]
pub struct UnknownWord {
    /// What was expected, such as `verdict`.
    pub kind: &'static str,
    /// What was given.
    pub given: String,
    /// Every word, with commas.
    pub expected: String,
}

macro_rules! words {
    (
        $(#[doc = $doc:literal])*
        $name:ident { $($(#[doc = $vdoc:literal])* $variant:ident = $word:literal),+ $(,)? }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[doc = $vdoc])* $variant),+ }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word in JSON, text and documentation.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl core::str::FromStr for $name {
            type Err = $crate::event::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                let words = Self::ALL.iter().copied();
                words.clone().find(|it| it.as_str() == word).ok_or_else(|| {
                    $crate::event::UnknownWord {
                        kind: stringify!($name),
                        given: word.to_owned(),
                        expected: words.map(Self::as_str).collect::<Vec<_>>().join(", "),
                    }
                })
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::event::parsed::Parsed::new())
            }
        }

        #[cfg(test)]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "description": concat!($($doc, "\n"),*).trim(),
                    "oneOf": [$({
                        "const": $word,
                        "description": concat!($($vdoc, "\n"),*).trim(),
                    }),+],
                })
            }
        }
    };
}

pub(super) use words;

words! {
    /// The class of a reset: who ended the connection.
    Verdict {
        /// A device between the ends had forgotten an idle flow and reset it.
        MiddleboxIdleReset = "middlebox_idle_reset",
        /// A device had forgotten an idle flow and drops its packets.
        MiddleboxIdleDrop = "middlebox_idle_drop",
        /// A device reset a flow that was in use.
        MiddleboxReset = "middlebox_reset",
        /// The broker, its process or its host ended the connection.
        BrokerOriginated = "broker_originated",
        /// The connection ended before its first exchange did.
        HandshakePhase = "handshake_phase",
        /// The client, its process or its host ended the connection.
        ClientOriginated = "client_originated",
        /// The evidence is below the bar.
        Indeterminate = "indeterminate",
    }
}

impl Verdict {
    /// A silence is part of the verdict.
    #[must_use]
    pub const fn is_idle(self) -> bool {
        matches!(self, Self::MiddleboxIdleReset | Self::MiddleboxIdleDrop)
    }
}

words! {
    /// The reason inside a [`Verdict`].
    Cause {
        /// Our packet after a silence drew a forged RST.
        ResetOnSend = "reset_on_send",
        /// The RST came by itself after a silence.
        ResetOnTimer = "reset_on_timer",
        /// The flow came back from another port or address after a silence, or
        /// reached another host: the RST answers for a connection that its sender
        /// never had.
        Rebound = "rebound",
        /// Packets after a silence were never answered.
        Blackholed = "blackholed",
        /// Forged, though the flow was in use.
        NotIdle = "not_idle",
        /// As [`Cause::Rebound`], but the flow was in use.
        Moved = "moved",
        /// The broker closed an idle connection; our late write drew the RST.
        IdleClose = "idle_close",
        /// The broker process ended or closed many connections at once.
        Shutdown = "shutdown",
        /// The broker, or a proxy at its address, closed this connection in order
        /// and goes on; our late write drew the RST.
        Closed = "closed",
        /// The host of the peer no longer knows the connection.
        ConnectionLost = "connection_lost",
        /// A live socket of the peer aborted the connection.
        Aborted = "aborted",
        /// Nothing listens at the address.
        Refused = "refused",
        /// A client without TLS spoke to a TLS listener.
        PlaintextToTls = "plaintext_to_tls",
        /// A TLS client spoke to a listener without TLS.
        TlsToPlaintext = "tls_to_plaintext",
        /// The client does not speak Kafka.
        NotKafka = "not_kafka",
        /// A TLS alert, or an abort, ended the TLS handshake.
        TlsAlert = "tls_alert",
        /// The SASL exchange did not end well.
        Authentication = "authentication",
        /// Accepted and dropped before any answer.
        ClosedByBroker = "closed_by_broker",
        /// Opened and reset by the client before a byte went either way.
        Probe = "probe",
        /// Data under way when the client closed met no socket.
        LateData = "late_data",
    }
}

words! {
    /// What an event is: its key `type`.
    Kind {
        /// Everything is attached.
        Start = "start",
        /// A RST was received or sent.
        Reset = "reset",
        /// The peer ended the connection before its first exchange ended.
        Close = "close",
        /// The connection ended unanswered.
        Timeout = "timeout",
        /// A path turned sustained or periodic, or ceased to be.
        Alert = "alert",
        /// Ends of connections that have one cause.
        Incident = "incident",
        /// What became known later changed what was said of an event.
        Correction = "correction",
        /// Something was lost.
        Loss = "loss",
        /// Counts and coverage.
        Summary = "summary",
        /// A measurement on purpose.
        Probe = "probe",
        /// What two hosts together prove.
        Finding = "finding",
    }
}

words! {
    /// Which end of the connection this host is.
    Role {
        /// This host's socket called `connect()`.
        Client = "client",
        /// This host's socket has the traced port.
        Broker = "broker",
    }
}

impl Role {
    /// The other end of the connection.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Broker,
            Self::Broker => Self::Client,
        }
    }
}

words! {
    /// Which way the RST went, seen from this host.
    Direction {
        /// This host received it.
        Received = "received",
        /// This host sent it.
        Sent = "sent",
    }
}

words! {
    /// Whose packet ended the connection. The verdict says who is responsible: a host
    /// answers honestly for a connection that a device has moved to it.
    SentBy {
        /// The client's host.
        Client = "client",
        /// The broker's host, or a proxy at its address.
        Broker = "broker",
        /// A device between the ends.
        Device = "device",
        /// The evidence does not tell.
        Unknown = "unknown",
    }
}

words! {
    /// Where a finding comes from.
    Source {
        /// Seen by this kernel as it happened.
        Live = "live",
        /// Raw records of an earlier run.
        Recording = "recording",
        /// A packet capture.
        Capture = "capture",
    }
}

words! {
    /// Whether the age of a connection is known exactly.
    AgeKind {
        /// The tracer saw it begin, or the kernel's counters prove it.
        Exact = "exact",
        /// The connection is older than the tracer.
        AtLeast = "at_least",
    }
}

words! {
    /// Who could have made a fact up.
    Proof {
        /// This host's kernel shows it, or a packet that the kernel accepted.
        Proven = "proven",
        /// Whoever knows both ends of the connection: nothing shows that the kernel
        /// accepted what it rests on, or the kernel accepts that from anybody.
        Forgeable = "forgeable",
    }
}

words! {
    /// What this host did that drew the RST.
    ProvokedBy {
        /// Data was in flight.
        Data = "data",
        /// A keepalive probe was out.
        Keepalive = "keepalive",
        /// This host's own FIN.
        Close = "close",
        /// Nothing was pending: the RST came by itself.
        Nothing = "nothing",
    }
}

words! {
    /// Routine closes without harm: counted in every summary, shown with `--all`
    /// only. On some brokers there are thousands an hour.
    Noise {
        /// Opened and reset by the client before a byte went either way.
        Probe = "probe",
        /// Data under way when the client closed met no socket.
        LateData = "late_data",
        /// The RST only answered this host's own FIN.
        Close = "close",
        /// A connection of `kreset-trace probe`, which looks for just that.
        KresetProbe = "kreset_probe",
    }
}

/// The name of a class, as documents and counts have it: `verdict/cause`, or the verdict alone.
#[must_use]
pub fn class_name(verdict: Verdict, cause: Option<Cause>) -> String {
    cause.map_or_else(|| verdict.to_string(), |cause| format!("{verdict}/{cause}"))
}

/// Whether the cause of a failed first exchange is only one of several that are
/// equally likely; `share` is its own.
#[must_use]
pub fn is_unclear(verdict: Verdict, share: f64) -> bool {
    const UNCLEAR: f64 = 0.5;
    verdict == Verdict::HandshakePhase && share < UNCLEAR
}
