//! How a connection of `kreset-trace probe` is recognised, on either host.

use serde::Serialize;

use super::verdict::words;

/// The name of the process while it is `kreset-trace probe`: the kernel records it
/// with each connection of this host.
pub const PROBE_PROCESS: &str = "kreset-probe";

/// The maximum segment size that the probe announces in its SYN (`TCP_MAXSEG`).
///
/// By it the broker's host recognises its connections: that host's kernel keeps the
/// number with the socket, whether or not a byte ever passes.
///
/// A path that can carry IPv6 has room for 1,220 (its least MTU, 1,280, less headers),
/// so that no device has a reason to lower the number. A host announces it by chance
/// only where the MTU of its link is 1,157 (IPv4) or 1,177 (IPv6).
pub const PROBE_MSS: u16 = 1_117;

/// The bytes that the probe sends on a connection, at most: two `ApiVersions`
/// requests, and what looks for a device's hop. A client that has begun to work has
/// sent more.
pub const PROBE_BYTES: u64 = 128;

words! {
    /// How a connection is known to be one of `kreset-trace probe`.
    KresetProbe {
        /// By the name of its process on this host.
        Process = "process",
        /// By the maximum segment size in its SYN; it has carried next to nothing.
        Mss = "mss",
        /// By the probe's own event, which lists its connections.
        Listed = "listed",
    }
}
