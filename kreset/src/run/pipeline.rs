//! The data flow: bytes of the ring -> facts -> (held briefly) -> judgement ->
//! event -> sinks. Nothing here waits for a sink: see [`crate::delivery`].

use std::{
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use lru::LruCache;
use smol_str::SmolStr;

use crate::{
    capture::{
        logs::{Logs, client::About},
        recording::Recorder,
    },
    classify::{
        Classifier, Config,
        finding::{IncidentIds, Names, alert, incident, report},
        incident::{End, Incidents, Place, Snapshot},
    },
    delivery::{Delivery, Glance, SinkError},
    event::{
        BrokerLoss, Correction, Coverage, Endpoint, Event, Finding, Host, Id, Ids, Loss, Message,
        Process, Role, SinkCoverage, Source, Time, Watched, filter::Filter,
    },
    facts::{
        DecodeError, Decoder, Facts, Kind, PacketFacts,
        load::HostLoad,
        process::{Memory, ProcessFacts, ProcessId},
    },
    run::{
        corrections::{self, Correctable, Corrections},
        enrich::{Enricher, Naming, refresh::Latest},
        holding::Holding,
        joining,
        limit::{Limiter, Suppressed},
        options::Options,
        repeats::Repeats,
        staging::{Staged, Staging},
        summary::Counter,
    },
    util::{clock::Clocks, ports::PortSet},
};

/// Ends of this process's connections that are remembered: the record of the other
/// end on the same host follows within milliseconds.
const OWN_ENDS: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// While events keep coming, they are read, judged and written in turns this long.
/// A wake-up costs many times what an event does.
const TURN: Duration = Duration::from_millis(20);
/// After a turn with this many, the next one is longer: among hundreds of events a
/// second a delay does not matter, and each is still written within 100 ms.
const MANY: usize = 16;
const TURN_OF_MANY: Duration = Duration::from_millis(80);
/// With more than this, the ring could fill up meanwhile, and they are worth
/// waking up for.
const TOO_MANY: usize = 512;

/// How long the last summary waits for the addresses to be read once.
const FIRST_READ: Duration = Duration::from_secs(1);

/// The turns in which the ring is read.
#[derive(Debug, Default)]
pub struct Turns {
    /// Taken in this turn so far.
    taken: usize,
}

impl Turns {
    /// Records read at once, at most.
    pub const BATCH: usize = 2_048;

    /// How long to let events gather after a batch that brought `taken`. `None`:
    /// nothing came, and the ring is to be waited for.
    pub fn after(&mut self, taken: usize) -> Option<Duration> {
        self.taken = self.taken.saturating_add(taken);
        if taken == Self::BATCH {
            // There may be more already, which belong to the same turn.
            return Some(Duration::ZERO);
        }
        match std::mem::take(&mut self.taken) {
            0 => None,
            MANY..=TOO_MANY => Some(TURN_OF_MANY),
            _ => Some(TURN),
        }
    }
}

/// The parts of a pipeline.
pub struct Parts {
    /// Bytes to facts.
    pub decoder: Decoder,
    /// The operator's settings of the classifier.
    pub config: Config,
    /// Looks up names of processes, containers and units.
    pub enricher: Enricher,
    /// What is shown.
    pub filter: Filter,
    /// How much of it.
    pub limiter: Limiter,
    /// Events shown before the run ends.
    pub count: Option<NonZeroU64>,
    /// This host.
    pub host: Host,
    /// The traced ports.
    pub ports: PortSet,
    /// The addresses of the traced namespaces.
    pub addresses: Latest<Option<Vec<IpAddr>>>,
    /// The open connections of the traced namespaces.
    pub connections: Latest<Option<Watched>>,
    /// Where events go.
    pub delivery: Delivery,
    /// Where raw records are written as well.
    pub recorder: Option<Recorder>,
    /// This process, whose own connections are no events; `None` where what is judged
    /// did not happen just now.
    pub own_pid: Option<u32>,
    /// Where the records come from.
    pub source: Source,
}

impl Parts {
    /// Those of a host of which there are records alone: nothing is looked up there, and all of
    /// its events are shown.
    pub fn of_records(
        options: &Options,
        decoder: Decoder,
        host: SmolStr,
        delivery: Delivery,
    ) -> Self {
        Self {
            decoder,
            config: Config {
                broker_max_idle: options.broker_max_idle,
            },
            enricher: Enricher::of_files(options.naming()),
            filter: options.filter.clone(),
            // What is recorded is finite.
            limiter: Limiter::new(None),
            count: options.count,
            host: Host { name: host },
            ports: options.ports.clone(),
            addresses: Latest::unknown(),
            connections: Latest::unknown(),
            delivery,
            recorder: None,
            own_pid: None,
            source: Source::Live,
        }
    }
}

/// From records to sinks.
pub struct Pipeline {
    decoder: Decoder,
    classifier: Classifier,
    enricher: Enricher,
    filter: Filter,
    limiter: Limiter,
    left: Option<u64>,
    host: Host,
    /// The traced ports, each a port or a range.
    ports: Vec<SmolStr>,
    /// The same, to look one up.
    traced: PortSet,
    addresses: Latest<Option<Vec<IpAddr>>>,
    connections: Latest<Option<Watched>>,
    delivery: Delivery,
    own_pid: Option<u32>,
    source: Source,
    ids: Ids,
    recorder: Option<Recorder>,
    logs: Arc<Logs>,
    holding: Holding,
    /// What was written from one end of a connection alone.
    from_one_end: joining::OneEnded,
    corrections: Corrections,
    incidents: Incidents,
    /// What was judged and is not written yet.
    staging: Staging,
    /// Ends of this process's own connections to Kafka.
    own: LruCache<Endpoint, ()>,
    counter: Counter,
    lost: u64,
    /// Resets, closes and timeouts that were not written.
    unshown: u64,
    kernel: KernelLosses,
    repeats: Repeats,
}

/// What the kernel side has lost since the start; see [`Loss::source`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelLosses {
    /// Records that found no room in the ring buffer.
    pub records: u64,
    /// Calls of a program that the kernel skipped: an upper bound.
    pub skipped: u64,
    /// Connections that are not tracked.
    pub untracked: u64,
    /// Connections whose end no program saw. Not lost: each is an event.
    pub unobserved: u64,
}

