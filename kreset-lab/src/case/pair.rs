//! Both ends of one connection of a case, driven step by step.

use std::{io::ErrorKind, thread, time::Duration};

use super::{
    draw::Draw,
    testbed::{Held, Testbed},
    traffic::{self, Shape},
};
use crate::{
    Connection,
    Side::{self, Broker, Client},
    device::Ttl,
    error::{Error, Result},
    judge::{Answer, Expected},
    net::{forge, message::Request, packet},
    trace::wire::Sighting,
    util::{child::Child, program::SS},
};

/// How long a packet may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a kernel that gives up after few retransmissions may take.
const GIVES_UP: Duration = Duration::from_secs(30);

/// A connection between a client and a broker. An end that is not closed by its case stays open
/// until the tracers have ended: a close is traffic, too.
#[derive(Debug)]
pub(crate) struct ConnectionPair<'a> {
    testbed: &'a Testbed<'a>,
    draw: &'a Draw,
    /// The client's port, which no other connection has.
    pub(crate) port: u16,
    client: Option<Connection>,
    broker: Option<Connection>,
    shape: Shape,
}

impl<'a> ConnectionPair<'a> {
    pub(super) const fn new(
        testbed: &'a Testbed<'a>,
        draw: &'a Draw,
        shape: Shape,
        port: u16,
        client: Connection,
        broker: Option<Connection>,
    ) -> Self {
        Self {
            testbed,
            draw,
            port,
            client: Some(client),
            broker,
            shape,
        }
    }

    const fn slot(&mut self, side: Side) -> &mut Option<Connection> {
        match side {
            Client => &mut self.client,
            Broker => &mut self.broker,
        }
    }

    /// One end, which must not be closed yet.
    pub(crate) fn end_of(&mut self, side: Side) -> Result<&mut Connection> {
        self.slot(side)
            .as_mut()
            .ok_or_else(|| Error::Staging(format!("the {side} has no such end")))
    }

    /// The broker has accepted it.
    pub(super) fn accepted(&mut self, broker: Connection) {
        self.broker = Some(broker);
    }

    /// Brings it into use, with as much traffic as is drawn.
    pub(crate) fn begin(&mut self) -> Result<()> {
        match self.shape {
            Shape::Plain => {
                self.introduce()?;
                for _ in 0..self.draw.number(1, 6) {
                    self.request_and_answer(self.any_request())?;
                }
            }
            Shape::Pipelined => {
                self.introduce()?;
                let count = self.draw.number(2, 12);
                for _ in 0..count {
                    self.request(Request::Produce(self.draw.number(20, 1500)))?;
                }
                for _ in 0..count {
                    self.end_of(Broker)?.answer()?;
                }
                for _ in 0..count {
                    self.end_of(Client)?.receive()?;
                }
            }
            Shape::Batches => {
                self.introduce()?;
                for _ in 0..self.draw.number(1, 4) {
                    self.request_and_answer(Request::Produce(self.draw.number(15_000, 64_000)))?;
                }
            }
            Shape::Polls => {
                self.introduce()?;
                for _ in 0..self.draw.number(2, 6) {
                    thread::sleep(self.draw.time(20, 200));
                    self.request_and_answer(
                        self.draw.one_of([Request::Fetch, Request::Heartbeat]),
                    )?;
                }
            }
            Shape::Tls => {
                self.pass(Client, &traffic::client_hello())?;
                if self.draw.chance(0.5) {
                    self.pass(Broker, &traffic::server_hello())?;
                    self.pass(Client, &traffic::client_finished())?;
                    // One session ticket, or two.
                    for _ in 0..self.draw.number(1, 2) {
                        self.pass(Broker, &traffic::application_data(250))?;
                    }
                } else {
                    self.pass(Broker, &traffic::server_hello_12())?;
                    self.pass(Client, &traffic::client_key_exchange())?;
                    self.pass(Broker, &traffic::server_finished_12())?;
                }
                for _ in 0..self.draw.number(2, 8) {
                    self.pass(Client, &self.sealed(40, 600))?;
                    self.pass(Broker, &self.sealed(40, 4000))?;
                }
            }
            Shape::Sasl => {
                self.request_and_answer(Request::ApiVersions)?;
                self.pass(Client, &traffic::sasl_handshake(2))?;
                self.pass(Broker, &traffic::sasl_mechanisms(2, 0))?;
                // PLAIN has one round, SCRAM has two.
                for round in 3..=u32::from(self.draw.number(3, 4)) {
                    self.pass(Client, &traffic::sasl_authenticate(round))?;
                    self.pass(Broker, &traffic::kafka_answer(round, &[0; 18]))?;
                }
                for _ in 0..self.draw.number(2, 5) {
                    self.request_and_answer(self.any_request())?;
                }
            }
        }
        Ok(())
    }

