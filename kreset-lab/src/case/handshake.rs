//! Connections that end before their first exchange ended well.

use super::{
    broker::{ends, ends_unread},
    prelude::*,
    table::Hook,
    traffic::{HTTP, INTERNAL_ERROR, alert},
};

/// HTTP to a TLS listener is both.
const HTTP_TO_TLS: Answer = Answer::one("handshake_phase", &["not_kafka", "plaintext_to_tls"]);

/// A broker that wants SASL and is not offered it ends the connection without a word.
const NO_SASL: Answer = Answer::one("handshake_phase", &["authentication", "closed_by_broker"]);

/// TLS alerts.
const CERTIFICATE_REQUIRED: u8 = 42;
const CERTIFICATE_EXPIRED: u8 = 45;
const UNKNOWN_CA: u8 = 48;
const PROTOCOL_VERSION: u8 = 70;

/// Errors of SASL.
const UNSUPPORTED_SASL_MECHANISM: u8 = 33;
const ILLEGAL_SASL_STATE: u8 = 34;

/// The record of an encrypted TLS 1.3 alert: only its length shows what it is.
const ALERT_RECORD: usize = 19;

/// A session ticket of OpenSSL's.
const SESSION_TICKET: usize = 250;

/// The size of a Kafka request, or the head of a TLS record, is what makes a broker give up.
const HEAD: usize = 4;

/// All but the one that is played in the usual environment.
const OTHER_ENDINGS: &[Ending] = &[
    Ending::Fin,
    Ending::FinAlone,
    Ending::LateWrite,
    Ending::DelayedFinThenReset,
];

pub(super) fn rows() -> Vec<Row> {
    use Environment::{LongIdle, NoPackets};
    let mut all = vec![
        row("refused.by_host", refused)
            .named("refused", "nothing listens on the broker")
            .in_each_family(),
        row("refused.blind", refused).environments(&[NoPackets]),
        row("closed_by_broker.unread.{silence}", dropped_unread)
            .silences(&Silence::BUSY)
            .named(
                "closed_by_broker",
                "the broker accepts, and closes with the first request unread",
            ),
        row("closed_by_broker.silent.{silence}", dropped_silent)
            .silences(&Silence::BUSY)
            .named(
                "closed_by_broker_silent",
                "the broker accepts, and aborts before the client has said anything",
            ),
        row("closed_by_broker.silent.blind.{silence}", dropped_silent)
            .environments(&[NoPackets])
            .silences(&Silence::BUSY),
        row("refused.by_device.{ttl}_ttl", refused_by_device)
            .environments(&[LongIdle])
            .named(
                "refused_by_device",
                "a device before the broker refuses the connection",
            )
            .further(),
        row("tls_alert.certificate_required.{ending}", no_certificate),
        row("tls_alert.encrypted.{ending}", encrypted_alert).environments(&[LongIdle]),
        row("tls_alert.unknown_ca.reset", untrusted_and_reset),
        row("tls_alert.unknown_ca.closed", untrusted),
        row("tls_alert.unknown_ca_1_3", untrusted_13),
        row("tls_alert.expired.fin", expired),
        row("tls_alert.broker_aborts", tls_aborted),
        row("authentication.wrong_password.{ending}", wrong_password),
        row(
            "authentication.within_tls.{ending}",
            wrong_password_within_tls,
        )
        .endings(&[Ending::Fin, Ending::FinAlone, Ending::LateWrite]),
        row("authentication.mechanism.{ending}", wrong_mechanism).environments(&[LongIdle]),
        row("authentication.none.{ending}", no_sasl),
        row("authentication.not_wanted", sasl_not_wanted),
        row("closed_by_broker.before_request.{ending}", before_request),
        row("closed_by_broker.hello_read.{ending}", hello_read).endings(&[
            Ending::Fin,
            Ending::FinAlone,
            Ending::LateWrite,
        ]),
        row("closed_by_broker.hello_unread", hello_unread).environments(&[LongIdle]),
        row("closed_by_broker.tls_first_request", first_request_aborted),
        row(
            "closed_by_broker.tls_12_first_request",
            first_request_12_aborted,
        ),
        row("closed_by_broker.tls_ticket_last", ticket_last).environments(&[LongIdle]),
        row("closed_by_broker.old_version.{ending}", old_version),
        row("authentication.raw_token.{ending}", raw_token).environments(&[LongIdle]),
        row("authentication.unanswered.{ending}", login_unanswered).environments(&[LongIdle]),
        row("tls_answer_lost", tls_answer_lost).environments(&[LongIdle]),
        row("gave_up.tls_12", |context| {
            let pair = hellos_12(context)?;
            gave_up(context, pair, &traffic::client_key_exchange())
        }),
        row("gave_up.tls_13", |context| {
            let mut flight = traffic::client_finished();
            flight.extend(traffic::application_data(90));
            gave_up(context, hellos_13(context)?, &flight)
        }),
        row("gave_up.sasl", |context| {
            gave_up(context, sasl(context, 0)?, &traffic::sasl_authenticate(3))
        }),
        row("broker_aborts.tls_second_request", second_request_aborted),
        row("tls_to_plaintext.blind.{ending}", |context| {
            let hello = traffic::client_hello();
            unseen(answered(context, &hello, &[], Answer::TLS_TO_PLAINTEXT))
        })
        .environments(&[NoPackets]),
        row("closed_by_broker.blind.{ending}", |context| {
            let request = traffic::api_versions(1);
            unseen(answered(context, &request, &[], Answer::CLOSED_BY_BROKER))
        })
        .environments(&[NoPackets]),
        row("authentication.blind.{ending}", |context| {
            unseen(wrong_password(context))
        })
        .environments(&[NoPackets]),
    ];
    for (name, opening, answer, right) in openings() {
        let act = move |context: &Context<'_>| answered(context, &opening, &answer, right);
        let id = format!("{name}.{{ending}}");
        all.push(row(&*id, act.clone()).endings(&[Ending::FinThenReset]));
        all.push(
            row(&*id, act)
                .endings(OTHER_ENDINGS)
                .environments(&[LongIdle]),
        );
    }
    all
}

