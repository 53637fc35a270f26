//! Events of other hosts, from anyone who can write to the topic or the files of a fleet.

use std::time::Duration;

use kreset::correlate::{Correlator, Settings};

/// Lines of events, joined as they come and at the end.
pub fn correlate(bytes: &[u8]) {
    for follow in [false, true] {
        let mut correlator = Correlator::new(Settings {
            window: Duration::from_secs(10),
            since: None,
            until: None,
            follow,
            all: true,
        });
        let (mut lines, mut findings) = (0, Vec::new());
        for line in bytes.split(|byte| *byte == b'\n') {
            lines += 1;
            if let Ok(Some(at_ns)) = correlator.read(line) {
                correlator.advance(at_ns, &mut findings);
            }
        }
        correlator.finish(&mut findings);
        // One of both ends is two observations.
        assert!(findings.len() <= 2 * lines, "{findings:?}");
    }
}
