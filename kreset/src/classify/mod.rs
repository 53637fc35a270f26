//! Judges events. Pure: the same code judges live events, recorded ones and
//! tests, and never learns where a record came from.

mod advice;
pub mod case;
pub mod class;
pub mod context;
pub mod devices;
pub mod evidence;
pub mod finding;
pub mod incident;
mod load;
pub mod pattern;
pub mod phase;
mod process_end;
mod sender;
mod software;
pub mod weights;

pub use case::{Case, Config};
use std::num::NonZeroUsize;

use class::{Belief, Class, Conclusion, round};
use context::{Context, Memory, OtherEnd, PathView};
use evidence::{Observation, RULES};
use lru::LruCache;
use pattern::{Pattern, Patterns, Sighting, Turn};
use phase::Phase;
use smol_str::SmolStr;

use crate::{
    event::{Candidates, Cause, Direction, ProcessEnd, Proof, ProvokedBy, Role, SentBy, Verdict},
    facts::{
        Facts, Kind, State, Tuple,
        process::{Memory as MemoryOfProcess, ProcessFacts, ProcessId},
    },
};

/// What an event comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Who ended the connection.
    pub verdict: Verdict,
    /// Why; `None` where the evidence is below the bar.
    pub cause: Option<Cause>,
    /// Chance that both are right, 0..1; below the bar, of the likeliest.
    pub confidence: f64,
    /// What was observed.
    pub evidence: Vec<Observation>,
    /// Verdicts with their shares; the last is what is kept for causes that no
    /// class stands for.
    pub candidates: Candidates,
    /// That last share.
    pub unknown: f64,
    /// One sentence.
    pub advice: SmolStr,
    /// How events of this path and cause come; `None` where nothing was decided.
    pub pattern: Option<Pattern>,
    /// Which way the RST (or the first FIN) went.
    pub direction: Direction,
    /// Whose packet it was; `None` where nothing was sent.
    pub sent_by: Option<SentBy>,
    /// How the broker's process on this host ended, where that is known.
    pub process_end: Option<ProcessEnd>,
}

/// Judges events in the light of those before.
#[derive(Debug)]
pub struct Classifier {
    config: Config,
    memory: Memory,
    /// Connections whose end was reported, so that it is not reported again.
    reported: LruCache<Tuple, Reported>,
    /// The same of connections that this host does not have. Anybody can cause these, so they
    /// push out nothing else.
    answered: LruCache<Tuple, Reported>,
    /// Recent entries of `reported` evicted because it was full.
    evicted: u64,
    patterns: Patterns,
    turns: Vec<Turn>,
}

/// An end that was reported, or will be.
#[derive(Clone, Copy, Debug)]
struct Reported {
    /// When it was; monotonic ns.
    at_ns: u64,
    /// It was reported as a close: whatever the client writes later draws a RST.
    closed: bool,
}

impl Reported {
    /// Whether packets of it may still come.
    const fn is_recent(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.at_ns) < REPORTED_NS
    }
}

/// Endings remembered.
const REPORTED: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// How long: retransmissions go on for minutes, and a port is not soon used
/// again by chance.
const REPORTED_NS: u64 = 120_000_000_000;

