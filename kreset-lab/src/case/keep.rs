//! Leaving behind what there is to look at.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
};

use super::session::Outcome;
use crate::{
    Lab, Side,
    error::{Context as _, Result},
};

/// Makes the directory.
pub(super) fn prepare(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).context(|| format!("make the directory {}", directory.display()))
}

/// Leaves behind packets of both legs, and what the tracers said.
pub(super) fn keep(directory: &Path, lab: &Lab, outcome: Option<&Outcome>) -> Result<()> {
    let write = || -> io::Result<()> {
        fs::create_dir_all(directory)?;
        for side in Side::BOTH {
            let mut file = BufWriter::new(File::create(directory.join(format!("{side}.pcap")))?);
            lab.wire().write_pcap(side, &mut file)?;
            file.flush()?;
        }
        for log in lab.journal().logs() {
            let mut file = BufWriter::new(File::create(
                directory.join(format!("{}.log", log.name().replace(' ', "-"))),
            )?);
            for line in log.lines() {
                writeln!(file, "{}", line.text)?;
            }
            file.flush()?;
        }
        if let Some(outcome) = outcome.filter(|outcome| !outcome.timeline.is_empty()) {
            let text = format!("{}\n{}", outcome.timeline.in_full(), outcome.connections);
            fs::write(directory.join("timeline.txt"), text)?;
        }
        for (side, host) in outcome.iter().flat_map(|outcome| outcome.hosts()) {
            let mut file = BufWriter::new(File::create(directory.join(format!("{side}.jsonl")))?);
            for event in host.said.iter().flat_map(|said| &said.events) {
                writeln!(file, "{}", event.line)?;
            }
            file.flush()?;
            if let Some(said) = host.said.as_ref().filter(|said| !said.stderr.is_empty()) {
                fs::write(directory.join(format!("{side}.stderr")), &said.stderr)?;
            }
        }
        Ok(())
    };
    write().context(|| format!("keep results in {}", directory.display()))
}
