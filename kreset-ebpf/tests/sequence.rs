//! Sequence numbers that name a connection.

use kreset_ebpf::sequence::{first_sequences, may_follow};
use proptest::prelude::*;

/// One end of a connection as its socket has it.
struct End {
    is_active: bool,
    snd_una: u32,
    rcv_nxt: u32,
    bytes_acked: u64,
    bytes_received: u64,
}

impl End {
    const fn first(&self) -> [u32; 2] {
        first_sequences(
            self.is_active,
            [self.snd_una, self.rcv_nxt],
            [self.bytes_acked as u32, self.bytes_received as u32],
        )
    }
}

/// A connection from its initial sequence numbers, after so many bytes each way; a FIN is a
/// byte.
fn ends(client_isn: u32, broker_isn: u32, to_broker: u64, to_client: u64) -> [End; 2] {
    let at = |isn: u32, bytes: u64| isn.wrapping_add(1).wrapping_add(bytes as u32);
    let client = End {
        is_active: true,
        snd_una: at(client_isn, to_broker),
        rcv_nxt: at(broker_isn, to_client),
        bytes_acked: to_broker + 1,
        bytes_received: to_client,
    };
    let broker = End {
        is_active: false,
        snd_una: at(broker_isn, to_client),
        rcv_nxt: at(client_isn, to_broker),
        bytes_acked: to_client,
        bytes_received: to_broker,
    };
    [client, broker]
}

proptest! {
    #[test]
    fn both_ends_have_the_same_two_at_any_time(
        isns: [u32; 2],
        early in 0..u64::from(u32::MAX) * 3,
        late in 0..u64::from(u32::MAX) * 3,
    ) {
        let [client, _] = ends(isns[0], isns[1], early, late);
        let [_, broker] = ends(isns[0], isns[1], early + late, late / 2);
        let [mine, peers] = client.first();
        prop_assert_eq!(broker.first(), [peers, mine]);
        prop_assert_eq!(mine, isns[0].wrapping_add(1));
    }

    #[test]
    fn a_late_packet_is_of_the_connection_that_ended(
        snd_nxt: u32, rcv_nxt: u32, ahead in 0_u32..1 << 20, behind in 0_u32..1 << 20,
    ) {
        let acknowledged = snd_nxt.wrapping_sub(behind);
        prop_assert!(may_follow(rcv_nxt.wrapping_add(ahead), acknowledged, snd_nxt, rcv_nxt));
        prop_assert!(may_follow(rcv_nxt.wrapping_sub(behind), acknowledged, snd_nxt, rcv_nxt));
        prop_assert!(may_follow(rcv_nxt, snd_nxt.wrapping_add(1), snd_nxt, rcv_nxt));
    }
}

#[test]
fn a_packet_of_a_later_connection_of_the_same_ends_is_not() {
    let (snd_nxt, rcv_nxt) = (3_112_360_000, 2_377_280_000);
    assert!(
        !may_follow(rcv_nxt, 17, snd_nxt, rcv_nxt),
        "another acknowledgement"
    );
    assert!(
        !may_follow(17, snd_nxt, snd_nxt, rcv_nxt),
        "another sequence"
    );
    assert!(
        !may_follow(rcv_nxt, snd_nxt + 2, snd_nxt, rcv_nxt),
        "of what was not sent"
    );
}

#[test]
fn the_numbers_of_a_connection_through_nat() {
    // Measured on 6.18, through DNAT and masquerade, after 200 and 100 bytes.
    let client = first_sequences(true, [2_377_271_469, 3_112_359_878], [201, 100]);
    let broker = first_sequences(false, [3_112_359_878, 2_377_271_469], [100, 200]);
    assert_eq!(client, [2_377_271_269, 3_112_359_778]);
    assert_eq!(broker, [3_112_359_778, 2_377_271_269]);
}
