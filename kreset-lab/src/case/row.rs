//! Rows of the catalogue, and the cases that they stand for.

use std::sync::Arc;

use super::{
    context::Context,
    distances::TIMERS,
    environment::Environment,
    parameters::{Ending, Late, Parameters, Silence},
    play::{Act, Case},
    scenario::Scenario,
    traffic::Shape,
};
use crate::{Family, device::Ttl, error::Result, judge::Expected};

/// What the devices' timers are called.
const TIMER_NAMES: [&str; TIMERS] = ["shortest", "shorter", "longer", "longest"];

/// One row: an act, the values that its parameters take, and a name for `run` if it has one.
pub(crate) struct Row {
    /// The name in the matrix, with the parameters that it is played with all values of in braces;
    /// empty for a row that is not part of the matrix.
    id: String,
    act: Arc<Act>,
    environments: &'static [Environment],
    timers: &'static [usize],
    shapes: &'static [Shape],
    silences: &'static [Silence],
    ttls: &'static [Ttl],
    lates: &'static [Late],
    endings: &'static [Ending],
    /// Whether each silence has a shape of its own, for want of time for all combinations.
    zipped: bool,
    named: Option<Named>,
}

#[derive(Clone, Copy)]
struct Named {
    name: &'static str,
    about: &'static str,
    environment: Environment,
    further: bool,
    each_family: bool,
}

