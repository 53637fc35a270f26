//! Limits the events that strangers can cause.
//!
//! Whoever can send packets to a traced port can cause resets, thousands a second. Events
//! that have verdict, cause, broker and the peer's network in common are written up to a
//! rate; what is beyond it is counted and reported as one `loss`. All of them together
//! have a rate too: addresses can be forged. Events of this host's own sockets have one of their
//! own, which packets with forged addresses do not use up: they never open a connection.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
};

use lru::LruCache;

use crate::event::{BrokerLoss, Cause, Direction, Endpoint, Finding, Role, Verdict};

/// Kinds of events that are remembered.
const KINDS: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// Brokers whose events are counted by themselves between two reports.
const BROKERS: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// All kinds of this host's sockets may have so many times the rate of one together, and so may all
/// others.
const TOGETHER: NonZeroU64 = NonZeroU64::new(100).expect("not zero");
/// Bits of an address that one network's hosts have in common.
const PREFIX_V4: u32 = 24;
const PREFIX_V6: u32 = 48;
const MINUTE_NS: u64 = 60_000_000_000;

/// What events have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    verdict: Verdict,
    cause: Option<Cause>,
    broker: Endpoint,
    peer: IpAddr,
}

impl Key {
    fn of(finding: &Finding) -> Self {
        if answers_stranger(finding) {
            // Whoever sends them chooses the address that they come from.
            return Self {
                verdict: finding.verdict,
                cause: finding.cause,
                broker: Endpoint {
                    address: finding.client.address,
                    port: 0,
                },
                peer: finding.client.address,
            };
        }
        let peer = match finding.role {
            Role::Broker => finding.client.end(),
            Role::Client => finding.broker,
        };
        Self {
            verdict: finding.verdict,
            cause: finding.cause,
            broker: finding.broker,
            peer: network(peer.address),
        }
    }
}

/// This host answered a packet as from a broker without having a socket for it, such as a
/// SYN,ACK that it did not ask for.
fn answers_stranger(finding: &Finding) -> bool {
    finding.role == Role::Client
        && finding.direction == Direction::Sent
        && finding.connection.state.is_none()
}

/// The network that `address` is in.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(it) => {
            let mask = u32::MAX << (u32::BITS - PREFIX_V4);
            Ipv4Addr::from_bits(it.to_bits() & mask).into()
        }
        IpAddr::V6(it) => {
            let mask = u128::MAX << (u128::BITS - PREFIX_V6);
            Ipv6Addr::from_bits(it.to_bits() & mask).into()
        }
    }
}

/// A bucket of tokens, one for an event.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In nanoseconds of the rate.
    tokens: u64,
    at_ns: u64,
}

impl Bucket {
    const fn full(at_ns: u64) -> Self {
        Self {
            tokens: MINUTE_NS,
            at_ns,
        }
    }

    /// Takes a token of a bucket that holds `per_minute` and is filled within a
    /// minute; returns whether there was one.
    fn take(&mut self, per_minute: NonZeroU64, now_ns: u64) -> bool {
        let passed = now_ns.saturating_sub(self.at_ns);
        self.tokens = self.tokens.saturating_add(passed).min(MINUTE_NS);
        self.at_ns = self.at_ns.max(now_ns);
        let price = MINUTE_NS / per_minute;
        let has = self.tokens >= price;
        if has {
            self.tokens -= price;
        }
        has
    }
}

/// Decides which events are written.
#[derive(Debug)]
pub struct Limiter {
    /// Events a minute of one kind; `None` for no limit.
    per_minute: Option<NonZeroU32>,
    kinds: LruCache<Key, Bucket>,
    of_sockets: Bucket,
    without_socket: Bucket,
    suppressed: u64,
    /// Whose events these were. Strangers choose the address that they come from, so events
    /// that answer one name no broker.
    brokers: LruCache<Endpoint, u64>,
}

/// Events that were not written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Suppressed {
    /// How many.
    pub count: u64,
    /// Whose they were, the most first.
    pub brokers: Vec<BrokerLoss>,
}

impl Limiter {
    /// At most so many events a minute of one kind; `None` for no limit.
    #[must_use]
    pub fn new(per_minute: Option<NonZeroU32>) -> Self {
        Self {
            per_minute,
            kinds: LruCache::new(KINDS),
            of_sockets: Bucket::full(0),
            without_socket: Bucket::full(0),
            suppressed: 0,
            brokers: LruCache::new(BROKERS),
        }
    }

