//! Whether a client that closes first leaves a request without an answer that it waited for.

use kreset_common::settled::is_later;

/// A TLS stack closes with an alert, which a process that reads nothing leaves unread as well:
/// at most so many bytes, with the number of the FIN (`close_notify` has 23 to 40).
const GOODBYE: u32 = 64;

/// What a socket knows of the data of both ends, at the client's FIN. Times are jiffies.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "bpf"), derive(Debug))]
pub struct Exchange {
    /// When the client's latest data came or went.
    pub client_at: u32,
    /// When the broker's did; when the connection was established, if there was none.
    pub broker_at: u32,
    /// Segments with data of the client's.
    pub client_segments: u32,
    /// Segments with data of the broker's.
    pub broker_segments: u32,
    /// The packets show that the latest data was the client's.
    pub client_spoke_last: bool,
    /// How long there had been no data when the FIN came or went.
    pub silence: u32,
    /// How long there had been none before the client's latest data; 0 where no packets are
    /// observed.
    pub silence_before_latest: u32,
    /// Bytes that the broker's process has not read, its end of the stream included; 0 at the
    /// client.
    pub unread: u32,
}

impl Exchange {
    /// The client waited for `least` jiffies at least, and got no answer. 0 is never.
    #[inline(always)]
    #[must_use]
    pub const fn is_given_up(&self, least: u32) -> bool {
        if least == 0 || self.client_segments == 0 {
            return false;
        }
        if self.silence >= least {
            return self.is_unanswered();
        }
        // What came right before the FIN may be an alert of TLS, and the request before it.
        let more_than_that = (self.broker_segments == 0 && self.client_segments > 1)
            || (self.unread > GOODBYE && self.is_unanswered());
        self.silence_before_latest >= least && more_than_that
    }

    #[inline(always)]
    const fn is_unanswered(&self) -> bool {
        self.broker_segments == 0
            || is_later(self.client_at, self.broker_at)
            || (!is_later(self.broker_at, self.client_at) && self.client_spoke_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: u32 = 1_000;

    /// A request after two that were answered, and no answer for two seconds.
    const WAITED: Exchange = Exchange {
        client_at: 5_000,
        broker_at: 4_990,
        client_segments: 3,
        broker_segments: 2,
        client_spoke_last: true,
        silence: 2_000,
        silence_before_latest: 10,
        unread: 0,
    };

    #[test]
    fn who_waits_for_an_answer_and_closes_has_given_up() {
        assert!(WAITED.is_given_up(LEAST));
        let across_zero = Exchange {
            client_at: 10,
            broker_at: u32::MAX - 10,
            client_spoke_last: false,
            ..WAITED
        };
        assert!(across_zero.is_given_up(LEAST), "by the socket's times");
        let first = Exchange {
            broker_at: 5_000,
            client_segments: 1,
            broker_segments: 0,
            client_spoke_last: false,
            ..WAITED
        };
        assert!(first.is_given_up(LEAST), "within the tick of the handshake");
    }

    #[test]
    fn an_answered_request_or_a_short_wait_is_an_everyday_close() {
        let answered = Exchange {
            broker_at: 5_010,
            client_spoke_last: false,
            ..WAITED
        };
        let within_a_tick = Exchange {
            broker_at: 5_000,
            client_spoke_last: false,
            ..WAITED
        };
        let long_poll = Exchange {
            silence: 125,
            ..WAITED
        };
        let said_nothing = Exchange {
            client_segments: 0,
            broker_segments: 0,
            ..WAITED
        };
        for close in [answered, within_a_tick, long_poll, said_nothing] {
            assert!(!close.is_given_up(LEAST), "{close:?}");
        }
        assert!(!WAITED.is_given_up(0), "not asked for");
    }

    #[test]
    fn an_alert_of_tls_before_the_fin_ends_no_wait() {
        let hello = Exchange {
            client_segments: 2,
            broker_segments: 0,
            silence: 0,
            silence_before_latest: 2_000,
            ..WAITED
        };
        assert!(hello.is_given_up(LEAST));
        let unread = Exchange {
            broker_segments: 2,
            unread: 200,
            ..hello
        };
        assert!(unread.is_given_up(LEAST), "at the broker");
        // After a silence in which all was answered.
        let idle = Exchange {
            unread: 41,
            ..unread
        };
        assert!(!idle.is_given_up(LEAST));
        let one_late_request = Exchange {
            client_segments: 1,
            ..hello
        };
        assert!(!one_late_request.is_given_up(LEAST));
    }
}
