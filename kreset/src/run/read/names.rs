//! Which files are of one host, by their names.

use std::path::{Path, PathBuf};

use smol_str::SmolStr;

/// Compressions.
const COMPRESSED: [&str; 2] = ["gz", "zst"];

/// The hosts of files, in the order of their first files.
pub(super) fn hosts(files: &[PathBuf]) -> Vec<(SmolStr, Vec<PathBuf>)> {
    let mut hosts: Vec<(SmolStr, Vec<PathBuf>)> = Vec::new();
    for file in files {
        let name = host(file);
        match hosts.iter_mut().find(|(other, _)| *other == name) {
            Some((_, files)) => files.push(file.clone()),
            None => hosts.push((name, vec![file.clone()])),
        }
    }
    hosts
}

/// The name of a file without what tools append: `client.pcap3.gz` of tcpdump and
/// `client_00003_20261129093000.pcapng` of dumpcap are of `client`.
fn host(path: &Path) -> SmolStr {
    if path.as_os_str() == "-" {
        return SmolStr::new_static("stdin");
    }
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut stem = name.as_str();
    if let Some((rest, extension)) = stem.rsplit_once('.')
        && COMPRESSED.contains(&extension)
    {
        stem = rest;
    }
    if let Some((rest, extension)) = stem.rsplit_once('.')
        && !rest.is_empty()
        && extension
            .trim_end_matches(|letter: char| letter.is_ascii_digit())
            .chars()
            .any(char::is_alphabetic)
    {
        stem = rest;
    }
    SmolStr::new(unnumbered(stem))
}

/// Without the number and time that dumpcap's ring of files appends.
fn unnumbered(stem: &str) -> &str {
    let part = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let Some((rest, time)) = stem.rsplit_once('_') else {
        return stem;
    };
    let Some((rest, number)) = rest.rsplit_once('_') else {
        return stem;
    };
    if part(time, 14) && part(number, 5) && !rest.is_empty() {
        rest
    } else {
        stem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_one_capture_are_of_one_host() {
        for (name, host) in [
            ("/tmp/client.pcap", "client"),
            ("client.pcap3", "client"),
            ("client.pcap12.gz", "client"),
            ("b-3.prod.pcapng.zst", "b-3.prod"),
            ("ring_00003_20261129093000.pcapng", "ring"),
            ("broker_1.pcap", "broker_1"),
            ("10.0.0.7", "10.0.0.7"),
            ("trace", "trace"),
            (".pcap", ".pcap"),
            ("-", "stdin"),
        ] {
            assert_eq!(super::host(Path::new(name)), host, "{name}");
        }
        let files = ["a.pcap", "b.pcap", "a.pcap1"].map(PathBuf::from);
        let hosts = hosts(&files);
        let names: Vec<_> = hosts
            .iter()
            .map(|(name, files)| format!("{name} {}", files.len()))
            .collect();
        assert_eq!(names, ["a 2", "b 1"]);
    }
}
