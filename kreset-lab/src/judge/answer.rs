//! What a tracer can answer.

use std::fmt;

use crate::event::Event;

/// A right answer: a verdict, and the causes that may be given with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The verdict.
    pub(crate) verdict: &'static str,
    /// The causes that are right; none for a verdict that has none.
    pub(crate) causes: &'static [&'static str],
}

impl Answer {
    /// A device forgot the silent connection and answered the next packet.
    pub(crate) const IDLE_ON_SEND: Self = Self::one("middlebox_idle_reset", &["reset_on_send"]);
    /// A device ended the silent connection when its timer ran out.
    pub(crate) const IDLE_ON_TIMER: Self = Self::one("middlebox_idle_reset", &["reset_on_timer"]);
    /// A device forgot the silent connection and drops what follows.
    pub(crate) const IDLE_DROP: Self = Self::one("middlebox_idle_drop", &["blackholed"]);
    /// A device reset a connection that was active.
    pub(crate) const NOT_IDLE: Self = Self::one("middlebox_reset", &["not_idle"]);
    /// A device forgot the silent connection, and the flow came back changed.
    pub(crate) const REBOUND: Self = Self::one("middlebox_idle_reset", &["rebound"]);
    /// A connection in use was moved to another host.
    pub(crate) const MOVED: Self = Self::one("middlebox_reset", &["moved"]);
    /// The broker ended a connection that was not used.
    pub(crate) const IDLE_CLOSE: Self = Self::one("broker_originated", &["idle_close"]);
    /// The broker's process ended.
    pub(crate) const SHUTDOWN: Self = Self::one("broker_originated", &["shutdown"]);
    /// The broker's process ended with unread data: either is true.
    pub(crate) const SHUTDOWN_OR_ABORTED: Self =
        Self::one("broker_originated", &["shutdown", "aborted"]);
    /// The broker's host knows of no such connection.
    pub(crate) const CONNECTION_LOST: Self = Self::one("broker_originated", &["connection_lost"]);
    /// The broker's live socket aborted.
    pub(crate) const BROKER_ABORTED: Self = Self::one("broker_originated", &["aborted"]);
    /// A client without TLS came to a listener with it.
    pub(crate) const PLAINTEXT_TO_TLS: Self = Self::one("handshake_phase", &["plaintext_to_tls"]);
    /// A client with TLS came to a listener without it.
    pub(crate) const TLS_TO_PLAINTEXT: Self = Self::one("handshake_phase", &["tls_to_plaintext"]);
    /// Something other than a Kafka client came.
    pub(crate) const NOT_KAFKA: Self = Self::one("handshake_phase", &["not_kafka"]);
    /// TLS began, and an alert or an abort ended it.
    pub(crate) const TLS_ALERT: Self = Self::one("handshake_phase", &["tls_alert"]);
    /// SASL began, and did not end well.
    pub(crate) const AUTHENTICATION: Self = Self::one("handshake_phase", &["authentication"]);
    /// Nothing listens.
    pub(crate) const REFUSED: Self = Self::one("handshake_phase", &["refused"]);
    /// Accepted and dropped before any answer.
    pub(crate) const CLOSED_BY_BROKER: Self = Self::one("handshake_phase", &["closed_by_broker"]);
    /// The client's live socket aborted.
    pub(crate) const CLIENT_ABORTED: Self = Self::one("client_originated", &["aborted"]);
    /// The client's host knows of no such connection.
    pub(crate) const CLIENT_LOST: Self = Self::one("client_originated", &["connection_lost"]);
    /// Opened and reset by the client without a byte.
    pub(crate) const PROBE: Self = Self::one("client_originated", &["probe"]);
    /// The client closed in order, data still under way met no socket.
    pub(crate) const LATE_DATA: Self = Self::one("client_originated", &["late_data"]);
    /// One host cannot decide.
    pub(crate) const INDETERMINATE: Self = Self::one("indeterminate", &[]);

    pub(crate) const fn one(verdict: &'static str, causes: &'static [&'static str]) -> Self {
        Self { verdict, causes }
    }

    pub(crate) fn fits(&self, event: &Event) -> bool {
        event.verdict.as_deref() == Some(self.verdict)
            && match &event.cause {
                Some(cause) => self.causes.contains(&cause.as_str()),
                None => self.causes.is_empty(),
            }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verdict)?;
        for (number, cause) in self.causes.iter().enumerate() {
            f.write_str(if number == 0 { "/" } else { "|" })?;
            f.write_str(cause)?;
        }
        Ok(())
    }
}

/// Any of these.
pub(super) fn choice(answers: &[Answer]) -> String {
    let answers: Vec<_> = answers.iter().map(Answer::to_string).collect();
    answers.join(" or ")
}