/// What a client says first, what the broker answers at most, and what that is.
fn openings() -> [(&'static str, Vec<u8>, Vec<u8>, Answer); 8] {
    let error = alert(INTERNAL_ERROR).to_vec();
    let mut bulk = traffic::kafka(18, 3, 1, b"\x00");
    bulk.extend(traffic::kafka(0, 7, 2, &vec![0; 20_000]));
    let ssh = b"SSH-2.0-OpenSSH_9.6\r\n".to_vec();
    let version = alert(PROTOCOL_VERSION).to_vec();
    let (request, hello) = (traffic::api_versions(1), traffic::client_hello());
    let to_tls = Answer::PLAINTEXT_TO_TLS;
    [
        (
            "plaintext_to_tls.kafka",
            request.clone(),
            error.clone(),
            to_tls,
        ),
        (
            "plaintext_to_tls.http",
            HTTP.to_vec(),
            error.clone(),
            HTTP_TO_TLS,
        ),
        ("plaintext_to_tls.bulk", bulk, error, to_tls),
        (
            "tls_to_plaintext",
            hello.clone(),
            vec![],
            Answer::TLS_TO_PLAINTEXT,
        ),
        ("not_kafka.http", HTTP.to_vec(), vec![], Answer::NOT_KAFKA),
        ("not_kafka.ssh", ssh, vec![], Answer::NOT_KAFKA),
        (
            "tls_alert.protocol_version",
            hello,
            version,
            Answer::TLS_ALERT,
        ),
        (
            "closed_by_broker.after_request",
            request,
            vec![],
            Answer::CLOSED_BY_BROKER,
        ),
    ]
}

/// A TLS listener, an ingress or a proxy that reads the hello, knows no such server name, and
/// closes without a word. So would a plaintext listener that is not Kafka's.
fn hello_read(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    let hello = traffic::client_hello();
    pair.pass(Client, &hello)?;
    let expected = end(context, pair, 0, Answer::CLOSED_BY_BROKER)?;
    Ok(unlike_kafka(expected, Answer::CLOSED_BY_BROKER))
}

/// A TLS listener above its limits closes with the hello unread: only its own host knows that it
/// was.
fn hello_unread(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    pair.send(Client, &traffic::client_hello())?;
    pair.has_data(Broker)?;
    pair.close_and_reset(Broker)?;
    let expected = pair.was_reset(Client, Answer::CLOSED_BY_BROKER);
    Ok(expected.undecidable(
        Client,
        &[Answer::CLOSED_BY_BROKER],
        &[Answer::TLS_TO_PLAINTEXT],
    ))
}

/// The first segment of the broker's answer is larger than a tunnel takes, the next one arrives;
/// the client gives the handshake up in order.
fn tls_answer_lost(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    pair.pass(Client, &traffic::client_hello())?;
    let loss = format!("tcp dport {} meta length > 500 drop", pair.port);
    let loss = context.on_router(Hook::Forward, &loss)?;
    pair.send(Broker, &traffic::server_hello_12())?;
    pair.send(Broker, &traffic::application_data(100))?;
    context.pause()?;
    pair.close(Client);
    pair.has_fin(Broker)?;
    pair.close(Broker);
    context.pause()?;
    drop(loss);
    let unclear = &[Answer::INDETERMINATE, Answer::LATE_DATA];
    Ok(pair
        .expected()
        .optional(Client, unclear)
        .optional(Broker, unclear))
}

/// A balancer that ends TLS and has no healthy target: the handshake succeeds, a session ticket
/// shows it, and the first request draws an abort.
fn first_request_aborted(context: &Context<'_>) -> Result<Expected> {
    let mut pair = hellos_13(context)?;
    pair.pass(Client, &traffic::client_finished())?;
    pair.pass(Broker, &traffic::application_data(SESSION_TICKET))?;
    aborted_on_request(pair)
}

/// The same in TLS 1.2.
fn first_request_12_aborted(context: &Context<'_>) -> Result<Expected> {
    let mut pair = hellos_12(context)?;
    pair.pass(Client, &traffic::client_key_exchange())?;
    pair.pass(Broker, &traffic::server_finished_12())?;
    aborted_on_request(pair)
}

fn aborted_on_request(mut pair: ConnectionPair<'_>) -> Result<Expected> {
    pair.send(Client, &traffic::application_data(90))?;
    pair.has_data(Broker)?;
    pair.abort_and_reset(Broker)?;
    Ok(pair.was_reset(Client, Answer::CLOSED_BY_BROKER))
}

/// The client's request is under way when the ticket comes: for either host that may as well be
/// the answer.
fn ticket_last(context: &Context<'_>) -> Result<Expected> {
    let mut pair = hellos_13(context)?;
    let mut flight = traffic::client_finished();
    let finished = flight.len();
    flight.extend(traffic::application_data(90));
    pair.send(Client, &flight)?;
    pair.end_of(Broker)?.receive_bytes(finished)?;
    pair.pass(Broker, &traffic::application_data(SESSION_TICKET))?;
    pair.abort_and_reset(Broker)?;
    Ok(pair
        .was_reset(Client, Answer::CLOSED_BY_BROKER)
        .alike_on_both(&[Answer::BROKER_ABORTED]))
}

/// A client that asks for a version which the broker has removed: it closes without an answer.
fn old_version(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    pair.pass(Client, &traffic::kafka(3, 0, 1, &[0; 4]))?;
    end(context, pair, 0, Answer::CLOSED_BY_BROKER)
}

/// After `SaslHandshake` v0 the password comes without a request's header, and is wrong.
fn raw_token(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    pair.pass(Client, &traffic::kafka(17, 0, 1, b"\x00\x05PLAIN"))?;
    pair.pass(Broker, &traffic::sasl_mechanisms(1, 0))?;
    pair.pass(Client, b"\x00\x00\x00\x0f\0alice\0password")?;
    end(context, pair, 0, Answer::AUTHENTICATION)
}

/// A busy broker reads what the client says in the first exchange, and does not come to an answer:
/// the client closes by its own timer.
fn gave_up(context: &Context<'_>, mut pair: ConnectionPair<'_>, latest: &[u8]) -> Result<Expected> {
    pair.pass(Client, latest)?;
    context.silence(context.draw.time(1_300, 2_500))?;
    let unclear = &[Answer::INDETERMINATE, Answer::LATE_DATA];
    Ok(left_in_order(pair)?
        .optional(Client, unclear)
        .optional(Broker, unclear))
}

/// The broker closes on credentials without an answer, as old ones do, proxies, and one that ends
/// just then.
fn login_unanswered(context: &Context<'_>) -> Result<Expected> {
    let mut pair = sasl(context, 0)?;
    pair.pass(Client, &traffic::sasl_authenticate(3))?;
    end(context, pair, 0, NO_SASL)
}

/// TLS 1.3, or a session that is resumed: the client's Finished carries its first request, which
/// is answered, and the second one draws an abort.
fn second_request_aborted(context: &Context<'_>) -> Result<Expected> {
    let mut pair = hellos_13(context)?;
    pair.pass(Client, &traffic::client_finished())?;
    pair.pass(Client, &traffic::application_data(90))?;
    pair.pass(Broker, &traffic::application_data(420))?;
    pair.send(Client, &traffic::application_data(1_200))?;
    pair.has_data(Broker)?;
    pair.abort_and_reset(Broker)?;
    Ok(pair.was_reset(Client, Answer::BROKER_ABORTED))
}

/// A hello that was read to its end and not answered: Kafka's plaintext listener leaves it unread,
/// and of the others any may do so.
fn unlike_kafka(expected: Expected, right: Answer) -> Expected {
    let alike = [Answer::CLOSED_BY_BROKER, Answer::TLS_TO_PLAINTEXT];
    let alike: Vec<_> = alike.into_iter().filter(|it| *it != right).collect();
    expected.alike_on_both(&alike)
}

/// Ends a connection whose broker has not read the last `unread` bytes. Where the client says
/// more, it goes on in the protocol that it speaks.
fn end(
    context: &Context<'_>,
    mut pair: ConnectionPair<'_>,
    unread: usize,
    right: Answer,
) -> Result<Expected> {
    let more = &more(right);
    let ending = context.with.ending;
    match ending {
        Ending::Fin | Ending::FinAlone => {
            pair.end_of(Broker)?.receive_bytes(unread)?;
            ends(&mut pair)?;
            if ending == Ending::Fin {
                pair.close(Client);
            }
            // The broker's own host did it, in order: an event is welcome, silence is fine.
            let expected = pair.expected().reported(Client, &[right]);
            return Ok(expected.optional(Broker, &[right]).without_reset());
        }
        Ending::LateWrite => {
            pair.end_of(Broker)?.receive_bytes(unread)?;
            ends(&mut pair)?;
            context.silence(context.draw.time(60, 500))?;
            pair.send(Client, more)?;
            pair.is_reset(Client)?;
        }
        Ending::FinThenReset | Ending::DelayedFinThenReset => {
            if ending == Ending::DelayedFinThenReset {
                context.silence(ms(105))?;
            }
            if unread == 0 {
                pair.send(Client, more)?;
                pair.has_data(Broker)?;
            }
            ends_unread(&mut pair)?;
        }
    }
    Ok(pair.was_reset(Client, right))
}

/// What a client of this kind says next.
fn more(right: Answer) -> Vec<u8> {
    if [Answer::TLS_ALERT, Answer::TLS_TO_PLAINTEXT].contains(&right) {
        traffic::application_data(90)
    } else if [Answer::NOT_KAFKA, HTTP_TO_TLS].contains(&right) {
        b"anything else?\r\n".to_vec()
    } else {
        traffic::api_versions(9)
    }
}

/// Tracers that see no packets cannot be sure of it.
fn unseen(expected: Result<Expected>) -> Result<Expected> {
    expected.map(|expected| expected.unseen_handshake(false))
}

fn refused(context: &Context<'_>) -> Result<Expected> {
    context.attached()?;
    let port = context.be_refused(context.address(Device::None))?;
    Ok(Expected::sent_to(Client, port, Answer::REFUSED).in_state("SYN_SENT"))
}

/// Refused either way, and nothing of the broker to compare the TTL with.
fn refused_by_device(context: &Context<'_>) -> Result<Expected> {
    context.attached()?;
    let copied = context.with.ttl == Ttl::Copied;
    let port = context.be_refused(context.address(Device::Refuses { copied }))?;
    Ok(Expected::new(port)
        .reported(Client, &[Answer::REFUSED])
        .forged(Client, context.with.ttl)
        .in_state("SYN_SENT"))
}

/// One opening, at most one answer.
fn answered(
    context: &Context<'_>,
    opening: &[u8],
    answer: &[u8],
    right: Answer,
) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    pair.send(Client, opening)?;
    pair.end_of(Broker)?.receive_bytes(HEAD)?;
    if !answer.is_empty() {
        pair.pass(Broker, answer)?;
    }
    let ending = context.with.ending;
    let expected = end(context, pair, opening.len() - HEAD, right)?;
    let is_kafkas = matches!(ending, Ending::FinThenReset | Ending::DelayedFinThenReset);
    Ok(if right == Answer::TLS_TO_PLAINTEXT && !is_kafkas {
        unlike_kafka(expected, right)
    } else {
        expected
    })
}

