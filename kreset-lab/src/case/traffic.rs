//! What a connection carries before it ends: the shapes of traffic, as real bytes.

/// A TLS 1.3 client's hello, as its record begins; the rest is never read.
pub(crate) fn client_hello() -> Vec<u8> {
    record(0x16, 0x01, &handshake_message(0x01, 512))
}

/// A TLS record of application data.
pub(crate) fn application_data(length: usize) -> Vec<u8> {
    record(0x17, 0x03, &vec![0x5a; length])
}

/// A fatal TLS alert.
pub(crate) const fn alert(description: u8) -> [u8; 7] {
    [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, description]
}

/// A TLS 1.2 end's goodbye.
pub(crate) const CLOSE_NOTIFY: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x01, 0x00];

/// `internal_error`, what a JVM's TLS listener says to plaintext.
pub(crate) const INTERNAL_ERROR: u8 = 80;

/// What a TLS server answers to a hello: its own, then the certificate and so on, encrypted.
pub(crate) fn server_hello() -> Vec<u8> {
    let mut flight = record(0x16, 0x03, &handshake_message(0x02, 118));
    flight.extend(record(0x14, 0x03, &[1]));
    flight.extend(application_data(1200));
    flight
}

/// What a TLS 1.2 server answers: all of it readable.
pub(crate) fn server_hello_12() -> Vec<u8> {
    let mut flight = record(0x16, 0x03, &handshake_message(0x02, 77));
    flight.extend(record(0x16, 0x03, &handshake_message(0x0b, 900)));
    flight.extend(record(0x16, 0x03, &handshake_message(0x0e, 2)));
    flight
}

/// A TLS 1.2 client's second flight.
pub(crate) fn client_key_exchange() -> Vec<u8> {
    let mut flight = record(0x16, 0x03, &handshake_message(0x10, 66));
    flight.extend(record(0x14, 0x03, &[1]));
    flight.extend(record(0x16, 0x03, &[0x5a; 40]));
    flight
}

/// A TLS 1.2 server's end of the handshake.
pub(crate) fn server_finished_12() -> Vec<u8> {
    let mut flight = record(0x14, 0x03, &[1]);
    flight.extend(record(0x16, 0x03, &[0x5a; 40]));
    flight
}

/// A client's end of the handshake.
pub(crate) fn client_finished() -> Vec<u8> {
    let mut flight = record(0x14, 0x03, &[1]);
    flight.extend(application_data(53));
    flight
}

fn record(kind: u8, version: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut record = vec![kind, 0x03, version];
    record.extend(length);
    record.extend(body);
    record
}

fn handshake_message(kind: u8, length: u16) -> Vec<u8> {
    let mut message = vec![kind, 0];
    message.extend(length.to_be_bytes());
    message.extend([0x03, 0x03]);
    message.resize(usize::from(length) + 4, 0xa5);
    message
}

/// A Kafka request with header v1 and this body.
pub(crate) fn kafka(api_key: u16, version: u16, correlation: u32, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(api_key.to_be_bytes());
    message.extend(version.to_be_bytes());
    message.extend(correlation.to_be_bytes());
    message.extend([0, 7]);
    message.extend(b"rdkafka");
    message.extend(body);
    framed(&message)
}

/// An answer to the request with this number.
pub(crate) fn kafka_answer(correlation: u32, body: &[u8]) -> Vec<u8> {
    let mut message = correlation.to_be_bytes().to_vec();
    message.extend(body);
    framed(&message)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(message);
    frame
}

/// `SaslHandshake` v1 for `PLAIN`.
pub(crate) fn sasl_handshake(correlation: u32) -> Vec<u8> {
    kafka(17, 1, correlation, b"\x00\x05PLAIN")
}

/// `SaslAuthenticate` v1 with a user and a password.
pub(crate) fn sasl_authenticate(correlation: u32) -> Vec<u8> {
    kafka(
        36,
        1,
        correlation,
        b"\x00\x00\x00\x13\x00alice\x00alice-secret",
    )
}

/// The answer to [`sasl_handshake`], with an error code.
pub(crate) fn sasl_mechanisms(correlation: u32, error: u8) -> Vec<u8> {
    let mut body = vec![0, error];
    body.extend(b"\x00\x00\x00\x01\x00\x05PLAIN");
    kafka_answer(correlation, &body)
}

/// The answer to [`sasl_authenticate`] where the password is wrong.
pub(crate) fn sasl_failed(correlation: u32) -> Vec<u8> {
    const SASL_AUTHENTICATION_FAILED: u8 = 58;
    let mut body = vec![0, SASL_AUTHENTICATION_FAILED];
    body.extend(b"\x00\x15Authentication failed");
    body.extend(b"\x00\x00\x00\x00");
    body.extend([0; 8]);
    kafka_answer(correlation, &body)
}

/// An HTTP request.
pub(crate) const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: broker:9092\r\nAccept: */*\r\n\r\n";

/// `ApiVersions` v3 as librdkafka sends it.
pub(crate) fn api_versions(correlation: u32) -> Vec<u8> {
    kafka(18, 3, correlation, b"\x00\x08rdkafka\x062.3.0\x00")
}

named_enum! {
    /// The shape of a connection's traffic before it falls silent. How much of it there is is drawn.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Shape all {
        /// Requests, each answered before the next.
        Plain = "plain",
        /// Several requests under way at once.
        Pipelined = "pipelined",
        /// Large batches.
        Batches = "batches",
        /// A consumer: fetches and heartbeats, a moment apart.
        Polls = "polls",
        /// A TLS session in use.
        Tls = "tls",
        /// In use after SASL.
        Sasl = "sasl",
    }
}
