//! The one follower of connections: fed with what the tap has seen, it knows of each host's end of
//! every connection what passed, which resets there were, and whether the kernel took them.

use std::{collections::BTreeMap, fmt, net::SocketAddr};

use crate::{
    Moment, Side,
    net::packet::{Flags, Forged, Segment},
    trace::wire::Sighting,
};

named_enum! {
    /// Which way a reset went, seen from a host.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Direction {
        /// It came to the host.
        Received = "received",
        /// The host sent it.
        Sent = "sent",
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

/// A connection, as one of its two hosts has it on its wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// The host.
    pub host: Side,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The broker's address and port.
    pub broker: SocketAddr,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            client,
            broker,
        } = self;
        write!(f, "{host}'s host, {client} to {broker}")
    }
}

/// Follows every connection at both hosts.
#[derive(Debug, Default)]
pub struct Follower {
    connections: BTreeMap<Flow, Connection>,
    ended: Vec<Connection>,
    segments: u64,
    keeps_packets: bool,
}

impl Follower {
    /// One that keeps all packets. A SYN begins another connection of the same ports only once the
    /// one before is over: until then it is part of what happens to that.
    pub fn keeping_packets() -> Self {
        Self {
            keeps_packets: true,
            ..Self::default()
        }
    }

    /// Takes in what was seen next.
    pub fn learn(&mut self, seen: &Sighting) {
        self.segments += 1;
        let (segment, flow) = (&seen.segment, seen.flow());
        let known = self.connections.get(&flow);
        let is_new = known.is_none_or(|known| {
            // A forged SYN begins none where there is one.
            (!self.keeps_packets || known.is_over_for_both())
                && opens(segment)
                && segment.forged.is_none()
                && (known.opened_by != Some(segment.sequence) || known.is_withdrawn())
        });
        if is_new {
            let old = self.connections.insert(flow, Connection::new(seen, flow));
            self.ended
                .extend(old.filter(|it| self.keeps_packets || it.had_a_reset()));
        }
        if let Some(connection) = self.connections.get_mut(&flow) {
            if self.keeps_packets {
                connection.packets.push(seen.clone());
            }
            if seen.leaving {
                connection.comes(seen.at, segment);
            } else {
                connection.goes(seen.at, segment);
            }
        }
    }

    /// Client ports of connections to `broker` that are open as far as `host` knows.
    pub fn open(&self, host: Side, broker: SocketAddr) -> Vec<u16> {
        let open = self.connections.iter().filter(|(flow, connection)| {
            flow.host == host
                && flow.broker == broker
                && connection.is_established
                && !connection.is_over()
        });
        open.map(|(flow, _)| flow.client.port()).collect()
    }

    /// Segments seen so far, each once on each leg.
    pub const fn segments(&self) -> u64 {
        self.segments
    }

    /// All connections that had a reset; those that it keeps packets of, all. It begins anew.
    pub fn drain(&mut self) -> Vec<Connection> {
        let mut all = std::mem::take(&mut self.ended);
        all.extend(std::mem::take(&mut self.connections).into_values());
        all.retain(|it| self.keeps_packets || it.had_a_reset());
        all
    }
}

/// One connection at one host's end.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Which one, and at which host.
    pub flow: Flow,
    /// Its first segment there.
    pub began: Moment,
    /// All that passed between this host and the router, in order, if it was to be kept.
    pub packets: Vec<Sighting>,
    /// The resets, in order.
    pub resets: Vec<Reset>,
    /// Sequence number of the SYN that opened it.
    opened_by: Option<u32>,
    is_established: bool,
    /// The peer's SYN has come.
    is_greeted: bool,
    /// This host has sent a FIN: whatever comes now may meet no application, and soon no socket.
    closed_here: bool,
    closed_there: bool,
    /// A reset ended this host's socket.
    is_gone: bool,
    /// The sequence number that this host's kernel expects next.
    expects: Option<u32>,
    /// Segments were lost or came out of order: what the kernel expects is a guess.
    is_guess: bool,
}

impl Connection {
    /// One that began with `first`.
    pub(crate) fn new(first: &Sighting, flow: Flow) -> Self {
        let segment = &first.segment;
        Self {
            flow,
            began: first.at,
            packets: Vec::new(),
            resets: Vec::new(),
            opened_by: opens(segment).then_some(segment.sequence),
            is_established: false,
            is_greeted: false,
            closed_here: false,
            closed_there: false,
            is_gone: false,
            expects: None,
            is_guess: false,
        }
    }

    const fn had_a_reset(&self) -> bool {
        !self.resets.is_empty()
    }

    const fn is_over(&self) -> bool {
        self.closed_here || self.closed_there || self.is_gone
    }

    /// A reset ended it, or both ends have closed.
    const fn is_over_for_both(&self) -> bool {
        self.is_gone || (self.closed_here && self.closed_there)
    }

