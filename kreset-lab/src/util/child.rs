//! A process that is not left behind.

use std::{
    process::{Child as Std, Command, ExitStatus},
    time::Duration,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::{
    Stop,
    error::{Context as _, Result},
};

/// How often it is looked whether one has ended.
const STEP: Duration = Duration::from_millis(1);

/// A process that this one has started; killed when dropped.
#[derive(Debug)]
pub struct Child(pub(crate) Std);

impl Child {
    /// Starts `command`.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let program = command.get_program().display().to_string();
        let child = command.spawn().context(|| format!("run {program}"))?;
        Ok(Self(child))
    }

    /// Its process id, which no other process has before it is dropped or has been waited for.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, which: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.id().cast_signed());
        signal::kill(pid, which).context(|| format!("send {which} to process {pid}"))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let id = self.id();
        self.0
            .try_wait()
            .context(|| format!("look at process {id}"))
    }

    /// Waits until it has ended.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.wait_unless(&Stop::default(), patience)
    }

    /// The same, unless a stop is requested.
    pub(crate) fn wait_unless(&mut self, stop: &Stop, patience: Duration) -> Result<ExitStatus> {
        let what = format!("the end of process {}", self.id());
        stop.until(&what, patience, STEP, || self.ended())
    }

    /// Kills it, and waits until its sockets are closed.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        let id = self.id();
        let ended = self.0.kill().and_then(|()| self.0.wait());
        ended.context(|| format!("kill process {id}"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.kill();
    }
}
