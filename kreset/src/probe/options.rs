//! What `kreset-trace probe` is to do.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use thiserror::Error;

use super::{
    clients::{HostKeepalive, Settings, keeping},
    earlier::{self, Earlier, EarlierError},
    hold::Hold,
    measure::Plan,
    round::Trigger,
    settings::safe,
    target::{Target, TargetError},
};

/// More connections than this need to be asked for twice.
pub const MANY: usize = 64;

/// Connections that are kept alive, and that are not, to prove a setting.
const KEPT: usize = 4;
const SILENT: usize = 2;

/// What is to be measured or proven.
#[derive(Clone, Debug)]
pub struct Options {
    /// The broker as it is given; not with `from_event`.
    pub target: Option<String>,
    /// An event whose interval and advice are to be proven.
    pub from_event: Option<PathBuf>,
    /// Only this one of the broker's addresses.
    pub address: Option<IpAddr>,
    /// Connections at once, to each address.
    pub connections: usize,
    /// More than [`MANY`] are meant.
    pub yes_many: bool,
    /// The shortest silence.
    pub from: Duration,
    /// The longest.
    pub up_to: Duration,
    /// How exactly the timer is to be known, at most.
    pub precision: Duration,
    /// How long an answer may take.
    pub give_up: Duration,
    /// Connections opened in a second.
    pub rate: u32,
    /// How a connection is used.
    pub trigger: Trigger,
    /// Whether to look for the device's hop.
    pub locate: bool,
    /// Whether to look up the names of hops.
    pub names: bool,
    /// The broker's `connections.max.idle.ms`.
    pub broker_max_idle: Duration,
    /// A setting to prove.
    pub settings: Settings,
}

/// Why a probe is not started.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The broker.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The event.
    #[error(transparent)]
    Earlier(#[from] EarlierError),
    /// Neither.
    #[error("no broker given: expected kreset-trace probe HOST:PORT, or --from-event FILE")]
    NoTarget,
    /// Too many.
    #[error(
        "{count} connections at once are more than {MANY}: give fewer with --connections, or one \
         address with --address, or pass --yes-many"
    )]
    Many {
        /// How many.
        count: usize,
    },
    /// Too few.
    #[error("invalid --connections 0: expected 1 or more")]
    NoConnections,
    /// Too few for both.
    #[error("{given} connections are too few to measure and to prove: give {least} or more")]
    Few {
        /// How many.
        given: usize,
        /// How many it takes.
        least: usize,
    },
    /// The ladder goes down.
    #[error("invalid --up-to {up_to:?}: expected a time longer than --from {from:?}")]
    Ladder {
        /// The longest silence.
        up_to: Duration,
        /// The shortest.
        from: Duration,
    },
    /// The kernel counts whole seconds.
    #[error("invalid {option}: expected whole seconds, as the kernel's keepalive has them")]
    WholeSeconds {
        /// The option.
        option: &'static str,
    },
    /// Shorter silences are none.
    #[error("invalid --from {from:?}: expected 500ms or longer")]
    TooShort {
        /// What was given.
        from: Duration,
    },
}

/// What is done to one address.
#[derive(Clone, Debug)]
pub struct Task {
    /// The measurement.
    pub plan: Plan,
    /// Whether it is done.
    pub measure: bool,
    /// The proof.
    pub hold: Option<Hold>,
}

/// All that is done.
#[derive(Clone, Debug)]
pub struct Work {
    /// The broker as it is given.
    pub target: Target,
    /// Each address.
    pub tasks: Vec<Task>,
}

impl Options {
    /// Decides what to do, and looks the broker up.
    ///
    /// # Errors
    /// When that would be nothing sensible.
    pub fn work(&self, host: HostKeepalive) -> Result<Work, Refusal> {
        let earlier = match &self.from_event {
            Some(path) => Some(earlier::read(path)?),
            None => None,
        };
        let target = match (&self.target, &earlier) {
            (Some(target), _) => Target::parse(target)?,
            (None, Some(earlier)) => earlier.broker.clone(),
            (None, None) => return Err(Refusal::NoTarget),
        };
        self.check()?;
        let addresses = target.resolve(self.address)?;
        let count = self.connections * addresses.len();
        if count > MANY && !self.yes_many {
            return Err(Refusal::Many { count });
        }
        let tasks = addresses
            .into_iter()
            .map(|remote| self.task(remote, earlier.as_ref(), host))
            .collect::<Result<_, _>>()?;
        Ok(Work { target, tasks })
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.connections == 0 {
            return Err(Refusal::NoConnections);
        }
        if self.from < Duration::from_millis(500) {
            return Err(Refusal::TooShort { from: self.from });
        }
        if self.up_to <= self.from {
            return Err(Refusal::Ladder {
                up_to: self.up_to,
                from: self.from,
            });
        }
        for (option, value) in [
            ("--keepalive", self.settings.keepalive),
            ("--keepalive-interval", self.settings.interval),
        ] {
            if value.is_some_and(|it| it.subsec_nanos() != 0 || it.is_zero()) {
                return Err(Refusal::WholeSeconds { option });
            }
        }
        Ok(())
    }

