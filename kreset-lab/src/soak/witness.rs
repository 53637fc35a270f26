//! What resets there were, read off the wire alone: the truth that the tracers are held against.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::{
    Moment, Side,
    net::packet::{Flags, Segment},
    trace::wire::Sighting,
};

/// Which way a reset went, seen from a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// It came to the host.
    Received,
    /// The host sent it.
    Sent,
}

impl Direction {
    /// The word for it, as in the tracer's `direction`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Sent => "sent",
        }
    }
}

/// One reset that passed between a host and the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// When the router's kernel handled it.
    pub at: Moment,
    /// Which way it went.
    pub direction: Direction,
    /// The host's kernel must have made something of it. Not so for one that a kernel ignores by
    /// RFC 5961, or that met no socket.
    pub sure: bool,
    /// A segment drew it: see [`Segment::answers`].
    pub answers: bool,
}

/// Where a connection runs, and whose end of it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The host.
    pub host: Side,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The broker's address and port.
    pub broker: SocketAddr,
}

/// The resets of one connection, as one host had them on its wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Which connection.
    pub place: Place,
    /// Its first segment there.
    pub began: Moment,
    /// In order; at least one.
    pub resets: Vec<Reset>,
}

/// Follows every connection on both hosts' wires.
#[derive(Debug, Default)]
pub struct Witness {
    connections: BTreeMap<Place, Connection>,
    ended: Vec<Account>,
    segments: u64,
}

impl Witness {
    /// Takes in what was seen next.
    pub fn learn(&mut self, seen: &Sighting) {
        self.segments += 1;
        let segment = &seen.segment;
        let (client, broker) = match seen.from() {
            Side::Client => (segment.source, segment.destination),
            Side::Broker => (segment.destination, segment.source),
        };
        let place = Place {
            host: seen.leg,
            client,
            broker,
        };
        let known = self.connections.get(&place);
        let is_new = known.is_none_or(|known| known.is_superseded_by(segment));
        if is_new {
            let fresh = Connection::new(seen.at, segment);
            if let Some(old) = self.connections.insert(place, fresh) {
                self.ended.extend(old.account(place));
            }
        }
        if let Some(connection) = self.connections.get_mut(&place) {
            if seen.leaving {
                connection.comes(seen.at, segment, place.host);
            } else {
                connection.goes(seen.at, segment);
            }
        }
    }

    /// Client ports of connections to `broker` that are open as far as `host` knows.
    pub fn open(&self, host: Side, broker: SocketAddr) -> Vec<u16> {
        let open = self.connections.iter().filter(|(place, connection)| {
            place.host == host
                && place.broker == broker
                && connection.is_established
                && !connection.is_over()
        });
        open.map(|(place, _)| place.client.port()).collect()
    }

    /// Segments seen so far, each once on each leg.
    pub const fn segments(&self) -> u64 {
        self.segments
    }

    /// All connections that had a reset; the witness begins anew.
    pub fn drain(&mut self) -> Vec<Account> {
        let mut accounts = std::mem::take(&mut self.ended);
        let open = std::mem::take(&mut self.connections).into_iter();
        accounts.extend(open.filter_map(|(place, connection)| connection.account(place)));
        accounts
    }
}

/// One connection at one host's end.
#[derive(Debug)]
struct Connection {
    began: Moment,
    /// Sequence number of the SYN that opened it.
    opened_by: Option<u32>,
    is_established: bool,
    /// This host has sent a FIN: whatever comes now may meet no application, and soon no socket.
    closed_here: bool,
    closed_there: bool,
    /// A reset ended this host's socket.
    is_gone: bool,
    /// The sequence number that this host's kernel expects next.
    expects: Option<u32>,
    /// Segments were lost or came out of order: what the kernel expects is a guess.
    is_guess: bool,
    resets: Vec<Reset>,
}