impl KernelLosses {
    /// The increase since `before`, by [`Loss::source`].
    fn since(self, before: Self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("kernel", self.records, before.records),
            ("kernel_skipped", self.skipped, before.skipped),
            ("kernel_untracked", self.untracked, before.untracked),
        ]
        .into_iter()
        .map(|(source, now, before)| (source, now.saturating_sub(before)))
        .filter(|(_, fresh)| *fresh > 0)
    }
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("holding", &self.holding)
            .finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Puts one together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            decoder,
            config,
            enricher,
            filter,
            limiter,
            count,
            host,
            ports,
            addresses,
            connections,
            delivery,
            recorder,
            own_pid,
            source,
        } = parts;
        Self {
            decoder,
            classifier: Classifier::new(config),
            enricher,
            filter,
            limiter,
            left: count.map(NonZeroU64::get),
            host,
            ports: ports.list(),
            traced: ports,
            addresses,
            connections,
            delivery,
            own_pid,
            source,
            ids: Ids::of_this_run(),
            recorder,
            logs: Arc::default(),
            holding: Holding::default(),
            from_one_end: joining::OneEnded::default(),
            corrections: Corrections::default(),
            incidents: Incidents::default(),
            staging: Staging::default(),
            own: LruCache::new(OWN_ENDS),
            counter: Counter::default(),
            lost: 0,
            unshown: 0,
            kernel: KernelLosses::default(),
            repeats: Repeats::default(),
        }
    }

    /// Takes one record of the ring.
    ///
    /// # Errors
    ///
    /// If the file of `--record` cannot be written.
    pub fn take(&mut self, bytes: &[u8], clocks: Clocks) -> Result<(), SinkError> {
        if let Some(decoded) = self.decoder.process(bytes) {
            return self.take_process(bytes, decoded, clocks);
        }
        let decoded = self.decoder.decode(bytes);
        if let Ok(facts) = &decoded
            && let Some((process, load)) = self.enricher.read_load(facts, clocks.now_ns)
            && let Some(recorder) = &mut self.recorder
        {
            recorder.load(process, load, clocks);
        }
        if let Some(recorder) = &mut self.recorder {
            let id = decoded
                .as_ref()
                .ok()
                .and_then(|facts| facts.owner.cgroup_id);
            let path = id.and_then(|id| Some((id, self.enricher.cgroup(id)?)));
            recorder.take(bytes, clocks, path).map_err(unrecorded)?;
        }
        let Ok(mut facts) = decoded else {
            // Only BPF programs of another build write such records.
            self.record_repeated_loss("decoder", 1, clocks);
            return Ok(());
        };
        facts.load.host = self.enricher.load(&facts);
        if self.own_pid.is_some() && facts.owner.pid == self.own_pid {
            self.own.put(facts.local, ());
        }
        self.classifier.observe(&facts);
        self.incidents.observe(&facts);
        for written in self.corrections.affected_by(&facts) {
            self.correct(written, clocks);
        }
        if facts.by_exit {
            self.enricher.remember(&facts.owner);
        }
        if let Some(facts) = self.holding.admit(facts) {
            self.judge(&facts, clocks);
        }
        Ok(())
    }

    /// Takes a record about a process.
    fn take_process(
        &mut self,
        bytes: &[u8],
        decoded: Result<ProcessFacts, DecodeError>,
        clocks: Clocks,
    ) -> Result<(), SinkError> {
        let sender = decoded.as_ref().ok().and_then(ProcessFacts::sender);
        let cgroup = sender
            .and_then(|sender| sender.cgroup_id)
            .and_then(|id| Some((id, self.enricher.cgroup(id)?)));
        if let Some(recorder) = &mut self.recorder {
            recorder
                .take(bytes, clocks, cgroup.clone())
                .map_err(unrecorded)?;
        }
        let Ok(mut facts) = decoded else {
            self.record_repeated_loss("decoder", 1, clocks);
            return Ok(());
        };
        facts.set_cgroup_of_sender(cgroup.map(|(_, path)| path));
        self.classifier.observe_process(&facts);
        if let Some(memory) = self.enricher.memory(&facts) {
            if let Some(recorder) = &mut self.recorder {
                recorder.memory(facts.process, &memory, clocks);
            }
            self.add_memory(facts.process, &memory);
        }
        Ok(())
    }

    /// Adds what the host showed of a process's memory.
    pub fn add_memory(&mut self, process: ProcessId, memory: &Memory) {
        self.classifier.observe_memory(process, memory);
    }

    /// Adds what the host showed of how busy a process is.
    pub fn add_load(&mut self, process: ProcessId, load: HostLoad, clocks: Clocks) {
        self.enricher.observe_load(process, load, clocks.now_ns);
    }

    /// When the next held event is to be released; monotonic ns. Those that are due
    /// within a turn of each other are released together, and those that can wait
    /// `while_turning` at its end.
    #[must_use]
    pub fn due_ns(&self, while_turning: bool) -> Option<u64> {
        let turn_ns = TURN.as_nanos() as u64;
        self.holding
            .due_ns(while_turning)
            .map(|due| due.div_ceil(turn_ns).saturating_mul(turn_ns))
    }

    /// Judges the held events that are due by `until_ns`.
    pub fn release(&mut self, until_ns: u64, clocks: Clocks) {
        let is_due = |due: u64| due <= until_ns;
        if let Some(recorder) = &mut self.recorder
            && (!self.staging.is_empty() || self.holding.due_ns(false).is_some_and(is_due))
        {
            recorder.release(until_ns, clocks);
        }
        loop {
            let classifier = &mut self.classifier;
            let next = self
                .holding
                .next_to_judge(until_ns, |facts| classifier.may_yet_learn(facts));
            let Some(facts) = next else {
                break;
            };
            self.judge(&facts, clocks);
        }
        self.write_staged(clocks);
    }

    /// Writes an alert for each path on which a pattern began or ended.
    pub fn alert(&mut self, clocks: Clocks) {
        let turns = self.classifier.turns(clocks.now_ns);
        let is_over = self.incidents.are_over(clocks.now_ns);
        if let Some(recorder) = &mut self.recorder
            && (!turns.is_empty() || is_over)
        {
            recorder.alert(clocks);
        }
        for (turn, path) in turns {
            let event = alert(&turn, &path, &self.host, clocks.monotonic);
            if self.filter.concerns(&event) {
                self.write(event);
            }
        }
        for snapshot in self.incidents.take_over(clocks.now_ns) {
            self.write_incident(snapshot, clocks);
        }
    }

    /// The ports of this host that refuse connections, each with its network namespace: to
    /// be asked whether they listen again.
    #[must_use]
    pub fn refusing_here(&self, now_ns: u64) -> Vec<(Place, u32)> {
        self.incidents.refusing_here(now_ns).collect()
    }

    /// Whether a socket has begun to listen on a port that refused, by how many listen now on
    /// any address.
    pub fn listens_since(&mut self, place: Place, netns: u32, listeners: u32) -> bool {
        self.incidents.listens_since(place, netns, listeners)
    }

    /// A socket of this host listens on a port that refused.
    pub fn listens(&mut self, place: Place, netns: u32, clocks: Clocks) {
        if let Some(recorder) = &mut self.recorder {
            let Endpoint { address, port } = place.broker;
            recorder.listens(SocketAddr::new(address, port), netns, clocks);
        }
        self.incidents.listens(place, clocks.now_ns);
    }

    /// Writes what is known of the incidents that are not over: the run ends.
    pub fn end_incidents(&mut self, clocks: Clocks) {
        for snapshot in self.incidents.finish() {
            self.write_incident(snapshot, clocks);
        }
    }

    /// As [`Pipeline::flush`], and waits until the sinks have room again, for at
    /// most `longest`. For use after detaching.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::flush`].
    pub fn flush_and_settle(&mut self, longest: Duration) -> Result<(), SinkError> {
        self.flush()?;
        self.delivery.settle(longest);
        Ok(())
    }

    /// Hands the events of this turn to the sinks, and flushes the file of
    /// `--record`.
    ///
    /// # Errors
    ///
    /// If that file cannot be written.
    pub fn flush(&mut self) -> Result<(), SinkError> {
        self.delivery.flush();
        match &mut self.recorder {
            Some(recorder) => recorder.flush().map_err(unrecorded),
            None => Ok(()),
        }
    }

    /// Reports the increase of the kernel side's loss counts.
    pub fn kernel_lost(&mut self, now: KernelLosses, clocks: Clocks) {
        let before = std::mem::replace(&mut self.kernel, now);
        for (source, fresh) in now.since(before) {
            if let Some(recorder) = &mut self.recorder {
                recorder.loss(source, fresh, clocks);
            }
            self.repeats.add(source, fresh);
        }
        self.report_repeats(clocks);
    }

    /// Reports that so much was lost where strangers, or a fault, can cause it again and
    /// again: at once, or with the rest of this minute.
    pub fn record_repeated_loss(&mut self, source: &str, lost: u64, clocks: Clocks) {
        self.repeats.add(source, lost);
        self.report_repeats(clocks);
    }

    fn report_repeats(&mut self, clocks: Clocks) {
        for (source, lost) in self.repeats.take_due(clocks.now_ns) {
            self.record_loss(&source, lost, clocks);
        }
    }

    /// Reports what sinks have lost: of each at once, or with the rest of this minute. Until
    /// then it counts as unreported, so that the next run reports it should this one be killed.
    pub fn sinks_lost(&mut self, clocks: Clocks) {
        let repeats = &self.repeats;
        let is_due = |name: &str| repeats.is_due(&source_of(name), clocks.now_ns);
        let due = self.delivery.take_losses(is_due);
        self.add_losses(due);
        self.report_repeats(clocks);
    }

    /// Adds what sinks have lost to what is to be reported.
    fn add_losses(&mut self, losses: Vec<(String, u64)>) {
        for (name, count) in losses {
            self.repeats.add(&source_of(&name), count);
        }
    }

    /// Reports the events that were not written since the last call, as one.
    pub fn limited(&mut self, clocks: Clocks) {
        let Suppressed { count, brokers } = self.limiter.take_suppressed();
        if count > 0 {
            self.record_loss_of("limiter", count, brokers, clocks);
        }
    }

    /// Reports that so much was lost in one place.
    pub fn record_loss(&mut self, source: &str, lost: u64, clocks: Clocks) {
        self.record_loss_of(source, lost, Vec::new(), clocks);
    }

    fn record_loss_of(
        &mut self,
        source: &str,
        lost: u64,
        brokers: Vec<BrokerLoss>,
        clocks: Clocks,
    ) {
        self.lost += lost;
        self.write(Event::Loss(Loss {
            time: clocks.monotonic.timestamp(clocks.now_ns).into(),
            host: self.host.clone(),
            source: source.to_owned(),
            lost,
            total: self.lost,
            by_broker: brokers,
        }));
    }

    /// Writes an event about the run itself.
    pub fn write(&mut self, event: Event) {
        self.counter.count(&event);
        self.hand_on(event);
    }

    /// Writes the counts so far, and this host's coverage.
    pub fn summarize(&mut self, attached: Duration, end: bool, clocks: Clocks) {
        self.limited(clocks);
        // The counts of a summary are those of the events before it.
        self.add_losses(self.delivery.take_losses(|_| true));
        for (source, lost) in self.repeats.take_all(clocks.now_ns) {
            self.record_loss(&source, lost, clocks);
        }
        let time = Time(clocks.monotonic.timestamp(clocks.now_ns));
        let mut summary = self.counter.summary(time, self.host.clone(), attached, end);
        summary.coverage = Coverage {
            ports: self.ports.clone(),
            watched: self.connections.get(Duration::ZERO),
            // At the end of a short run they may not have been read yet.
            addresses: self
                .addresses
                .get(if end { FIRST_READ } else { Duration::ZERO }),
            kernel_lost: self.kernel.records,
            kernel_skipped: self.kernel.skipped,
            kernel_untracked: self.kernel.untracked,
            unobserved: self.kernel.unobserved,
            forgotten: self.classifier.evicted() + self.incidents.evicted(),
            unshown: self.unshown,
            sinks: self
                .delivery
                .statuses()
                .map(|(name, status)| (name.to_owned(), SinkCoverage::from(status.snapshot())))
                .collect(),
        };
        self.addresses.refresh();
        self.connections.refresh();
        self.hand_on(Event::Summary(Box::new(summary)));
    }

    /// Shows the state of the run where text is updated in place.
    pub fn glance(&mut self, attached: Duration) {
        let glance = Glance {
            attached,
            ports: self.ports.clone(),
            watched: self.connections.get(Duration::ZERO),
            events: self.counter.events(),
        };
        self.connections.refresh();
        self.delivery.glance(&glance);
    }

    fn hand_on(&mut self, event: Event) -> Id {
        let id = self.ids.next_id();
        self.delivery.add(&Arc::new(Message { id, event }));
        id
    }

    /// Where events go.
    #[must_use]
    pub const fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// Where events go, to change it.
    pub const fn delivery_mut(&mut self) -> &mut Delivery {
        &mut self.delivery
    }

    /// Sets what brokers and clients wrote about their connections.
    pub fn set_logs(&mut self, logs: Arc<Logs>) {
        self.logs = logs;
    }

    /// Adds the path of a cgroup from a recording.
    pub fn add_cgroup(&mut self, id: u64, path: SmolStr) {
        self.enricher.add_cgroup(id, path);
    }

    /// Ends, and gives back where events go.
    #[must_use]
    pub fn into_delivery(self) -> Delivery {
        self.delivery
    }

    /// Changes what is shown, and the settings of the classifier.
    pub fn reconfigure(
        &mut self,
        filter: Filter,
        naming: Naming,
        event_limit: Option<NonZeroU32>,
        config: Config,
    ) {
        self.enricher.rename(naming);
        self.filter = filter;
        self.limiter.set(event_limit);
        self.classifier.reconfigure(config);
    }

    /// Whether `--count` events were shown.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// Whether it is about this process's own connections, from either end: each
    /// such event would create another one for a Kafka sink to deliver.
    fn is_own(&self, facts: &Facts) -> bool {
        let ends = std::iter::once(facts).chain(facts.other_end.as_deref());
        self.own_pid.is_some()
            && ends
                .into_iter()
                .any(|facts| facts.owner.pid == self.own_pid || self.own.contains(&facts.remote))
    }

    /// Whether a client of another service got one of the traced ports for its own end, as where
    /// that is among the kernel's ephemeral ports: its server is no broker. A recording has what was
    /// traced when it was made.
    fn is_of_another_service(&self, facts: &Facts) -> bool {
        self.source == Source::Live
            && facts.role == Role::Client
            && !self.traced.contains(facts.remote.port)
    }

    /// The facts with what brokers and clients wrote about the connection; `None` if they
    /// wrote nothing.
    fn with_logs(&self, facts: &Facts, clocks: Clocks) -> Option<Facts> {
        if self.logs.is_empty() {
            return None;
        }
        let at = clocks.monotonic.timestamp(facts.at_ns).as_nanosecond();
        let at_ns = i64::try_from(at).ok()?;
        let Logs { brokers, clients } = &*self.logs;
        let broker_log = brokers.about(facts.client(), facts.broker(), at_ns);
        let names = facts.packets.as_ref().map(PacketFacts::client_names);
        let client_log = clients.about(About {
            role: facts.role,
            broker: facts.broker(),
            client: names.as_ref().and_then(|names| names.id.as_deref()),
            at_ns,
        });
        (broker_log.is_some() || client_log.is_some()).then(|| Facts {
            broker_log: broker_log.cloned(),
            client_log: client_log.cloned(),
            ..facts.clone()
        })
    }

    fn judge(&mut self, facts: &Facts, clocks: Clocks) {
        if self.is_done() {
            return;
        }
        if self.is_own(facts) || self.is_of_another_service(facts) || self.from_one_end.has(facts) {
            self.unshown += 1;
            return;
        }
        let with_logs = self.with_logs(facts, clocks);
        let facts = with_logs.as_ref().unwrap_or(facts);
        let Some((judgement, context)) = self.classifier.judge(facts) else {
            // The other end may have closed in the middle of what this one had ended.
            if let Some(other) = facts.other_end.as_deref().filter(|it| it.is_close()) {
                self.judge(other, clocks);
            } else if facts.kreset_probe().is_none() && self.concerns(facts) {
                // It may be part of an incident all the same.
                let name = self.enricher.client_name(facts);
                let end = if facts.kind == Kind::GaveUp {
                    End::gave_up(facts, self.classifier.process_end(facts).as_ref(), name)
                } else {
                    End::of(facts, None, name)
                };
                let _not_an_event = self.incidents.take(&end);
            }
            return;
        };
        let names = self.enricher.names(facts, clocks.boot);
        let mut end = End::of(facts, Some(&judgement), None);
        let event = report(
            facts,
            judgement,
            &context.path,
            &self.host,
            names,
            self.source,
            clocks.monotonic,
        );
        if !self.filter.concerns(&event) {
            self.unshown += 1;
            return;
        }
        self.counter.count(&event);
        let taken = event.finding().filter(|it| !it.is_noise()).map(|finding| {
            end.client.name = finding.client_name().map(SmolStr::from);
            self.incidents.take(&end)
        });
        if !self.filter.wants(&event) {
            self.unshown += 1;
            return;
        }
        if let Some(finding) = event.finding()
            && !self.limiter.admits(finding, clocks.now_ns)
        {
            return;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        let is_open = |finding: &Finding| corrections::is_open(facts, &context.concurrent, finding);
        let open = event.finding().is_some_and(is_open).then(|| facts.clone());
        self.from_one_end.add(facts);
        self.staging.add(Staged { event, taken, open });
    }

    /// Whether a connection is one of those that are shown.
    fn concerns(&self, facts: &Facts) -> bool {
        let is_here = |role| {
            let mut ends = std::iter::once(facts).chain(facts.other_end.as_deref());
            ends.any(|end| end.role == role)
        };
        self.filter
            .concerns_connection(is_here, facts.client(), facts.broker())
    }

    /// Writes what was judged: first the incidents that it makes, then what is part of them.
    fn write_staged(&mut self, clocks: Clocks) {
        for snapshot in self.incidents.take_begun() {
            self.write_incident(snapshot, clocks);
        }
        for (number, members) in self.incidents.take_grown() {
            self.staging.join(number, &members);
        }
        for staged in self.staging.take() {
            let Staged {
                mut event,
                taken,
                open,
            } = staged;
            let incident_id = taken.and_then(|taken| self.staging.incident_of(taken));
            if let Some(finding) = event.finding_mut() {
                finding.incident_id = incident_id;
            }
            let finding = open.and_then(|facts| Some((facts, event.finding()?.clone())));
            let id = self.hand_on(event);
            if let Some(taken) = taken.filter(|_| incident_id.is_none()) {
                self.staging.wrote(taken.member, id);
            }
            if let Some((facts, finding)) = finding {
                self.corrections.add(Correctable { facts, id, finding });
            }
        }
    }

    /// Writes what is known of an incident.
    fn write_incident(&mut self, snapshot: Snapshot, clocks: Clocks) {
        let brokers: Vec<_> = snapshot.places.iter().map(|place| place.broker).collect();
        if !self
            .filter
            .concerns_incident(snapshot.verdict, snapshot.role, &brokers)
        {
            return;
        }
        let number = snapshot.number;
        let id = self.ids.next_id();
        let begun = if snapshot.is_end {
            self.staging.begun(number)
        } else {
            Some(self.staging.begin(number, id, &snapshot.earlier))
        };
        let Some((incident_id, earlier)) = begun else {
            return;
        };
        let first = snapshot.roll.map_or(number, |roll| roll.first);
        let ids = IncidentIds {
            id: incident_id,
            roll: self.staging.begun(first).map_or(incident_id, |(id, _)| id),
            earlier,
        };
        let clients = snapshot.who.iter().map(|(client, _)| client.address);
        let brokers = brokers.iter().map(|broker| broker.address);
        let named_hosts = self.enricher.named_hosts(brokers.chain(clients));
        let event = incident(
            snapshot,
            ids,
            named_hosts,
            &self.host,
            self.source,
            clocks.monotonic,
            clocks.now_ns,
        );
        self.delivery.add(&Arc::new(Message { id, event }));
    }

    /// Writes what is to be said now of an event that was written, if that is something else.
    fn correct(&mut self, written: Correctable, clocks: Clocks) {
        let Correctable { facts, id, finding } = written;
        let (judgement, context) = self.classifier.judge_again(&facts);
        if (judgement.verdict, judgement.cause) == (finding.verdict, finding.cause) {
            return;
        }
        self.write_staged(clocks);
        let was = finding.said();
        let pattern = finding.path.pattern;
        let incident_id = finding.incident_id.or_else(|| {
            let number = self
                .incidents
                .of(&End::of(&facts, Some(&judgement), None))?;
            self.staging.begun(number).map(|(id, _)| id)
        });
        let event = report(
            &facts,
            judgement,
            &context.path,
            &self.host,
            Names {
                process: finding.process,
                other_process: finding
                    .other_end
                    .map_or_else(Process::default, |other| other.process),
                client: finding.client.into(),
                hosts: finding.host_names.map(|names| *names),
            },
            self.source,
            clocks.monotonic,
        );
        let Some(mut finding) = event.finding().cloned() else {
            return;
        };
        finding.path.pattern = pattern;
        finding.incident_id = incident_id;
        self.hand_on(Event::Correction(Box::new(Correction {
            corrects: id,
            was,
            finding,
        })));
    }
}

