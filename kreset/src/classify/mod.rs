//! Judges events. Pure: the same code judges live events, recorded ones and
//! tests, and never learns where a record came from.

mod advice;
pub mod case;
pub mod class;
pub mod context;
pub mod evidence;
pub mod phase;
pub mod weights;

pub use case::{Case, Config};
use class::{Belief, Class, Conclusion, round};
use context::{Context, Memory};
use evidence::{Observation, RULES};

use crate::{
    event::{Candidate, Cause, Verdict},
    facts::Facts,
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
    /// Verdicts with their shares.
    pub candidates: Vec<Candidate>,
    /// One sentence.
    pub advice: String,
}

/// Judges events in the light of those before.
#[derive(Debug, Default)]
pub struct Classifier {
    config: Config,
    memory: Memory,
}

impl Classifier {
    /// A classifier that knows nothing but what the operator told.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, memory: Memory::default() }
    }

    /// Takes an event in, whether or not it is to be judged. To be called in
    /// the order of the events.
    pub fn observe(&mut self, facts: &Facts) {
        self.memory.observe(facts);
    }

    /// Judges an event that was observed, and learns from the judgement.
    pub fn judge(&mut self, facts: &Facts) -> (Judgement, Context) {
        let context = self.memory.context(facts);
        let judgement = judge(&Case::new(facts, &context, &self.config));
        if let Some(on_timer) = fatal_silence(&judgement) {
            self.memory.died(facts, on_timer);
        }
        let context = self.memory.context(facts);
        (judgement, context)
    }

    /// Changes what the operator told; what was learned stays.
    pub const fn reconfigure(&mut self, config: Config) {
        self.config = config;
    }

    /// What the operator told.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Remembered things that had to go to make room.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.memory.evicted()
    }
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

/// Adds the evidence up.
#[must_use]
pub fn judge(case: &Case<'_>) -> Judgement {
    let evidence: Vec<Observation> = RULES.iter().filter_map(|rule| rule(case)).collect();
    let mut belief = Belief::default();
    for (class, weight) in evidence.iter().flat_map(|observation| &observation.weights) {
        belief.add(*class, *weight);
    }
    let Conclusion { best, candidates } = belief.conclude();
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
        advice: advice::advise(case, decided.map(|(class, _)| class)),
        evidence,
        candidates,
    }
}

/// The class of a judgement, if it was decided.
#[must_use]
pub fn class_of(judgement: &Judgement) -> Option<Class> {
    Class::ALL
        .iter()
        .copied()
        .find(|class| class.verdict() == judgement.verdict && Some(class.cause()) == judgement.cause)
}
