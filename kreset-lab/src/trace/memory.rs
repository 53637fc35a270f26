//! Sightings that can be forgotten, and still count.

use crate::{Moment, trace::wire::Sighting};

/// Sightings in order, without the oldest where somebody had them forgotten.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Those that are remembered.
    pub(crate) kept: Vec<Sighting>,
    /// How many came before those.
    forgotten: usize,
}

impl Memory {
    /// Those from number `first` on, counted from the beginning.
    pub(crate) fn from(&self, first: usize) -> &[Sighting] {
        let first = first.saturating_sub(self.forgotten);
        self.kept.get(first..).unwrap_or_default()
    }

    /// How many there were.
    pub(crate) const fn count(&self) -> usize {
        self.forgotten + self.kept.len()
    }

    /// Forgets what was seen before `moment`.
    pub(crate) fn forget_before(&mut self, moment: Moment) {
        let old = self.kept.partition_point(|seen| seen.at < moment);
        self.kept.drain(..old);
        self.forgotten += old;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::{
        PORT, Side,
        net::packet::{Flags, Segment},
    };

    #[test]
    fn what_is_forgotten_still_counts() {
        let segment = Segment {
            source: SocketAddr::from(([10, 77, 1, 2], 40_000)),
            destination: SocketAddr::from(([10, 77, 2, 2], PORT)),
            ttl: 64,
            sequence: 0,
            acknowledgement: 0,
            flags: Flags::SYN,
            timestamps: false,
            payload: 0,
            ip_id: None,
            window: 0,
        };
        let mut memory = Memory::default();
        for ms in 1..=4 {
            memory
                .kept
                .push(Sighting::made_up(ms, Side::Client, false, segment));
        }
        memory.forget_before(Moment(3_000_000));
        let times = |first| {
            let from = memory.from(first).iter();
            from.map(|seen| seen.at.0 / 1_000_000).collect::<Vec<_>>()
        };
        assert_eq!(times(0), [3, 4]);
        assert_eq!(times(3), [4]);
        assert_eq!(times(4), [0_u64; 0]);
        assert_eq!(memory.count(), 4);
    }
}
