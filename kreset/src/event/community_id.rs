//! Community ID version 1: one string for a connection, the same from both
//! ends, known to Zeek, Suricata and the common SIEM schemas.
//!
//! <https://github.com/corelight/community-id-spec>

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use sha1::{Digest as _, Sha1};

use crate::event::CommunityId;

/// The specification's seed. One that differs between hosts would break the
/// join that the id is for, so it is no setting.
const SEED: [u8; 2] = [0, 0];

/// IP protocol number of TCP.
const TCP: u8 = 6;

/// The id of the TCP connection between `a` and `b`, in either order.
///
/// IPv4-mapped IPv6 addresses count as IPv4: one end may see the mapped form
/// and the other not.
#[must_use]
pub fn of_tcp(a: SocketAddr, b: SocketAddr) -> CommunityId {
    let a = (a.ip().to_canonical(), a.port());
    let b = (b.ip().to_canonical(), b.port());
    // The smaller end goes first: by address, then by port. `IpAddr` and
    // `u16` order as their octets on the wire do.
    let (first, second) = if a <= b { (a, b) } else { (b, a) };

    let mut hash = Sha1::new();
    hash.update(SEED);
    update(&mut hash, first.0);
    update(&mut hash, second.0);
    hash.update([TCP, 0]);
    hash.update(first.1.to_be_bytes());
    hash.update(second.1.to_be_bytes());
    let digest = hash.finalize();

    // "1:" and 20 bytes in base64.
    let mut id = CommunityId::new();
    // There is room for both.
    let _whole = write!(id, "1:{}", Base64Display::new(&digest, &STANDARD));
    id
}

fn update(hash: &mut Sha1, address: IpAddr) {
    match address {
        IpAddr::V4(address) => hash.update(address.octets()),
        IpAddr::V6(address) => hash.update(address.octets()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(a: &str, b: &str) -> String {
        of_tcp(a.parse().unwrap(), b.parse().unwrap()).to_string()
    }

    #[test]
    fn the_vectors_of_the_specification() {
        // The TCP flows of its baseline, and Zeek's own test of IPv4.
        for (a, b, expected) in [
            (
                "128.232.110.120:34855",
                "66.35.250.204:80",
                "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
            ),
            (
                "1.2.3.4:1122",
                "5.6.7.8:3344",
                "1:wCb3OG7yAFWelaUydu0D+125CLM=",
            ),
            (
                "[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943",
                "[2607:f8b0:400c:c03::1a]:25",
                "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
            ),
        ] {
            assert_eq!(id(a, b), expected);
            assert_eq!(id(b, a), expected);
        }
    }

    #[test]
    fn mapped_addresses_count_as_ipv4() {
        assert_eq!(
            id("[::ffff:128.232.110.120]:34855", "66.35.250.204:80"),
            "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
        );
    }

    proptest! {
        #[test]
        fn both_ends_agree(a: SocketAddr, b: SocketAddr) {
            prop_assert_eq!(of_tcp(a, b), of_tcp(b, a));
            prop_assert_eq!(of_tcp(a, b).len(), 30);
        }

        #[test]
        fn ports_matter(a: SocketAddr, b: SocketAddr, port: u16) {
            prop_assume!(port != a.port() && port != b.port());
            let other = SocketAddr::new(a.ip(), port);
            prop_assert_ne!(of_tcp(a, b), of_tcp(other, b));
        }
    }
}
