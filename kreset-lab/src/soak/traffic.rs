//! Apache Kafka's broker with a Java producer and a librdkafka consumer, each of which is killed,
//! shut down and reset now and then.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use fastrand::Rng;

use super::faults::pause;
use crate::{
    Lab, PORT, Side, Stop,
    device::Ttl,
    error::{Error, Result},
    kafka::{
        broker::{self, Broker, Protocol},
        client::{self, Client, Job, Software},
        home::Home,
        scratch::Scratch,
    },
    net::BROKER_V4,
    trace::follow::Follower,
    util::lock::lock,
};

/// Between two requests to the same client.
const PACE: Duration = Duration::from_millis(300);

/// What was done.
#[derive(Debug, Default)]
pub struct Tally {
    /// Times that a producer sent a batch.
    pub sent: AtomicU64,
    /// Times that a consumer polled.
    pub polled: AtomicU64,
    /// Requests to a client that failed, as they may.
    pub failed: AtomicU64,
    /// Brokers killed.
    pub killed: AtomicU64,
    /// Brokers shut down.
    pub shut_down: AtomicU64,
    /// Clients killed.
    pub clients: AtomicU64,
    /// Connections reset by a device, both ends.
    pub reset: AtomicU64,
}

impl Tally {
    fn count(figure: &AtomicU64) {
        figure.fetch_add(1, Ordering::Relaxed);
    }
}

/// Real traffic, until `stop`.
pub fn run(
    lab: &Lab,
    rng: &mut Rng,
    follower: &Mutex<Follower>,
    tally: &Tally,
    stop: &Stop,
) -> Result<()> {
    let home = Home::find()?;
    let scratch = Scratch::new()?;
    let plan = broker::Plan::new(Protocol::Plaintext);
    let mut broker = Broker::start(lab, &home, &scratch, plan, None)?;
    let bootstrap = broker.bootstrap();
    let plans = [
        (Software::Java, Job::Producer, "send 20 500", &tally.sent),
        (
            Software::Librdkafka,
            Job::Consumer,
            "poll 300",
            &tally.polled,
        ),
        (
            Software::Librdkafka,
            Job::Producer,
            "send 5 2000",
            &tally.sent,
        ),
    ];
    thread::scope(|scope| {
        for (number, (software, job, order, figure)) in plans.into_iter().enumerate() {
            let mut rng = Rng::with_seed(rng.u64(..));
            let (home, scratch, bootstrap) = (&home, &scratch, &bootstrap);
            let name: &'static str = ["producer", "consumer", "second"][number];
            let plan = client::Plan::new(software, job).named(name);
            scope.spawn(move || {
                while stop.check().is_ok() {
                    let began = Client::start(lab, home, scratch, &plan, bootstrap);
                    let Ok(mut client) = began else {
                        Tally::count(&tally.failed);
                        continue;
                    };
                    use_it(&mut client, order, figure, &mut rng, tally, stop);
                    // It is killed here, with whatever is under way.
                }
            });
        }
        let ended = disturb(lab, &mut broker, rng, follower, tally, stop);
        // The clients end with it.
        if ended.is_err() {
            stop.request();
        }
        ended
    })
}

/// Gives a client orders until it is time to kill it.
fn use_it(
    client: &mut Client,
    order: &str,
    figure: &AtomicU64,
    rng: &mut Rng,
    tally: &Tally,
    stop: &Stop,
) {
    for _ in 0..rng.u32(20..200) {
        match client.ask(order) {
            Ok(client::Said::Done(_)) => Tally::count(figure),
            Ok(client::Said::Failed(_)) => Tally::count(&tally.failed),
            Err(_) => {
                Tally::count(&tally.failed);
                return;
            }
        }
        if stop.sleep(PACE).is_err() {
            return;
        }
    }
    Tally::count(&tally.clients);
}

/// Does something to the broker or to its connections now and then.
fn disturb(
    lab: &Lab,
    broker: &mut Broker,
    rng: &mut Rng,
    follower: &Mutex<Follower>,
    tally: &Tally,
    stop: &Stop,
) -> Result<()> {
    let to = SocketAddr::new(BROKER_V4.into(), PORT);
    while stop.sleep(pause(rng, 2..15)).is_ok() {
        match rng.u8(0..10) {
            0 => {
                broker.kill()?;
                Tally::count(&tally.killed);
            }
            1 => {
                broker.shut_down()?;
                Tally::count(&tally.shut_down);
            }
            _ => {
                let open = lock(follower).open(Side::Client, to);
                if let Some(port) = rng.choice(open) {
                    let ttl = if rng.bool() { Ttl::Own } else { Ttl::Copied };
                    match lab.middlebox().reset_now(port, ttl) {
                        Ok(()) => Tally::count(&tally.reset),
                        // It ended in this moment, or was silent for so long that it is forgotten.
                        Err(Error::Staging(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                continue;
            }
        }
        // Clients find no listener for a while.
        if stop.sleep(pause(rng, 0..5)).is_err() {
            return Ok(());
        }
        match broker.restart(lab) {
            Ok(()) | Err(Error::Stopped) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
