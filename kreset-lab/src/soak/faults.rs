//! Faults around the sinks of one host, one after the other.

use std::{path::Path, sync::Mutex, time::Duration};

use fastrand::Rng;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    disk::{self, Disk},
    receiver::{FaultMode, Receiver, Speech},
    spool::Spool,
    watch::Sink,
};
use crate::{
    Stop,
    error::{Context as _, Error, Result},
    util::lock::lock,
};

/// The destinations that the sinks of one host deliver to, besides standard output.
#[derive(Debug)]
pub struct Destinations {
    /// Of the file sink.
    pub disk: Disk,
    /// Of the syslog sink.
    pub syslog: Receiver,
    /// Of the OTLP sink.
    pub otlp: Receiver,
}

/// How often each fault was injected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Files rotated, and SIGHUP sent.
    pub rotations: u64,
    /// Disks filled.
    pub full: u64,
    /// Receivers ended.
    pub dead: u64,
    /// Receivers that did not read.
    pub stalled: u64,
    /// Receivers that answered 503.
    pub unwilling: u64,
}

impl Destinations {
    /// The sinks with a spool, each with its receiver; `spools` is their tracer's directory.
    pub(super) fn sinks(&self, spools: &Path) -> [Sink<'_>; 2] {
        [(Speech::Syslog, &self.syslog), (Speech::Otlp, &self.otlp)].map(|(speech, receiver)| {
            Sink {
                spool: Spool::new(spools, speech),
                receiver,
            }
        })
    }

    /// Injects faults until `stop`, and leaves everything well.
    pub fn run(&self, rng: &mut Rng, pid: &Mutex<Option<Pid>>, stop: &Stop) -> Result<Tally> {
        let mut tally = Tally::default();
        while stop.sleep(pause(rng, 1..8)).is_ok() {
            self.inject(rng, pid, stop, &mut tally)?;
        }
        Ok(tally)
    }

    fn inject(
        &self,
        rng: &mut Rng,
        pid: &Mutex<Option<Pid>>,
        stop: &Stop,
        tally: &mut Tally,
    ) -> Result<()> {
        let (receiver, mode, time) = match rng.u8(0..8) {
            0 | 1 => {
                tally.rotations += u64::from(self.rotate(pid, stop)?);
                return Ok(());
            }
            2 => {
                let from = self.disk.fill()?;
                // Ended early by a stop, which the caller sees.
                let _slept = stop.sleep(pause(rng, 3..12));
                self.disk.empty(from)?;
                tally.full += 1;
                return Ok(());
            }
            3 => (&self.syslog, FaultMode::Dead, pause(rng, 2..15)),
            4 => (&self.syslog, FaultMode::Stalled, pause(rng, 1..10)),
            5 => (&self.otlp, FaultMode::Dead, pause(rng, 2..15)),
            6 => (&self.otlp, FaultMode::Unwilling, pause(rng, 2..15)),
            _ => (&self.otlp, FaultMode::Stalled, pause(rng, 1..8)),
        };
        match mode {
            FaultMode::Dead => tally.dead += 1,
            FaultMode::Stalled => tally.stalled += 1,
            _ => tally.unwilling += 1,
        }
        receiver.be(mode);
        let _slept = stop.sleep(time);
        receiver.be(FaultMode::None);
        Ok(())
    }

    /// Rotates the file as logrotate does; whether a tracer was there to be signalled.
    fn rotate(&self, pid: &Mutex<Option<Pid>>, stop: &Stop) -> Result<bool> {
        const PATIENCE: Duration = Duration::from_secs(90);
        if !disk::is_there(&self.disk.file())? || disk::is_there(&self.disk.rotated())? {
            return Ok(false);
        }
        let reported = {
            // Held, so that the process is not waited for and its pid not another's meanwhile.
            let held = lock(pid);
            let Some(pid) = *held else {
                return Ok(false);
            };
            std::fs::rename(self.disk.file(), self.disk.rotated())
                .context(|| "rotate a sink's file".to_owned())?;
            let reported = kill(pid, Signal::SIGHUP);
            drop(held);
            reported
        };
        // A tracer that has just ended opens nothing, but the next one does.
        let is_there = || Ok(disk::is_there(&self.disk.file())?.then_some(()));
        match stop.until("a sink's new file", PATIENCE, Stop::GLANCE, is_there) {
            Ok(()) => self.disk.take(&self.disk.rotated())?,
            Err(Error::Deadline { .. } | Error::Stopped) => {}
            Err(error) => return Err(error),
        }
        Ok(reported.is_ok())
    }
}

/// A time of so many seconds.
pub(crate) fn pause(rng: &mut Rng, seconds: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(seconds.start * 1_000..seconds.end * 1_000))
}