    /// One more request and its answer.
    pub(crate) fn exchange(&mut self) -> Result<()> {
        if self.shape == Shape::Tls {
            self.pass(Client, &self.sealed(40, 600))?;
            self.pass(Broker, &self.sealed(40, 1200))
        } else {
            self.request_and_answer(self.any_request())
        }
    }

    /// Exchanges in quick succession, so that the connection is busy when it ends.
    pub(crate) fn keep_busy(&mut self) -> Result<()> {
        for _ in 0..self.draw.number(4, 12) {
            self.exchange()?;
            self.testbed.lab.silence(self.draw.time(2, 60))?;
        }
        Ok(())
    }

    /// What clients ask all the time.
    fn any_request(&self) -> Request {
        self.draw.one_of([
            Request::Metadata,
            Request::Heartbeat,
            Request::Fetch,
            Request::Produce(self.draw.number(20, 3000)),
        ])
    }

    /// A record of application data.
    fn sealed(&self, from: u16, to: u16) -> Vec<u8> {
        traffic::application_data(self.draw.number(from, to).into())
    }

    /// The client asks for something, which need not be answered.
    pub(crate) fn ask(&mut self) -> Result<()> {
        if self.shape == Shape::Tls {
            self.send(Client, &traffic::application_data(90))
        } else {
            self.request(Request::Metadata)
        }
    }

    /// The broker answers.
    pub(crate) fn answer(&mut self) -> Result<()> {
        if self.shape == Shape::Tls {
            let request = traffic::application_data(90).len();
            self.end_of(Broker)?.receive_bytes(request)?;
            self.send(Broker, &traffic::application_data(400))
        } else {
            self.end_of(Broker)?.answer()
        }
    }

    /// The client sends a request.
    pub(crate) fn request(&mut self, request: Request) -> Result<()> {
        self.end_of(Client)?.request(request)
    }

    /// One request and its answer.
    pub(crate) fn request_and_answer(&mut self, request: Request) -> Result<()> {
        self.request(request)?;
        self.end_of(Broker)?.answer()?;
        self.end_of(Client)?.receive().map(drop)
    }

    /// What every Kafka client says first.
    pub(crate) fn introduce(&mut self) -> Result<()> {
        self.request_and_answer(Request::ApiVersions)?;
        self.request_and_answer(Request::Metadata)
    }

    /// One end sends bytes.
    pub(crate) fn send(&mut self, side: Side, bytes: &[u8]) -> Result<()> {
        self.end_of(side)?.send(bytes)
    }

    /// One end sends bytes, and the other one reads them.
    pub(crate) fn pass(&mut self, from: Side, bytes: &[u8]) -> Result<()> {
        self.send(from, bytes)?;
        self.end_of(from.other())?.receive_bytes(bytes.len())
    }

    /// Waits until one end has data to read.
    pub(crate) fn has_data(&mut self, side: Side) -> Result<()> {
        self.end_of(side)?.wait_for_data()
    }

    /// Waits until one end has got the other one's FIN.
    pub(crate) fn has_fin(&mut self, side: Side) -> Result<()> {
        self.end_of(side)?.wait_for_end()
    }

    /// Waits until one end has been reset.
    pub(crate) fn is_reset(&mut self, side: Side) -> Result<()> {
        self.end_of(side)?.wait_for_reset()
    }

    /// Waits until one end's connection has failed, whatever of.
    pub(crate) fn fails(&mut self, side: Side) -> Result<()> {
        self.end_of(side)?.wait_for_failure(GIVES_UP).map(drop)
    }

    /// Waits until one end's kernel has given up.
    pub(crate) fn times_out(&mut self, side: Side) -> Result<()> {
        let error = self.end_of(side)?.wait_for_failure(GIVES_UP)?;
        if error.kind() == ErrorKind::TimedOut {
            return Ok(());
        }
        Err(Error::Staging(format!(
            "a connection that should have timed out failed: {error}"
        )))
    }

    /// One end sends FIN and keeps its socket, as a JVM does just before it closes one.
    pub(crate) fn shut_down(&mut self, side: Side) -> Result<()> {
        self.end_of(side)?.end()
    }

    /// One end closes: with FIN, or with RST if unread data waits.
    pub(crate) fn close(&mut self, side: Side) {
        drop(self.slot(side).take());
    }

    /// One end closes with a reset: `SO_LINGER` of 0.
    pub(crate) fn abort(&mut self, side: Side) -> Result<()> {
        self.slot(side).take().map_or(Ok(()), Connection::abort)
    }

    /// The client asks for something, and is reset.
    pub(crate) fn ask_and_be_reset(&mut self) -> Result<()> {
        self.ask()?;
        self.is_reset(Client)
    }

    /// The broker answers, and is reset.
    pub(crate) fn answer_and_be_reset(&mut self) -> Result<()> {
        self.answer()?;
        self.is_reset(Broker)
    }

    /// One end closes with a reset, and the other one gets it.
    pub(crate) fn abort_and_reset(&mut self, side: Side) -> Result<()> {
        self.abort(side)?;
        self.is_reset(side.other())
    }

