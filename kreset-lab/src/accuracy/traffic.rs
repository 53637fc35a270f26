//! What a connection carries before somebody ends it: the shapes of traffic, as real bytes.

use std::thread;

use super::draw::Draw;
use crate::{Connection, Conversation, error::Result, net::message::Request};

/// A TLS 1.3 client's hello, as its record begins; the rest means nothing to anybody here.
pub(super) fn client_hello() -> Vec<u8> {
    record(0x16, 0x01, &handshake_message(0x01, 512))
}

/// A TLS record of application data.
pub(super) fn application_data(length: usize) -> Vec<u8> {
    record(0x17, 0x03, &vec![0x5a; length])
}

/// A fatal TLS alert.
pub(super) const fn alert(description: u8) -> [u8; 7] {
    [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, description]
}

/// A TLS 1.2 end's goodbye.
pub(super) const CLOSE_NOTIFY: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x01, 0x00];

/// `internal_error`, what a JVM's TLS listener says to plaintext.
pub(super) const INTERNAL_ERROR: u8 = 80;

/// What a TLS server answers to a hello: its own, then the certificate and so on, encrypted.
pub(super) fn server_hello() -> Vec<u8> {
    let mut flight = record(0x16, 0x03, &handshake_message(0x02, 118));
    flight.extend(record(0x14, 0x03, &[1]));
    flight.extend(application_data(1200));
    flight
}

/// What a TLS 1.2 server answers: all of it readable.
pub(super) fn server_hello_12() -> Vec<u8> {
    let mut flight = record(0x16, 0x03, &handshake_message(0x02, 77));
    flight.extend(record(0x16, 0x03, &handshake_message(0x0b, 900)));
    flight.extend(record(0x16, 0x03, &handshake_message(0x0e, 2)));
    flight
}

/// A TLS 1.2 client's second flight.
pub(super) fn client_key_exchange() -> Vec<u8> {
    let mut flight = record(0x16, 0x03, &handshake_message(0x10, 66));
    flight.extend(record(0x14, 0x03, &[1]));
    flight.extend(record(0x16, 0x03, &[0x5a; 40]));
    flight
}

/// A TLS 1.2 server's end of the handshake.
pub(super) fn server_finished_12() -> Vec<u8> {
    let mut flight = record(0x14, 0x03, &[1]);
    flight.extend(record(0x16, 0x03, &[0x5a; 40]));
    flight
}

