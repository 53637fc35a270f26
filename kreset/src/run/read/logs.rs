//! Logs of brokers and clients, from files.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use jiff::tz::TimeZone;

use crate::{
    capture::{input::InputError, logs::Logs},
    util::stderr::log,
};

/// Reads the logs of brokers and clients.
///
/// # Errors
///
/// If one cannot be read.
pub fn open(of_brokers: &[PathBuf], of_clients: &[PathBuf]) -> Result<Logs, InputError> {
    let Logs {
        mut brokers,
        mut clients,
    } = Logs::default();
    let zone = TimeZone::system();
    for path in of_brokers {
        let before = brokers.len();
        let all = open_log(path).and_then(|log| brokers.add(log, &zone));
        say_log(path, all, brokers.len() - before, "a broker's server.log")?;
    }
    for path in of_clients {
        let before = clients.len();
        let all = open_log(path).and_then(|log| clients.add(log, &zone));
        let expected = "the log of Kafka's Java client or of librdkafka";
        say_log(path, all, clients.len() - before, expected)?;
    }
    Ok(Logs { brokers, clients })
}

fn open_log(path: &Path) -> io::Result<BufReader<File>> {
    File::open(path).map(BufReader::new)
}

/// Says where a log is of no use, or of little.
fn say_log(
    path: &Path,
    all: io::Result<bool>,
    found: usize,
    expected: &str,
) -> Result<(), InputError> {
    let path = path.display().to_string();
    match all {
        Err(source) => return Err(InputError::Read { path, source }),
        Ok(_) if found == 0 => log(format_args!(
            "{path}: no line about a connection; expected {expected}"
        )),
        Ok(false) => log(format_args!(
            "{path}: more lines about connections than are kept; the first {found} are used"
        )),
        Ok(true) => {}
    }
    Ok(())
}