impl Connection {
    fn new(began: Moment, first: &Segment) -> Self {
        Self {
            began,
            opened_by: opens(first).then_some(first.sequence),
            is_established: false,
            closed_here: false,
            closed_there: false,
            is_gone: false,
            expects: None,
            is_guess: false,
            resets: Vec::new(),
        }
    }

    /// Whether `segment` is the first one of a new connection between the same ports.
    fn is_superseded_by(&self, segment: &Segment) -> bool {
        opens(segment) && self.opened_by != Some(segment.sequence)
    }

    const fn is_over(&self) -> bool {
        self.closed_here || self.closed_there || self.is_gone
    }

    fn goes(&mut self, at: Moment, segment: &Segment) {
        if segment.flags.contain(Flags::RST) {
            self.is_gone = true;
            self.resets.push(Reset {
                at,
                direction: Direction::Sent,
                sure: true,
                answers: segment.answers(),
            });
            return;
        }
        // A socket that a reset ended sends nothing more: that one was ignored.
        let mut resets = self.resets.iter_mut().rev();
        if let Some(last) = resets.find(|reset| reset.direction == Direction::Received)
            && last.sure
        {
            last.sure = false;
            self.is_gone = false;
        }
        self.closed_here |= segment.flags.contain(Flags::FIN);
    }

    fn comes(&mut self, at: Moment, segment: &Segment, host: Side) {
        if segment.flags.contain(Flags::RST) {
            let sure = !self.closed_here && !self.is_gone && self.accepts(segment, host);
            self.is_gone |= sure;
            self.resets.push(Reset {
                at,
                direction: Direction::Received,
                sure,
                answers: segment.answers(),
            });
            return;
        }
        // A broker's socket is there once the handshake's last segment has come.
        self.is_established |= host == Side::Client || !segment.flags.contain(Flags::SYN);
        self.closed_there |= segment.flags.contain(Flags::FIN);
        let next = segment.next_sequence();
        match self.expects {
            Some(expects) => {
                self.is_guess |= is_after(segment.sequence, expects);
                if is_after(next, expects) {
                    self.expects = Some(next);
                }
            }
            None => self.expects = Some(next),
        }
    }

    /// Whether the kernel takes a reset for genuine: `tcp_reset_check`, `tcp_validate_incoming`
    /// and `tcp_rcv_synsent_state_process` (`net/ipv4/tcp_input.c`, 6.18).
    fn accepts(&self, reset: &Segment, host: Side) -> bool {
        if !self.is_established {
            let answers = self.opened_by.map(|sequence| sequence.wrapping_add(1));
            return host == Side::Client
                && reset.flags.contain(Flags::ACK)
                && answers == Some(reset.acknowledgement);
        }
        let Some(expects) = self.expects.filter(|_| !self.is_guess) else {
            return false;
        };
        reset.sequence == expects || self.closed_there && reset.sequence == expects.wrapping_sub(1)
    }

    fn account(self, place: Place) -> Option<Account> {
        (!self.resets.is_empty()).then_some(Account {
            place,
            began: self.began,
            resets: self.resets,
        })
    }
}

/// Whether it is a client's SYN.
const fn opens(segment: &Segment) -> bool {
    segment.flags.contain(Flags::SYN) && !segment.flags.contain(Flags::ACK)
}

