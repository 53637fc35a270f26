//! What all connections together say.

use std::time::Duration;

use smol_str::SmolStr;

use super::{
    bracket::{Sample, bracket, samples},
    rounds::precision,
    rung::{Outcome, Rung},
};
use crate::classify::{class::Class, context::PathView, devices};

/// What happens to a connection that was silent for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Behavior {
    /// The next packet draws a RST.
    ResetOnSend,
    /// A RST comes at the timer.
    ResetOnTimer,
    /// Packets vanish.
    Dropped,
    /// A FIN comes at the timer.
    Closed,
}

impl Behavior {
    const fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::ResetOnUse => Some(Self::ResetOnSend),
            Outcome::ResetByItself => Some(Self::ResetOnTimer),
            Outcome::Dropped => Some(Self::Dropped),
            Outcome::Closed => Some(Self::Closed),
            Outcome::Alive | Outcome::PathDead => None,
        }
    }

    /// Whether it acts at the timer itself, and each connection shows the timer.
    #[must_use]
    pub const fn is_on_timer(self) -> bool {
        matches!(self, Self::ResetOnTimer | Self::Closed)
    }
}

/// Something that ends silent connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// What it does.
    pub behavior: Behavior,
    /// The longest silence known to be shorter than the timer.
    pub survived: Option<Duration>,
    /// The shortest silence known to be fatal.
    pub died: Duration,
    /// Only some of the connections pass it: how many died and how many lived of
    /// clearly longer silences.
    pub partial: Option<(usize, usize)>,
    /// Devices, or proxies, that do this after that time.
    pub devices: Vec<SmolStr>,
    /// It fits the broker's own `connections.max.idle.ms`.
    pub is_broker: bool,
}

/// What all connections together say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Something ends silent connections.
    Timer(Timer),
    /// Connections came through every silence up to this one.
    None {
        /// The longest.
        longest: Duration,
    },
    /// It could not be measured.
    Unmeasured {
        /// Why.
        reason: String,
    },
}

/// How the measuring was set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The longest silence that was asked for.
    pub up_to: Duration,
    /// How exactly the timer is to be known, at most.
    pub precision: Duration,
    /// The broker's `connections.max.idle.ms`.
    pub broker_max_idle: Duration,
}

/// Proxies that close idle connections by FIN, with their timers in seconds, from
/// their documentation and default configurations.
const PROXIES: [(&str, u64); 4] = [
    ("HAProxy (50 s in Debian's configuration)", 50),
    ("OpenShift router (HAProxy, 30 s)", 30),
    ("nginx stream", 600),
    ("Envoy or Istio TCP proxy, OpenShift router (tunnel)", 3_600),
];

/// A broker closes idle connections one in each turn of a network thread, up to
/// 300 ms apart.
const BROKER_LATE: Duration = Duration::from_secs(3);

/// Draws the conclusion.
#[must_use]
pub fn conclude(rungs: &[Rung], setup: &Setup) -> Finding {
    let samples = samples(rungs);
    let found = bracket(&samples);
    let Some(died) = found.died else {
        return nothing_died(rungs, &samples, setup);
    };
    let Some(behavior) = behavior(rungs, died) else {
        return nothing_died(rungs, &samples, setup);
    };
    let (survived, died) = if behavior.is_on_timer() {
        match on_timer(rungs, behavior, setup.precision) {
            Ok(both) => both,
            Err(reason) => return Finding::Unmeasured { reason },
        }
    } else {
        (found.survived, died)
    };
    let is_broker = behavior == Behavior::Closed && {
        let limit = setup.broker_max_idle;
        let slack = limit.mul_f64(0.01) + Duration::from_millis(200);
        died + slack >= limit && died <= limit + slack + BROKER_LATE
    };
    Finding::Timer(Timer {
        behavior,
        survived,
        died,
        partial: found
            .is_partial()
            .then_some((found.deaths, found.survivors)),
        devices: candidates(behavior, survived, died),
        is_broker,
    })
}

/// Why nothing can be said, or that nothing is there.
fn nothing_died(rungs: &[Rung], samples: &[Sample], setup: &Setup) -> Finding {
    let unmeasured = |reason: String| Finding::Unmeasured { reason };
    let dead = rungs.iter().filter(|it| it.outcome == Outcome::PathDead);
    if dead.count() * 2 > rungs.len() {
        return unmeasured(
            "the broker can no longer be reached, by new connections neither".into(),
        );
    }
    let Some(longest) = samples
        .iter()
        .filter(|it| !it.died)
        .map(|it| it.least)
        .max()
    else {
        return unmeasured("no connection lived to say anything".into());
    };
    // The top of the ladder lies a little above the limit.
    if longest < setup.up_to.mul_f64(0.98) {
        return unmeasured(if rungs.iter().any(|rung| rung.disturbed) {
            format!(
                "packets came in during the silences (the broker's host sends keepalives?), so \
                 that none was longer than {:.0} s",
                longest.as_secs_f64()
            )
        } else {
            format!(
                "no connection was silent for longer than {:.0} s",
                longest.as_secs_f64()
            )
        });
    }
    Finding::None { longest }
}

/// What most of the connections that died of the timer met.
fn behavior(rungs: &[Rung], died: Duration) -> Option<Behavior> {
    let beyond = rungs.iter().filter(|rung| rung.silent.most >= died);
    let met: Vec<_> = beyond
        .filter_map(|rung| Behavior::of(rung.outcome))
        .collect();
    let votes = |it: &Behavior| met.iter().filter(|other| *other == it).count();
    met.iter().copied().max_by_key(votes)
}

