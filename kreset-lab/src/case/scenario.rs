//! What can be run by name: a case at its default parameters, or real brokers and clients.

use std::fmt;

use super::{
    keep,
    session::{Outcome, Session, Settings},
};
use crate::{
    Lab, Status, Stop,
    error::Result,
    util::program::{self, Program},
};

named_enum! {
    /// Which part of the tracer's promise a scenario is about; all scenarios of a group can be run
    /// by its name. In the order in which they are shown.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Group all {
        /// Who reset a connection, for the classes that people meet most.
        Core = "core",
        /// The finer causes, and abstaining where one host cannot decide. Not run unless named or
        /// asked for.
        Further = "further",
        /// Real brokers and real clients, which take more than the rest needs to be installed. Not
        /// run unless named or asked for.
        Kafka = "kafka",
    }
}

impl Group {
    /// What is in it, and when it runs.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Core => "what people meet most; run if nothing else is asked for",
            Self::Further => {
                "finer causes, and what one host cannot know; with --further, or by name"
            }
            Self::Kafka => "real brokers and clients; with --kafka, or by name",
        }
    }
}

/// Plays a scenario, and has both tracers judged.
type Script = dyn Fn(&Session<'_>) -> Result<Outcome> + Send + Sync;

/// A scenario that can be run by name: one of [`super::scenarios`].
pub struct Scenario {
    name: String,
    about: &'static str,
    group: Group,
    /// What it runs beyond what all scenarios of its group do.
    programs: Vec<Program>,
    /// Looks whether what its group runs is installed.
    check: fn(&str) -> Result<()>,
    script: Box<Script>,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl Scenario {
    /// A scenario of the tracer's main job. `name` must fit a directory's name.
    pub(super) fn new(
        name: &str,
        about: &'static str,
        script: impl Fn(&Session<'_>) -> Result<Outcome> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            about,
            group: Group::Core,
            programs: Vec::new(),
            check: |_| Ok(()),
            script: Box::new(script),
        }
    }

    /// With real brokers and clients; `check` looks whether those of its name are installed.
    pub(super) const fn with_real_parts(mut self, check: fn(&str) -> Result<()>) -> Self {
        self.group = Group::Kafka;
        self.check = check;
        self
    }

    pub(super) fn needing(mut self, program: Program) -> Self {
        self.programs.push(program);
        self
    }

    pub(super) const fn further(mut self) -> Self {
        self.group = Group::Further;
        self
    }

    /// The name; what is before a dot names several at once.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What happens, in one sentence.
    pub const fn about(&self) -> &'static str {
        self.about
    }

    /// What it is part of.
    pub const fn group(&self) -> Group {
        self.group
    }

    /// Makes sure that what this scenario takes beyond the lab itself is installed.
    pub fn check_parts(&self) -> Result<()> {
        for program in &self.programs {
            program::command(*program)?;
        }
        (self.check)(&self.name)
    }

    /// Whether a name on the command line means this scenario.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name
            || self.group.name() == name
            || self
                .name
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('.'))
    }

    /// Runs it, in a lab of its own, and keeps `status` current. It fails when the
    /// network did not do what the scenario is about, or a tracer did not run; not when a tracer
    /// was wrong.
    pub(crate) fn run(&self, settings: &Settings, stop: &Stop, status: &Status) -> Result<Outcome> {
        status.set("building its network");
        let mut lab = Lab::new(stop)?.with_status(status);
        if let Some(path) = &settings.own_binary {
            lab = lab.with_own_binary(path);
        }
        let kept = settings.keep.as_ref().map(|keep| keep.join(&self.name));
        if let Some(directory) = &kept {
            keep::prepare(directory)?;
        }
        let session = Session::new(&lab, settings, kept.as_deref());
        let outcome = (self.script)(&session);
        if let Some(directory) = &kept {
            keep::keep(directory, &lab, outcome.as_ref().ok())?;
        }
        outcome
    }
}
