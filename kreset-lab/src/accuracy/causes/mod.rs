//! The cases, one family of causes a file. Truth follows from what is done on the wire; where
//! physics lets one host see two causes alike, a line says why both are taken.

mod broker;
mod client;
mod drop;
mod early;
mod ending;
mod group;
mod handshake;
mod hop;
mod idle;
mod noise;
mod orphan;
mod shutdown;
mod unknowable;

use std::time::Duration;

use super::{
    case::Case,
    draw::Draw,
    stage::{Scene, Talk},
    traffic::Shape,
};
use crate::error::Result;

/// The brokers' `connections.max.idle.ms` where it is the shorter one.
pub(super) const MAX_IDLE: Duration = Duration::from_secs(3);

/// Where it is the longer one.
pub(super) const LONGER_MAX_IDLE: Duration = Duration::from_secs(8);

/// How long the broker's kernel keeps the remainder of a closed socket in [`Room::Patient`].
///
/// [`Room::Patient`]: super::case::Room::Patient
pub(super) const FIN_TIMEOUT: Duration = Duration::from_secs(2);

/// All cases.
pub(super) fn all() -> Vec<Case> {
    let mut all = idle::cases();
    all.extend(unknowable::cases());
    all.extend(drop::cases());
    all.extend(hop::cases());
    all.extend(broker::cases());
    all.extend(orphan::cases());
    all.extend(shutdown::cases());
    all.extend(group::cases());
    all.extend(handshake::cases());
    all.extend(early::cases());
    all.extend(client::cases());
    all.extend(noise::cases());
    all
}

/// How long nothing is said before something happens that no timer stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// Next to none.
    None,
    /// Less than a second.
    Brief,
    /// Longer than a second.
    Second,
    /// Some seconds.
    Seconds,
    /// Longer than ten seconds.
    Long,
}

impl Silence {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Brief,
        Self::Second,
        Self::Seconds,
        Self::Long,
    ];

    /// Those of a connection in use.
    const BUSY: [Self; 2] = [Self::None, Self::Brief];

    /// Those that are over soon.
    const SHORT: [Self; 3] = [Self::None, Self::Brief, Self::Second];

    /// So short that without packets it may have been in its handshake.
    fn may_be_handshake(self, scene: &Scene<'_>) -> bool {
        scene.is_blind() && Self::BUSY.contains(&self)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::None => "0s",
            Self::Brief => "below_1s",
            Self::Second => "above_1s",
            Self::Seconds => "some_s",
            Self::Long => "above_10s",
        }
    }

    fn draw(self, draw: &Draw) -> Duration {
        let (from, to) = match self {
            Self::None => (0, 60),
            Self::Brief => (200, 850),
            Self::Second => (1100, 2000),
            Self::Seconds => (2100, 9000),
            Self::Long => (11_000, 22_000),
        };
        draw.time(from, to)
    }
}

/// What a timer is called in the name of a case.
const TIMER_NAMES: [&str; super::device::TIMERS] = ["shortest", "shorter", "longer", "longest"];

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Traffic in quick succession, so that the connection is busy when it ends.
fn busy(scene: &Scene<'_>, talk: &mut Talk, shape: Shape) -> Result<()> {
    for _ in 0..scene.draw.number(4, 12) {
        shape.exchange(&mut talk.ends, &scene.draw)?;
        scene.silence(scene.draw.time(2, 60))?;
    }
    Ok(())
}
