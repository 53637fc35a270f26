//! What an event says that is to be proven: `--from-event`.

use std::{net::SocketAddr, path::Path, time::Duration};

use serde::Deserialize;
use thiserror::Error;

use super::target::Target;

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The broker.
    pub broker: Target,
    /// The longest silence that was survived.
    pub survived: Option<Duration>,
    /// The shortest that was not.
    pub died: Duration,
    /// The keepalive time that it advises.
    pub keepalive: Option<Duration>,
}

/// Why an event says nothing that could be tried.
#[derive(Debug, Error)]
pub enum EarlierError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// No event in it has what it takes.
    #[error(
        "{path} has no event that names a broker and a fatal silence: expected a line of JSON with \
         \"broker\" and \"path\".\"fatal_idle_ms\", such as a reset with verdict \
         middlebox_idle_reset{why}"
    )]
    Useless {
        /// The file.
        path: String,
        /// What is wrong with the last line, if it is no JSON.
        why: String,
    },
}

#[derive(Deserialize)]
struct Line {
    broker: Broker,
    path: Option<PathView>,
    survived_idle_ms: Option<f64>,
    fatal_idle_ms: Option<f64>,
    advice: Option<String>,
}

#[derive(Deserialize)]
struct Broker {
    address: std::net::IpAddr,
    port: u16,
}

#[derive(Deserialize)]
struct PathView {
    survived_idle_ms: Option<f64>,
    fatal_idle_ms: Option<f64>,
}

/// Reads the last such event of a file; `-` is standard input.
///
/// # Errors
/// When there is none.
pub fn read(path: &Path) -> Result<Earlier, EarlierError> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let name = || path.display().to_string();
    let text = text.map_err(|source| EarlierError::Read {
        path: name(),
        source,
    })?;
    // One event may be laid out over several lines.
    let whole = serde_json::from_str::<Line>(&text).ok();
    let lines = text.lines().rev().filter(|line| !line.trim().is_empty());
    let mut why = None;
    let found = whole.as_ref().and_then(understood).or_else(|| {
        lines
            .filter_map(|line| {
                serde_json::from_str::<Line>(line)
                    .map_err(|error| why.get_or_insert_with(|| error.to_string()).len())
                    .ok()
            })
            .find_map(|line| understood(&line))
    });
    found.ok_or_else(|| EarlierError::Useless {
        path: name(),
        why: why.map(|why| format!(" ({why})")).unwrap_or_default(),
    })
}

fn understood(line: &Line) -> Option<Earlier> {
    let (survived, fatal) = match &line.path {
        Some(path) => (path.survived_idle_ms, path.fatal_idle_ms),
        None => (line.survived_idle_ms, line.fatal_idle_ms),
    };
    let time = |ms: f64| Duration::try_from_secs_f64(ms / 1e3).ok();
    let died = fatal.and_then(time).filter(|it| !it.is_zero())?;
    Some(Earlier {
        broker: Target::at(SocketAddr::new(line.broker.address, line.broker.port)),
        survived: survived.and_then(time).filter(|survived| *survived < died),
        died,
        keepalive: line.advice.as_deref().and_then(advised),
    })
}

/// The keepalive time in a sentence of advice, by the names that it has there.
fn advised(advice: &str) -> Option<Duration> {
    let number = |after: &str| {
        let rest = advice.split_once(after)?.1;
        let end = rest.find(|c: char| !c.is_ascii_digit());
        rest[..end.unwrap_or(rest.len())].parse::<u64>().ok()
    };
    let seconds = number("tcp_keepalive_time=").map(Duration::from_secs);
    seconds
        .or_else(|| number("setKeepAlive(true, ").map(Duration::from_millis))
        .filter(|time| *time >= Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn of(text: &str) -> Result<Earlier, EarlierError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        read(file.path())
    }

    const RESET: &str = r#"{"type":"reset","broker":{"address":"10.0.2.7","port":9092},"path":{"survived_idle_ms":300000.0,"fatal_idle_ms":350214.5},"advice":"A device: set net.ipv4.tcp_keepalive_time=150 on the client's host."}"#;

    #[test]
    fn broker_interval_and_advice_are_read() {
        let summary = r#"{"type":"summary","lost":0}"#;
        let found = of(&format!("{RESET}\n{summary}\n\n")).unwrap();
        assert_eq!(found.broker.to_string(), "10.0.2.7:9092");
        assert_eq!(found.survived, Some(Duration::from_mins(5)));
        assert_eq!(found.died, Duration::from_micros(350_214_500));
        assert_eq!(found.keepalive, Some(Duration::from_secs(150)));
        assert_eq!(of(&RESET.replace(',', ",\n")).unwrap(), found);
        let kafkajs = RESET.replace(
            "net.ipv4.tcp_keepalive_time=150",
            "socket.setKeepAlive(true, 170000)",
        );
        assert_eq!(
            of(&kafkajs).unwrap().keepalive,
            Some(Duration::from_secs(170))
        );
    }

    #[test]
    fn an_event_without_a_fatal_silence_is_refused() {
        for text in ["", "no JSON", &RESET.replace("350214.5", "null")] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.contains("fatal_idle_ms"), "{error}");
        }
        assert!(matches!(
            read(Path::new("/no/such/file")),
            Err(EarlierError::Read { .. })
        ));
    }
}
