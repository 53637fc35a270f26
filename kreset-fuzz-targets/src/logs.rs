//! Logs of brokers and clients, as they are found beside a capture.

use std::net::{IpAddr, Ipv4Addr};

use jiff::tz::TimeZone;
use kreset::{
    capture::logs::{BrokerLogs, ClientLogs, client::About},
    event::{Endpoint, Role},
};

/// A log of either kind, and the look-up of lines for an event.
pub fn logs(bytes: &[u8]) {
    let (mut brokers, mut clients) = (BrokerLogs::default(), ClientLogs::default());
    let zone = TimeZone::UTC;
    brokers.add(bytes, &zone).expect("bytes are read");
    clients.add(bytes, &zone).expect("bytes are read");
    let end = |last, port| Endpoint {
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 4, last)),
        port,
    };
    let at_ns = 1_796_009_295_516_000_000;
    let broker = brokers.about(end(9, 51_544), end(33, 9_092), at_ns);
    let client = clients.about(About {
        role: Role::Client,
        broker: end(33, 9_092),
        client: None,
        at_ns,
    });
    let shown = broker.map(|log| &log.text).into_iter();
    for text in shown.chain(client.map(|log| &log.text)) {
        // 200 characters, each escaped at most.
        assert!(text.len() <= 2_000, "{text}");
        assert!(!text.chars().any(char::is_control), "{text}");
    }
}
