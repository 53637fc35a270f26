//! Sequence numbers that both hosts of a connection know.

use std::fmt;

use kreset_common::record::{KernelEvent, Record, kind, sequence, tcp_present};

use super::{State, packets::accepted_sequence};
use crate::event::Role;

/// The sequence numbers of the first byte of data each way, sent or not. They survive NAT,
/// but no device that terminates TCP or rewrites sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Of the client.
    pub client: u32,
    /// Of the broker.
    pub broker: u32,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:08x}", self.client, self.broker)
    }
}

pub(super) fn flow(event: &KernelEvent, role: Role) -> Option<Flow> {
    let (local, remote) = (event.first_local, event.first_remote);
    (event.sequences & sequence::FIRST != 0).then_some(match role {
        Role::Client => Flow {
            client: local,
            broker: remote,
        },
        Role::Broker => Flow {
            client: remote,
            broker: local,
        },
    })
}

/// The sequence number of the RST, sent or received; `None` where there is none, and where
/// it is not certain.
pub(super) fn reset_sequence(
    event: &KernelEvent,
    full: Option<&Record>,
    state: Option<State>,
) -> Option<u32> {
    match event.kind {
        kind::RESET_SENT => {
            (event.sequences & sequence::RESET != 0).then_some(event.reset_sequence)
        }
        kind::RESET_RECEIVED => received(full?, state),
        _ => None,
    }
}

/// Without packets, the one number that is accepted in this state: after the peer's FIN
/// there are two, and beyond a gap another one (kernel: `tcp_validate_incoming`,
/// `tcp_reset_check`, 5.10 to 7.3).
fn received(record: &Record, state: Option<State>) -> Option<u32> {
    if record.packets.has_any() {
        return accepted_sequence(record, state);
    }
    let tcp = &record.tcp;
    let without_gap = tcp.present & tcp_present::SACKS != 0 && tcp.num_sacks == 0;
    let before_fin = matches!(
        state,
        Some(State::SynRecv | State::Established | State::FinWait1 | State::FinWait2)
    );
    (without_gap && before_fin).then_some(tcp.rcv_nxt)
}

#[cfg(test)]
mod tests {
    use kreset_common::record::packets_flag;
    use zerocopy::FromZeros as _;

    use super::*;

    fn accepted(state: State, change: impl FnOnce(&mut Record)) -> Option<u32> {
        let mut record = Record::new_zeroed();
        record.event.kind = kind::RESET_RECEIVED;
        record.tcp.rcv_nxt = 500;
        record.tcp.present = tcp_present::SACKS;
        change(&mut record);
        reset_sequence(&record.event, Some(&record), Some(state))
    }

    #[test]
    fn without_packets_a_reset_has_the_only_number_that_is_accepted() {
        assert_eq!(accepted(State::Established, |_| ()), Some(500));
        assert_eq!(accepted(State::FinWait2, |_| ()), Some(500));
        for state in [
            State::CloseWait,
            State::LastAck,
            State::Closing,
            State::SynSent,
        ] {
            assert_eq!(accepted(state, |_| ()), None, "{state:?}");
        }
        assert_eq!(
            accepted(State::Established, |it| it.tcp.num_sacks = 1),
            None
        );
        assert_eq!(accepted(State::Established, |it| it.tcp.present = 0), None);
    }

    #[test]
    fn with_packets_it_is_the_number_of_the_one_that_was_accepted() {
        let with = |number: u32, state| {
            accepted(state, |it| {
                it.packets.flags = packets_flag::SEEN_IN | packets_flag::RESET;
                it.packets.reset_seq = number;
            })
        };
        assert_eq!(with(500, State::Established), Some(500));
        assert_eq!(with(499, State::CloseWait), Some(499));
        assert_eq!(with(0, State::SynSent), Some(0), "a RST to a SYN");
        assert_eq!(
            with(900, State::Established),
            None,
            "beyond a gap, or another's"
        );
        let unseen = accepted(State::Established, |it| {
            it.packets.flags = packets_flag::SEEN_IN;
        });
        assert_eq!(unseen, None);
    }

    #[test]
    fn both_roles_name_a_flow_alike() {
        let mut event = KernelEvent::new_zeroed();
        event.first_local = 1;
        event.first_remote = 0xffff_ffff;
        assert_eq!(flow(&event, Role::Client), None);
        event.sequences = sequence::FIRST;
        let client = flow(&event, Role::Client).unwrap();
        std::mem::swap(&mut event.first_local, &mut event.first_remote);
        assert_eq!(flow(&event, Role::Broker), Some(client));
        assert_eq!(client.to_string(), "00000001-ffffffff");
    }

    #[test]
    fn a_sent_reset_has_the_number_that_the_kernel_side_noted() {
        let mut event = KernelEvent::new_zeroed();
        event.kind = kind::RESET_SENT;
        event.reset_sequence = 7;
        assert_eq!(reset_sequence(&event, None, None), None);
        event.sequences = sequence::RESET;
        assert_eq!(reset_sequence(&event, None, None), Some(7));
        event.kind = kind::TIMEOUT;
        assert_eq!(reset_sequence(&event, None, None), None);
    }
}