/// Both hellos, in a version of TLS whose handshake is readable.
fn hellos_12<'a>(context: &'a Context<'a>) -> Result<ConnectionPair<'a>> {
    let mut pair = context.fresh(Device::None)?;
    pair.pass(Client, &traffic::client_hello())?;
    pair.pass(Broker, &traffic::server_hello_12())?;
    Ok(pair)
}

/// The same in TLS 1.3.
fn hellos_13<'a>(context: &'a Context<'a>) -> Result<ConnectionPair<'a>> {
    let mut pair = context.fresh(Device::None)?;
    pair.pass(Client, &traffic::client_hello())?;
    pair.pass(Broker, &traffic::server_hello())?;
    Ok(pair)
}

/// TLS 1.2: a server that requires a certificate and gets none.
fn no_certificate(context: &Context<'_>) -> Result<Expected> {
    let mut pair = hellos_12(context)?;
    pair.pass(Client, &traffic::client_key_exchange())?;
    pair.pass(Broker, &alert(CERTIFICATE_REQUIRED))?;
    end(context, pair, 0, Answer::TLS_ALERT)
}

/// TLS 1.3: the client is done, and asks, before it learns that its certificate is missing.
fn encrypted_alert(context: &Context<'_>) -> Result<Expected> {
    let mut pair = hellos_13(context)?;
    pair.pass(Client, &traffic::client_finished())?;
    pair.pass(Client, &traffic::application_data(90))?;
    pair.pass(Broker, &traffic::application_data(ALERT_RECORD))?;
    end(context, pair, 0, Answer::TLS_ALERT)
}

