//! One measurement: the ladder, the walk, and the rounds that narrow it down.

use std::{net::SocketAddr, time::Duration};

use tokio::task::JoinSet;

use super::{
    bracket::{Bracket, bracket, samples},
    connection::Connection,
    finding::{Behavior, Finding, Setup, Timer, conclude},
    hops, ladder,
    log::{Log, Opened},
    names,
    progress::Progress,
    round::{Common, Enough, Leftover, Start, Trigger},
    rounds,
    rung::{Outcome, Rung},
    sniff::{Sniffer, Ttls},
    stop::Stop,
    walk::{Answer, Location, Route, Steps, locate},
};
use crate::classify::devices;

/// Rounds at most; three are enough for any timer within the limit, unless
/// connections contradict each other.
const ROUNDS: u8 = 5;

/// Dead flows that are used to find the hop.
const WALKERS: usize = 8;

/// Connections that are tried at once where one has died, before that is believed.
const CONFIRM: usize = 4;

/// Connections that show a timer again that ends them by itself.
const AGAIN: usize = 6;

/// How often connections are opened to walk, where all that walked so far had
/// passed beside the device.
const WALKS: usize = 3;

/// A TTL that reaches any broker.
const ANY_WAY: u8 = 64;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The broker.
    pub remote: SocketAddr,
    /// Connections at once.
    pub connections: usize,
    /// The shortest silence.
    pub from: Duration,
    /// The longest.
    pub up_to: Duration,
    /// A silence that is said to survive and one that is said to be fatal, where
    /// an event has named them: the first round looks there.
    pub between: Option<(Duration, Duration)>,
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
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Every connection that was used or ended.
    pub rungs: Vec<Rung>,
    /// Every connection that was opened, those that only looked for hops among them.
    pub opened: Vec<Opened>,
    /// What they say.
    pub finding: Finding,
    /// The route to the broker, if it was walked.
    pub route: Option<Route>,
    /// Where on it the device is.
    pub location: Option<Location>,
    /// TTLs of the resets and of the broker, where they could be seen.
    pub ttls: Ttls,
    /// It went to its end.
    pub complete: bool,
}

impl Plan {
    pub(super) fn common(&self) -> Common {
        Common {
            remote: self.remote,
            trigger: self.trigger,
            give_up: self.give_up,
            pace: Duration::from_secs(1) / self.rate.max(1),
            log: Log::default(),
        }
    }

    /// The silences of the first round.
    #[must_use]
    pub fn first_round(&self) -> Vec<Duration> {
        match self.between {
            None => ladder::silences(self.from, self.up_to, self.connections, &timers()),
            Some((survived, died)) => {
                let known = Bracket {
                    // Both ends are tried again: that is what is to be proven.
                    survived: Some(survived.mul_f64(0.98)),
                    died: Some(died.mul_f64(1.02)),
                    ..Bracket::default()
                };
                let mut silences = rounds::next(
                    &known,
                    self.precision,
                    self.connections.saturating_sub(1),
                    1,
                )
                .unwrap_or_else(|| vec![died.mul_f64(1.02)]);
                silences.insert(0, survived.mul_f64(0.98));
                silences
            }
        }
    }

    const fn setup(&self) -> Setup {
        Setup {
            up_to: match self.between {
                None => self.up_to,
                Some((_, died)) => died,
            },
            precision: self.precision,
            broker_max_idle: self.broker_max_idle,
        }
    }
}

/// Timers of known devices and of brokers: those that most share come first.
fn timers() -> Vec<Duration> {
    const BROKER_AND_PROXIES: [u32; 2] = [600, 600];
    let mut shared: Vec<(usize, u32)> = Vec::new();
    let known = devices::all().iter().map(|device| device.idle_s);
    for seconds in known.chain(BROKER_AND_PROXIES) {
        match shared.iter_mut().find(|(_, timer)| *timer == seconds) {
            Some((count, _)) => *count += 1,
            None => shared.push((1, seconds)),
        }
    }
    shared.sort_by_key(|(count, seconds)| (std::cmp::Reverse(*count), *seconds));
    shared
        .into_iter()
        .map(|(_, seconds)| Duration::from_secs(seconds.into()))
        .collect()
}

