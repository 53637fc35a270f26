//! What is fuzzed: everything that reads bytes from outside. Used by the targets of
//! cargo-fuzz, in `fuzz/`, and by a test that runs the corpus without it.

mod capture;
mod config;
mod correlate;
mod logs;
mod packet;
mod spool;

use std::{collections::BTreeMap, path::Path};

use kreset::{
    capture::recording::Recording,
    classify::{Classifier, Config},
    event::ClientNames,
    facts::{self, Decoder},
    kernel::{btf::Btf, facts::Types},
    util::{duration, ports::PortSet},
};

pub use self::{
    capture::capture, config::config, correlate::correlate, logs::logs, packet::packet,
    spool::spool,
};

/// Records of the ring buffer, up to the verdict: the heads of packets and
/// the names of processes are inside, as hostile as the network is.
pub fn record(bytes: &[u8]) {
    let (hz, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let decoder = Decoder {
        hz: u32::from(*hz).max(1),
        reasons: BTreeMap::new(),
    };
    let mut classifier = Classifier::new(Config::default());
    // Two, so that the second meets the memory of the first.
    for half in bytes.chunks(bytes.len().div_ceil(2).max(1)) {
        judge(&decoder, &mut classifier, half);
    }
    judge(&decoder, &mut classifier, bytes);
}

fn judge(decoder: &Decoder, classifier: &mut Classifier, bytes: &[u8]) {
    if let Some(Ok(facts)) = decoder.process(bytes) {
        classifier.observe_process(&facts);
    }
    if let Ok(facts) = decoder.decode(bytes) {
        classifier.observe(&facts);
        if let Some((judgement, _)) = classifier.judge(&facts) {
            assert!((0.0..=1.0).contains(&judgement.confidence));
        }
    }
}

/// The kernel's types: a module or a container may show a broken file.
pub fn btf(bytes: &[u8]) {
    if let Ok(btf) = Btf::parse(bytes) {
        let _types = Types::read(&btf, Path::new("fuzz"));
    }
}

/// The first bytes of a client, up to the names in them: they are not longer than what
/// they were read from, and JSON gives them back.
pub fn client(bytes: &[u8]) {
    let ClientNames {
        id,
        software,
        version,
    } = facts::client_names(bytes);
    for name in [&software, &version].into_iter().flatten() {
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
    }
    for name in [id, software, version].into_iter().flatten() {
        // A byte that is no text becomes a character of three.
        assert!(
            !name.is_empty() && name.len() <= 3 * bytes.len(),
            "{name:?}"
        );
    }
}

/// Ports and times on the command line.
pub fn arguments(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(ports) = text.parse::<PortSet>() {
        // What is shown reads back as the same.
        let shown = ports.to_string();
        let again: PortSet = shown.parse().unwrap_or_else(|_| PortSet::empty());
        assert_eq!(again.to_string(), shown);
    }
    if let Ok(time) = duration::parse(text) {
        let milliseconds = format!("{}ms", time.as_millis());
        assert_eq!(duration::parse(&milliseconds).ok(), Some(time), "{text}");
    }
}

/// Files of records that a user sent in.
pub fn recording(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(recording) = Recording::parse(text) {
        let mut classifier = Classifier::new(Config::default());
        for bytes in &recording.records {
            judge(&recording.decoder, &mut classifier, bytes);
        }
    }
}