    /// Whether `finding` is written at `now_ns`, monotonic.
    pub fn admits(&mut self, finding: &Finding, now_ns: u64) -> bool {
        let Some(per_minute) = self.per_minute else {
            return true;
        };
        let per_minute = NonZeroU64::from(per_minute);
        let bucket = self
            .kinds
            .get_or_insert_mut(Key::of(finding), || Bucket::full(now_ns));
        let together = if finding.connection.state.is_some() {
            &mut self.of_sockets
        } else {
            &mut self.without_socket
        };
        let admits = bucket.take(per_minute, now_ns)
            && together.take(per_minute.saturating_mul(TOGETHER), now_ns);
        if !admits {
            self.suppressed += 1;
            if !answers_stranger(finding) {
                *self.brokers.get_or_insert_mut(finding.broker, || 0) += 1;
            }
        }
        admits
    }

    /// Events that were not written since the last call.
    pub fn take_suppressed(&mut self) -> Suppressed {
        let brokers = self.brokers.iter();
        let brokers = brokers.map(|(broker, lost)| BrokerLoss {
            broker: *broker,
            lost: *lost,
        });
        let brokers = BrokerLoss::most(brokers.collect());
        self.brokers.clear();
        Suppressed {
            count: std::mem::take(&mut self.suppressed),
            brokers,
        }
    }

