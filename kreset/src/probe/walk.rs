//! Where on the path the device is, from what dead flows answered at rising TTLs.

use std::net::IpAddr;

/// What a packet of a dead flow drew that could travel so many hops only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A RST: it came as far as the device.
    Reset,
    /// A router's ICMP time exceeded: it came no further than that router, and the
    /// device had not stopped it.
    TimeExceeded,
    /// Nothing.
    Nothing,
    /// The broker's own answer: this flow was not dead.
    Alive,
}

/// What one dead flow answered, at TTL 1, 2, 3 and so on.
pub type Steps = Vec<Answer>;

/// A hop on the path, as new connections showed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// Its distance.
    pub ttl: u8,
    /// The addresses that answered from there: none if it answers nothing, several
    /// if there are several routes of the same length.
    pub addresses: Vec<IpAddr>,
    /// The name of the first, if that was asked for.
    pub name: Option<String>,
}

/// The route to the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The routers, nearest first.
    pub hops: Vec<Hop>,
    /// The TTL that reaches the broker; `None` if none did.
    pub broker: Option<u8>,
}

/// What the walk says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The nearest hop that it can be; 0 is this host.
    pub from: u8,
    /// The farthest hop that it can be.
    pub to: u8,
    /// The least TTL that drew a RST, and how many flows say so, for each different
    /// answer.
    pub resets: Vec<(u8, usize)>,
}

/// Says where the device is.
///
/// A device that checks the TTL first (Linux does, `ip_forward` before the forward
/// hook) resets what has one hop left to go, one that acts first what reaches it.
/// So the least TTL that draws a RST is the device's own hop or the next one. A
/// device that drops shows by what no longer comes back: the routers before it
/// still send time exceeded to a dead flow that sends a byte.
#[must_use]
pub fn locate(flows: &[Steps], route: &Route) -> Option<Location> {
    let mut resets: Vec<(u8, usize)> = Vec::new();
    for ttl in flows.iter().filter_map(reset_at) {
        match resets.iter_mut().find(|(known, _)| *known == ttl) {
            Some((_, count)) => *count += 1,
            None => resets.push((ttl, 1)),
        }
    }
    resets.sort_unstable();
    if let (Some((least, _)), Some((most, _))) = (resets.first(), resets.last()) {
        return Some(Location {
            from: least - 1,
            to: *most,
            resets,
        });
    }
    let dead = flows
        .iter()
        .filter(|steps| !steps.is_empty() && !steps.contains(&Answer::Alive));
    let heard = dead.map(last_heard);
    let from = heard.clone().min()?;
    let to = after(heard.max()?, route)?;
    Some(Location { from, to, resets })
}

fn reset_at(steps: &Steps) -> Option<u8> {
    let at = steps.iter().position(|answer| *answer == Answer::Reset)?;
    u8::try_from(at + 1).ok()
}

/// The last TTL at which a router answered the dead flow; 0 if none did.
fn last_heard(steps: &Steps) -> u8 {
    let at = steps
        .iter()
        .rposition(|answer| *answer == Answer::TimeExceeded);
    at.and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(0)
}

/// The first hop behind `ttl` that answers new connections, and so would have
/// answered the dead flow. The broker counts.
fn after(ttl: u8, route: &Route) -> Option<u8> {
    let hops = route.hops.iter().filter(|hop| !hop.addresses.is_empty());
    let answering = hops.map(|hop| hop.ttl).chain(route.broker);
    answering.filter(|it| *it > ttl).min()
}

#[cfg(test)]
mod tests {
    use super::{
        Answer::{Alive, Nothing, Reset, TimeExceeded},
        *,
    };

    fn route(silent: &[u8], broker: u8) -> Route {
        let hop = |ttl: u8| Hop {
            ttl,
            addresses: if silent.contains(&ttl) {
                Vec::new()
            } else {
                vec![IpAddr::from([10, 0, ttl, 1])]
            },
            name: None,
        };
        Route {
            hops: (1..broker).map(hop).collect(),
            broker: Some(broker),
        }
    }

    fn between(flows: &[Steps], route: &Route) -> (u8, u8) {
        let location = locate(flows, route).unwrap();
        (location.from, location.to)
    }

    #[test]
    fn the_least_ttl_that_draws_a_reset_is_the_device_or_right_behind_it() {
        let steps = vec![TimeExceeded, TimeExceeded, TimeExceeded, Reset];
        assert_eq!(between(&[steps], &route(&[], 9)), (3, 4));
        // The first hop, or this host's own filter.
        assert_eq!(between(&[vec![Reset]], &route(&[], 9)), (0, 1));
        // A router that sends no ICMP does not matter.
        let steps = vec![TimeExceeded, Nothing, TimeExceeded, Reset];
        assert_eq!(between(&[steps], &route(&[2], 9)), (3, 4));
    }

    #[test]
    fn different_answers_are_all_shown() {
        let short = vec![TimeExceeded, Reset];
        let long = vec![TimeExceeded, TimeExceeded, Reset];
        let flows = [long.clone(), short, long];
        let location = locate(&flows, &route(&[], 5)).unwrap();
        assert_eq!((location.from, location.to), (1, 3));
        assert_eq!(location.resets, [(2, 1), (3, 2)]);
    }

    #[test]
    fn a_device_that_drops_is_behind_the_last_router_that_answers_the_dead_flow() {
        let steps = vec![TimeExceeded, TimeExceeded, Nothing, Nothing, Nothing];
        assert_eq!(
            between(std::slice::from_ref(&steps), &route(&[], 5)),
            (2, 3)
        );
        // The next one sends no ICMP: it may be that one, or the one behind it.
        assert_eq!(between(&[steps], &route(&[3], 5)), (2, 4));
        assert_eq!(between(&[vec![Nothing; 5]], &route(&[], 5)), (0, 1));
    }

    #[test]
    fn a_flow_that_lives_says_nothing() {
        assert_eq!(locate(&[vec![TimeExceeded, Alive]], &route(&[], 2)), None);
        assert_eq!(locate(&[], &route(&[], 2)), None);
    }
}