impl Classifier {
    /// A classifier that knows nothing but the operator's settings.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            memory: Memory::default(),
            reported: LruCache::new(REPORTED),
            answered: LruCache::new(REPORTED),
            evicted: 0,
            patterns: Patterns::default(),
            turns: Vec::new(),
        }
    }

    /// Takes an event in, whether or not it is to be judged. To be called in
    /// the order of the events.
    pub fn observe(&mut self, facts: &Facts) {
        let ends = matches!(
            facts.kind,
            Kind::ResetSent | Kind::ResetReceived | Kind::Timeout
        );
        if ends && facts.id.is_some() && may_be_event(facts) {
            // It will be reported, and covers what was answered before as well.
            self.mark_reported(facts);
        }
        let context = Context::default();
        let case = Case::new(facts, &context, &self.config);
        let closed_in_handshake = if facts.kind == Kind::Fin && case.phase.is_handshake() {
            let judgement = judge(&case);
            // The reserve is taken again when the late packet is judged.
            let share = judgement.confidence / (1.0 - judgement.unknown);
            class_of(&judgement).map(|class| (class, share.min(1.0)))
        } else {
            None
        };
        self.memory.observe(&case, closed_in_handshake);
    }

    /// Takes in what happened to a process that owns a listener. To be called in the order of
    /// the events.
    pub fn observe_process(&mut self, facts: &ProcessFacts) {
        self.memory.observe_process(facts);
    }

    /// Takes in what this host shows of a process's memory.
    pub fn observe_memory(&mut self, process: ProcessId, memory: &MemoryOfProcess) {
        self.memory.observe_memory(process, memory);
    }

    /// Judges an event that was observed, and learns from the judgement. `None`
    /// for what turns out to be no event: the orderly end of a connection, or a
    /// FIN that was reported already.
    pub fn judge(&mut self, facts: &Facts) -> Option<(Judgement, Context)> {
        if self.is_reported(facts) || !may_be_event(facts) {
            return None;
        }
        let (mut judgement, mut context) = self.judge_again(facts);
        if matches!(facts.kind, Kind::Fin | Kind::Closed) {
            if !self.is_worth_an_event(facts, &context, &judgement) {
                return None;
            }
            self.mark_reported(facts);
        }
        if facts.is_answer() {
            self.mark_reported(facts);
        }
        if let Some(other) = facts.other_end.as_deref() {
            self.mark_reported(other);
        }
        if let Some(on_timer) = fatal_silence(&judgement) {
            self.memory.died(facts, on_timer);
            context.path = self.memory.path(&facts.path());
        } else if may_be_fatal(facts, &judgement) {
            self.memory.suspect(facts);
        }
        if is_failover(facts, &context, &judgement) {
            self.memory.failed_over(facts);
        }
        self.see_pattern(facts, &mut judgement);
        Some((judgement, context))
    }

    /// A close without a RST that hurts: of a first exchange that did not end well, or in the
    /// middle of a request. The broker's idle timer does not ask whether an answer is due, as
    /// for producers that want none (`acks=0`).
    fn is_worth_an_event(&self, facts: &Facts, context: &Context, judgement: &Judgement) -> bool {
        let case = Case::new(facts, context, &self.config);
        match judgement.verdict {
            Verdict::HandshakePhase => true,
            Verdict::BrokerOriginated => {
                case.is_cut_off() && !evidence::broker_fin::after_its_timer(&case)
            }
            _ => false,
        }
    }

    /// What became of the broker's process, where the broker's end of an event is on this host.
    #[must_use]
    pub fn process_end(&mut self, facts: &Facts) -> Option<ProcessEnd> {
        let context = self.memory.context(facts);
        context.process_end.as_ref().map(process_end::into_event)
    }

    /// Judges by what is known now, and learns nothing from it.
    pub fn judge_again(&mut self, facts: &Facts) -> (Judgement, Context) {
        let mut context = self.memory.context(facts);
        context.other_end = self.other_end(facts);
        let judgement = judge(&Case::new(facts, &context, &self.config));
        (judgement, context)
    }

    /// What the end on this host that sent a received RST makes of it.
    fn other_end(&mut self, facts: &Facts) -> Option<OtherEnd> {
        if facts.kind != Kind::ResetReceived {
            return None;
        }
        let sender = match facts.other_end.as_deref() {
            Some(other) => Some(other.clone()).filter(|it| it.kind == Kind::ResetSent),
            None => self.memory.sender(facts),
        }?;
        let context = self.memory.context(&sender);
        let evidence = evidence(&Case::new(&sender, &context, &self.config));
        let why = evidence.iter().find(|it| it.name == "kernel_reason");
        Some(OtherEnd {
            why: why.map(|it| it.value.clone()).unwrap_or_default(),
            shares: believe(&evidence).shares().to_vec(),
        })
    }

    /// Whether what becomes of the client's next attempt to connect may change what is said of
    /// a RST that it received: nothing is decided yet, or a live socket of the broker sent it,
    /// and nothing shows whether the broker ended.
    pub fn may_yet_learn(&mut self, facts: &Facts) -> bool {
        if facts.kind != Kind::ResetReceived || facts.role != Role::Client || facts.fin.is_some() {
            return false;
        }
        let (judgement, context) = self.judge_again(facts);
        let unknown = !context.concurrent.refused && !context.concurrent.accepted;
        unknown
            && Phase::of(facts) == Phase::InUse
            && matches!(judgement.cause, None | Some(Cause::Aborted))
    }

    /// Routine closes have no pattern worth an alert.
    fn see_pattern(&mut self, facts: &Facts, judgement: &mut Judgement) {
        let Some(class) = class_of(judgement) else {
            return;
        };
        // A handshake that ended by FIN failed, whoever closed last.
        let answers_close = !matches!(facts.kind, Kind::Fin | Kind::Closed)
            && facts
                .idle
                .is_some_and(|idle| idle.provoked_by == ProvokedBy::Close);
        // A probe looks for devices on purpose: what it finds raises no alert.
        let is_probe = facts.kreset_probe().is_some();
        if matches!(class, Class::Probe | Class::LateData) || answers_close || is_probe {
            return;
        }
        let (pattern, turn) = self.patterns.observe(&Sighting {
            at_ns: facts.at_ns,
            path: facts.path(),
            broker: facts.broker(),
            class,
            fatal_ms: facts
                .idle
                .filter(|_| fatal_silence(judgement).is_some())
                .map(|idle| idle.wire_ms),
            advice: &judgement.advice,
        });
        judgement.pattern = Some(pattern);
        self.turns.extend(turn);
    }

    /// The paths that turned since the last call, each with what is known of it.
    pub fn turns(&mut self, now_ns: u64) -> Vec<(Turn, PathView)> {
        self.turns.extend(self.patterns.ended(now_ns));
        let turns = std::mem::take(&mut self.turns);
        turns
            .into_iter()
            .map(|turn| {
                let path = self.memory.path(&turn.path);
                (turn, path)
            })
            .collect()
    }

    /// The end of this connection was reported already. Then the end of its socket
    /// is not reported again, nor a RST that a write after a reported close drew, nor one with which `TIME_WAIT`, or a host without the
    /// socket, answers packets that were still under way. A SYN is another connection.
    fn is_reported(&mut self, facts: &Facts) -> bool {
        let follows = match facts.kind {
            Kind::Closed | Kind::Unobserved => true,
            Kind::ResetSent => facts.is_answer(),
            Kind::ResetReceived => {
                facts.fin.is_some() && self.reported_end(facts).is_some_and(|it| it.closed)
            }
            _ => false,
        };
        follows && self.reported_end(facts).is_some()
    }

    /// The reported end of this connection. One that began since has but the ports in common.
    fn reported_end(&mut self, facts: &Facts) -> Option<Reported> {
        let tuple = facts.tuple();
        let began_ns = facts.began_ns().unwrap_or(0);
        let is_this = |it: &Reported| began_ns <= it.at_ns && it.is_recent(facts.at_ns);
        let reported = self.reported.get(&tuple).copied().filter(is_this);
        reported.or_else(|| self.answered.get(&tuple).copied().filter(is_this))
    }

    fn mark_reported(&mut self, facts: &Facts) {
        let before = self.reported_end(facts);
        let closed = matches!(facts.kind, Kind::Fin | Kind::Closed)
            || (facts.kind == Kind::ResetReceived && before.is_some_and(|it| it.closed));
        let at_ns = facts.at_ns;
        let tuple = facts.tuple();
        let reported = Reported { at_ns, closed };
        if facts.is_answer() && !facts.is_had() && before.is_none() {
            self.answered.put(tuple, reported);
        } else if let Some((evicted, it)) = self.reported.push(tuple, reported) {
            self.evicted += u64::from(evicted != tuple && it.is_recent(at_ns));
        }
    }

    /// Changes the operator's settings; what was learned stays.
    pub const fn reconfigure(&mut self, config: Config) {
        self.config = config;
    }

    /// Entries evicted because a table was full.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.memory.evicted() + self.patterns.evicted + self.evicted
    }
}