    /// Changes the rate.
    pub const fn set(&mut self, per_minute: Option<NonZeroU32>) {
        self.per_minute = per_minute;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    const SECOND_NS: u64 = 1_000_000_000;

    fn from(address: [u8; 4]) -> Finding {
        let mut finding = samples::finding();
        finding.role = Role::Broker;
        finding.client.address = address.into();
        finding
    }

    fn limiter(per_minute: u32) -> Limiter {
        Limiter::new(NonZeroU32::new(per_minute))
    }

    /// How many of one event every `every_ns` are admitted within an hour.
    fn admitted(limiter: &mut Limiter, finding: &Finding, every_ns: u64) -> u64 {
        let times = (1..).map(|n| n * every_ns);
        times
            .take_while(|now| *now <= 60 * MINUTE_NS)
            .map(|now| u64::from(limiter.admits(finding, now)))
            .sum()
    }

    #[test]
    fn a_storm_is_written_at_the_rate_and_the_rest_is_counted() {
        let mut limiter = limiter(60);
        let storm = from([192, 0, 2, 1]);
        let admitted = admitted(&mut limiter, &storm, SECOND_NS / 100);
        assert!((60 * 60..=61 * 60).contains(&admitted), "{admitted}");
        let suppressed = limiter.take_suppressed();
        assert_eq!(suppressed.count + admitted, 60 * 60 * 100);
        let broker = BrokerLoss {
            broker: storm.broker,
            lost: suppressed.count,
        };
        assert_eq!(suppressed.brokers, [broker]);
        assert_eq!(limiter.take_suppressed(), Suppressed::default());
    }

    #[test]
    fn everyday_resets_are_all_written() {
        let mut limiter = limiter(60);
        let seldom = from([192, 0, 2, 1]);
        assert_eq!(admitted(&mut limiter, &seldom, 2 * SECOND_NS), 30 * 60);
        // A broker that ends 50 connections at once.
        for _ in 0..50 {
            assert!(limiter.admits(&seldom, 62 * MINUTE_NS));
        }
    }

    #[test]
    fn what_differs_has_a_rate_of_its_own_and_neighbours_share_one() {
        let mut limiter = limiter(1);
        let now = MINUTE_NS;
        assert!(limiter.admits(&from([192, 0, 2, 1]), now));
        assert!(!limiter.admits(&from([192, 0, 2, 99]), now), "one network");
        assert!(limiter.admits(&from([192, 0, 3, 1]), now));
        let mut other = from([192, 0, 2, 1]);
        other.broker.port += 1;
        assert!(limiter.admits(&other, now));
        let mut other = from([192, 0, 2, 1]);
        other.verdict = Verdict::Indeterminate;
        assert!(limiter.admits(&other, now));
    }

    /// Four megabits of SYNs a second from forged addresses wrote 18 MB a second.
    #[test]
    fn forged_addresses_have_one_rate_together() {
        let mut limiter = limiter(60);
        let mut admitted = 0;
        for second in 0..120_u64 {
            for number in 0..8_000_u32 {
                let [a, b, c, d] = (second as u32 * 8_000 + number)
                    .wrapping_mul(2_654_435_761)
                    .to_be_bytes();
                let now = MINUTE_NS + second * SECOND_NS;
                admitted += u64::from(limiter.admits(&from([a, b, c, d]), now));
            }
        }
        assert!(admitted <= 3 * 60 * TOGETHER.get(), "{admitted}");
        assert_eq!(limiter.take_suppressed().count + admitted, 120 * 8_000);
    }

    /// Every SYN to a closed port comes from another network: none opened a connection.
    #[test]
    fn forged_addresses_do_not_use_up_the_rate_of_real_connections() {
        let mut limiter = limiter(60);
        for number in 0..20_000_u32 {
            let mut stray = from((number << 8).to_be_bytes());
            stray.connection.state = None;
            limiter.admits(&stray, MINUTE_NS);
        }
        assert!(limiter.take_suppressed().count > 0);
        let mut real = from([192, 0, 2, 1]);
        real.connection.state = Some("ESTABLISHED".into());
        assert!(limiter.admits(&real, MINUTE_NS));
    }

    #[test]
    fn whose_events_were_not_written_is_known_the_most_first() {
        let mut limiter = limiter(1);
        let now = MINUTE_NS;
        for (last, times) in [(1, 3), (2, 5)] {
            let mut finding = from([192, 0, 2, 9]);
            finding.broker.address = Ipv4Addr::new(10, 0, 2, last).into();
            for _ in 0..times {
                limiter.admits(&finding, now);
            }
        }
        let suppressed = limiter.take_suppressed();
        let named = suppressed.brokers.iter();
        let named: Vec<_> = named
            .map(|it| (it.broker.address.to_string(), it.lost))
            .collect();
        assert_eq!(
            named,
            [("10.0.2.2".to_owned(), 4), ("10.0.2.1".to_owned(), 2)]
        );
        assert_eq!(suppressed.count, 6);
    }

    /// Answers to connection attempts in this host's name (backscatter), or of a translation
    /// on the way that changes their address.
    #[test]
    fn syn_acks_that_nobody_asked_for_have_one_rate_whoever_sends_them() {
        let mut finding = from([192, 0, 2, 1]);
        finding.role = Role::Client;
        finding.direction = Direction::Sent;
        finding.connection.state = None;
        let mut limiter = limiter(60);
        let mut admitted = 0;
        for number in 0..10_000_u32 {
            finding.broker.address = Ipv4Addr::from_bits(number << 8).into();
            let now = MINUTE_NS + u64::from(number) * SECOND_NS / 1_000;
            admitted += u64::from(limiter.admits(&finding, now));
        }
        assert!((60..=70).contains(&admitted), "{admitted}");
        let suppressed = limiter.take_suppressed();
        assert_eq!(suppressed.count + admitted, 10_000);
        assert_eq!(suppressed.brokers, [], "whoever sent them made these up");
        // What this host's own connections come to has its own rate.
        finding.connection.state = Some("ESTABLISHED".into());
        assert!(limiter.admits(&finding, MINUTE_NS + 10 * SECOND_NS));
    }

    /// A client that tries again and again where ICMP says that it cannot.
    #[test]
    fn refusals_by_icmp_are_written_at_the_rate() {
        let mut finding = from([192, 0, 2, 1]);
        finding.role = Role::Client;
        (finding.verdict, finding.cause) = (Verdict::HandshakePhase, Some(Cause::Refused));
        finding.connection.state = Some("SYN_SENT".into());
        let mut limiter = limiter(60);
        let admitted = admitted(&mut limiter, &finding, SECOND_NS / 100);
        assert!((60 * 60..=61 * 60).contains(&admitted), "{admitted}");
        // Another broker's are no less worth writing.
        finding.broker.port += 1;
        assert!(limiter.admits(&finding, 60 * MINUTE_NS));
    }

    #[test]
    fn without_a_limit_all_are_written() {
        let mut limiter = Limiter::new(None);
        let storm = from([192, 0, 2, 1]);
        for _ in 0..100_000 {
            assert!(limiter.admits(&storm, 0));
        }
    }
}
