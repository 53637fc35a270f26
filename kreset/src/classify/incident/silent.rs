//! Clients that give up on a broker that answers nothing: how much one of them shows.
//!
//! The kernel side reports the FIN of a client whose latest request has been without an answer
//! for seconds. That alone is an everyday close: a long poll is answered when records come, a
//! member of a group waits for the others, and a producer that asks for no acknowledgement
//! never gets one.

use smol_str::{SmolStr, format_smolstr};

use crate::{
    classify::load::{Telling, telling},
    event::{Ended, ProcessEnd, Role},
    facts::{Facts, FirstBytes, PacketFacts, api_key, is_close_notify},
};

/// What the end of one connection shows of a broker that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shown {
    /// A healthy broker may leave such a request without an answer.
    Nothing,
    /// A healthy broker answers it at once, or reads it at least. A client that means to can
    /// make that up.
    Unanswered,
    /// This host's own kernel: the broker's process was suspended, or had not accepted the
    /// connection.
    Stopped,
}

impl Shown {
    /// Of both ends, where they are on this host.
    pub(super) fn of(facts: &Facts, process: Option<&ProcessEnd>) -> Self {
        let ends = std::iter::once(facts).chain(facts.other_end.as_deref());
        let is_suspended = process.is_some_and(|it| it.what == Ended::Suspended);
        let of_end = |end: &Facts| match end.role {
            Role::Broker if is_suspended || end.without_file => Self::Stopped,
            Role::Broker if is_unread(end) => Self::Unanswered,
            Role::Client if is_unanswered(end) => Self::Unanswered,
            _ => Self::Nothing,
        };
        ends.map(of_end).max().unwrap_or(Self::Nothing)
    }
}

/// What keeps the broker from answering, as its own host shows it: in a few words.
pub(super) fn why(facts: &Facts, process: Option<&ProcessEnd>) -> Option<SmolStr> {
    if let Some(end) = process.filter(|it| it.what == Ended::Suspended) {
        return Some(end.summary.clone());
    }
    let telling = telling(facts);
    let first = |is: fn(&Telling) -> bool| telling.iter().find(|it| is(it));
    let scarce = first(|it| matches!(it, Telling::NoFiles(_) | Telling::FullQueue(_)));
    let mut ends = std::iter::once(facts).chain(facts.other_end.as_deref());
    let waits = ends.find(|end| end.role == Role::Broker && end.without_file);
    if let Some(it) = scarce {
        return Some(it.fact().into());
    }
    if let Some(broker) = waits {
        return Some(match broker.load.accept_queue {
            Some(queue) => format_smolstr!(
                "the broker does not accept connections ({} of {} wait)",
                queue.length,
                queue.limit
            ),
            None => SmolStr::new_static("the broker does not accept connections"),
        });
    }
    first(|it| matches!(it, Telling::Pressure(..))).map(|it| it.fact().into())
}

/// At the broker: what the client sent seconds ago was not read. What a stack of TLS sends with
/// its FIN comes at the same time.
fn is_unread(broker: &Facts) -> bool {
    let latest = broker
        .packets
        .as_ref()
        .map_or(0, |it| it.latest_request_len);
    let with_the_fin = if is_close_notify(latest) {
        latest.into()
    } else {
        0
    };
    let unread = broker.counters.and_then(|counters| counters.unread);
    unread.is_some_and(|unread| unread > with_the_fin)
}

/// At the client: the broker's host acknowledged a request that is always answered at once.
fn is_unanswered(client: &Facts) -> bool {
    let Some(counters) = client.counters else {
        return false;
    };
    if counters.retransmits > 0 {
        // The path may be dead, or the host.
        return false;
    }
    let Some(packets) = client.packets.as_ref().filter(|it| it.from_start) else {
        return counters.data_segs_in == 0;
    };
    if packets.responses == 0 && counters.data_segs_in == 0 {
        return counters
            .bytes_sent
            .is_some_and(|sent| first_request(packets).is_some_and(|whole| whole <= sent));
    }
    let is_plain = packets.client_speaks() == Some(FirstBytes::Kafka);
    let key = packets.api_key.filter(|_| is_plain && !packets.sampled);
    !packets.broker_spoke_last && key.is_some_and(|key| api_key::ANSWERED_AT_ONCE.contains(&key))
}

/// The length of the client's first request, or of its first record of TLS.
fn first_request(packets: &PacketFacts) -> Option<u64> {
    match (packets.client_speaks()?, packets.request_head.as_slice()) {
        (FirstBytes::Kafka, [a, b, c, d, ..]) => {
            Some(u64::from(u32::from_be_bytes([*a, *b, *c, *d])) + 4)
        }
        (FirstBytes::Tls, [_, _, _, high, low, ..]) => {
            Some(u64::from(u16::from_be_bytes([*high, *low])) + 5)
        }
        _ => None,
    }
}