/// The timer, from connections that ended by themselves. It must come again in a
/// second round: a restart ends all connections at once, too.
fn on_timer(
    rungs: &[Rung],
    behavior: Behavior,
    asked: Duration,
) -> Result<(Option<Duration>, Duration), String> {
    let first_of = |round: u8| {
        rungs
            .iter()
            .filter(|rung| rung.round == round && Behavior::of(rung.outcome) == Some(behavior))
            .map(|rung| rung.silent.most)
            .min()
    };
    let rounds: Vec<Option<Duration>> = (1..=u8::MAX)
        .take_while(|round| rungs.iter().any(|rung| rung.round == *round))
        .map(first_of)
        .collect();
    let firsts: Vec<Duration> = rounds.iter().copied().flatten().collect();
    let (Some(least), Some(most)) = (firsts.iter().min(), firsts.iter().max()) else {
        return Err("no connection ended by itself".to_owned());
    };
    let slack = least.mul_f64(0.03) + Duration::from_millis(1_500);
    if rounds.len() > 1 && (firsts.len() < rounds.len() || *most > *least + slack) {
        return Err(format!(
            "all connections were ended at once after {:.1} s, and in another round they were \
             not: that was no idle timer (look for a restart or a failover)",
            least.as_secs_f64()
        ));
    }
    let survived = least.saturating_sub(precision(asked, *least));
    Ok((Some(survived), *least))
}

fn candidates(behavior: Behavior, survived: Option<Duration>, died: Duration) -> Vec<SmolStr> {
    let class = match behavior {
        Behavior::ResetOnSend => Class::IdleOnSend,
        Behavior::ResetOnTimer => Class::IdleOnTimer,
        Behavior::Dropped => Class::Blackholed,
        Behavior::Closed => {
            let fits = |seconds: u64| {
                let timer = Duration::from_secs(seconds);
                timer.abs_diff(died) <= timer.mul_f64(0.02) + Duration::from_secs(1)
            };
            return PROXIES
                .iter()
                .filter(|(_, seconds)| fits(*seconds))
                .map(|(name, _)| SmolStr::new_static(name))
                .collect();
        }
    };
    let path = PathView {
        survived_ms: survived.map(|it| it.as_secs_f64() * 1e3),
        fatal_ms: Some(died.as_secs_f64() * 1e3),
        ..PathView::default()
    };
    devices::candidates(class, &path)
        .iter()
        .map(|device| device.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::rung::Silence, *};

    const SETUP: Setup = Setup {
        up_to: Duration::from_mins(20),
        precision: Duration::from_secs(2),
        broker_max_idle: Duration::from_mins(10),
    };

    fn rung(round: u8, seconds: f64, outcome: Outcome) -> Rung {
        let silence = Duration::from_secs_f64(seconds);
        Rung {
            round,
            local_port: 40_000,
            planned: silence,
            silent: Silence {
                least: silence,
                most: silence,
            },
            outcome,
            answered: None,
            disturbed: false,
        }
    }

    fn timer(rungs: &[Rung]) -> Timer {
        match conclude(rungs, &SETUP) {
            Finding::Timer(timer) => timer,
            other => panic!("{other:?}"),
        }
    }

    fn reason(rungs: &[Rung]) -> String {
        match conclude(rungs, &SETUP) {
            Finding::Unmeasured { reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_load_balancer_is_found_by_timer_and_behavior() {
        let timer = timer(&[
            rung(1, 344.75, Outcome::Alive),
            rung(1, 355.25, Outcome::ResetOnUse),
            rung(2, 349.5, Outcome::Alive),
            rung(2, 350.5, Outcome::ResetOnUse),
        ]);
        assert_eq!(timer.behavior, Behavior::ResetOnSend);
        assert_eq!(timer.survived, Some(Duration::from_millis(349_500)));
        assert_eq!(timer.died, Duration::from_millis(350_500));
        assert!(timer.devices.contains(&"AWS NAT Gateway".into()));
        assert_eq!(timer.partial, None);
    }

    #[test]
    fn a_broker_that_closes_first_is_told_from_a_proxy() {
        let closed = |seconds: f64| {
            timer(&[
                rung(1, seconds - 100.0, Outcome::Alive),
                rung(1, seconds, Outcome::Closed),
                rung(2, seconds + 0.4, Outcome::Closed),
            ])
        };
        let broker = closed(600.02);
        assert!(broker.is_broker && broker.behavior == Behavior::Closed);
        assert_eq!(broker.survived, Some(Duration::from_millis(598_020)));
        let proxy = closed(150.0);
        assert!(!proxy.is_broker && proxy.devices.is_empty());
    }

    #[test]
    fn what_does_not_come_again_is_no_timer() {
        let restart = [
            rung(1, 100.0, Outcome::Closed),
            rung(1, 100.1, Outcome::Closed),
            rung(2, 107.0, Outcome::Alive),
        ];
        assert!(reason(&restart).contains("no idle timer"));
        let twice = [
            rung(1, 100.0, Outcome::ResetByItself),
            rung(2, 30.0, Outcome::ResetByItself),
        ];
        assert!(reason(&twice).contains("no idle timer"));
    }

    #[test]
    fn nothing_found_needs_the_whole_ladder() {
        let whole = [
            rung(1, 600.0, Outcome::Alive),
            rung(1, 1218.0, Outcome::Alive),
        ];
        assert_eq!(
            conclude(&whole, &SETUP),
            Finding::None {
                longest: Duration::from_secs(1218)
            }
        );
        assert!(reason(&whole[..1]).contains("600 s"));
        let kept = Rung {
            disturbed: true,
            ..rung(1, 60.0, Outcome::Alive)
        };
        assert!(reason(&[kept]).contains("keepalives"));
        assert!(reason(&[rung(1, 60.0, Outcome::PathDead)]).contains("reached"));
    }
}
