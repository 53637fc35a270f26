//! A case: what is done to one connection (or to several of one broker), and what each host alone
//! should say of it.

use std::fmt;

use super::stage::Scene;
use crate::{Family, Side, error::Result, judge::Answer, middlebox::Ttl};

/// Acts a case out.
type Script = dyn Fn(&Scene<'_>) -> Result<Vec<Label>> + Send + Sync;

/// Which lab a case needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Tracers that were there first, showing what an operator sees.
    Usual,
    /// The same, and the brokers' `connections.max.idle.ms` is longer.
    Patient,
    /// Tracers that begin once the connections are there and silent.
    Late,
    /// Tracers that show everyday noise as well.
    ShowAll,
    /// The client's kernel gives up after a few retransmissions.
    GivesUp,
}

impl Room {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Usual,
        Self::Patient,
        Self::Late,
        Self::ShowAll,
        Self::GivesUp,
    ];
}

/// One labelled case.
pub struct Case {
    /// Cause, variant and family: what the split into halves goes by.
    pub id: String,
    /// Where it is acted out.
    pub room: Room,
    /// The kind of sockets.
    pub family: Family,
    /// Acts it out.
    pub(super) script: Box<Script>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("id", &self.id)
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

impl Case {
    /// The same case over each kind of socket.
    pub(super) fn each_family(
        room: Room,
        id: &str,
        script: impl Fn(&Scene<'_>) -> Result<Vec<Label>> + Clone + Send + Sync + 'static,
    ) -> impl Iterator<Item = Self> {
        [Family::Ipv4, Family::Ipv6, Family::Mapped]
            .into_iter()
            .map(move |family| Self {
                id: format!("{id}.{}", family.name()),
                room,
                family,
                script: Box::new(script.clone()),
            })
    }

    /// Which half it belongs to: weights were set by the one, the other is held out.
    #[must_use]
    pub fn held_out(&self) -> bool {
        // A case over another kind of socket is too much alike to be held out from it.
        let (all_families, _) = self.id.rsplit_once('.').unwrap_or((&self.id, ""));
        is_held_out(all_families)
    }
}

/// FNV-1a: the same half for the same name, in every build.
fn is_held_out(id: &str) -> bool {
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The low bits of FNV-1a are its weak ones.
    (hash >> 32).count_ones() & 1 == 1
}

/// What the tracer on one host should say of one connection.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Nothing: there is nothing to tell, or nothing but everyday noise.
    Nothing,
    /// One event.
    Told(Told),
    /// One event or none: it hurts nobody and is plain to this host's own application.
    IfTold(Told),
}

/// An event that is wanted.
#[derive(Clone, Debug)]
pub struct Told {
    /// The right answers; more than one where either is true.
    pub right: Vec<Answer>,
    /// What evidence this host has cannot be told from: as good as abstaining, unless it is said
    /// with confidence. Empty where one host can decide.
    pub alike: Vec<Answer>,
    /// Whether other evidence settles it after all, for a tracer that makes use of it.
    pub settled: bool,
}

impl Told {
    /// Whether one host can decide.
    #[must_use]
    pub const fn is_decidable(&self) -> bool {
        self.alike.is_empty()
    }
}

/// The truth about one connection.
#[derive(Clone, Debug)]
pub struct Label {
    /// The client's port, by which events are found.
    pub port: u16,
    /// On the client's host.
    pub client: Wanted,
    /// On the broker's host.
    pub broker: Wanted,
    /// Resets that must have been on the wire, by whom they reached and the TTL with which;
    /// `None` if the case is not about any.
    pub resets: Option<Vec<(Side, Ttl)>>,
}

impl Label {
    /// A connection of which nobody should say anything.
    pub(super) const fn new(port: u16) -> Self {
        Self {
            port,
            client: Wanted::Nothing,
            broker: Wanted::Nothing,
            resets: None,
        }
    }

    /// The host that should tell, and the right answers.
    pub(super) fn told(mut self, side: Side, right: &[Answer]) -> Self {
        *self.wanted(side) = Wanted::Told(told(right, &[]));
        self
    }

    /// The same, but one host cannot tell it from `alike`.
    pub(super) fn undecidable(mut self, side: Side, right: &[Answer], alike: &[Answer]) -> Self {
        *self.wanted(side) = Wanted::Told(told(right, alike));
        self
    }

    /// As [`Self::undecidable`], but what the path went through before may settle it.
    pub(super) fn learnable(mut self, side: Side, right: &[Answer], alike: &[Answer]) -> Self {
        *self.wanted(side) = Wanted::Told(Told {
            settled: true,
            ..told(right, alike)
        });
        self
    }

    /// The host that may tell.
    pub(super) fn if_told(mut self, side: Side, right: &[Answer]) -> Self {
        *self.wanted(side) = Wanted::IfTold(told(right, &[]));
        self
    }

    /// A reset that `victim` got from a device.
    pub(super) fn forged(mut self, victim: Side, ttl: Ttl) -> Self {
        self.resets.get_or_insert_default().push((victim, ttl));
        self
    }

    /// A reset that `victim` got from the other host: the router takes one off its 64.
    pub(super) fn genuine(self, victim: Side) -> Self {
        self.forged(victim, Ttl::Copied)
    }

    /// A connection that ends without a reset.
    pub(super) fn without_reset(mut self) -> Self {
        self.resets = Some(Vec::new());
        self
    }

    /// By host.
    #[must_use]
    pub const fn on(&self, side: Side) -> &Wanted {
        match side {
            Side::Client => &self.client,
            Side::Broker => &self.broker,
        }
    }

    const fn wanted(&mut self, side: Side) -> &mut Wanted {
        match side {
            Side::Client => &mut self.client,
            Side::Broker => &mut self.broker,
        }
    }
}

fn told(right: &[Answer], alike: &[Answer]) -> Told {
    Told {
        right: right.to_vec(),
        alike: alike.to_vec(),
        settled: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_halves_are_halves() {
        let held_out = (0..1000)
            .filter(|number| is_held_out(&format!("idle_on_send.plain.{number}")))
            .count();
        assert!((400..600).contains(&held_out), "{held_out}");
    }
}
