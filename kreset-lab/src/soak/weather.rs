//! What goes wrong around the sinks of one host, one thing after the other.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use fastrand::Rng;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    disk::{self, Disk},
    receiver::{Mood, Receiver},
};
use crate::{
    Stop,
    error::{Context as _, Result},
};

/// The places that the sinks of one host deliver to, besides standard output.
#[derive(Debug)]
pub struct Places {
    /// Of the file sink.
    pub disk: Disk,
    /// Of the syslog sink.
    pub syslog: Receiver,
    /// Of the OTLP sink.
    pub otlp: Receiver,
}

/// How often each thing went wrong.
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

impl Places {
    /// Lets things go wrong until `stop`, and leaves everything well.
    pub fn storm(&self, rng: &mut Rng, pid: &Mutex<Option<Pid>>, stop: &Stop) -> Result<Tally> {
        let mut tally = Tally::default();
        while stop.sleep(pause(rng, 1..8)).is_ok() {
            self.strike(rng, pid, stop, &mut tally)?;
        }
        Ok(tally)
    }

    fn strike(
        &self,
        rng: &mut Rng,
        pid: &Mutex<Option<Pid>>,
        stop: &Stop,
        tally: &mut Tally,
    ) -> Result<()> {
        let (receiver, mood, time) = match rng.u8(0..8) {
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
            3 => (&self.syslog, Mood::Dead, pause(rng, 2..15)),
            4 => (&self.syslog, Mood::Stalled, pause(rng, 1..10)),
            5 => (&self.otlp, Mood::Dead, pause(rng, 2..15)),
            6 => (&self.otlp, Mood::Unwilling, pause(rng, 2..15)),
            _ => (&self.otlp, Mood::Stalled, pause(rng, 1..8)),
        };
        match mood {
            Mood::Dead => tally.dead += 1,
            Mood::Stalled => tally.stalled += 1,
            _ => tally.unwilling += 1,
        }
        receiver.be(mood);
        let _slept = stop.sleep(time);
        receiver.be(Mood::Well);
        Ok(())
    }

    /// Rotates the file as logrotate does; whether somebody was there to be told.
    fn rotate(&self, pid: &Mutex<Option<Pid>>, stop: &Stop) -> Result<bool> {
        const PATIENCE: Duration = Duration::from_secs(90);
        if !disk::is_there(&self.disk.file())? || disk::is_there(&self.disk.rotated())? {
            return Ok(false);
        }
        let told = {
            // Held, so that the process is not waited for and its pid not another's meanwhile.
            let held = pid.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(pid) = *held else {
                return Ok(false);
            };
            std::fs::rename(self.disk.file(), self.disk.rotated())
                .context(|| "rotate a sink's file".to_owned())?;
            let told = kill(pid, Signal::SIGHUP);
            drop(held);
            told
        };
        // A tracer that has just ended opens nothing, but the next one does.
        let deadline = Instant::now() + PATIENCE;
        while !disk::is_there(&self.disk.file())? && Instant::now() < deadline {
            if stop.sleep(Duration::from_millis(50)).is_err() {
                return Ok(told.is_ok());
            }
        }
        if disk::is_there(&self.disk.file())? {
            self.disk.take(&self.disk.rotated())?;
        }
        Ok(told.is_ok())
    }
}

/// A time of so many seconds.
pub(crate) fn pause(rng: &mut Rng, seconds: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(seconds.start * 1_000..seconds.end * 1_000))
}