/// Measures as planned.
///
/// Needs a `LocalSet` around it.
pub async fn measure(plan: &Plan, progress: &dyn Progress, stop: &Stop) -> Measured {
    let mut run = Run {
        plan,
        common: plan.common(),
        progress,
        stop,
        rungs: Vec::new(),
        not_opened: Vec::new(),
        walkers: Vec::new(),
        route: None,
        flows: Vec::new(),
        sniffer: plan.locate.then(|| Sniffer::start(plan.remote)).flatten(),
    };
    run.first().await;
    run.further().await;
    run.locate().await;
    run.locate_anew().await;
    run.end()
}

struct Run<'a> {
    plan: &'a Plan,
    common: Common,
    progress: &'a dyn Progress,
    stop: &'a Stop,
    rungs: Vec<Rung>,
    not_opened: Vec<String>,
    /// Flows past the timer that nothing has used.
    walkers: Vec<Connection>,
    route: Option<Route>,
    flows: Vec<Steps>,
    sniffer: Option<Sniffer>,
}

impl Run<'_> {
    async fn round(
        &mut self,
        number: u8,
        starts: Vec<Start>,
        enough: impl Fn(&[Rung], usize) -> Enough,
    ) -> Vec<Start> {
        let Leftover { idle, not_opened } = self
            .common
            .round(
                number,
                starts,
                &mut self.rungs,
                enough,
                self.progress,
                self.stop,
            )
            .await;
        self.not_opened.extend(not_opened);
        idle
    }

    fn bracket(&self) -> Bracket {
        bracket(&samples(&self.rungs))
    }

    fn timer(&self) -> Option<Timer> {
        match conclude(&self.rungs, &self.plan.setup()) {
            Finding::Timer(timer) => Some(timer),
            Finding::None { .. } | Finding::Unmeasured { .. } => None,
        }
    }

    /// The ladder, until a rung died and others confirm it.
    async fn first(&mut self) {
        let silences = self.plan.first_round();
        let longest = silences.last().copied().unwrap_or_default();
        let opening = self.common.pace * u32::try_from(silences.len()).unwrap_or(u32::MAX);
        self.progress.stage(
            &format!("round 1: {} connections stay silent", silences.len()),
            longest + opening + self.plan.give_up,
        );
        let mut starts: Vec<Start> = silences.into_iter().map(Start::fresh).collect();
        // The longest silence is opened first, so that all reach a silence together.
        starts.reverse();
        let mut seen = 0;
        while !starts.is_empty() {
            let idle = self
                .round(1, starts, |rungs, pending| {
                    ladder_is_over(&rungs[seen.min(rungs.len())..], pending, opening)
                })
                .await;
            seen = self.rungs.len();
            starts = self.confirm(idle).await;
        }
    }

    /// Uses some of the connections that are still silent: their silence is that of
    /// the one that died. Returns those that are to go on because nothing confirmed
    /// it.
    async fn confirm(&mut self, mut idle: Vec<Start>) -> Vec<Start> {
        idle.retain(|start| start.connection.is_some());
        if self.stop.is_requested() || idle.is_empty() {
            self.close(idle);
            return Vec::new();
        }
        let silence = |start: &Start| {
            start
                .connection
                .as_ref()
                .map(|connection| connection.silence().least)
        };
        idle.sort_by_key(silence);
        let dead = self
            .rungs
            .iter()
            .filter(|rung| matches!(rung.outcome, Outcome::ResetOnUse | Outcome::Dropped));
        // Those that drop take their time to show.
        if dead.count() > 2 {
            self.keep_walkers(idle);
            return Vec::new();
        }
        let before = self.rungs.len();
        let asked = idle
            .split_off(idle.len().saturating_sub(CONFIRM))
            .into_iter()
            .map(|start| Start {
                silence: silence(&start).unwrap_or_default(),
                ..start
            })
            .collect();
        let none = self.round(1, asked, |_, _| Enough::No).await;
        self.close(none);
        let confirmed = self.rungs[before..]
            .iter()
            .any(|rung| rung.outcome.died() == Some(true));
        if !confirmed && !idle.is_empty() && !self.ended_by_itself() {
            return idle;
        }
        self.keep_walkers(idle);
        Vec::new()
    }

    fn ended_by_itself(&self) -> bool {
        self.timer()
            .is_some_and(|timer| timer.behavior.is_on_timer())
    }

    /// Keeps what can walk, the longest silent, and closes the rest in order.
    fn keep_walkers(&mut self, idle: Vec<Start>) {
        let (died, can_walk) = (self.bracket().died, self.can_locate());
        let mut connections: Vec<Connection> = idle
            .into_iter()
            .filter_map(|start| start.connection)
            .collect();
        connections.sort_by_key(|connection| connection.silence().least);
        while let Some(connection) = connections.pop() {
            let past = died.is_some_and(|died| connection.silence().least >= died);
            if can_walk && past && self.walkers.len() < WALKERS {
                self.walkers.push(connection);
            } else {
                connection.close(self.plan.remote);
            }
        }
    }

    fn close(&self, idle: Vec<Start>) {
        for connection in idle.into_iter().filter_map(|start| start.connection) {
            connection.close(self.plan.remote);
        }
    }

    /// The rounds that narrow it down, or that show it again.
    async fn further(&mut self) {
        for number in 2..=ROUNDS {
            if self.stop.is_requested() {
                return;
            }
            // While the next round is silent there is time for the walk.
            self.locate().await;
            let Some(silences) = self.silences_of(number) else {
                return;
            };
            let longest = silences.last().copied().unwrap_or_default();
            self.progress.stage(
                &format!(
                    "round {number}: {} connections stay silent for {} to {}",
                    silences.len(),
                    seconds(silences.first().copied().unwrap_or_default()),
                    seconds(longest),
                ),
                longest + self.plan.give_up,
            );
            let starts = silences.into_iter().map(Start::fresh).rev().collect();
            // The silences differ by little: all of them are waited for.
            let idle = self.round(number, starts, |_, _| Enough::No).await;
            self.keep_walkers(idle);
        }
    }

    /// The silences of a round that narrows it down, if one is needed.
    fn silences_of(&self, round: u8) -> Option<Vec<Duration>> {
        let is_first = round == 2;
        let ended = self.timer().filter(|timer| timer.behavior.is_on_timer());
        if let Some(timer) = ended {
            let silence = timer.died.mul_f64(1.05) + Duration::from_millis(1_500);
            return is_first.then(|| vec![silence; AGAIN.min(self.plan.connections)]);
        }
        let (precision, connections) = (self.plan.precision, self.plan.connections);
        rounds::further(&self.bracket(), precision, connections, is_first)
    }

    /// Whether there is a device that can be walked to.
    fn can_locate(&self) -> bool {
        let behavior = self.timer().map(|timer| timer.behavior);
        self.plan.locate && matches!(behavior, Some(Behavior::ResetOnSend | Behavior::Dropped))
    }

    /// Whether flows that the device had forgotten have walked.
    fn is_located(&self) -> bool {
        let is_dead = |steps: &Steps| !steps.is_empty() && !steps.contains(&Answer::Alive);
        self.flows.iter().any(is_dead)
    }

    /// Walks to the device, with what flows are past its timer; once.
    async fn locate(&mut self) {
        if !self.can_locate() || !self.flows.is_empty() || self.stop.is_requested() {
            return;
        }
        if self.walkers.is_empty() {
            return;
        }
        self.walk().await;
    }

    /// Walks with connections opened for that, where no other was left or all had
    /// passed beside the device.
    async fn locate_anew(&mut self) {
        for _ in 0..WALKS {
            let Some(timer) = self.timer() else {
                return;
            };
            if !self.can_locate() || self.is_located() || self.stop.is_requested() {
                return;
            }
            self.open_walkers(&timer).await;
            if self.stop.is_requested() {
                return;
            }
            self.walk().await;
            if !self
                .flows
                .iter()
                .any(|steps| steps.contains(&Answer::Alive))
            {
                return;
            }
        }
    }

    /// Opens connections to walk with, and waits until they are past the timer.
    async fn open_walkers(&mut self, timer: &Timer) {
        let silence = timer.died.mul_f64(1.02) + Duration::from_millis(100);
        let count = WALKERS.min(self.plan.connections);
        self.progress.stage(
            &format!("{count} connections stay silent for {}", seconds(silence)),
            silence,
        );
        for _ in 0..count {
            self.walkers.extend(self.common.open().await);
        }
        tokio::select! {
            () = self.stop.requested() => {}
            () = tokio::time::sleep(silence) => {}
        }
    }

    async fn walk(&mut self) {
        let spare = self.plan.connections.saturating_sub(self.walkers.len());
        self.progress
            .stage("tracing the path to the broker", Duration::from_secs(5));
        let mut route = hops::discover(self.plan.remote, spare, &self.common.log).await;
        if self.plan.names {
            self.name(&mut route).await;
        }
        self.progress
            .stage("looking for the device's hop", Duration::from_secs(15));
        let connections = std::mem::take(&mut self.walkers);
        let drops = self
            .timer()
            .is_some_and(|timer| timer.behavior == Behavior::Dropped);
        self.flows = if drops {
            walk_near(connections, self.plan.remote, &route).await
        } else {
            walk_all(connections, self.plan.remote, &route).await
        };
        self.route = Some(route);
    }

    /// Looks the names of the hops up, side by side, for as long as a resolver may
    /// take.
    async fn name(&self, route: &mut Route) {
        const PATIENCE: Duration = Duration::from_secs(10);
        let lookups: Vec<_> = route
            .hops
            .iter()
            .map(|hop| {
                let address = hop.addresses.first().copied();
                tokio::task::spawn_blocking(move || address.and_then(names::of))
            })
            .collect();
        let until = tokio::time::Instant::now() + PATIENCE;
        for (hop, lookup) in route.hops.iter_mut().zip(lookups) {
            if let Ok(Ok(name)) = tokio::time::timeout_at(until, lookup).await {
                hop.name = name;
            }
        }
    }

    fn end(mut self) -> Measured {
        for connection in self.walkers.drain(..) {
            connection.close(self.plan.remote);
        }
        let complete = !self.stop.is_requested();
        let finding = match conclude(&self.rungs, &self.plan.setup()) {
            Finding::Unmeasured { .. } if !complete => Finding::Unmeasured {
                reason: "stopped before anything was found".to_owned(),
            },
            Finding::Unmeasured { reason } => Finding::Unmeasured {
                reason: match self.not_opened.first() {
                    Some(error) if self.rungs.is_empty() => {
                        format!("cannot connect to {}: {error}", self.plan.remote)
                    }
                    Some(error) => format!(
                        "{reason}; {} connections could not be opened: {error}",
                        self.not_opened.len()
                    ),
                    None => reason,
                },
            },
            found => found,
        };
        let location = self
            .route
            .as_ref()
            .and_then(|route| locate(&self.flows, route));
        let was_reset = |port: u16| {
            self.rungs.iter().any(|rung| {
                rung.local_port == port
                    && matches!(rung.outcome, Outcome::ResetOnUse | Outcome::ResetByItself)
            })
        };
        let ttls = self
            .sniffer
            .as_ref()
            .map(|sniffer| sniffer.ttls(was_reset))
            .unwrap_or_default();
        Measured {
            ttls,
            opened: self.common.log.all(),
            rungs: self.rungs,
            finding,
            route: self.route,
            location,
            complete,
        }
    }
}