/// The broker takes no more connections, and the client has said nothing yet.
fn before_request(context: &Context<'_>) -> Result<Expected> {
    let pair = context.fresh(Device::None)?;
    end(context, pair, 0, Answer::CLOSED_BY_BROKER)
}

/// TLS 1.2: the client does not trust the broker's certificate, and closes.
fn untrusted(context: &Context<'_>) -> Result<Expected> {
    let mut pair = hellos_12(context)?;
    pair.pass(Client, &alert(UNKNOWN_CA))?;
    close_notify_unheard(pair, &traffic::CLOSE_NOTIFY)
}

/// The same, and the client resets.
fn untrusted_and_reset(context: &Context<'_>) -> Result<Expected> {
    let mut pair = hellos_12(context)?;
    pair.pass(Client, &alert(UNKNOWN_CA))?;
    pair.abort_and_reset(Client)?;
    Ok(pair.was_reset(Broker, Answer::TLS_ALERT))
}

/// TLS 1.3: the client does not trust the certificate, says so in an encrypted record, and is gone
/// when the broker sends its own.
fn untrusted_13(context: &Context<'_>) -> Result<Expected> {
    let mut pair = hellos_13(context)?;
    let alert = traffic::application_data(ALERT_RECORD);
    pair.pass(Client, &alert)?;
    close_notify_unheard(pair, &alert)
}