/// The source of what a sink loses: see [`Loss::source`].
fn source_of(sink: &str) -> String {
    format!("sink {sink}")
}

fn unrecorded(source: std::io::Error) -> SinkError {
    SinkError::Write {
        path: "the file of --record".to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::{KernelLosses, MANY, TOO_MANY, TURN, TURN_OF_MANY, Turns};
    use std::time::Duration;

    #[test]
    fn each_loss_of_the_kernel_is_reported_once_under_its_own_name() {
        let before = KernelLosses {
            records: 5,
            skipped: 1,
            untracked: 0,
            unobserved: 0,
        };
        let now = KernelLosses {
            records: 7,
            skipped: 1,
            untracked: 3,
            unobserved: 4,
        };
        let reported: Vec<_> = now.since(before).collect();
        assert_eq!(reported, [("kernel", 2), ("kernel_untracked", 3)]);
        assert_eq!(now.since(now).count(), 0);
    }

    #[test]
    fn events_gather_for_longer_where_a_turn_brings_many_and_the_ring_has_room() {
        let after = |taken| Turns::default().after(taken);
        assert_eq!(after(0), None);
        assert_eq!(after(1), Some(TURN));
        assert_eq!(after(MANY), Some(TURN_OF_MANY));
        assert_eq!(after(TOO_MANY), Some(TURN_OF_MANY));
        assert_eq!(after(TOO_MANY + 1), Some(TURN));
    }

    #[test]
    fn what_follows_a_full_batch_belongs_to_its_turn() {
        let mut turns = Turns::default();
        assert_eq!(turns.after(Turns::BATCH), Some(Duration::ZERO));
        assert_eq!(turns.after(MANY), Some(TURN));
        assert_eq!(turns.after(MANY), Some(TURN_OF_MANY));
        assert_eq!(turns.after(Turns::BATCH), Some(Duration::ZERO));
        assert_eq!(turns.after(0), Some(TURN));
        assert_eq!(turns.after(0), None);
    }
}