    /// The host met what the other one still has of an earlier connection, and reset that: its own
    /// attempt goes on with the same SYN (kernel: `tcp_rcv_synsent_state_process`, 6.18).
    fn is_withdrawn(&self) -> bool {
        let last = self.resets.last();
        !self.is_greeted && last.is_some_and(|reset| reset.direction == Direction::Sent)
    }

    fn goes(&mut self, at: Moment, segment: &Segment) {
        if segment.has(Flags::RST) {
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
        self.closed_here |= segment.has(Flags::FIN);
    }

    fn comes(&mut self, at: Moment, segment: &Segment) {
        if segment.has(Flags::RST) {
            let sure = !self.closed_here
                && !self.is_gone
                && segment.forged != Some(Forged::Checksum)
                && self.accepts(segment);
            self.is_gone |= sure;
            self.resets.push(Reset {
                at,
                direction: Direction::Received,
                sure,
                answers: segment.answers(),
            });
            return;
        }
        if segment.forged.is_some() {
            // It is made so that no kernel accepts it.
            return;
        }
        // A broker's socket is there once the handshake's last segment has come.
        self.is_established |= self.flow.host == Side::Client || !segment.has(Flags::SYN);
        self.is_greeted |= segment.has(Flags::SYN);
        self.closed_there |= segment.has(Flags::FIN);
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
    fn accepts(&self, reset: &Segment) -> bool {
        if !self.is_established {
            let answers = self.opened_by.map(|sequence| sequence.wrapping_add(1));
            return self.flow.host == Side::Client
                && reset.has(Flags::ACK)
                && answers == Some(reset.acknowledgement);
        }
        let Some(expects) = self.expects.filter(|_| !self.is_guess) else {
            return false;
        };
        reset.sequence == expects || self.closed_there && reset.sequence == expects.wrapping_sub(1)
    }
}

/// Whether it is a client's SYN.
const fn opens(segment: &Segment) -> bool {
    segment.has(Flags::SYN) && !segment.has(Flags::ACK)
}

const fn is_after(sequence: u32, other: u32) -> bool {
    sequence.wrapping_sub(other).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Exchange {
        follower: Follower,
        ms: u64,
    }

    impl Exchange {
        /// A connection in use, as the client's host has it on its wire.
        fn used() -> Self {
            let mut exchange = Self {
                follower: Follower::default(),
                ms: 0,
            };
            exchange.passes(Side::Client, "S", 100, 0, 0);
            exchange.passes(Side::Broker, "SA", 500, 101, 0);
            exchange.passes(Side::Client, "A", 101, 501, 50);
            exchange.passes(Side::Broker, "A", 501, 151, 90);
            exchange
        }

        fn passes(&mut self, from: Side, flags: &str, sequence: u32, ack: u32, payload: u32) {
            let segment = Segment {
                sequence,
                acknowledgement: ack,
                payload,
                ..Segment::made_up(from, flags)
            };
            self.ms += 1;
            let incoming = from == Side::Broker;
            self.follower
                .learn(&Sighting::made_up(self.ms, Side::Client, incoming, segment));
        }

        /// In the name of the broker.
        fn forges(&mut self, forged: Forged, flags: &str, sequence: u32, payload: u32) {
            let segment = Segment {
                sequence,
                payload,
                forged: Some(forged),
                ..Segment::made_up(Side::Broker, flags)
            };
            self.ms += 1;
            self.follower
                .learn(&Sighting::made_up(self.ms, Side::Client, true, segment));
        }

        fn resets(mut self) -> Vec<(Direction, bool)> {
            let connections = self.follower.drain().into_iter();
            let resets = connections.flat_map(|it| it.resets);
            resets.map(|reset| (reset.direction, reset.sure)).collect()
        }
    }

    /// Keeps the packets of a connection that `ends`, and of the next one of the same ports.
    fn ports_used_twice(end: impl FnOnce(&mut Exchange)) -> Vec<usize> {
        let mut exchange = Exchange::used();
        exchange.follower = Follower::keeping_packets();
        exchange.passes(Side::Client, "S", 100, 0, 0);
        exchange.passes(Side::Broker, "SA", 500, 101, 0);
        end(&mut exchange);
        // Its second SYN is the first one again.
        exchange.passes(Side::Client, "S", 7_000, 0, 0);
        exchange.passes(Side::Client, "S", 7_000, 0, 0);
        exchange.passes(Side::Broker, "RA", 0, 7_001, 0);
        let connections = exchange.follower.drain();
        connections.iter().map(|it| it.packets.len()).collect()
    }

    #[test]
    fn the_next_connection_of_the_same_ports_is_another_one_once_the_first_is_over() {
        let reset = |exchange: &mut Exchange| exchange.passes(Side::Broker, "RA", 501, 101, 0);
        assert_eq!(ports_used_twice(reset), [3, 3]);
        let closed = |exchange: &mut Exchange| {
            exchange.passes(Side::Broker, "FA", 501, 101, 0);
            exchange.passes(Side::Client, "FA", 101, 502, 0);
        };
        assert_eq!(ports_used_twice(closed), [4, 3]);
        // A host that has lost it begins another one, which the other host takes for a part of it.
        assert_eq!(ports_used_twice(|_| ()), [5]);
    }

    #[test]
    fn what_resets_the_remains_of_an_earlier_connection_ends_before_the_attempt_goes_on() {
        let mut exchange = Exchange::used();
        exchange.follower = Follower::keeping_packets();
        exchange.passes(Side::Client, "S", 7_000, 0, 0);
        exchange.passes(Side::Broker, "A", 501, 101, 0);
        exchange.passes(Side::Client, "R", 101, 0, 0);
        exchange.passes(Side::Client, "S", 7_000, 0, 0);
        exchange.passes(Side::Broker, "SA", 900, 7_001, 0);
        exchange.passes(Side::Broker, "RA", 901, 7_001, 0);
        let connections = exchange.follower.drain();
        let passed: Vec<_> = connections.iter().map(|it| it.packets.len()).collect();
        assert_eq!(passed, [3, 3]);
        let ways: Vec<_> = connections
            .iter()
            .flat_map(|it| it.resets.iter().map(|reset| reset.direction))
            .collect();
        assert_eq!(ways, [Direction::Sent, Direction::Received]);
    }

    #[test]
    fn a_reset_with_the_expected_number_ends_a_connection_once() {
        let mut exchange = Exchange::used();
        exchange.passes(Side::Broker, "R", 591, 0, 0);
        exchange.passes(Side::Broker, "R", 591, 0, 0);
        let received = Direction::Received;
        assert_eq!(exchange.resets(), [(received, true), (received, false)]);
    }

    #[test]
    fn one_beside_the_expected_number_is_ignored() {
        let mut exchange = Exchange::used();
        exchange.passes(Side::Broker, "R", 580, 0, 0);
        assert_eq!(exchange.resets(), [(Direction::Received, false)]);
    }

    #[test]
    fn one_after_which_the_host_goes_on_was_ignored() {
        let mut exchange = Exchange::used();
        exchange.passes(Side::Broker, "R", 591, 0, 0);
        exchange.passes(Side::Client, "A", 151, 591, 10);
        exchange.passes(Side::Client, "R", 161, 0, 0);
        let expected = [(Direction::Received, false), (Direction::Sent, true)];
        assert_eq!(exchange.resets(), expected);
    }

    #[test]
    fn a_refusal_has_to_name_the_syn() {
        for (ack, sure) in [(101, true), (102, false)] {
            let mut exchange = Exchange {
                follower: Follower::default(),
                ms: 0,
            };
            exchange.passes(Side::Client, "S", 100, 0, 0);
            exchange.passes(Side::Broker, "RA", 0, ack, 0);
            assert_eq!(exchange.resets(), [(Direction::Received, sure)]);
        }
    }

    #[test]
    fn what_was_forged_moves_nothing_and_ends_a_connection_by_its_number_alone() {
        for (forged, sequence, sure) in [
            (Forged::Numbers, 591, true),
            (Forged::Numbers, 592, false),
            (Forged::Checksum, 591, false),
        ] {
            let mut exchange = Exchange::used();
            // Far away, and right behind with a wrong checksum.
            exchange.forges(Forged::Numbers, "A", 70_000, 40);
            exchange.forges(Forged::Checksum, "FA", 591, 40);
            exchange.forges(Forged::Numbers, "S", 691, 0);
            exchange.forges(forged, "R", sequence, 0);
            assert_eq!(exchange.resets(), [(Direction::Received, sure)]);
        }
    }

    #[test]
    fn one_that_a_segment_drew_acknowledges_nothing() {
        let mut exchange = Exchange::used();
        exchange.passes(Side::Client, "RA", 151, 591, 0);
        exchange.passes(Side::Client, "R", 151, 0, 0);
        // To a segment that acknowledged nothing.
        exchange.passes(Side::Client, "RA", 0, 591, 0);
        let connections = exchange.follower.drain();
        let answers = connections[0].resets.iter().map(|reset| reset.answers);
        assert_eq!(answers.collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn what_answers_this_hosts_own_fin_may_meet_no_socket() {
        let mut exchange = Exchange::used();
        exchange.passes(Side::Client, "FA", 151, 591, 0);
        exchange.passes(Side::Broker, "R", 591, 0, 0);
        assert_eq!(exchange.resets(), [(Direction::Received, false)]);
    }

    #[test]
    fn the_same_ports_may_be_used_again() {
        let mut exchange = Exchange::used();
        exchange.passes(Side::Broker, "R", 591, 0, 0);
        exchange.passes(Side::Client, "S", 9_000, 0, 0);
        exchange.passes(Side::Broker, "RA", 0, 9_001, 0);
        let connections = exchange.follower.drain();
        assert_eq!(connections.len(), 2);
        assert!(connections.iter().all(|it| it.resets[0].sure));
    }
}