/// What may be an event at all. A connection attempt that went unanswered is
/// no drop of an idle flow, and a FIN that went unanswered does no harm.
fn may_be_event(facts: &Facts) -> bool {
    match facts.kind {
        Kind::Timeout => {
            if facts.state == Some(State::SynSent) {
                return evidence::timeout::is_unreachable(facts);
            }
            facts
                .idle
                .is_some_and(|idle| idle.provoked_by != ProvokedBy::Close)
        }
        // What it means shows together with others.
        Kind::Established | Kind::Survived | Kind::GaveUp => false,
        _ => true,
    }
}

/// A silence that one RST alone does not show to have been fatal: the peer may have lost
/// the connection as well.
fn may_be_fatal(facts: &Facts, judgement: &Judgement) -> bool {
    const PAUSE_MS: f64 = 1_000.0;
    let open = matches!(judgement.cause, None | Some(Cause::ConnectionLost));
    let soft = judgement.evidence.iter().any(|seen| seen.name == "idle");
    let paused = facts.idle.is_some_and(|idle| idle.wire_ms >= PAUSE_MS);
    facts.kind == Kind::ResetReceived && open && soft && paused
}

/// A device reset a connection in use and another within a second: it may have lost what it knew
/// of all of them.
fn is_failover(facts: &Facts, context: &Context, judgement: &Judgement) -> bool {
    const IN_USE_MS: f64 = 1_000.0;
    judgement.cause == Some(Cause::NotIdle)
        && context.concurrent.count > 0
        && facts.idle.is_some_and(|idle| idle.wire_ms < IN_USE_MS)
}