/// After its alert the client is gone when the broker sends its `close_notify`: its kernel answers
/// with a reset.
fn close_notify_unheard(mut pair: ConnectionPair<'_>, close_notify: &[u8]) -> Result<Expected> {
    pair.close(Client);
    pair.has_fin(Broker)?;
    pair.send(Broker, close_notify)?;
    pair.is_reset(Broker)?;
    let expected = pair.was_reset(Broker, Answer::TLS_ALERT);
    Ok(expected.optional(Client, &[Answer::TLS_ALERT]))
}

/// TLS 1.2: the certificate has expired, and both ends close in order.
fn expired(context: &Context<'_>) -> Result<Expected> {
    let mut pair = hellos_12(context)?;
    pair.pass(Client, &alert(CERTIFICATE_EXPIRED))?;
    Ok(left_in_order(pair)?
        .reported(Broker, &[Answer::TLS_ALERT])
        .optional(Client, &[Answer::TLS_ALERT]))
}

/// The client ends the connection in order, and so does the broker.
fn left_in_order(mut pair: ConnectionPair<'_>) -> Result<Expected> {
    pair.close(Client);
    pair.has_fin(Broker)?;
    pair.close(Broker);
    Ok(pair.expected().without_reset())
}

/// The broker gives up in the middle of the TLS handshake.
fn tls_aborted(context: &Context<'_>) -> Result<Expected> {
    let mut pair = hellos_13(context)?;
    pair.abort_and_reset(Broker)?;
    Ok(pair.was_reset(Client, Answer::TLS_ALERT))
}

