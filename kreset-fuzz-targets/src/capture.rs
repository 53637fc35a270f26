//! Packet captures: the file, its packets, and what follows their connections.

use std::collections::BTreeMap;

use kreset::{
    capture::{
        follow::{Follower, HZ},
        packets::Packets,
        segment::Seen,
        viewpoint::{Ends, Viewpoint},
    },
    facts::Decoder,
};

/// A capture file; its length says from which point its connections are followed.
pub fn capture(bytes: &[u8]) {
    let ends = [Ends::Client, Ends::Broker, Ends::Both, Ends::Neither];
    follow(bytes, ends[bytes.len() % ends.len()]);
}

fn follow(bytes: &[u8], ends: Ends) {
    let Ok(mut packets) = Packets::open(bytes) else {
        return;
    };
    let mut follower = Follower::default();
    let mut viewpoint = Viewpoint::new(None);
    let mut now_ns = 0;
    loop {
        let next = packets.next(|packet| {
            let Some(seen) = Seen::parse(packet.bytes, packet.length) else {
                return;
            };
            now_ns = packet.at_ns.max(now_ns);
            let from_client = seen.destination.port == 9092;
            viewpoint.learn(&seen, from_client, now_ns);
            follower.observe(&seen, from_client, ends, now_ns);
        });
        if !matches!(next, Ok(true)) {
            break;
        }
    }
    follower.end(now_ns);
    viewpoint.decide();
    let decoder = Decoder {
        hz: HZ,
        reasons: BTreeMap::new(),
    };
    while let Some((_, record)) = follower.next_record() {
        decoder.decode(&record).expect("a record of its own");
    }
}
