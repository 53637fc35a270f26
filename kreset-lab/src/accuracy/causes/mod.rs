//! The cases, one family of causes a file. Truth follows from what is done on the wire; where
//! physics lets one host see two causes alike, a line says why both are taken.

mod broker;
mod client;
mod drop;
mod group;
mod handshake;
mod hop;
mod idle;
mod noise;
mod shutdown;

use std::time::Duration;

use super::{
    case::Case,
    device::TIMERS,
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
    all.extend(drop::cases());
    all.extend(hop::cases());
    all.extend(broker::cases());
    all.extend(shutdown::cases());
    all.extend(group::cases());
    all.extend(handshake::cases());
    all.extend(client::cases());
    all.extend(noise::cases());
    all
}

/// By which a silence outlasts a device's timer.
const MARGIN: Duration = Duration::from_millis(400);

/// Silences that outlast each device's timer.
fn outlasting(timer: usize) -> Duration {
    let seconds = TIMERS.get(timer).copied().unwrap_or_default();
    Duration::from_secs(seconds.into()) + MARGIN
}

/// A silence's part of a name.
fn word(silence: Duration) -> String {
    format!("{}ms", silence.as_millis())
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Silences that no device stands behind.
const SILENCES: [Duration; 6] = [ms(0), ms(300), ms(1200), ms(2200), ms(8000), ms(20_000)];

/// Traffic in quick succession, so that the connection is busy when it ends.
fn busy(scene: &Scene<'_>, talk: &mut Talk, shape: Shape, pause: Duration) -> Result<()> {
    for _ in 0..8 {
        shape.exchange(&mut talk.ends)?;
        scene.silence(pause)?;
    }
    Ok(())
}