/// Whether the ladder need not be climbed further.
fn ladder_is_over(rungs: &[Rung], pending: usize, opening: Duration) -> Enough {
    let used = |outcome| matches!(outcome, Outcome::ResetOnUse | Outcome::Dropped);
    if rungs.iter().any(|rung| used(rung.outcome)) {
        return Enough::Now;
    }
    let ended = rungs.iter().filter(|rung| rung.outcome.by_itself());
    let (count, first) = ended.fold((0, Duration::MAX), |(count, first), rung| {
        (count + 1, first.min(rung.silent.most))
    });
    // The others must follow when they have been silent as long; one that ended for
    // another reason ends alone.
    if count >= 2 && count * 2 >= pending {
        return Enough::After(opening + first.mul_f64(0.03).max(Duration::from_secs(1)));
    }
    Enough::No
}

/// Has each dead flow walk to a device that resets.
async fn walk_all(connections: Vec<Connection>, remote: SocketAddr, route: &Route) -> Vec<Steps> {
    let farthest = route.broker.unwrap_or(hops::FARTHEST);
    let mut walks = JoinSet::new();
    for connection in connections {
        walks.spawn_local(walk(connection, remote, farthest));
    }
    walks.join_all().await
}

/// Has dead flows send bytes that go only so many hops, to find where a device
/// drops them: each flow a part of the route. Nothing can be said, and nothing is
/// sent, where it is not known how many hops would reach the broker.
///
/// A flow that lives has passed beside the device: routers answer it on the whole route.
async fn walk_near(connections: Vec<Connection>, remote: SocketAddr, route: &Route) -> Vec<Steps> {
    let Some(broker) = route.broker else {
        for connection in connections {
            connection.close(remote);
        }
        return Vec::new();
    };
    let dead = dead_ones(connections, remote).await;
    if dead.is_empty() {
        return vec![vec![Answer::Alive]];
    }
    let stride = dead.len();
    let mut walks = JoinSet::new();
    for (number, connection) in dead.into_iter().enumerate() {
        walks.spawn_local(async move {
            // The kernel repeats a byte after twice as long each time.
            let mut patience = Duration::from_millis(900) + connection.round_trip() * 3;
            let mut answers = Vec::new();
            for ttl in (1..broker).skip(number).step_by(stride) {
                if let Ok(answer) = connection.send_near(remote, ttl, patience).await {
                    answers.push((ttl, answer));
                }
                patience = (patience * 2).min(Duration::from_secs(8));
            }
            connection.abandon(remote);
            answers
        });
    }
    let mut answers: Vec<_> = walks.join_all().await.into_iter().flatten().collect();
    answers.sort_unstable_by_key(|(ttl, _)| *ttl);
    vec![answers.into_iter().map(|(_, answer)| answer).collect()]
}

