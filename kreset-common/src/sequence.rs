//! Sequence numbers, and which RST a socket accepts by its number.

/// `a` is after `b`; kernel: `after`.
#[must_use]
pub const fn is_after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// What decides whether a RST counts, of a socket past `SYN_SENT`.
#[derive(Clone, Copy, Debug)]
pub struct ResetWindow {
    /// `tcp_sock.rcv_nxt`.
    pub rcv_nxt: u32,
    /// The peer's FIN was received, and the socket is still there: `CLOSE_WAIT`,
    /// `LAST_ACK` or `CLOSING`.
    pub after_fin: bool,
    /// Highest end of what was received out of order; `rcv_nxt` if nothing was.
    pub sack_end: u32,
}

impl ResetWindow {
    /// A RST with this number ends the connection; another one in the window is answered
    /// by a challenge ACK (RFC 5961, 3.2). Kernel: `tcp_validate_incoming`,
    /// `tcp_reset_check`; 5.10 to 7.3.
    #[inline(always)]
    #[must_use]
    pub const fn accepts(self, sequence: u32) -> bool {
        let exact = sequence == self.rcv_nxt;
        let before_fin = self.after_fin && sequence == self.rcv_nxt.wrapping_sub(1);
        exact || before_fin || sequence == self.sack_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_numbers_end_a_connection() {
        let plain = ResetWindow {
            rcv_nxt: 0,
            after_fin: false,
            sack_end: 0,
        };
        assert!(plain.accepts(0));
        assert!(!plain.accepts(u32::MAX) && !plain.accepts(1));
        let closing = ResetWindow {
            after_fin: true,
            ..plain
        };
        assert!(closing.accepts(u32::MAX) && !closing.accepts(1));
        let gap = ResetWindow {
            sack_end: 900,
            ..plain
        };
        assert!(gap.accepts(900) && gap.accepts(0) && !gap.accepts(899));
    }

    #[test]
    fn order_wraps() {
        assert!(is_after(1, u32::MAX) && !is_after(u32::MAX, 1) && !is_after(7, 7));
    }
}