/// A client that asks for SASL, and the broker's answer with an error code.
fn sasl<'a>(context: &'a Context<'a>, error: u8) -> Result<ConnectionPair<'a>> {
    let mut pair = context.fresh(Device::None)?;
    pair.request_and_answer(Request::ApiVersions)?;
    pair.pass(Client, &traffic::sasl_handshake(2))?;
    pair.pass(Broker, &traffic::sasl_mechanisms(2, error))?;
    Ok(pair)
}

fn wrong_password(context: &Context<'_>) -> Result<Expected> {
    let mut pair = sasl(context, 0)?;
    pair.pass(Client, &traffic::sasl_authenticate(3))?;
    pair.pass(Broker, &traffic::sasl_failed(3))?;
    end(context, pair, 0, Answer::AUTHENTICATION)
}

/// The same within TLS: only how soon the broker closes after its answer shows it, with a
/// `close_notify` before.
fn wrong_password_within_tls(context: &Context<'_>) -> Result<Expected> {
    let mut pair = hellos_13(context)?;
    pair.pass(Client, &traffic::client_finished())?;
    pair.pass(Broker, &traffic::application_data(250))?;
    // ApiVersions, SaslHandshake, SaslAuthenticate.
    for (request, answer) in [(90, 420), (60, 55), (75, 80)] {
        pair.pass(Client, &traffic::application_data(request))?;
        pair.pass(Broker, &traffic::application_data(answer))?;
    }
    pair.pass(Broker, &traffic::application_data(ALERT_RECORD))?;
    let expected = end(context, pair, 0, Answer::AUTHENTICATION)?;
    Ok(expected.reported(Broker, &[Answer::AUTHENTICATION]))
}

fn wrong_mechanism(context: &Context<'_>) -> Result<Expected> {
    let pair = sasl(context, UNSUPPORTED_SASL_MECHANISM)?;
    end(context, pair, 0, Answer::AUTHENTICATION)
}

/// A client with SASL at a listener without: an error, the connection stays open, and the client
/// ends it in order. Its own log says why.
fn sasl_not_wanted(context: &Context<'_>) -> Result<Expected> {
    let pair = sasl(context, ILLEGAL_SASL_STATE)?;
    Ok(left_in_order(pair)?
        .optional(Broker, &[Answer::AUTHENTICATION])
        .optional(Client, &[Answer::AUTHENTICATION]))
}

/// A client without SASL at a listener that requires it.
fn no_sasl(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    pair.request_and_answer(Request::ApiVersions)?;
    let metadata = traffic::kafka(3, 1, 2, &[0xff; 4]);
    pair.send(Client, &metadata)?;
    pair.end_of(Broker)?.receive_bytes(HEAD)?;
    end(context, pair, metadata.len() - HEAD, NO_SASL)
}

/// Accepted and reset before the client has said anything: no packets are needed to see that.
fn dropped_silent(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    context.pause()?;
    pair.abort_and_reset(Broker)?;
    Ok(pair
        .was_reset(Client, Answer::CLOSED_BY_BROKER)
        .in_state("ESTABLISHED"))
}

/// Accepted and closed with the first request unread, as above a limit of connections.
fn dropped_unread(context: &Context<'_>) -> Result<Expected> {
    let mut pair = context.fresh(Device::None)?;
    pair.request(Request::ApiVersions)?;
    pair.has_data(Broker)?;
    context.pause()?;
    pair.close_and_reset(Broker)?;
    Ok(pair
        .was_reset(Client, Answer::CLOSED_BY_BROKER)
        .in_state("ESTABLISHED"))
}
