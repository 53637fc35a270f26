//! Evidence in words.

/// What a piece of evidence is about; the name itself where it is of another version.
#[must_use]
pub fn evidence_words(name: &str) -> &str {
    WORDS
        .iter()
        .find(|(it, _)| *it == name)
        .map_or(name, |(_, words)| words)
}

const WORDS: &[(&str, &str)] = &[
    ("beginning", "beginning of the connection"),
    ("broker_fin", "the broker's FIN came first"),
    ("broker_log", "a line of the broker's log"),
    ("cut_off", "a request that was unanswered"),
    (
        "failover",
        "a device's failover while the connection was silent",
    ),
    ("first_bytes", "first bytes"),
    ("had", "connections that this host had"),
    ("hidden_exchange", "SASL that TLS may hide"),
    ("idle", "silence before the reset"),
    ("kernel_reason", "this kernel's own reason"),
    ("known_timers", "timer of known devices"),
    ("last_api_key", "last request"),
    ("listener", "listening socket"),
    ("load", "load of the broker"),
    ("longest_silence", "longest silence of the connection"),
    ("other_end", "the other end on this host"),
    ("phase", "how far the connection had come"),
    ("process_end", "end of the broker's process"),
    ("provoked_by", "what drew the reset"),
    ("reconnect", "new connection to the broker"),
    ("refused_by", "who refused"),
    ("repeats", "earlier resets of this path"),
    ("reset_after_fin", "reset after the broker's FIN"),
    ("reset_delay", "delay of the reset"),
    ("reset_shape", "shape of the reset"),
    ("reset_timestamps", "TCP timestamps of the reset"),
    ("same_host", "both ends on this host"),
    ("state", "TCP state"),
    ("survived_idle", "longest silence that the path survived"),
    ("timeout", "packets that went unanswered"),
    ("tls_alert", "TLS alert"),
    ("together", "other connections that ended"),
    ("ttl", "distance of the sender (TTL)"),
    ("unobserved", "an end that was not observed"),
];

/// The names that have words.
pub fn evidence_names() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(name, _)| *name)
}
