//! Connections that are open, idle or busy, in processes of their own: one process may have only
//! so many files.
//!
//! Such a process has both ends of its connections.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    iter,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use socket2::SockRef;

use crate::{
    error::{Context as _, Error, Result},
    net::{
        self,
        message::{self, Request},
    },
    util::{
        helper::{self, Helper},
        limits,
    },
};

/// The subcommand that makes a binary hold connections.
pub const SUBCOMMAND: &str = "hold-connections";
/// The order to say how often all connections were used.
const ROUNDS: &str = "rounds";
/// The most connections of one process: two files each, where 20,000 is a usual limit.
pub const EACH: u32 = 9_000;
/// How long one end waits for the other.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a process is to hold.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Task {
    /// Where the brokers' ends listen; each process needs an address or a port of its own
    pub broker: SocketAddr,
    /// How many connections, each of which has answered one request
    pub count: u32,
    /// The network namespace of the clients' ends [default: where the process is]
    #[arg(long)]
    pub clients: Option<PathBuf>,
    /// Exchange requests on all of them, one after the other, again and again
    #[arg(long)]
    pub busy: bool,
}

impl Task {
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            SUBCOMMAND.to_owned(),
            self.broker.to_string(),
            self.count.to_string(),
        ];
        if let Some(clients) = &self.clients {
            arguments.extend(["--clients".to_owned(), clients.display().to_string()]);
        }
        if self.busy {
            arguments.push("--busy".to_owned());
        }
        arguments
    }
}

/// A process that holds connections; they are closed when it is dropped.
#[derive(Debug)]
pub struct Holder {
    process: Helper,
    count: u32,
}

impl Holder {
    /// Starts `program`, which calls [`serve`], and waits until all connections are open.
    pub fn start(program: &Path, task: &Task) -> Result<Self> {
        let mut command = Command::new(program);
        // Ctrl-C is for its starter, which ends it in order.
        command.args(task.arguments()).process_group(0);
        Ok(Self {
            process: Helper::start(&mut command)?,
            count: task.count,
        })
    }

    /// How many connections it was started with.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// How often each of its busy connections has exchanged a request and its answer.
    pub fn rounds(&mut self) -> Result<u64> {
        let said = self.process.ask(ROUNDS)?;
        said.parse().map_err(|error| {
            Error::Staging(format!(
                "a process that holds connections could not say its rounds: {said:?} ({error})"
            ))
        })
    }

    /// Uses a connection once more, and aborts it at the broker; the client's address. Each of
    /// [`Self::count`] can be aborted once.
    pub fn abort(&mut self, number: u32) -> Result<SocketAddr> {
        let said = self.process.ask(&number.to_string())?;
        said.parse().map_err(|error| {
            Error::Staging(format!(
                "a process that holds connections could not abort number {number}: {said:?} ({error})"
            ))
        })
    }
}

/// Both ends of one connection.
struct Pair {
    client: TcpStream,
    broker: TcpStream,
}

/// What the subcommand does: opens connections, says so, and aborts those whose numbers it reads,
/// until the end of standard input.
pub fn serve(task: &Task) -> Result<()> {
    limits::allow_open_files(2 * u64::from(task.count) + 64)?;
    let listener =
        TcpListener::bind(task.broker).context(|| format!("listen at {}", task.broker))?;
    let open = || {
        let opened: io::Result<Vec<_>> =
            iter::repeat_with(|| open(&listener, task.broker).map(Some))
                .take(task.count as usize)
                .collect();
        opened.context(|| format!("open connections to {}", task.broker))
    };
    let mut pairs = match &task.clients {
        None => open()?,
        Some(path) => {
            let name = path.display().to_string();
            let file = File::open(path).context(|| format!("open {name}"))?;
            net::inside(&file, &name, open)?
        }
    };
    helper::ready()?;
    if task.busy {
        return keep_busy(pairs);
    }
    for line in io::stdin().lines() {
        let line = line.context(|| "read what to abort".to_owned())?;
        let pair = line.parse().ok().and_then(|at: usize| pairs.get_mut(at));
        let Some(pair) = pair.and_then(Option::take) else {
            return Err(Error::Staging(format!("there is no connection {line}")));
        };
        let client = abort(pair).context(|| "use and abort a connection".to_owned())?;
        helper::answer(&client.to_string())?;
    }
    Ok(())
}

/// Uses all of them in turn until the end of standard input.
fn keep_busy(mut pairs: Vec<Option<Pair>>) -> Result<()> {
    let (rounds, ending) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let busy = scope.spawn(|| -> io::Result<()> {
            while !ending.load(Ordering::Relaxed) {
                for pair in pairs.iter_mut().flatten() {
                    exchange(pair, Request::Metadata, 2)?;
                }
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        for _order in io::stdin().lines().map_while(io::Result::ok) {
            if busy.is_finished() {
                break;
            }
            helper::answer(&rounds.load(Ordering::Relaxed).to_string())?;
        }
        ending.store(true, Ordering::Relaxed);
        match busy.join() {
            Ok(used) => used.context(|| "use a busy connection".to_owned()),
            Err(_panic) => Err(Error::Staging("a busy connection panicked".to_owned())),
        }
    })
}

fn open(listener: &TcpListener, address: SocketAddr) -> io::Result<Pair> {
    let client = TcpStream::connect(address)?;
    // Connections are opened one by one: there is no other to be accepted.
    let (broker, _) = listener.accept()?;
    let mut pair = Pair { client, broker };
    for stream in [&pair.client, &pair.broker] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
    }
    exchange(&mut pair, Request::ApiVersions, 1)?;
    Ok(pair)
}

fn exchange(pair: &mut Pair, request: Request, number: u32) -> io::Result<()> {
    pair.client.write_all(&message::request(request, number))?;
    message::serve(&mut pair.broker)?;
    message::receive(&mut pair.client).map(drop)
}

/// The client's address.
fn abort(mut pair: Pair) -> io::Result<SocketAddr> {
    exchange(&mut pair, Request::ApiVersions, 2)?;
    exchange(&mut pair, Request::Metadata, 3)?;
    let Pair { client, broker } = pair;
    let address = client.local_addr()?;
    SockRef::from(&broker).set_linger(Some(Duration::ZERO))?;
    // It is closed first: the client's end is still there to be reset.
    drop(broker);
    match (&client).read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(address),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other("the connection was aborted, and goes on")),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    #[test]
    fn a_task_survives_its_way_through_a_command_line() {
        let somewhere = Some(PathBuf::from("/run/netns/somewhere"));
        for (clients, busy) in [(None, false), (somewhere.clone(), false), (somewhere, true)] {
            let task = Task {
                broker: SocketAddr::from(([10, 77, 2, 2], 9092)),
                count: EACH,
                clients,
                busy,
            };
            let matches = Task::augment_args(clap::Command::new(SUBCOMMAND))
                .try_get_matches_from(task.arguments())
                .expect("arguments");
            assert_eq!(Task::from_arg_matches(&matches).expect("a task"), task);
        }
    }
}
