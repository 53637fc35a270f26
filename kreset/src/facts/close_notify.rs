//! The TLS `close_notify` sent before the FIN: data to the kernel, and part of the close
//! to TLS.

use kreset_common::record::{Connection, Packets, Tcp, connection_flag as flag};

use super::idle::jiffies_ms;

/// How soon the FIN follows it, ms. Measured on Kafka 4.3: 0.6 to 8.
const AT_ONCE_MS: f64 = 50.0;

/// Milliseconds without data before the first FIN, not counting a `close_notify`.
pub(super) fn silence_ms(connection: &Connection, packets: &Packets, tcp: &Tcp, hz: u32) -> f64 {
    let silence_ms = jiffies_ms(connection.fin_silence, 0, hz);
    let by_peer = connection.flags & flag::PEER_CLOSED_FIRST != 0;
    // More than the `close_notify` is unanswered: what was kept is the silence before the
    // oldest of it, and the `close_notify` came right after the rest.
    let after_others = !by_peer && tcp.packets_out > 1;
    match before_close_notify(packets, by_peer).filter(|_| !after_others) {
        Some(silence) if silence_ms <= AT_ONCE_MS => silence_ms.max(jiffies_ms(silence, 0, hz)),
        _ => silence_ms,
    }
}

/// Jiffies without data before the `close_notify` of the side that closed, if it sent one.
fn before_close_notify(packets: &Packets, by_peer: bool) -> Option<u32> {
    let (len, silence) = if by_peer {
        (packets.latest_in_len, packets.data_silence_in)
    } else {
        (packets.latest_out_len, packets.data_silence)
    };
    (is_tls(packets) && is_close_notify(len)).then_some(silence)
}

/// Length of a segment that is a `close_notify` and nothing else.
///
/// Two bytes, a header of 5, a tag of 16, and in TLS 1.2 8 of `AES-GCM`'s nonce, in TLS 1.3
/// one for the type, and 16 of padding from `JSSE`. No answer of Kafka's, 8 bytes at least,
/// is as short from the same stack.
#[must_use]
pub const fn is_close_notify(len: u32) -> bool {
    matches!(len, 23 | 24 | 31 | 40)
}

/// The client's first segment, or the first that was seen, begins with a TLS record.
const fn is_tls(packets: &Packets) -> bool {
    matches!(packets.request_head, [0x14..=0x17, 3, 0..=4, ..])
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    const HZ: u32 = 1_000;

    fn silence(change: impl FnOnce(&mut Connection, &mut Packets)) -> String {
        let (mut connection, mut packets) = (Connection::new_zeroed(), Packets::new_zeroed());
        connection.flags = flag::PEER_CLOSED_FIRST;
        packets.request_head[..3].copy_from_slice(&[0x16, 3, 1]);
        (packets.latest_in_len, packets.data_silence_in) = (40, 6_000);
        (packets.latest_out_len, packets.data_silence) = (90, 0);
        change(&mut connection, &mut packets);
        format!(
            "{} ms",
            silence_ms(&connection, &packets, &Tcp::new_zeroed(), HZ)
        )
    }

    #[test]
    fn a_close_notify_belongs_to_the_close() {
        assert_eq!(silence(|_, _| ()), "6000 ms");
        let by_this_host = silence(|connection, packets| {
            connection.flags = 0;
            (packets.latest_out_len, packets.data_silence) = (24, 5_000);
        });
        assert_eq!(by_this_host, "5000 ms");
    }

    #[test]
    fn a_close_notify_right_after_an_unanswered_answer_ends_no_silence() {
        let (mut connection, mut packets) = (Connection::new_zeroed(), Packets::new_zeroed());
        connection.fin_silence = 1;
        packets.request_head[..3].copy_from_slice(&[0x16, 3, 1]);
        (packets.latest_out_len, packets.data_silence) = (24, 300);
        let mut tcp = Tcp::new_zeroed();
        let silence = |tcp: &Tcp| silence_ms(&connection, &packets, tcp, HZ);
        tcp.packets_out = 1;
        assert!(silence(&tcp) > 299.0);
        tcp.packets_out = 2;
        assert!(silence(&tcp) < 2.0);
    }

    #[test]
    fn answers_do_not() {
        assert_eq!(silence(|_, packets| packets.latest_in_len = 46), "0 ms");
        assert_eq!(silence(|_, packets| packets.latest_in_len = 300), "0 ms");
        assert_eq!(silence(|_, packets| packets.request_head[0] = 0), "0 ms");
        let before = silence(|connection, _| connection.fin_silence = 700);
        assert_eq!(before, "700 ms", "the answer came long before the FIN");
    }
}
