//! Named scenarios: what happens to a connection, and what each host alone can know of it.
//!
//! A scenario is a script: it starts the tracers, acts on both ends and the router, reads the
//! truth off the wire, and has both tracers judged before any socket is closed, since closing is
//! not part of the story. Where its truth is not plain from physics, a comment says why it is so.

mod broker;
mod burst;
mod client;
mod handshake;
mod hop;
mod idle;
mod kafka;
mod keep;
mod older;
mod scene;
mod shell;

use std::{fmt, path::PathBuf, time::Duration};

pub use scene::{HostOutcome, Outcome, Scene, Story, Watch};

use crate::{
    Family, Lab, Status, Stop,
    error::Result,
    util::program::{self, Program},
};

/// Which part of the tracer's promise a scenario is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Who reset a connection, for the classes that people meet most.
    Core,
    /// The finer causes, and abstaining where one host cannot tell. Not run unless named or asked
    /// for.
    Further,
    /// Real brokers and real clients, which take more than the rest needs to be installed. Not
    /// run unless named or asked for.
    Kafka,
}

/// Acts a scenario out, and has both tracers judged.
type Script = dyn Fn(&Scene<'_>) -> Result<Outcome> + Send + Sync;

/// A scenario that can be run by name.
///
/// Besides those of the [`catalogue`] there may be any number of others, made with
/// [`Scenario::new`].
pub struct Scenario {
    name: String,
    about: &'static str,
    stage: Stage,
    /// What it runs beyond what all scenarios of its stage do.
    programs: Vec<Program>,
    script: Box<Script>,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl Scenario {
    /// A scenario of the tracer's main job. `name` must fit a directory's name.
    pub fn new(
        name: &str,
        about: &'static str,
        script: impl Fn(&Scene<'_>) -> Result<Outcome> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            about,
            stage: Stage::Core,
            programs: Vec::new(),
            script: Box::new(script),
        }
    }

    /// The same scenario over each kind of socket, as `name.ipv4`, `name.ipv6`, `name.mapped`.
    fn for_each_family(
        name: &'static str,
        about: &'static str,
        script: fn(&Scene<'_>, Family) -> Result<Outcome>,
    ) -> impl Iterator<Item = Self> {
        [Family::Ipv4, Family::Ipv6, Family::Mapped]
            .into_iter()
            .map(move |family| {
                Self::new(&format!("{name}.{}", family.name()), about, move |scene| {
                    script(scene, family)
                })
            })
    }

    const fn with_real_parts(mut self) -> Self {
        self.stage = Stage::Kafka;
        self
    }

    fn needing(mut self, program: Program) -> Self {
        self.programs.push(program);
        self
    }

    const fn further(mut self) -> Self {
        self.stage = Stage::Further;
        self
    }

    /// The name; what is before a dot names several at once.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What happens, in one sentence.
    #[must_use]
    pub const fn about(&self) -> &'static str {
        self.about
    }

    /// What it is part of.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Makes sure that what this scenario takes beyond the lab itself is installed.
    ///
    /// # Errors
    /// [`crate::Error::MissingKafka`], [`crate::Error::MissingProgram`].
    pub fn check_parts(&self) -> Result<()> {
        for program in &self.programs {
            program::command(*program)?;
        }
        match self.stage {
            Stage::Core | Stage::Further => Ok(()),
            Stage::Kafka => kafka::check_parts(&self.name),
        }
    }

    /// Whether a name on the command line means this scenario.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name
            || self
                .name
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('.'))
    }

    /// Runs it, in a lab of its own, and says in `status` what it is doing.
    ///
    /// # Errors
    /// When the network did not do what the scenario is about, or a tracer did not run; not when
    /// a tracer was wrong.
    pub fn run(&self, settings: &Settings, stop: &Stop, status: &Status) -> Result<Outcome> {
        status.set("building its network");
        let mut lab = Lab::new(stop)?.with_status(status);
        if let Some(path) = &settings.own_binary {
            lab = lab.with_own_binary(path);
        }
        let kept = settings.keep.as_ref().map(|keep| keep.join(&self.name));
        if let Some(directory) = &kept {
            keep::prepare(directory)?;
        }
        let scene = Scene::new(&lab, settings, kept.as_deref());
        let outcome = (self.script)(&scene);
        if let Some(directory) = &kept {
            keep::keep(directory, &lab, outcome.as_ref().ok())?;
        }
        outcome
    }
}

/// What all scenarios of a run have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The tracer to judge. Without one the scenarios are acted out, the wire is checked, and
    /// nobody is judged.
    pub tracer: Option<PathBuf>,
    /// After how long the devices forget a silent connection; whole seconds.
    pub idle_timeout: Duration,
    /// By how much devices that are modelled after real ones are quicker than those, instead.
    pub scale: Option<f64>,
    /// Whether to keep everything up for a shell on the client's host before judging.
    pub shell: bool,
    /// Where to leave each scenario's packets and the tracers' output.
    pub keep: Option<PathBuf>,
    /// Where the binary `kreset-lab` is, if the running program is another one.
    pub own_binary: Option<PathBuf>,
}

/// All scenarios, in the order in which they are shown.
#[must_use]
pub fn catalogue() -> Vec<Scenario> {
    let mut all = idle::scenarios();
    all.extend(broker::scenarios());
    all.extend(handshake::scenarios());
    all.extend(older::scenarios());
    all.extend(client::scenarios());
    all.extend(hop::scenarios());
    all.extend(burst::scenarios());
    all.extend(kafka::scenarios());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_a_directory() {
        let all = catalogue();
        for (number, scenario) in all.iter().enumerate() {
            assert!(
                scenario
                    .name
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || "_-.".contains(letter)),
                "{}",
                scenario.name
            );
            assert!(
                all[..number]
                    .iter()
                    .all(|other| other.name != scenario.name),
                "{}",
                scenario.name
            );
        }
    }

    #[test]
    fn a_name_before_the_dot_means_all_of_them() {
        let count = |name| catalogue().iter().filter(|it| it.is_called(name)).count();
        assert_eq!(count("idle_reset_on_send"), 3);
        assert_eq!(count("idle_reset_on_send.ipv6"), 1);
        assert_eq!(count("idle"), 0);
    }
}
