//! Brokers of one cluster that are restarted one after the other.

use std::collections::{HashSet, VecDeque};

use super::{
    Place,
    clients::{ClientHash, Clients, DISTINCT},
};

/// Rolls remembered.
const ROLLS: usize = 32;
/// Brokers of each.
const BROKERS: usize = 256;
/// The next broker follows within this time: it waits until the last one has caught up.
const NEXT_NS: u64 = 900_000_000_000;

/// The roll that a broker's end is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InRoll {
    /// The number of the incident of its first broker.
    pub first: u64,
    /// Which of its brokers this is, from 1.
    pub number: u64,
}

#[derive(Debug)]
struct Track {
    first: u64,
    latest_ns: u64,
    brokers: Vec<Place>,
    clients: HashSet<ClientHash>,
}

/// The latest rolls.
#[derive(Debug, Default)]
pub(super) struct Rolls(VecDeque<Track>);

impl Rolls {
    /// The roll of a broker that ended: one in which it has not ended yet, with a client in
    /// common, or a new one. `incident` is the number of the incident.
    pub(super) fn join(
        &mut self,
        place: Place,
        incident: u64,
        at_ns: u64,
        clients: &Clients,
    ) -> InRoll {
        let found = self.0.iter_mut().rev().find(|track| {
            at_ns.saturating_sub(track.latest_ns) <= NEXT_NS
                && track.brokers.len() < BROKERS
                && !track.brokers.contains(&place)
                && clients
                    .hashes()
                    .any(|client| track.clients.contains(&client))
        });
        if let Some(track) = found {
            track.brokers.push(place);
            track.latest_ns = track.latest_ns.max(at_ns);
            return InRoll {
                first: track.first,
                number: track.brokers.len() as u64,
            };
        }
        if self.0.len() == ROLLS {
            self.0.pop_front();
        }
        self.0.push_back(Track {
            first: incident,
            latest_ns: at_ns,
            brokers: vec![place],
            clients: HashSet::new(),
        });
        InRoll {
            first: incident,
            number: 1,
        }
    }

    /// A client lost a connection to the latest broker of a roll.
    pub(super) fn add_client(&mut self, roll: InRoll, client: ClientHash, at_ns: u64) {
        let track = self.0.iter_mut().rev().find(|it| it.first == roll.first);
        if let Some(track) = track {
            track.latest_ns = track.latest_ns.max(at_ns);
            if track.clients.len() < DISTINCT {
                track.clients.insert(client);
            }
        }
    }

    /// As [`Rolls::join`], once more is known of the clients of a broker whose roll has no
    /// other broker.
    pub(super) fn join_again(
        &mut self,
        roll: InRoll,
        place: Place,
        incident: u64,
        at_ns: u64,
        clients: &Clients,
    ) -> InRoll {
        let is_alone = |track: &Track| track.first == roll.first && track.brokers.len() == 1;
        let Some(at) = self.0.iter().position(is_alone) else {
            return roll;
        };
        let alone = self.0.remove(at);
        let joined = self.join(place, incident, at_ns, clients);
        if let Some(track) = self.0.iter_mut().find(|it| it.first == joined.first) {
            let room = DISTINCT.saturating_sub(track.clients.len());
            track
                .clients
                .extend(alone.into_iter().flat_map(|it| it.clients).take(room));
        }
        joined
    }
}
