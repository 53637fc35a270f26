//! Ends in the first exchange that are not about the client: the broker's own
//! end, and a listener whose queue is full.

mod replay;

use kreset::{
    event::{Cause, Verdict},
    facts::Trigger,
};
use replay::judging::{LOST, alone, reset, said};

const DROPPED: (Verdict, Option<Cause>) = (Verdict::HandshakePhase, Some(Cause::ClosedByBroker));

/// `tcp_abort_on_overflow`: the listener answers the end of a handshake.
#[test]
fn a_full_queue_is_no_lost_connection() {
    let mut facts = reset("connection_lost.broker");
    assert_eq!(said(&alone(&facts)), LOST);
    facts.kernel_reason = Some("INVALID_SYN".into());
    assert_eq!(said(&alone(&facts)), DROPPED);
    // A SYN for a handshake that is under way.
    facts.trigger = Some(Trigger {
        flags: 0x02,
        ttl: 64,
        payload: 0,
    });
    assert_ne!(said(&alone(&facts)), DROPPED);
}