/// A client's end of the handshake.
pub(super) fn client_finished() -> Vec<u8> {
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
pub(super) fn kafka(api_key: u16, version: u16, correlation: u32, body: &[u8]) -> Vec<u8> {
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
pub(super) fn kafka_answer(correlation: u32, body: &[u8]) -> Vec<u8> {
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
pub(super) fn sasl_handshake(correlation: u32) -> Vec<u8> {
    kafka(17, 1, correlation, b"\x00\x05PLAIN")
}

/// `SaslAuthenticate` v1 with a user and a password.
pub(super) fn sasl_authenticate(correlation: u32) -> Vec<u8> {
    kafka(
        36,
        1,
        correlation,
        b"\x00\x00\x00\x13\x00alice\x00alice-secret",
    )
}

/// The answer to [`sasl_handshake`], with an error code.
pub(super) fn sasl_mechanisms(correlation: u32, error: u8) -> Vec<u8> {
    let mut body = vec![0, error];
    body.extend(b"\x00\x00\x00\x01\x00\x05PLAIN");
    kafka_answer(correlation, &body)
}

/// The answer to [`sasl_authenticate`] where the password is wrong.
pub(super) fn sasl_failed(correlation: u32) -> Vec<u8> {
    const SASL_AUTHENTICATION_FAILED: u8 = 58;
    let mut body = vec![0, SASL_AUTHENTICATION_FAILED];
    body.extend(b"\x00\x15Authentication failed");
    body.extend(b"\x00\x00\x00\x00");
    body.extend([0; 8]);
    kafka_answer(correlation, &body)
}

/// An HTTP request.
pub(super) const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: broker:9092\r\nAccept: */*\r\n\r\n";

/// The shape of a connection's traffic before it falls silent. How much of it there is is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Requests, each answered before the next.
    Plain,
    /// Several requests under way at once.
    Pipelined,
    /// Large batches.
    Batches,
    /// A consumer: fetches and heartbeats, a moment apart.
    Polls,
    /// A TLS session in use.
    Tls,
    /// In use after SASL.
    Sasl,
}

impl Shape {
    pub(super) const ALL: [Self; 6] = [
        Self::Plain,
        Self::Pipelined,
        Self::Batches,
        Self::Polls,
        Self::Tls,
        Self::Sasl,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Pipelined => "pipelined",
            Self::Batches => "batches",
            Self::Polls => "polls",
            Self::Tls => "tls",
            Self::Sasl => "sasl",
        }
    }

    /// Brings a fresh connection into use.
    pub(super) fn use_it(self, talk: &mut Conversation, draw: &Draw) -> Result<()> {
        match self {
            Self::Plain => {
                talk.introduce()?;
                for _ in 0..draw.number(1, 6) {
                    talk.exchange(request(draw))?;
                }
            }
            Self::Pipelined => {
                talk.introduce()?;
                let count = draw.number(2, 12);
                for _ in 0..count {
                    talk.client
                        .request(Request::Produce(draw.number(20, 1500)))?;
                }
                for _ in 0..count {
                    talk.broker.answer()?;
                }
                for _ in 0..count {
                    talk.client.receive()?;
                }
            }
            Self::Batches => {
                talk.introduce()?;
                for _ in 0..draw.number(1, 4) {
                    talk.exchange(Request::Produce(draw.number(15_000, 64_000)))?;
                }
            }
            Self::Polls => {
                talk.introduce()?;
                for _ in 0..draw.number(2, 6) {
                    thread::sleep(draw.time(20, 200));
                    talk.exchange(draw.one_of([Request::Fetch, Request::Heartbeat]))?;
                }
            }
            Self::Tls => {
                one_way(talk, Way::Up, &client_hello())?;
                if draw.chance(0.5) {
                    one_way(talk, Way::Down, &server_hello())?;
                    one_way(talk, Way::Up, &client_finished())?;
                    // One session ticket, or two.
                    for _ in 0..draw.number(1, 2) {
                        one_way(talk, Way::Down, &application_data(250))?;
                    }
                } else {
                    one_way(talk, Way::Down, &server_hello_12())?;
                    one_way(talk, Way::Up, &client_key_exchange())?;
                    one_way(talk, Way::Down, &server_finished_12())?;
                }
                for _ in 0..draw.number(2, 8) {
                    one_way(talk, Way::Up, &sealed(draw, 40, 600))?;
                    one_way(talk, Way::Down, &sealed(draw, 40, 4000))?;
                }
            }
            Self::Sasl => {
                talk.exchange(Request::ApiVersions)?;
                one_way(talk, Way::Up, &sasl_handshake(2))?;
                one_way(talk, Way::Down, &sasl_mechanisms(2, 0))?;
                // PLAIN has one round, SCRAM has two.
                for round in 3..=u32::from(draw.number(3, 4)) {
                    one_way(talk, Way::Up, &sasl_authenticate(round))?;
                    one_way(talk, Way::Down, &kafka_answer(round, &[0; 18]))?;
                }
                for _ in 0..draw.number(2, 5) {
                    talk.exchange(request(draw))?;
                }
            }
        }
        Ok(())
    }

    /// One more exchange.
    pub(super) fn exchange(self, talk: &mut Conversation, draw: &Draw) -> Result<()> {
        if self == Self::Tls {
            one_way(talk, Way::Up, &sealed(draw, 40, 600))?;
            one_way(talk, Way::Down, &sealed(draw, 40, 1200))
        } else {
            talk.exchange(request(draw))
        }
    }

    /// A request that nobody may answer.
    pub(super) fn ask(self, client: &mut Connection) -> Result<()> {
        if self == Self::Tls {
            client.send(&application_data(90))
        } else {
            client.request(Request::Metadata)
        }
    }

    /// Some of the broker's data.
    pub(super) fn answer(self, talk: &mut Conversation) -> Result<()> {
        if self == Self::Tls {
            talk.broker.receive_bytes(application_data(90).len())?;
            talk.broker.send(&application_data(400))
        } else {
            talk.broker.answer()
        }
    }
}

/// What clients ask all the time.
fn request(draw: &Draw) -> Request {
    draw.one_of([
        Request::Metadata,
        Request::Heartbeat,
        Request::Fetch,
        Request::Produce(draw.number(20, 3000)),
    ])
}

/// A record of application data.
fn sealed(draw: &Draw, from: u16, to: u16) -> Vec<u8> {
    application_data(draw.number(from, to).into())
}

/// Which way bytes go.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// To the broker.
    Up,
    /// To the client.
    Down,
}

/// Sends bytes one way, and has them read.
pub(super) fn one_way(talk: &mut Conversation, way: Way, bytes: &[u8]) -> Result<()> {
    let (from, to) = match way {
        Way::Up => (&mut talk.client, &mut talk.broker),
        Way::Down => (&mut talk.broker, &mut talk.client),
    };
    from.send(bytes)?;
    to.receive_bytes(bytes.len())
}
