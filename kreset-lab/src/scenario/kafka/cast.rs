//! The broker, the clients and the tracers of one scenario.

use std::time::{Duration, Instant};

use crate::{
    Side,
    account::{self, Ending, Ruling},
    error::{Error, Result},
    judge::Expected,
    kafka::{
        broker::{self, Broker},
        certificates::Certificates,
        client::{self, Client},
        home::Home,
        process::Process,
        scratch::Scratch,
    },
    scenario::{Outcome, Scene, Watch},
    tracer,
    wire::Moment,
};

/// How long the wire must be silent for everything that happened to have happened.
const SETTLED: Duration = Duration::from_millis(400);

/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who is on the stage, and what they need.
#[derive(Debug)]
pub(super) struct Cast<'a> {
    pub(super) scene: &'a Scene<'a>,
    pub(super) home: Home,
    pub(super) scratch: Scratch,
    pub(super) certificates: Option<Certificates>,
}

impl<'a> Cast<'a> {
    pub(super) fn new(scene: &'a Scene<'a>) -> Result<Self> {
        Ok(Self {
            scene,
            home: Home::find()?,
            scratch: Scratch::new()?,
            certificates: None,
        })
    }

    /// With certificates, for brokers that speak TLS.
    pub(super) fn with_certificates(scene: &'a Scene<'a>) -> Result<Self> {
        let mut cast = Self::new(scene)?;
        cast.certificates = Some(Certificates::make(&cast.scratch)?);
        Ok(cast)
    }

    pub(super) fn broker(&self, plan: broker::Plan) -> Result<Broker> {
        Broker::start(
            self.scene.lab,
            &self.home,
            &self.scratch,
            plan,
            self.certificates.as_ref(),
        )
    }

    pub(super) fn client(&self, plan: &client::Plan, broker: &Broker) -> Result<Client> {
        Client::start(
            self.scene.lab,
            &self.home,
            &self.scratch,
            plan,
            &broker.bootstrap(),
        )
    }

    /// Starts the tracers, for as long as real programs need.
    pub(super) fn watch(&self) -> Result<Watch<'a>> {
        self.watch_with(&tracer::Options::default())
    }

    pub(super) fn watch_with(&self, options: &tracer::Options) -> Result<Watch<'a>> {
        let options = options.clone().without_noise();
        self.scene.watch_with(&options.longer_by(Duration::from_mins(5)))
    }

    /// Waits until nothing was on the wire for `silence`.
    pub(super) fn wait_for_silence(&self, silence: Duration) -> Result<()> {
        let patience = silence + PATIENCE;
        let deadline = Instant::now() + patience;
        loop {
            let last = self.scene.lab.wire().last();
            let quiet = last.map_or(silence, |last| Moment::now().since(last));
            let left = silence.saturating_sub(quiet);
            if left.is_zero() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::Deadline {
                    what: format!("{silence:?} without a packet"),
                    waited: patience,
                });
            }
            self.scene.lab.silence(left)?;
        }
    }

    /// Stops the clients where they are, so that nothing new begins and nothing is closed, and
    /// waits until the wire is silent.
    pub(super) fn curtain(&self, clients: &mut [&mut Client]) -> Result<()> {
        for client in clients {
            client.process().freeze()?;
        }
        self.wait_for_silence(SETTLED)
    }
}

/// Judges what the tracers said, with `rule` for each connection that ended.
pub(super) fn judge(
    scene: &Scene<'_>,
    watch: Watch<'_>,
    rule: impl Fn(&Ending) -> Ruling,
) -> Result<Outcome> {
    watch.judge_by(|side| Expected::Each(account::claims(scene.lab.wire(), side, &rule)))
}

/// Makes sure that the scenario's point was made on the wire.
pub(super) fn demand(
    scene: &Scene<'_>,
    side: Side,
    what: &str,
    fits: impl Fn(&Ending) -> bool,
) -> Result<()> {
    let endings = Ending::all(scene.lab.wire(), side);
    if endings.iter().any(fits) {
        return Ok(());
    }
    Err(Error::Staging(format!("no {what} on the {side}'s wire")))
}

/// Makes sure that a program is done.
pub(super) fn patience_for(process: &mut Process, words: &str) -> Result<()> {
    let what = format!("{words:?} in the log of {}", process.log().name());
    let found = process.wait_for(&what, 0, PATIENCE, |line| line.contains(words));
    found.map(drop)
}
