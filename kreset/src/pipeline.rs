//! The whole way of the data, on one screen: bytes of the ring -> facts ->
//! (a moment's wait for company) -> judgement -> event -> sink.

use std::{num::NonZeroU64, time::Duration};

use crate::{
    classify::{Case, Classifier, Config},
    clock::WallClock,
    enrich::Enricher,
    event::{Event, Host, Loss},
    facts::{Decoder, Facts},
    filter::Filter,
    recording::Recorder,
    report::{alert, report},
    sink::{Sink, SinkError},
    summary::Counter,
    waiting::Waiting,
};

/// Kernel clocks against the wall's, sampled together.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// `CLOCK_MONOTONIC`: the clock of records.
    pub monotonic: WallClock,
    /// `CLOCK_BOOTTIME`: the clock of process starts.
    pub boot: WallClock,
    /// `CLOCK_MONOTONIC` now, ns.
    pub now_ns: u64,
}

/// What a pipeline is made of.
pub struct Parts {
    /// Bytes to facts.
    pub decoder: Decoder,
    /// What the operator told the classifier.
    pub config: Config,
    /// Names of things.
    pub enricher: Enricher,
    /// What is shown.
    pub filter: Filter,
    /// Events shown before the run ends.
    pub count: Option<NonZeroU64>,
    /// This host.
    pub host: Host,
    /// Where events go.
    pub sink: Box<dyn Sink>,
    /// Where records are kept as well.
    pub recorder: Option<Recorder>,
}

/// From records to sinks.
pub struct Pipeline {
    decoder: Decoder,
    classifier: Classifier,
    enricher: Enricher,
    filter: Filter,
    left: Option<u64>,
    host: Host,
    sink: Box<dyn Sink>,
    recorder: Option<Recorder>,
    waiting: Waiting,
    counter: Counter,
    lost: u64,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("waiting", &self.waiting)
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
            count,
            host,
            sink,
            recorder,
        } = parts;
        Self {
            decoder,
            classifier: Classifier::new(config),
            enricher,
            filter,
            left: count.map(NonZeroU64::get),
            host,
            sink,
            recorder,
            waiting: Waiting::default(),
            counter: Counter::default(),
            lost: 0,
        }
    }

    /// Takes one record of the ring.
    ///
    /// # Errors
    ///
    /// If an event cannot be written.
    pub fn take(&mut self, bytes: &[u8], clocks: Clocks) -> Result<(), SinkError> {
        if let Some(recorder) = &mut self.recorder {
            recorder.add(bytes).map_err(unrecorded)?;
        }
        let Ok(facts) = self.decoder.decode(bytes) else {
            // Only a kernel side of another build writes such records.
            return self.lose("decoder", 1, clocks);
        };
        self.classifier.observe(&facts);
        match self.waiting.admit(facts) {
            Some(facts) => self.judge(&facts, clocks),
            None => Ok(()),
        }
    }

    /// When the first waiting event is due; monotonic ns.
    #[must_use]
    pub fn due_ns(&self) -> Option<u64> {
        self.waiting.due_ns()
    }

    /// Judges the waiting events that are due by `until_ns`.
    ///
    /// # Errors
    ///
    /// If an event cannot be written.
    pub fn release(&mut self, until_ns: u64, clocks: Clocks) -> Result<(), SinkError> {
        while let Some(facts) = self.waiting.next_due(until_ns) {
            self.judge(&facts, clocks)?;
        }
        Ok(())
    }

    /// Tells the paths that turned into a lasting pattern, or out of it.
    ///
    /// # Errors
    ///
    /// If an alert cannot be written.
    pub fn alert(&mut self, clocks: Clocks) -> Result<(), SinkError> {
        for (turn, path) in self.classifier.turns(clocks.now_ns) {
            let event = alert(&turn, &path, &self.host, clocks.monotonic);
            self.write(&event)?;
        }
        Ok(())
    }

    /// Takes in the kernel's count of lost records.
    ///
    /// # Errors
    ///
    /// If the `loss` event cannot be written.
    pub fn kernel_lost(&mut self, total: u64, clocks: Clocks) -> Result<(), SinkError> {
        let fresh = total.saturating_sub(self.lost);
        if fresh == 0 {
            return Ok(());
        }
        self.lose("kernel", fresh, clocks)
    }

    fn lose(&mut self, source: &str, lost: u64, clocks: Clocks) -> Result<(), SinkError> {
        self.lost += lost;
        let event = Event::Loss(Loss {
            time: clocks.monotonic.rfc3339(clocks.now_ns),
            host: self.host.clone(),
            source: source.to_owned(),
            lost,
            total: self.lost,
        });
        self.write(&event)
    }

    /// Writes an event about the run itself.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&mut self, event: &Event) -> Result<(), SinkError> {
        self.counter.count(event);
        self.sink.write(event)
    }

    /// Writes the counts so far.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn summarize(
        &mut self,
        attached: Duration,
        end: bool,
        clocks: Clocks,
    ) -> Result<(), SinkError> {
        let time = clocks.monotonic.rfc3339(clocks.now_ns);
        let summary = self.counter.summary(time, self.host.clone(), attached, end);
        self.sink.write(&Event::Summary(Box::new(summary)))
    }

    /// Hands on what was written.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn flush(&mut self) -> Result<(), SinkError> {
        if let Some(recorder) = &mut self.recorder {
            recorder.flush().map_err(unrecorded)?;
        }
        self.sink.flush()
    }

    /// As many events were shown as were asked for.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    fn judge(&mut self, facts: &Facts, clocks: Clocks) -> Result<(), SinkError> {
        if self.is_done() {
            return Ok(());
        }
        let Some((judgement, context)) = self.classifier.judge(facts) else {
            return Ok(());
        };
        let case = Case::new(facts, &context, self.classifier.config());
        let process = self.enricher.process(facts, clocks.boot);
        let event = report(
            facts,
            &judgement,
            &case,
            &self.host,
            process,
            clocks.monotonic,
        );
        if !self.filter.concerns(&event) {
            return Ok(());
        }
        self.counter.count(&event);
        if !self.filter.wants(&event) {
            return Ok(());
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        self.sink.write(&event)
    }
}

fn unrecorded(source: std::io::Error) -> SinkError {
    SinkError::Write {
        place: "the file of --record".to_owned(),
        source,
    }
}
