//! What the packet programs did not look at: of a settled connection they let most packets
//! pass while it is busy, and the socket's own times and counts say what they missed.

use kreset_common::{
    record::{Record, kind, packets_flag as seen},
    settled::{is_later, is_settled},
};

/// Packets after the last one that was looked at were let pass; known once [`catch_up`] was
/// called.
pub(super) const fn is_sampled(record: &Record) -> bool {
    record.packets.flags & seen::LET_PASS != 0
}

/// Moves the times of the packets on to those in the socket, where these are later. What
/// only the packets would tell is unknown then.
pub(super) fn catch_up(record: &mut Record) {
    let (packets, tcp) = (&mut record.packets, &record.tcp);
    let settled = is_settled(tcp.data_segs_out, tcp.bytes_received);
    if record.event.kind == kind::SURVIVED || !settled {
        return;
    }
    let unseen = |kernel: u32, recorded: u32| kernel != 0 && is_later(kernel, recorded);
    if packets.flags & seen::SEEN_IN != 0 {
        let recorded = packets.last_in;
        for kernel in [tcp.rcv_tstamp, tcp.lrcvtime] {
            if unseen(kernel, recorded) {
                packets.flags = (packets.flags | seen::LET_PASS) & !seen::API_KEY;
                packets.last_in = later(packets.last_in, kernel);
                // An acknowledgement follows what it acknowledges.
                packets.last_data = later(packets.last_data, kernel);
            }
        }
        if unseen(tcp.lrcvtime, recorded) {
            packets.flags |= seen::LAST_DATA_IN | seen::SEEN_DATA;
            (packets.latest_in_len, packets.data_silence_in) = (0, 0);
        }
    }
    if packets.flags & seen::SEEN_OUT != 0 && unseen(tcp.lsndtime, packets.last_out) {
        packets.flags = (packets.flags | seen::LET_PASS) & !seen::API_KEY;
        packets.last_out = tcp.lsndtime;
        packets.last_data = later(packets.last_data, tcp.lsndtime);
        (packets.latest_out_len, packets.data_silence) = (0, 0);
        if is_later(tcp.lsndtime, tcp.lrcvtime) {
            packets.flags &= !seen::LAST_DATA_IN;
        }
    }
}

const fn later(a: u32, b: u32) -> u32 {
    if is_later(b, a) { b } else { a }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    /// In use until 5,000 jiffies, of which the packets show the first 1,000.
    fn busy() -> Record {
        let mut record = Record::new_zeroed();
        record.event.kind = kind::RESET_RECEIVED;
        (record.tcp.data_segs_out, record.tcp.bytes_received) = (40, 4_000);
        (record.tcp.rcv_tstamp, record.tcp.lrcvtime) = (5_000, 4_990);
        record.tcp.lsndtime = 4_995;
        record.packets.flags = seen::SEEN_IN | seen::SEEN_OUT | seen::SEEN_DATA | seen::API_KEY;
        (record.packets.last_in, record.packets.last_out) = (1_000, 1_000);
        record.packets.last_data = 1_000;
        (record.packets.latest_in_len, record.packets.data_silence_in) = (40, 900);
        record
    }

    #[test]
    fn the_socket_tells_when_packets_that_were_let_pass_came() {
        let mut record = busy();
        catch_up(&mut record);
        let packets = record.packets;
        assert_eq!((packets.last_in, packets.last_out), (5_000, 4_995));
        assert_eq!(packets.last_data, 5_000);
        assert_eq!((packets.latest_in_len, packets.data_silence_in), (0, 0));
        assert_eq!(packets.flags & (seen::API_KEY | seen::LAST_DATA_IN), 0);
        assert!(is_sampled(&record));
    }

    #[test]
    fn what_was_looked_at_stays_as_it_was() {
        let mut young = busy();
        young.tcp.data_segs_out = 4;
        let mut silent = busy();
        (silent.tcp.rcv_tstamp, silent.tcp.lrcvtime) = (1_001, 1_000);
        silent.tcp.lsndtime = 999;
        for mut record in [young, silent] {
            let before = record.packets;
            catch_up(&mut record);
            assert_eq!(record.packets, before);
        }
    }
}
