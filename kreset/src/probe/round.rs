//! Connections that are silent side by side.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    connection::{Arrival, Connection, Used, answers},
    log::Log,
    progress::Progress,
    rung::{Outcome, Rung, Silence},
    stop::Stop,
};

/// How a connection is used after its silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trigger {
    /// By a TCP keepalive probe.
    #[default]
    Keepalive,
    /// By a request, `ApiVersions`.
    Request,
}

/// What all connections have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    /// The broker.
    pub(super) remote: SocketAddr,
    /// How they are used.
    pub(super) trigger: Trigger,
    /// How long an answer may take.
    pub(super) give_up: Duration,
    /// From opening one connection to opening the next.
    pub(super) pace: Duration,
    /// Where they are noted.
    pub(super) log: Log,
}

/// How long connecting may take: three SYNs and the answer to the last one.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection of a round.
#[derive(Debug)]
pub(super) struct Start {
    /// An open one that was silent already, or none yet.
    pub(super) connection: Option<Connection>,
    /// How long it is to be silent.
    pub(super) silence: Duration,
}

impl Start {
    /// A new connection.
    pub(super) const fn fresh(silence: Duration) -> Self {
        Self {
            connection: None,
            silence,
        }
    }
}

#[derive(Debug)]
enum Finished {
    Rung(Rung),
    Idle(Start),
    NotOpened(io::Error),
}

/// What came of the use of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Whether it was alive.
    pub(super) outcome: Outcome,
    /// How long it had been silent.
    silent: Silence,
    /// From its use to the answer.
    answered: Option<Duration>,
}

/// Whether a round has shown what it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enough {
    /// It goes on.
    No,
    /// All that are still silent are released now.
    Now,
    /// They are looked at again after this time, and released if it then still
    /// says so.
    After(Duration),
}

/// What a round leaves.
#[derive(Debug, Default)]
pub(super) struct Leftover {
    /// Connections that were released in their silence.
    pub(super) idle: Vec<Start>,
    /// Why connections could not be opened.
    pub(super) not_opened: Vec<String>,
}

impl Common {
    /// Opens a connection; with requests, it is in use as a client's would be.
    pub(super) async fn open(&self) -> io::Result<Connection> {
        let mut connection = Connection::open(self.remote, CONNECT, &self.log).await?;
        if self.trigger == Trigger::Request {
            match connection.use_by_request(self.give_up).await?.0 {
                Used::Alive => connection.was_used(),
                Used::Reset | Used::Closed => {
                    return Err(io::Error::other(
                        "the broker ended the connection when it was sent ApiVersions: its \
                         listener speaks TLS; use --use keepalive",
                    ));
                }
                Used::Nothing => {
                    return Err(io::Error::other(
                        "the broker did not answer ApiVersions: its listener may speak TLS; use \
                         --use keepalive",
                    ));
                }
            }
        }
        Ok(connection)
    }

    /// Uses a connection and says what came of it.
    pub(super) async fn used(&self, connection: &Connection) -> Usage {
        let before = connection.silence();
        let at = Instant::now();
        let used = match self.trigger {
            Trigger::Keepalive => connection.use_by_keepalive(self.give_up).await,
            Trigger::Request => connection.use_by_request(self.give_up).await,
        };
        let after = at.elapsed();
        let silent = used.as_ref().map_or(before, |(_, silent)| *silent);
        let outcome = match used.map(|(used, _)| used) {
            Ok(Used::Alive) => Outcome::Alive,
            Ok(Used::Reset) => Outcome::ResetOnUse,
            Ok(Used::Closed) => Outcome::Closed,
            Ok(Used::Nothing) | Err(_) => {
                if answers(self.remote, CONNECT, &self.log).await {
                    Outcome::Dropped
                } else {
                    Outcome::PathDead
                }
            }
        };
        let is_answered = !matches!(outcome, Outcome::Dropped | Outcome::PathDead);
        Usage {
            outcome,
            silent,
            answered: is_answered.then_some(after),
        }
    }

    async fn follow(
        self,
        round: u8,
        begin: Instant,
        start: Start,
        mut release: watch::Receiver<bool>,
    ) -> Finished {
        let Start {
            connection,
            silence,
        } = start;
        let mut connection = if let Some(connection) = connection {
            connection
        } else {
            tokio::select! {
                biased;
                _ = release.wait_for(|released| *released) => {
                    return Finished::Idle(Start::fresh(silence));
                }
                () = sleep_until(begin) => {}
            }
            match self.open().await {
                Ok(connection) => connection,
                Err(error) => return Finished::NotOpened(error),
            }
        };
        let arrival = tokio::select! {
            biased;
            _ = release.wait_for(|released| *released) => {
                return Finished::Idle(Start { connection: Some(connection), silence });
            }
            arrival = connection.keep_silent(silence) => arrival,
        };
        let by_itself = |outcome| Usage {
            outcome,
            silent: connection.silence(),
            answered: None,
        };
        let Usage {
            outcome,
            silent,
            answered,
        } = match arrival {
            None => self.used(&connection).await,
            Some(Arrival::Reset) => by_itself(Outcome::ResetByItself),
            Some(Arrival::Closed) => by_itself(Outcome::Closed),
            Some(Arrival::Data | Arrival::Failed(_)) => by_itself(Outcome::PathDead),
        };
        let rung = Rung {
            round,
            local_port: connection.local_port(),
            planned: silence,
            silent,
            outcome,
            answered,
            disturbed: connection.is_disturbed(),
        };
        connection.close(self.remote);
        Finished::Rung(rung)
    }

    /// Runs a round until all connections have been used, or it is `enough`.
    pub(super) async fn round(
        &self,
        number: u8,
        starts: Vec<Start>,
        rungs: &mut Vec<Rung>,
        enough: impl Fn(&[Rung], usize) -> Enough,
        progress: &dyn Progress,
        stop: &Stop,
    ) -> Leftover {
        let (release, released) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut begin = Instant::now();
        for start in starts {
            let fresh = start.connection.is_none();
            tasks.spawn_local(self.clone().follow(number, begin, start, released.clone()));
            if fresh {
                begin += self.pace;
            }
        }
        let mut left = Leftover::default();
        let mut look_again: Option<Instant> = None;
        let mut stopped = false;
        loop {
            tokio::select! {
                biased;
                () = stop.requested(), if !stopped => {
                    stopped = true;
                    release.send_replace(true);
                    // What is being used may still be answered.
                    look_again = Some(Instant::now() + Duration::from_millis(300));
                }
                done = tasks.join_next() => match done {
                    None => break,
                    Some(Ok(Finished::Rung(rung))) => {
                        progress.rung(&rung);
                        rungs.push(rung);
                        match enough(rungs, tasks.len()) {
                            Enough::No => {}
                            Enough::Now => {
                                release.send_replace(true);
                            }
                            Enough::After(time) => {
                                look_again.get_or_insert_with(|| Instant::now() + time);
                            }
                        }
                    }
                    Some(Ok(Finished::Idle(start))) => left.idle.push(start),
                    Some(Ok(Finished::NotOpened(error))) => left.not_opened.push(error.to_string()),
                    Some(Err(_aborted)) => {}
                },
                () = at(look_again) => {
                    look_again = None;
                    if stopped {
                        tasks.abort_all();
                    } else if enough(rungs, tasks.len()) != Enough::No {
                        release.send_replace(true);
                    }
                }
            }
        }
        left
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
