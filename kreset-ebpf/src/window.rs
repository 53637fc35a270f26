//! Which received segments the kernel accepts: anybody who knows addresses and ports can
//! send others, and the packet programs see those as well.

use kreset_common::sequence::is_after;

use crate::segment::{Segment, tcp_flag};

/// What a socket expects of its peer; the fields are those of `tcp_sock`.
///
/// Read while the socket may be in use: `rcv_nxt` may still have to move over segments in
/// the backlog, and `snd_nxt` moves only after a segment has left
/// (`tcp_event_new_data_sent`), so that its answer can arrive before. `write_seq` has
/// moved by then.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "bpf"), derive(Debug))]
pub struct Window {
    /// Next sequence number expected.
    pub rcv_nxt: u32,
    /// `rcv_nxt` when the window was last advertised.
    pub rcv_wup: u32,
    /// The window advertised then.
    pub rcv_wnd: u32,
    /// Oldest unacknowledged sequence number.
    pub snd_una: u32,
    /// End of what was written.
    pub write_seq: u32,
    /// Largest window that the peer has advertised.
    pub max_window: u32,
}

impl Window {
    /// The segment is inside the receive window, or is a keepalive or window probe just
    /// before it, and acknowledges what was sent (RFC 5961, 5.2). Kernel: `tcp_sequence`,
    /// `tcp_ack`; 5.10 to 7.3. For a socket past `SYN_SENT`.
    #[inline(always)]
    pub fn fits(&self, segment: &Segment) -> bool {
        if !segment.has(tcp_flag::ACK) || segment.has(tcp_flag::SYN) {
            return false;
        }
        let right = self.rcv_wup.wrapping_add(self.rcv_wnd);
        let probe = self.rcv_nxt.wrapping_sub(1);
        if is_after(probe, segment.end()) || is_after(segment.sequence, right) {
            return false;
        }
        let behind = self.write_seq.wrapping_sub(segment.acknowledgement);
        let unacknowledged = self.write_seq.wrapping_sub(self.snd_una);
        behind <= unacknowledged.wrapping_add(self.max_window)
    }

    /// The segment acknowledges this host's SYN. Kernel: `tcp_rcv_synsent_state_process`,
    /// 5.10 to 7.3.
    #[inline(always)]
    pub const fn answers_syn(&self, segment: &Segment) -> bool {
        segment.has(tcp_flag::ACK)
            && is_after(segment.acknowledgement, self.snd_una)
            && !is_after(segment.acknowledgement, self.write_seq)
    }

    /// Part of the segment is new.
    #[inline(always)]
    pub fn is_new(&self, segment: &Segment) -> bool {
        is_after(segment.end(), self.rcv_nxt)
    }
}
