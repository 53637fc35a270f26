//! Connections of `kreset-trace probe`, as its event lists them.

use foldhash::HashMap;
use smallvec::SmallVec;

use super::{
    agents::HostId,
    line::Ended,
    pending::{Group, Observation},
};
use crate::event::{Endpoint, KresetProbe};

/// What a connection draws may come so long before or after, by clocks that differ.
const NEAR_NS: i64 = 5_000_000_000;

/// One connection of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) client: Endpoint,
    pub(super) broker: Endpoint,
    /// By the clock of the host that it was measured from.
    pub(super) opened_ns: i64,
    pub(super) ended_ns: i64,
}

/// When a connection was open, by the clock of a host.
#[derive(Clone, Copy, Debug)]
struct Span {
    host: HostId,
    from_ns: i64,
    until_ns: i64,
}

/// All connections that were listed.
#[derive(Debug, Default)]
pub(super) struct Probes(HashMap<(Endpoint, Endpoint), SmallVec<[Span; 1]>>);

impl Probes {
    /// Takes in the connections that were opened from `host`.
    pub(super) fn add(&mut self, host: HostId, listed: &[Listed]) {
        for it in listed {
            let spans = self.0.entry((it.client, it.broker)).or_default();
            spans.push(Span {
                host,
                from_ns: it.opened_ns.saturating_sub(NEAR_NS),
                until_ns: it.ended_ns.saturating_add(NEAR_NS),
            });
        }
    }

    /// How the end of a connection is known to be of the probe. Of what one host says of it, the
    /// other host's event may say nothing. `clock` gives the time of an event by the clock of a
    /// host.
    pub(super) fn of(
        &self,
        group: &Group<'_>,
        clock: impl Fn(&Observation, HostId) -> i64,
    ) -> Option<KresetProbe> {
        let all = || group.client.iter().chain(&group.broker);
        let marked = all().filter_map(|it| it.ended.kreset_probe).min();
        marked.or_else(|| {
            all()
                .any(|it| self.lists(&it.ended, |host| clock(it, host)))
                .then_some(KresetProbe::Listed)
        })
    }

    fn lists(&self, ended: &Ended, at_ns: impl Fn(HostId) -> i64) -> bool {
        let spans = self.0.get(&(ended.client, ended.broker));
        spans.is_some_and(|spans| {
            spans
                .iter()
                .any(|it| (it.from_ns..=it.until_ns).contains(&at_ns(it.host)))
        })
    }

    /// Forgets what ended before `before_ns`.
    pub(super) fn forget(&mut self, before_ns: i64) {
        self.0.retain(|_, spans| {
            spans.retain(|it| it.until_ns >= before_ns);
            !spans.is_empty()
        });
    }
}