/// A row of the matrix.
pub(crate) fn row<E: Into<Vec<Expected>>>(
    id: impl Into<String>,
    act: impl Fn(&Context<'_>) -> Result<E> + Send + Sync + 'static,
) -> Row {
    Row {
        id: id.into(),
        act: Arc::new(move |context| act(context).map(Into::into)),
        environments: &[Environment::Usual],
        timers: &[0, 1, 2, 3],
        shapes: &Shape::ALL,
        silences: &Silence::ALL,
        ttls: &[Ttl::Own, Ttl::Copied],
        lates: &[Late("at_once", 0, 20)],
        endings: &Ending::ALL,
        zipped: false,
        named: None,
    }
}

/// A row that is run by name only.
pub(crate) fn named<E: Into<Vec<Expected>>>(
    name: &'static str,
    about: &'static str,
    act: impl Fn(&Context<'_>) -> Result<E> + Send + Sync + 'static,
) -> Row {
    row("", act).named(name, about)
}

/// One expectation is a list of one.
impl From<Expected> for Vec<Expected> {
    fn from(expected: Expected) -> Self {
        vec![expected]
    }
}

/// Methods that say which values a parameter takes.
macro_rules! values {
    ($($(#[$about:meta])* $name:ident: $kind:ty;)*) => {$(
        $(#[$about])*
        pub(crate) const fn $name(mut self, all: &'static [$kind]) -> Self {
            self.$name = all;
            self
        }
    )*};
}

impl Row {
    values! {
        /// Where it runs; the values of `{environment}`.
        environments: Environment;
        /// The values of `{timer}`.
        timers: usize;
        /// The values of `{shape}`; the first one if there is no such parameter.
        shapes: Shape;
        /// The values of `{silence}`.
        silences: Silence;
        /// The values of `{ttl}`.
        ttls: Ttl;
        /// The values of `{late}`.
        lates: Late;
        /// The values of `{ending}`.
        endings: Ending;
    }

    /// Each silence has a shape of its own.
    pub(crate) const fn zipped(mut self) -> Self {
        self.zipped = true;
        self
    }

    /// Can be run by this name.
    pub(crate) const fn named(mut self, name: &'static str, about: &'static str) -> Self {
        self.named = Some(Named {
            name,
            about,
            environment: Environment::Default,
            further: false,
            each_family: false,
        });
        self
    }

    /// By its name it is run over each kind of socket, as `name.ipv4`, `name.ipv6`, `name.mapped`.
    pub(crate) const fn in_each_family(mut self) -> Self {
        if let Some(named) = &mut self.named {
            named.each_family = true;
        }
        self
    }

    /// By its name it is one of the finer causes, which are run when asked for.
    pub(crate) const fn further(mut self) -> Self {
        if let Some(named) = &mut self.named {
            named.further = true;
        }
        self
    }

    /// By its name it is run there.
    pub(crate) const fn run_in(mut self, environment: Environment) -> Self {
        if let Some(named) = &mut self.named {
            named.environment = environment;
        }
        self
    }

    /// Its cases in the matrix.
    pub(super) fn cases(&self) -> Vec<Case> {
        if self.id.is_empty() {
            return Vec::new();
        }
        let in_families = |case: Case| {
            Family::ALL.map(|family| Case {
                id: format!("{}.{}", case.id, family.name()),
                family,
                ..case.clone()
            })
        };
        self.variants().into_iter().flat_map(in_families).collect()
    }

    /// What can be run by its name.
    pub(super) fn scenarios(&self) -> Vec<Scenario> {
        let (Some(named), Some(first)) = (self.named, self.variants().into_iter().next()) else {
            return Vec::new();
        };
        let families: &[_] = if named.each_family {
            &Family::ALL
        } else {
            &[Family::Mapped]
        };
        let scenario = |&family: &Family| {
            let case = Case {
                family,
                environment: named.environment,
                ..first.clone()
            };
            let name = if named.each_family {
                format!("{}.{}", named.name, family.name())
            } else {
                named.name.to_owned()
            };
            let scenario = Scenario::new(&name, named.about, move |session| session.play(&case));
            if named.further {
                scenario.further()
            } else {
                scenario
            }
        };
        families.iter().map(scenario).collect()
    }

    /// Every combination of values.
    fn variants(&self) -> Vec<Case> {
        let mut all = Variants(vec![Case {
            id: self.id.clone(),
            environment: Environment::Usual,
            family: Family::Mapped,
            with: Parameters {
                timer: 0,
                shape: Shape::Plain,
                silence: Silence::None,
                ttl: Ttl::Own,
                late: Late("", 0, 0),
                ending: Ending::Fin,
            },
            act: Arc::clone(&self.act),
        }]);
        let ttl_name = |ttl| if ttl == Ttl::Own { "own" } else { "copied" };
        let surround = |case: &mut Case, it| case.environment = it;
        all.cross(
            "{environment}",
            self.environments,
            Environment::name,
            surround,
        );
        let timer_name = |timer| TIMER_NAMES[timer];
        all.cross("{timer}", self.timers, timer_name, |case, it| {
            case.with.timer = it;
        });
        all.cross("{shape}", self.shapes, Shape::name, |case, it| {
            case.with.shape = it;
        });
        all.cross("{silence}", self.silences, Silence::name, |case, it| {
            case.with.silence = it;
            let number = self.silences.iter().position(|silence| *silence == it);
            if let Some(shape) = number.and_then(|number| self.shapes.get(number))
                && self.zipped
            {
                case.with.shape = *shape;
            }
        });
        all.cross("{ttl}", self.ttls, ttl_name, |case, it| case.with.ttl = it);
        all.cross(
            "{late}",
            self.lates,
            |late| late.0,
            |case, it| case.with.late = it,
        );
        all.cross("{ending}", self.endings, Ending::name, |case, it| {
            case.with.ending = it;
        });
        all.0
    }
}

/// The cases of a row, which are more and more.
struct Variants(Vec<Case>);

impl Variants {
    /// Each case with each of `values` if its name has `key`, with the first one if it has not.
    fn cross<T: Copy>(
        &mut self,
        key: &str,
        values: &[T],
        name: impl Fn(T) -> &'static str,
        set: impl Fn(&mut Case, T),
    ) {
        let mut crossed = Vec::new();
        for case in &self.0 {
            let count = if case.id.contains(key) {
                values.len()
            } else {
                1
            };
            for value in values.iter().take(count) {
                let mut case = case.clone();
                case.id = case.id.replace(key, name(*value));
                set(&mut case, *value);
                crossed.push(case);
            }
        }
        self.0 = crossed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_played_with_every_value_in_braces() {
        let act = |_: &Context<'_>| Ok(Expected::new(1));
        let row = row("cause.{shape}.{silence}", act)
            .shapes(&[Shape::Tls, Shape::Plain])
            .silences(&Silence::BUSY)
            .named("name", "about");
        let ids: Vec<_> = row.cases().into_iter().map(|case| case.id).collect();
        assert_eq!(ids.len(), 2 * 2 * 3);
        assert_eq!(ids[0], "cause.tls.0s.ipv4");
        assert_eq!(row.scenarios()[0].name(), "name");
    }
}
