//! Clients that close without having got an answer, as their socket, or the broker's, shows it.

use kreset_common::record::packets_flag;
use kreset_ebpf::unanswered::Exchange;

use crate::{
    connection::Entry,
    kernel::{TcpSock, has},
    settings::constant,
};

/// The client's FIN, which the peer sent or this host, comes `silence` jiffies after the latest
/// data, and the client had waited for an answer for long.
#[inline(always)]
pub(crate) fn waited(tcp: TcpSock, entry: &Entry, by_peer: bool, silence: u32) -> bool {
    let (sent, received) = (tcp.data_segs_out(), tcp.data_segs_in());
    let packets = &entry.packets;
    let flags = packets.flags.get();
    let seen_data = flags & packets_flag::SEEN_DATA != 0;
    let last_data_in = flags & packets_flag::LAST_DATA_IN != 0;
    let exchange = if by_peer {
        Exchange {
            client_at: tcp.lrcvtime(),
            broker_at: tcp.lsndtime(),
            client_segments: received,
            broker_segments: sent,
            client_spoke_last: seen_data && last_data_in,
            silence,
            silence_before_latest: packets.data_silence_in.get(),
            unread: if has!(copied_seq) {
                tcp.rcv_nxt().wrapping_sub(tcp.copied_seq())
            } else {
                0
            },
        }
    } else {
        Exchange {
            client_at: tcp.lsndtime(),
            broker_at: tcp.lrcvtime(),
            client_segments: sent,
            broker_segments: received,
            client_spoke_last: seen_data && !last_data_in,
            silence,
            silence_before_latest: packets.data_silence.get(),
            unread: 0,
        }
    };
    exchange.is_given_up(constant!(SETTINGS.unanswered_jiffies))
}