/// Whether a judgement says that a silence was fatal, and if so, whether at the
/// timer itself.
const fn fatal_silence(judgement: &Judgement) -> Option<bool> {
    match judgement.cause {
        Some(Cause::ResetOnTimer) => Some(true),
        Some(Cause::ResetOnSend | Cause::Blackholed) => Some(false),
        _ => None,
    }
}

fn evidence(case: &Case<'_>) -> Vec<Observation> {
    if case.facts.kind == Kind::Unobserved {
        // What the socket shows is of the time when it was freed.
        return evidence::unobserved::rule(case).into_iter().collect();
    }
    let observed = RULES.iter().filter_map(|rule| rule(case));
    observed.map(|it| it.as_proven_as(case)).collect()
}

fn believe<'a, I>(evidence: I) -> Belief
where
    I: IntoIterator<Item = &'a Observation>,
{
    let mut belief = Belief::default();
    for (class, weight) in evidence.into_iter().flat_map(|seen| &seen.weights) {
        belief.add(*class, *weight);
    }
    belief
}

/// Adds the evidence up.
#[must_use]
pub fn judge(case: &Case<'_>) -> Judgement {
    let evidence = evidence(case);
    let belief = believe(&evidence);
    let basis = |class| {
        let for_it = evidence.iter().filter(|seen| seen.speaks_for(class));
        for_it.map(|seen| seen.basis).max().unwrap_or_default()
    };
    let Conclusion {
        best,
        candidates,
        unknown,
    } = belief.conclude(|class| {
        let reserve = basis(class).reserve();
        reserve.max(doubt(&belief, &evidence, class, reserve))
    });
    let decided = best.filter(|(class, _)| {
        candidates
            .first()
            .is_some_and(|first| first.verdict == class.verdict() && first.share >= weights::BAR)
    });
    let (verdict, cause) = decided.map_or((Verdict::Indeterminate, None), |(class, _)| {
        (class.verdict(), Some(class.cause()))
    });
    Judgement {
        verdict,
        cause,
        confidence: round(best.map_or(0.0, |(_, share)| share)),
        advice: advice::advise(case, decided),
        evidence,
        candidates,
        unknown,
        pattern: None,
        direction: case.direction(),
        sent_by: sender::sent_by(case, verdict, cause),
        process_end: case
            .context
            .process_end
            .as_ref()
            .map(process_end::into_event),
    }
}

/// The share to keep for what a stranger may have made up: so much that the class gets no
/// more than it would without that, or what [`weights::UNKNOWN_FORGEABLE`] leaves.
fn doubt(belief: &Belief, evidence: &[Observation], class: Class, reserve: f64) -> f64 {
    let is_proven = |seen: &&Observation| seen.proof == Proof::Proven;
    if evidence.iter().all(|seen| is_proven(&seen)) {
        return 0.0;
    }
    let proven = believe(evidence.iter().filter(is_proven));
    let by_itself = proven.share(class) * (1.0 - reserve);
    let most = by_itself.max(1.0 - weights::UNKNOWN_FORGEABLE);
    1.0 - most / belief.share(class).max(most)
}

/// The class of a judgement, if it was decided.
#[must_use]
pub fn class_of(judgement: &Judgement) -> Option<Class> {
    Class::ALL.iter().copied().find(|class| {
        class.verdict() == judgement.verdict && Some(class.cause()) == judgement.cause
    })
}