/// Those of `connections` that the broker does not answer; the others are closed.
async fn dead_ones(connections: Vec<Connection>, remote: SocketAddr) -> Vec<Connection> {
    let mut questions = JoinSet::new();
    for connection in connections {
        questions.spawn_local(async move {
            let answer = connection
                .step(remote, ANY_WAY, patience(&connection))
                .await;
            if matches!(answer, Ok(Answer::Nothing)) {
                Some(connection)
            } else {
                connection.close(remote);
                None
            }
        });
    }
    questions.join_all().await.into_iter().flatten().collect()
}

/// How long to wait for what a packet of a flow may draw.
fn patience(connection: &Connection) -> Duration {
    (connection.round_trip() * 3).max(Duration::from_millis(100))
}

/// Has one dead flow walk to a device that resets.
async fn walk(connection: Connection, remote: SocketAddr, farthest: u8) -> Steps {
    let patience = patience(&connection);
    let mut steps = Steps::new();
    for ttl in 1..=farthest {
        let Ok(answer) = connection.step(remote, ttl, patience).await else {
            break;
        };
        steps.push(answer);
        if matches!(answer, Answer::Reset | Answer::Alive) {
            break;
        }
    }
    connection.close(remote);
    steps
}

/// A silence for people.
pub(super) fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{seconds:.0} s")
    }
}