const fn is_after(sequence: u32, other: u32) -> bool {
    sequence.wrapping_sub(other).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Talk {
        witness: Witness,
        ms: u64,
    }

    impl Talk {
        /// A connection in use, as the client's host has it on its wire.
        fn used() -> Self {
            let mut talk = Self {
                witness: Witness::default(),
                ms: 0,
            };
            talk.passes(Side::Client, &[Flags::SYN], 100, 0, 0);
            talk.passes(Side::Broker, &[Flags::SYN, Flags::ACK], 500, 101, 0);
            talk.passes(Side::Client, &[Flags::ACK], 101, 501, 50);
            talk.passes(Side::Broker, &[Flags::ACK], 501, 151, 90);
            talk
        }

        fn passes(&mut self, from: Side, flags: &[Flags], sequence: u32, ack: u32, payload: u32) {
            let ends =
                ["10.77.1.2:40000", "10.77.2.2:9092"].map(|end| end.parse().expect("an end"));
            let [source, destination] = match from {
                Side::Client => ends,
                Side::Broker => [ends[1], ends[0]],
            };
            let segment = Segment {
                source,
                destination,
                ttl: 64,
                sequence,
                acknowledgement: ack,
                flags: Flags::of(flags),
                timestamps: false,
                payload,
                ip_id: None,
                window: 0,
            };
            self.ms += 1;
            let incoming = from == Side::Broker;
            self.witness
                .learn(&Sighting::made_up(self.ms, Side::Client, incoming, segment));
        }

        fn resets(mut self) -> Vec<(Direction, bool)> {
            let accounts = self.witness.drain().into_iter();
            let resets = accounts.flat_map(|account| account.resets);
            resets.map(|reset| (reset.direction, reset.sure)).collect()
        }
    }

    #[test]
    fn a_reset_with_the_expected_number_ends_a_connection_once() {
        let mut talk = Talk::used();
        talk.passes(Side::Broker, &[Flags::RST], 591, 0, 0);
        talk.passes(Side::Broker, &[Flags::RST], 591, 0, 0);
        let received = Direction::Received;
        assert_eq!(talk.resets(), [(received, true), (received, false)]);
    }

    #[test]
    fn one_beside_the_expected_number_is_ignored() {
        let mut talk = Talk::used();
        talk.passes(Side::Broker, &[Flags::RST], 580, 0, 0);
        assert_eq!(talk.resets(), [(Direction::Received, false)]);
    }

    #[test]
    fn one_after_which_the_host_goes_on_was_ignored() {
        let mut talk = Talk::used();
        talk.passes(Side::Broker, &[Flags::RST], 591, 0, 0);
        talk.passes(Side::Client, &[Flags::ACK], 151, 591, 10);
        talk.passes(Side::Client, &[Flags::RST], 161, 0, 0);
        let expected = [(Direction::Received, false), (Direction::Sent, true)];
        assert_eq!(talk.resets(), expected);
    }

    #[test]
    fn a_refusal_has_to_name_the_syn() {
        for (ack, sure) in [(101, true), (102, false)] {
            let mut talk = Talk {
                witness: Witness::default(),
                ms: 0,
            };
            talk.passes(Side::Client, &[Flags::SYN], 100, 0, 0);
            talk.passes(Side::Broker, &[Flags::RST, Flags::ACK], 0, ack, 0);
            assert_eq!(talk.resets(), [(Direction::Received, sure)]);
        }
    }

    #[test]
    fn one_that_a_segment_drew_acknowledges_nothing() {
        let mut talk = Talk::used();
        talk.passes(Side::Client, &[Flags::RST, Flags::ACK], 151, 591, 0);
        talk.passes(Side::Client, &[Flags::RST], 151, 0, 0);
        let accounts = talk.witness.drain();
        let answers = accounts[0].resets.iter().map(|reset| reset.answers);
        assert_eq!(answers.collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn what_answers_this_hosts_own_fin_may_meet_nobody() {
        let mut talk = Talk::used();
        talk.passes(Side::Client, &[Flags::FIN, Flags::ACK], 151, 591, 0);
        talk.passes(Side::Broker, &[Flags::RST], 591, 0, 0);
        assert_eq!(talk.resets(), [(Direction::Received, false)]);
    }

    #[test]
    fn the_same_ports_may_be_used_again() {
        let mut talk = Talk::used();
        talk.passes(Side::Broker, &[Flags::RST], 591, 0, 0);
        talk.passes(Side::Client, &[Flags::SYN], 9_000, 0, 0);
        talk.passes(Side::Broker, &[Flags::RST, Flags::ACK], 0, 9_001, 0);
        let accounts = talk.witness.drain();
        assert_eq!(accounts.len(), 2);
        assert!(accounts.iter().all(|account| account.resets[0].sure));
    }
}