    fn task(
        &self,
        remote: SocketAddr,
        earlier: Option<&Earlier>,
        host: HostKeepalive,
    ) -> Result<Task, Refusal> {
        let mut plan = Plan {
            remote,
            connections: self.connections,
            from: self.from,
            up_to: self.up_to,
            between: None,
            precision: self.precision,
            give_up: self.give_up,
            rate: self.rate,
            trigger: self.trigger,
            locate: self.locate,
            names: self.names,
            broker_max_idle: self.broker_max_idle,
        };
        if let Some(earlier) = earlier {
            let least = KEPT + SILENT + 4;
            if self.connections < least {
                return Err(Refusal::Few {
                    given: self.connections,
                    least,
                });
            }
            // Where no silence is known to survive, half of the fatal one is tried.
            let survived = earlier.survived.unwrap_or(earlier.died / 2);
            plan.between = Some((survived, earlier.died));
            plan.connections -= KEPT + SILENT;
            let advised = safe(earlier.survived, earlier.died);
            let settings = Settings {
                keepalive: self
                    .settings
                    .keepalive
                    .or(earlier.keepalive)
                    .or(Some(advised.keepalive)),
                interval: self.settings.interval,
                ..self.settings
            };
            let mut hold = Self::hold(&settings, host, earlier.died.mul_f64(1.25), KEPT, SILENT);
            // Advice names the interval where it must be shorter than the host's.
            if self.settings.interval.is_none()
                && let Some(times) = &mut hold.keeping.keepalive
            {
                times.interval = times.interval.min(times.time);
            }
            return Ok(Task {
                plan,
                measure: true,
                hold: Some(hold),
            });
        }
        let proves = self.settings != Settings::default();
        let silent = SILENT.min(self.connections / 2);
        let kept = KEPT.min(self.connections - silent);
        Ok(Task {
            measure: !proves,
            hold: proves.then(|| Self::hold(&self.settings, host, self.up_to, kept, silent)),
            plan,
        })
    }

    fn hold(
        settings: &Settings,
        host: HostKeepalive,
        span: Duration,
        kept: usize,
        silent: usize,
    ) -> Hold {
        Hold {
            like: settings.like,
            keeping: keeping(settings, host),
            by_host: settings.keepalive.is_none()
                && settings.interval.is_none()
                && settings.like != Some(super::clients::Like::Kafkajs),
            span,
            kept,
            silent,
        }
    }
}

#[cfg(test)]
impl Options {
    /// What the command line has where nothing else is given.
    pub(super) fn usual(target: &str) -> Self {
        Self {
            target: Some(target.to_owned()),
            from_event: None,
            address: None,
            connections: 24,
            yes_many: false,
            from: Duration::from_secs(10),
            up_to: Duration::from_mins(20),
            precision: Duration::from_secs(2),
            give_up: Duration::from_secs(15),
            rate: 10,
            trigger: Trigger::Keepalive,
            locate: true,
            names: false,
            broker_max_idle: Duration::from_mins(10),
            settings: Settings::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::probe::clients::Like;

    fn options() -> Options {
        Options::usual("127.0.0.1")
    }

    fn work(options: &Options) -> Result<Work, Refusal> {
        options.work(HostKeepalive::DEFAULT)
    }

    fn refused(options: &Options) -> String {
        work(options).unwrap_err().to_string()
    }

    #[test]
    fn by_default_it_measures() {
        let work = work(&options()).unwrap();
        let [task] = &*work.tasks else {
            panic!("{work:?}");
        };
        assert!(task.measure && task.hold.is_none());
        assert_eq!(task.plan.first_round().len(), 24);
    }

    #[test]
    fn a_setting_is_proven_beside_silent_connections() {
        let mut options = options();
        options.settings.keepalive = Some(Duration::from_secs(100));
        let task = work(&options).unwrap().tasks.remove(0);
        let hold = task.hold.unwrap();
        assert!(!task.measure && !hold.by_host);
        assert_eq!((hold.kept, hold.silent, hold.span), (4, 2, options.up_to));
        options.settings = Settings {
            like: Some(Like::Java),
            ..Settings::default()
        };
        assert!(work(&options).unwrap().tasks[0].hold.unwrap().by_host);
    }

    #[test]
    fn an_event_is_proven_with_its_advice() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(
            file,
            r#"{{"broker":{{"address":"127.0.0.1","port":9094}},"path":{{"survived_idle_ms":300000,
            "fatal_idle_ms":350000}},"advice":"set net.ipv4.tcp_keepalive_time=40"}}"#
        )
        .unwrap();
        let options = Options {
            target: None,
            from_event: Some(file.path().to_owned()),
            ..options()
        };
        let work = work(&options).unwrap();
        assert_eq!(work.target.to_string(), "127.0.0.1:9094");
        let task = &work.tasks[0];
        let hold = task.hold.unwrap();
        assert!(task.measure);
        assert_eq!(task.plan.connections + hold.kept + hold.silent, 24);
        let times = hold.keeping.keepalive.unwrap();
        assert_eq!((times.time.as_secs(), times.interval.as_secs()), (40, 40));
        let first = task.plan.first_round();
        assert!(first.len() <= task.plan.connections);
        assert_eq!(first[0], Duration::from_secs(294));
        assert_eq!(*first.last().unwrap(), Duration::from_secs(357));
    }

    #[test]
    fn what_is_refused() {
        let with = |change: &dyn Fn(&mut Options)| {
            let mut options = options();
            change(&mut options);
            refused(&options)
        };
        assert!(with(&|it| it.connections = 65).contains("--yes-many"));
        assert!(with(&|it| it.connections = 0).contains("1 or more"));
        assert!(with(&|it| it.up_to = it.from).contains("longer than --from"));
        assert!(with(&|it| it.from = Duration::from_millis(100)).contains("500ms"));
        assert!(with(&|it| it.target = None).contains("no broker"));
        let half = Some(Duration::from_millis(1_500));
        assert!(with(&|it| it.settings.keepalive = half).contains("whole seconds"));
        let many = Options {
            connections: 65,
            yes_many: true,
            ..options()
        };
        work(&many).unwrap();
    }
}