    /// One end closes with data unread, which resets the other one.
    pub(crate) fn close_and_reset(&mut self, side: Side) -> Result<()> {
        self.close(side);
        self.is_reset(side.other())
    }

    /// One end disconnects its socket.
    pub(crate) fn disconnect(&mut self, side: Side) -> Result<()> {
        self.slot(side)
            .take()
            .map_or(Ok(()), Connection::disconnect)
    }

    /// An administrator of one host has its kernel end the connection.
    pub(crate) fn destroy(&self, side: Side) -> Result<()> {
        let end = match side {
            Client => "sport",
            Broker => "dport",
        };
        let filter = format!("{end} = :{}", self.port);
        let host = self.testbed.lab.network().host(side);
        host.run(SS, &["-K", "-t", &filter], "").map(drop)
    }

    /// One end is another process's from here on.
    pub(crate) fn hand_over(&mut self, side: Side) -> Result<Child> {
        let connection = self.slot(side).take();
        connection.map_or_else(
            || Err(Error::Staging(format!("the {side} has no such end"))),
            Connection::hand_over,
        )
    }

    /// Waits until the broker's kernel has acknowledged what the client sent.
    pub(crate) fn is_acknowledged(&self) -> Result<()> {
        let (wire, port) = (self.testbed.lab.wire(), self.port);
        let data = |seen: &Sighting| {
            seen.client_port() == port && seen.leg == Client && seen.carries_data_from(Client)
        };
        wire.wait_for("data of the client", PATIENCE, data)?;
        let last = wire.of_connection(port).into_iter().rev().find(data);
        let next = last.map_or(0, |last| {
            last.segment.sequence.wrapping_add(last.segment.payload)
        });
        let acknowledges = |seen: &Sighting| {
            seen.client_port() == port
                && seen.from() == Broker
                && seen.segment.acknowledgement == next
        };
        wire.wait_for("its acknowledgement", PATIENCE, acknowledges)
            .map(drop)
    }

    /// One host forgets the connection and says nothing, as after a crash.
    pub(crate) fn forget(&mut self, side: Side) -> Result<()> {
        self.slot(side).take().map_or(Ok(()), Connection::forget)
    }

    /// Has a device reset both ends.
    pub(crate) fn reset_both(&mut self, ttl: Ttl) -> Result<()> {
        let testbed = self.testbed;
        let port = self.port;
        let ttls = Side::BOTH.map(|victim| testbed.distances.ttl(ttl, victim));
        let device = testbed.lab.middlebox();
        self.until_reset(&Side::BOTH, || device.reset_from(port, ttls))
    }

    /// Has a device send its resets until these ends are reset.
    ///
    /// The device takes its numbers from the tap, which may lag behind a busy connection: what was
    /// off the mark is sent again.
    fn until_reset(&mut self, victims: &[Side], reset: impl Fn() -> Result<()>) -> Result<()> {
        const PATIENCE: Duration = Duration::from_millis(500);
        const ATTEMPTS: usize = 10;
        let mut left = victims.to_vec();
        for _ in 0..ATTEMPTS {
            reset()?;
            let mut missed = Vec::new();
            for side in left {
                match self.end_of(side)?.wait_for_failure(PATIENCE) {
                    Ok(_) => {}
                    Err(Error::Deadline { .. }) => missed.push(side),
                    Err(error) => return Err(error),
                }
            }
            if missed.is_empty() {
                return Ok(());
            }
            left = missed;
        }
        Err(Error::Staging(
            "a device's resets did not end their connection".to_owned(),
        ))
    }

    /// Somebody sends one end packets in the name of the other one, made from the last that
    /// came from there.
    pub(crate) fn is_forged(
        &self,
        victim: Side,
        ttl: u8,
        made_from: impl FnOnce(&packet::Segment) -> Vec<forge::Segment>,
    ) -> Result<()> {
        let device = self.testbed.lab.middlebox();
        device.forge(self.port, victim, ttl, made_from)
    }

    /// Has a device reset one end, and say nothing to the other one.
    pub(crate) fn reset_one(&mut self, victim: Side, ttl: Ttl) -> Result<()> {
        let ttl = self.testbed.distances.ttl(ttl, victim);
        let (device, port) = (self.testbed.lab.middlebox(), self.port);
        self.until_reset(&[victim], || device.reset_one(port, victim, ttl))
    }

    /// What is expected of it: nothing yet.
    pub(crate) const fn expected(&self) -> Expected {
        Expected::new(self.port)
    }

    /// One host itself reset it, and both hosts should say why.
    pub(crate) fn was_reset(&self, victim: Side, right: Answer) -> Expected {
        Expected::sent_to(victim, self.port, right)
    }
}

impl Drop for ConnectionPair<'_> {
    fn drop(&mut self) {
        for end in [self.client.take(), self.broker.take()]
            .into_iter()
            .flatten()
        {
            self.testbed.hold(Held::Connection(end));
        }
    }
}
