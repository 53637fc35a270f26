//! Proof of a setting: connections that are kept alive past the timer, beside
//! some that are not.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    clients::{Keeping, Like},
    connection::{Arrival, Connection},
    log::Opened,
    progress::Progress,
    round::Common,
    rung::Outcome,
    stop::Stop,
};

/// What to hold.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// Whose connections.
    pub like: Option<Like>,
    /// How they are kept.
    pub keeping: Keeping,
    /// Whether the keepalive's times are set on the socket, or left to the host.
    pub by_host: bool,
    /// For how long.
    pub span: Duration,
    /// Connections that are kept alive.
    pub kept: usize,
    /// Connections that are not, for comparison.
    pub silent: usize,
}

/// How one of them ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was alive at the end.
    Alive,
    /// This end closed it, as the client would have.
    ClosedHere,
    /// It ended after so long.
    Died(Outcome, Duration),
}

/// What became of them.
#[derive(Clone, Debug)]
pub struct Held {
    /// What was held.
    pub hold: Hold,
    /// Those that were kept alive.
    pub kept: Vec<End>,
    /// Those that were not.
    pub silent: Vec<End>,
    /// Why connections could not be opened.
    pub not_opened: Vec<String>,
    /// Every connection that was opened for it.
    pub opened: Vec<Opened>,
    /// It went to its end.
    pub complete: bool,
}

/// Holds connections to the broker as planned. Needs a `LocalSet` around it.
pub(super) async fn hold(hold: Hold, common: Common, progress: &dyn Progress, stop: &Stop) -> Held {
    progress.stage(
        &format!(
            "{} connections are kept alive and {} are not",
            hold.kept, hold.silent
        ),
        hold.span + common.give_up,
    );
    let mut tasks = JoinSet::new();
    for number in 0..hold.kept + hold.silent {
        let wait = common.pace * u32::try_from(number).unwrap_or(u32::MAX);
        let stop = stop.clone();
        let is_kept = number < hold.kept;
        let common = common.clone();
        tasks.spawn_local(async move {
            sleep(wait).await;
            let connection = common.open().await?;
            let end = tokio::select! {
                () = stop.requested() => None,
                end = one(&connection, is_kept.then_some(&hold), hold.span, &common) => Some(end),
            };
            connection.close(common.remote);
            std::io::Result::Ok((is_kept, end))
        });
    }
    let mut held = Held {
        hold,
        kept: Vec::new(),
        silent: Vec::new(),
        not_opened: Vec::new(),
        opened: Vec::new(),
        complete: true,
    };
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(Ok((is_kept, Some(end)))) => {
                let (list, what) = if is_kept {
                    (&mut held.kept, "kept alive")
                } else {
                    (&mut held.silent, "silent")
                };
                list.push(end);
                progress.note(&format!("{what}: {}", describe(end)));
            }
            Ok(Ok((_, None))) => held.complete = false,
            Ok(Err(error)) => held.not_opened.push(error.to_string()),
            Err(_aborted) => held.complete = false,
        }
    }
    held.opened = common.log.all();
    held
}

async fn one(connection: &Connection, hold: Option<&Hold>, span: Duration, common: &Common) -> End {
    let began = Instant::now();
    if let Some(hold) = hold
        && let Some(times) = hold.keeping.keepalive
        && connection
            .keep_alive((!hold.by_host).then_some(times))
            .is_err()
    {
        return End::Died(Outcome::PathDead, Duration::ZERO);
    }
    let closes_after = hold.and_then(|hold| hold.keeping.closes_after);
    let closes = closes_after.map(|time| began + time);
    let until = began + span;
    loop {
        let arrival = tokio::select! {
            () = at(closes) => return End::ClosedHere,
            arrival = timeout_at(until, connection.next()) => arrival,
        };
        let outcome = match arrival {
            Err(_elapsed) => break,
            Ok(Arrival::Data) => continue,
            Ok(Arrival::Reset) => Outcome::ResetByItself,
            Ok(Arrival::Closed) => Outcome::Closed,
            // The kernel's own keepalive gave up.
            Ok(Arrival::Failed(_)) => Outcome::Dropped,
        };
        return End::Died(outcome, began.elapsed());
    }
    match common.used(connection).await.outcome {
        Outcome::Alive => End::Alive,
        outcome => End::Died(outcome, began.elapsed()),
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn describe(end: End) -> String {
    match end {
        End::Alive => "alive".to_owned(),
        End::ClosedHere => "closed by this end, as the client would".to_owned(),
        End::Died(outcome, after) => {
            format!("{} after {:.1} s", outcome.words(), after.as_secs_f64())
        }
    }
}

impl Held {
    /// All that were kept alive lived.
    #[must_use]
    pub fn holds(&self) -> bool {
        let lived = |end: &End| matches!(end, End::Alive | End::ClosedHere);
        !self.kept.is_empty() && self.kept.iter().all(lived)
    }

    /// The silent ones died, so that there was something to hold against.
    #[must_use]
    pub fn is_proof(&self) -> bool {
        self.silent.iter().any(|end| matches!(end, End::Died(..)))
    }
}
