//! The leave that a TLS stack takes before its FIN: it is data to the kernel, and part
//! of the close to everybody else.

use kreset_common::record::{Connection, Packets, connection_flag as flag};

use super::idle::jiffies_ms;

/// A `close_notify`, encrypted, is no longer. Measured: 24 and 40 bytes.
const LEAVE_AT_MOST: u32 = 64;
/// How soon the FIN follows it, ms. Measured on Kafka 4.3: 0.6 to 8.
const AT_ONCE_MS: f64 = 50.0;

/// Milliseconds without data before the first FIN, leaves left out.
pub(super) fn silence_ms(connection: &Connection, packets: &Packets, hz: u32) -> f64 {
    let silence_ms = jiffies_ms(connection.fin_silence, 0, hz);
    let by_peer = connection.flags & flag::PEER_CLOSED_FIRST != 0;
    match before_leave(packets, by_peer) {
        Some(silence) if silence_ms <= AT_ONCE_MS => silence_ms.max(jiffies_ms(silence, 0, hz)),
        _ => silence_ms,
    }
}

/// Jiffies without data before a segment that may be a leave, of the side that closed.
fn before_leave(packets: &Packets, by_peer: bool) -> Option<u32> {
    let (len, silence) = if by_peer {
        (packets.latest_in_len, packets.data_silence_in)
    } else {
        (packets.latest_out_len, packets.data_silence)
    };
    (is_tls(packets) && (1..=LEAVE_AT_MOST).contains(&len)).then_some(silence)
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

    fn silence(change: impl FnOnce(&mut Connection, &mut Packets)) -> f64 {
        let (mut connection, mut packets) = (Connection::new_zeroed(), Packets::new_zeroed());
        connection.flags = flag::PEER_CLOSED_FIRST;
        packets.request_head[..3].copy_from_slice(&[0x16, 3, 1]);
        (packets.latest_in_len, packets.data_silence_in) = (40, 6_000);
        (packets.latest_out_len, packets.data_silence) = (90, 0);
        change(&mut connection, &mut packets);
        silence_ms(&connection, &packets, HZ)
    }

    #[test]
    fn a_leave_belongs_to_the_close() {
        assert_eq!(silence(|_, _| ()), 6_000.0);
        let by_this_host = silence(|connection, packets| {
            connection.flags = 0;
            (packets.latest_out_len, packets.data_silence) = (24, 5_000);
        });
        assert_eq!(by_this_host, 5_000.0);
    }

    #[test]
    fn answers_do_not() {
        assert_eq!(silence(|_, packets| packets.latest_in_len = 300), 0.0);
        assert_eq!(silence(|_, packets| packets.request_head[0] = 0), 0.0);
        let before = silence(|connection, _| connection.fin_silence = 700);
        assert_eq!(before, 700.0, "it was told long before the FIN");
    }
}
