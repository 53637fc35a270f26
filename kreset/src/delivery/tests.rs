use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
        mpsc::Sender,
    },
};

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::{
    delivery::spool::{Entry, LEAST_BYTES},
    event::{Host, Id, Loss, Start, samples},
    run::summary::Counter,
    sink::Json,
};

const TIME: &str = "2026-11-23T14:22:07.123456789Z";

fn host() -> Host {
    Host { name: "h".into() }
}

fn message(number: u64, event: Event) -> Arc<Message> {
    let id = Id::from(&format!("b-r-{number:x}")).unwrap();
    Arc::new(Message { id, event })
}

/// A distinct event: its `seeded` is `number`.
fn numbered(number: u64) -> Arc<Message> {
    let start = Start {
        time: samples::time(TIME),
        host: host(),
        version: "1".into(),
        kernel: String::new(),
        ports: Vec::new(),
        watched: None,
        packet_evidence: "off".into(),
        seeded: number,
        attach_ms: 0.0,
        degraded: Vec::new(),
    };
    message(number, Event::Start(Box::new(start)))
}

fn loss(number: u64, source: &str, lost: u64) -> Arc<Message> {
    let loss = Loss {
        time: samples::time(TIME),
        host: host(),
        source: source.to_owned(),
        lost,
        total: number,
        by_broker: Vec::new(),
    };
    message(number, Event::Loss(loss))
}

fn number(payload: &[u8]) -> u64 {
    serde_json::from_slice::<Value>(payload).unwrap()["seeded"]
        .as_u64()
        .unwrap()
}

type Answer = Result<Handed, RemoteError>;

/// A receiver that does what a test says, and keeps what it took.
struct Scripted<F> {
    seen: Seen,
    answer: F,
}

impl<F: FnMut(&[u64]) -> Answer + Send> Remote for Scripted<F> {
    fn send(&mut self, batch: &[Entry]) -> Answer {
        let numbers: Vec<_> = batch.iter().map(|entry| number(&entry.payload)).collect();
        let answer = (self.answer)(&numbers);
        if answer.is_ok() {
            self.seen.taken.lock().unwrap().extend(numbers);
        }
        answer
    }

    fn check(&mut self) -> Result<usize, RemoteError> {
        let broken = std::mem::take(&mut *self.seen.broken.lock().unwrap());
        let outstanding = *self.seen.outstanding.lock().unwrap();
        if broken { Err(gone()) } else { Ok(outstanding) }
    }
}

fn gone() -> RemoteError {
    RemoteError::Unavailable("gone".to_owned())
}

/// What a scripted receiver took, whether its connection broke, and how many of
/// the latest batches its host does not have.
#[derive(Clone, Default)]
struct Seen {
    taken: Arc<Mutex<Vec<u64>>>,
    broken: Arc<Mutex<bool>>,
    outstanding: Arc<Mutex<usize>>,
}

const CONFIRMS: fn(&[u64]) -> Answer = |_| Ok(Handed::Confirmed);
const IS_DOWN: fn(&[u64]) -> Answer = |_| Err(gone());

/// Rejects each batch in which one of these is.
fn refuses(batch: &[u64], is_bad: impl Fn(u64) -> bool) -> Answer {
    if batch.iter().any(|number| is_bad(*number)) {
        Err(RemoteError::Refused("no".to_owned()))
    } else {
        Ok(Handed::Confirmed)
    }
}

/// The directory of a spool, and what its receiver has seen.
struct Receiver {
    directory: TempDir,
    seen: Seen,
}

impl Receiver {
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            seen: Seen::default(),
        }
    }

    fn numbers(&self) -> Vec<u64> {
        self.seen.taken.lock().unwrap().clone()
    }

    fn distinct(&self) -> BTreeSet<u64> {
        self.numbers().into_iter().collect()
    }

    fn start(&self, answer: impl FnMut(&[u64]) -> Answer + Send + 'static) -> Delivery {
        self.start_in(self.directory.path(), u64::MAX, answer)
    }

    fn start_in(
        &self,
        directory: &Path,
        limit: u64,
        answer: impl FnMut(&[u64]) -> Answer + Send + 'static,
    ) -> Delivery {
        let mut delivery = Delivery::default();
        let sink = Sink::Remote {
            encoder: Box::new(Json),
            remote: Box::new(Scripted {
                seen: self.seen.clone(),
                answer,
            }),
            spool: Box::new(SpoolSlot::open(directory, limit).unwrap()),
        };
        delivery.start("siem", SinkFilter::default(), sink).unwrap();
        delivery
    }
}

fn snapshot(delivery: &Delivery) -> Snapshot {
    delivery.statuses().next().unwrap().1.snapshot()
}

/// Waits for something that is to happen soon.
fn soon(what: &str, mut happened: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !happened() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn end(mut delivery: Delivery, within: Duration) {
    delivery.close();
    delivery.stop_at(Instant::now() + within);
    soon("the sinks end", || delivery.has_ended());
}

#[test]
fn a_stalled_receiver_delays_no_event_and_loses_none() {
    let receiver = Receiver::new();
    let (release, stalled) = channel::<()>();
    let mut held = Some(stalled);
    let mut delivery = receiver.start(move |_| {
        if let Some(stalled) = held.take() {
            let _released = stalled.recv();
        }
        Ok(Handed::Confirmed)
    });
    for burst in 0..10 {
        // Were it to wait for the receiver, it would never end.
        for number in 0..1_000 {
            delivery.offer(&numbered(burst * 1_000 + number));
        }
        assert!(delivery.settle(Duration::from_secs(30)));
    }
    assert!(receiver.numbers().is_empty());
    assert_eq!(snapshot(&delivery).waiting, 10_000);
    drop(release);
    soon("all arrive", || snapshot(&delivery).waiting == 0);
    assert_eq!(receiver.numbers(), (0..10_000).collect::<Vec<_>>());
    assert_eq!(snapshot(&delivery).lost, 0);
    end(delivery, Duration::from_secs(5));
}

#[test]
fn a_lone_event_goes_out_without_another_behind_it() {
    let receiver = Receiver::new();
    let mut delivery = receiver.start(CONFIRMS);
    for number in 0..20 {
        delivery.offer(&numbered(number));
        soon("it arrives", || receiver.numbers().len() as u64 > number);
    }
    end(delivery, Duration::from_secs(5));
}

#[test]
fn a_receiver_that_fails_now_and_then_gets_every_event_in_order() {
    let receiver = Receiver::new();
    let mut tries = 0;
    let mut delivery = receiver.start(move |_| {
        tries += 1;
        if tries % 3 == 0 {
            Err(gone())
        } else {
            Ok(Handed::Confirmed)
        }
    });
    for number in 0..3_000 {
        delivery.offer(&numbered(number));
        if number % 500 == 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }
    soon("all arrive", || receiver.numbers().len() == 3_000);
    assert_eq!(receiver.numbers(), (0..3_000).collect::<Vec<_>>());
    end(delivery, Duration::from_secs(5));
}

#[test]
fn what_was_not_delivered_is_delivered_by_the_next_run() {
    let receiver = Receiver::new();
    let mut down = receiver.start(IS_DOWN);
    (0..500).for_each(|number| down.offer(&numbered(number)));
    assert!(down.settle(Duration::from_secs(30)));
    end(down, Duration::from_millis(200));
    let mut up = receiver.start(CONFIRMS);
    (500..600).for_each(|number| up.offer(&numbered(number)));
    soon("all arrive", || receiver.numbers().len() == 600);
    assert_eq!(receiver.numbers(), (0..600).collect::<Vec<_>>());
    end(up, Duration::from_secs(5));
}

#[test]
fn a_refused_event_is_found_left_out_and_counted() {
    let receiver = Receiver::new();
    let bad = [13, 14, 300];
    let mut delivery = receiver.start(move |batch| refuses(batch, |it| bad.contains(&it)));
    (0..400).for_each(|number| delivery.offer(&numbered(number)));
    soon("the rest arrives", || snapshot(&delivery).waiting == 0);
    let expected: Vec<_> = (0..400).filter(|it| !bad.contains(it)).collect();
    assert_eq!(receiver.numbers(), expected);
    assert_eq!(delivery.take_losses(|_| true), [("siem".to_owned(), 3)]);
    assert!(delivery.take_losses(|_| true).is_empty());
    end(delivery, Duration::from_secs(5));
}

/// A port that expects TLS answers HTTP 400 to everything, and emptied a spool.
#[test]
fn a_receiver_that_rejects_everything_gets_everything_once_it_is_one() {
    let receiver = Receiver::new();
    let fixed = Arc::new(AtomicBool::new(false));
    let (tries, is_fixed) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&fixed));
    let answers = Arc::clone(&tries);
    let mut delivery = receiver.start(move |_| {
        answers.fetch_add(1, Relaxed);
        if is_fixed.load(Relaxed) {
            Ok(Handed::Confirmed)
        } else {
            Err(RemoteError::Refused("HTTP 400".to_owned()))
        }
    });
    (0..1_000).for_each(|number| delivery.offer(&numbered(number)));
    soon("it tries again and again", || tries.load(Relaxed) > 100);
    let now = snapshot(&delivery);
    assert_eq!((now.waiting, now.lost), (1_000, 0));
    let (_, status) = delivery.statuses().next().unwrap();
    assert_eq!(status.state(), SinkState::Failing);
    fixed.store(true, Relaxed);
    soon("all arrive", || snapshot(&delivery).waiting == 0);
    assert_eq!(receiver.distinct(), (0..1_000).collect());
    assert_eq!(snapshot(&delivery).lost, 0);
    end(delivery, Duration::from_secs(5));
}

#[test]
fn a_first_event_that_is_rejected_holds_the_others_up_for_no_longer_than_they_need() {
    let receiver = Receiver::new();
    let mut delivery = receiver.start(|batch| refuses(batch, |it| it < 3));
    delivery.offer(&numbered(0));
    soon("it is rejected", || snapshot(&delivery).failures > 0);
    assert_eq!(
        (snapshot(&delivery).waiting, snapshot(&delivery).lost),
        (1, 0)
    );
    (1..10).for_each(|number| delivery.offer(&numbered(number)));
    soon("the rest arrives", || snapshot(&delivery).waiting == 0);
    assert_eq!(receiver.distinct(), (3..10).collect());
    assert_eq!(snapshot(&delivery).lost, 3);
    assert!(receiver.directory.path().join("rejected").exists());
    end(delivery, Duration::from_secs(5));
}

#[test]
fn a_spool_that_cannot_be_opened_is_opened_later_and_loses_nothing() {
    let receiver = Receiver::new();
    let place = receiver.directory.path().join("spool");
    fs::write(&place, "a file in its place").unwrap();
    let mut delivery = receiver.start_in(&place.join("sink"), u64::MAX, CONFIRMS);
    let state = |delivery: &Delivery| delivery.statuses().next().unwrap().1.state();
    assert_eq!(state(&delivery), SinkState::SpoolFailing);
    (0..1_000).for_each(|number| delivery.offer(&numbered(number)));
    soon("it tries", || snapshot(&delivery).failures > 2);
    fs::remove_file(&place).unwrap();
    soon("all arrive", || snapshot(&delivery).delivered == 1_000);
    assert_eq!(receiver.numbers(), (0..1_000).collect::<Vec<_>>());
    assert_eq!(snapshot(&delivery).lost, 0);
    assert_eq!(state(&delivery), SinkState::Working);
    // While it runs, the place is lost once more.
    fs::remove_dir_all(&place).unwrap();
    fs::write(&place, "a file in its place").unwrap();
    (1_000..2_000).for_each(|number| delivery.offer(&numbered(number)));
    soon("it fails", || state(&delivery) == SinkState::SpoolFailing);
    fs::remove_file(&place).unwrap();
    soon("all arrive", || snapshot(&delivery).delivered == 2_000);
    assert_eq!(snapshot(&delivery).lost, 0);
    end(delivery, Duration::from_secs(5));
}

#[test]
fn what_finds_no_spool_until_the_end_is_counted() {
    let receiver = Receiver::new();
    let place = receiver.directory.path().join("spool");
    fs::write(&place, "a file in its place").unwrap();
    let mut delivery = receiver.start_in(&place.join("sink"), u64::MAX, CONFIRMS);
    (0..1_000).for_each(|number| delivery.offer(&numbered(number)));
    soon("it tries", || snapshot(&delivery).failures > 0);
    delivery.close();
    delivery.stop_at(Instant::now());
    soon("the sinks end", || delivery.has_ended());
    let now = snapshot(&delivery);
    assert_eq!((now.lost, now.waiting), (1_000, 0));
    // No event can report them any more.
    let (_, left) = delivery.left().next().unwrap();
    assert_eq!((left.dropped, left.spooled), (1_000, 0));
}

#[test]
fn a_thread_that_panics_is_counted_and_started_again() {
    let receiver = Receiver::new();
    let mut panics = 2;
    let mut delivery = receiver.start(move |_| {
        if panics > 0 {
            panics -= 1;
            panic!("as the test wants");
        }
        Ok(Handed::Confirmed)
    });
    (0..100).for_each(|number| delivery.offer(&numbered(number)));
    soon("all arrive", || snapshot(&delivery).waiting == 0);
    assert_eq!(receiver.distinct(), (0..100).collect());
    assert_eq!(
        (snapshot(&delivery).restarts, snapshot(&delivery).lost),
        (2, 0)
    );
    end(delivery, Duration::from_secs(5));

    let mut panics = 1;
    let (mut delivery, taken) = local(OnFailure::Retry, move || {
        if panics > 0 {
            panics -= 1;
            panic!("as the test wants");
        }
        Ok(())
    });
    delivery.offer(&numbered(0));
    soon("it is started again", || snapshot(&delivery).restarts == 1);
    delivery.offer(&numbered(1));
    soon("the next is written", || seeded(&taken) == [1]);
    let now = snapshot(&delivery);
    assert_eq!((now.lost, now.waiting, now.delivered), (1, 0, 1));
    end(delivery, Duration::from_secs(5));
}

#[test]
fn what_a_broken_connection_leaves_in_doubt_is_sent_again() {
    let receiver = Receiver::new();
    // The first connection breaks before anything on it counts, however slow the machine is.
    let breaks = Arc::new(AtomicBool::new(false));
    let settle = {
        let breaks = Arc::clone(&breaks);
        move || {
            if breaks.load(Relaxed) {
                Duration::from_millis(10)
            } else {
                Duration::from_hours(1)
            }
        }
    };
    let mut delivery = receiver.start(move |_| Ok(Handed::Unconfirmed(settle())));
    (0..50).for_each(|number| delivery.offer(&numbered(number)));
    soon("all are handed over", || receiver.distinct().len() == 50);
    assert_eq!(snapshot(&delivery).delivered, 0);
    breaks.store(true, Relaxed);
    *receiver.seen.broken.lock().unwrap() = true;
    soon("all are handed over again", || {
        receiver.numbers().len() >= 100
    });
    soon("all count", || snapshot(&delivery).delivered == 50);
    assert_eq!(receiver.distinct(), (0..50).collect());
    assert_eq!(snapshot(&delivery).waiting, 0);
    end(delivery, Duration::from_secs(5));
}

#[test]
fn what_the_receivers_host_does_not_have_does_not_count_however_long_ago_it_was_written() {
    let receiver = Receiver::new();
    *receiver.seen.outstanding.lock().unwrap() = usize::MAX;
    let mut delivery = receiver.start(|_| Ok(Handed::Unconfirmed(Duration::ZERO)));
    delivery.offer(&numbered(0));
    soon("it is handed over", || receiver.numbers().len() == 1);
    // That it settles at once shows as soon as the next one does.
    *receiver.seen.outstanding.lock().unwrap() = 1;
    delivery.offer(&numbered(1));
    soon("the first one counts", || {
        snapshot(&delivery).delivered == 1
    });
    assert_eq!(receiver.numbers(), [0, 1]);
    *receiver.seen.outstanding.lock().unwrap() = 2;
    delivery.offer(&numbered(2));
    soon("both are handed over", || receiver.numbers().len() == 3);
    *receiver.seen.broken.lock().unwrap() = true;
    soon("what is in doubt comes again", || {
        receiver.numbers().len() == 5
    });
    assert_eq!(receiver.numbers(), [0, 1, 2, 1, 2]);
    assert_eq!(snapshot(&delivery).delivered, 1);
    *receiver.seen.outstanding.lock().unwrap() = 0;
    soon("all count", || snapshot(&delivery).delivered == 3);
    end(delivery, Duration::from_secs(5));
}

#[test]
fn a_full_spool_gives_up_the_oldest_and_names_its_sink() {
    let receiver = Receiver::new();
    let mut delivery = receiver.start_in(receiver.directory.path(), LEAST_BYTES, IS_DOWN);
    for number in 0..20_000 {
        delivery.offer(&numbered(number));
        if number % 1_000 == 0 {
            assert!(delivery.settle(Duration::from_secs(30)));
        }
    }
    assert!(delivery.settle(Duration::from_secs(30)));
    end(delivery, Duration::ZERO);
    let up = receiver.start_in(receiver.directory.path(), LEAST_BYTES, CONFIRMS);
    soon("the rest arrives", || snapshot(&up).waiting == 0);
    let numbers = receiver.numbers();
    assert!(numbers.len() > 3_000, "{}", numbers.len());
    assert_eq!(
        numbers,
        (20_000 - numbers.len() as u64..20_000).collect::<Vec<_>>()
    );
    end(up, Duration::from_secs(5));
}

#[test]
fn losses_of_a_full_spool_and_what_arrives_are_all_there_was() {
    let receiver = Receiver::new();
    let open = Arc::new(AtomicBool::new(false));
    let door = Arc::clone(&open);
    let mut delivery = receiver.start_in(receiver.directory.path(), LEAST_BYTES, move |_| {
        if door.load(Relaxed) {
            Ok(Handed::Confirmed)
        } else {
            Err(gone())
        }
    });
    for number in 0..12_000 {
        delivery.offer(&numbered(number));
        if number % 1_000 == 0 {
            assert!(delivery.settle(Duration::from_secs(30)));
        }
    }
    assert!(delivery.settle(Duration::from_secs(30)));
    open.store(true, Relaxed);
    soon("the rest arrives", || snapshot(&delivery).waiting == 0);
    let lost: u64 = delivery
        .take_losses(|_| true)
        .iter()
        .map(|(_, count)| count)
        .sum();
    assert_eq!(lost + receiver.numbers().len() as u64, 12_000);
    assert_eq!(snapshot(&delivery).lost, lost);
    end(delivery, Duration::from_secs(5));
}

/// A writer that fails as a test says.
struct Failing {
    taken: Arc<Mutex<Vec<Value>>>,
    fail: Box<dyn FnMut() -> Result<(), SinkError> + Send>,
}

impl Writer for Failing {
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), Stopped> {
        (self.fail)().map_err(|error| Stopped { written: 0, error })?;
        let events = serde_json::Deserializer::from_slice(lines).into_iter();
        let events: Vec<_> = events.map(Result::unwrap).collect();
        self.taken.lock().unwrap().extend(events);
        Ok(())
    }

    fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

fn full() -> SinkError {
    SinkError::Full {
        path: "p".to_owned(),
        source: io::ErrorKind::StorageFull.into(),
    }
}

fn local(
    on_failure: OnFailure,
    fail: impl FnMut() -> Result<(), SinkError> + Send + 'static,
) -> (Delivery, Arc<Mutex<Vec<Value>>>) {
    let taken = Arc::default();
    let writer = Failing {
        taken: Arc::clone(&taken),
        fail: Box::new(fail),
    };
    let mut delivery = Delivery::default();
    let sink = Sink::Local {
        encoder: Box::new(Json),
        writer: Box::new(writer),
        on_failure,
    };
    delivery.start("file", SinkFilter::default(), sink).unwrap();
    (delivery, taken)
}

/// The numbers of events that are all [`numbered`].
fn seeded(taken: &Mutex<Vec<Value>>) -> Vec<u64> {
    let number = |event: &Value| event["seeded"].as_u64().unwrap();
    taken.lock().unwrap().iter().map(number).collect()
}

#[test]
fn a_full_disk_ends_a_command_and_an_agent_waits_for_room() {
    let (mut delivery, _) = local(OnFailure::EndRun, || Err(full()));
    delivery.offer(&numbered(0));
    soon("it ends", || delivery.has_ended());
    assert!(matches!(
        delivery.take_failure(),
        Some(SinkError::Full { .. })
    ));

    let mut tries = 0;
    let (mut delivery, taken) = local(OnFailure::Retry, move || {
        tries += 1;
        if tries < 4 { Err(full()) } else { Ok(()) }
    });
    (0..10).for_each(|number| delivery.offer(&numbered(number)));
    soon("all are written", || taken.lock().unwrap().len() == 10);
    assert_eq!(seeded(&taken), (0..10).collect::<Vec<_>>());
    assert!(delivery.take_failure().is_none());
    end(delivery, Duration::from_secs(5));
}

#[test]
fn a_reader_that_left_ends_an_agent_too() {
    let (mut delivery, _) = local(OnFailure::Retry, || Err(SinkError::Closed));
    delivery.offer(&numbered(0));
    soon("it ends", || delivery.has_ended());
    // A sink that has ended is not waited for.
    assert!(!delivery.settle(Duration::from_mins(10)));
    assert!(
        delivery
            .take_failure()
            .is_some_and(|error| error.is_closed())
    );
}

/// A writer that blocks until the sender is dropped.
fn stalled() -> (Sender<()>, Delivery, Arc<Mutex<Vec<Value>>>) {
    let (release, stalled) = channel::<()>();
    let mut held = Some(stalled);
    let (delivery, taken) = local(OnFailure::Retry, move || {
        if let Some(stalled) = held.take() {
            let _released = stalled.recv();
        }
        Ok(())
    });
    (release, delivery, taken)
}

#[test]
fn a_writer_that_blocks_loses_what_its_queue_cannot_hold() {
    let (release, mut delivery, taken) = stalled();
    let all = QUEUE as u64 + 5_000;
    // Were it to wait for room, it would never end.
    (0..all).for_each(|number| delivery.offer(&numbered(number)));
    assert_eq!(delivery.take_losses(|_| true), [("file".to_owned(), 5_000)]);
    drop(release);
    soon("the rest is written", || snapshot(&delivery).waiting == 0);
    assert_eq!(seeded(&taken), (0..QUEUE as u64).collect::<Vec<_>>());
    end(delivery, Duration::from_secs(5));
}

#[test]
fn a_filter_holds_back_what_it_does_not_name() {
    let (mut delivery, taken) = local(OnFailure::Retry, || Ok(()));
    delivery.offer(&numbered(0));
    let resets = SinkFilter {
        events: vec![crate::event::Kind::Reset],
        ..SinkFilter::default()
    };
    assert!(delivery.set_filter("file", resets.clone()));
    assert!(!delivery.set_filter("other", resets));
    delivery.offer(&numbered(1));
    assert!(delivery.set_filter("file", SinkFilter::default()));
    delivery.offer(&numbered(2));
    soon("two are written", || taken.lock().unwrap().len() == 2);
    assert_eq!(seeded(&taken), [0, 2]);
    end(delivery, Duration::from_secs(5));
}

#[test]
fn counts_that_find_a_queue_full_come_later_and_whole() {
    let (release, mut delivery, taken) = stalled();
    let all = 2 * QUEUE as u64;
    let mut counter = Counter::default();
    let mut report = |delivery: &mut Delivery, source: &str, lost| {
        let message = loss(0, source, lost);
        counter.count(&message.event);
        delivery.offer(&message);
    };
    for number in 0..all {
        delivery.offer(&numbered(number));
        if number % 1_000 == 0 {
            report(&mut delivery, "kernel", 7);
            for (name, count) in delivery.take_losses(|_| true) {
                report(&mut delivery, &format!("sink {name}"), count);
            }
        }
    }
    for (name, count) in delivery.take_losses(|_| true) {
        report(&mut delivery, &format!("sink {name}"), count);
    }
    for end in [false, true] {
        let summary = counter.summary(samples::time(TIME), host(), Duration::ZERO, end);
        delivery.offer(&message(0, Event::Summary(Box::new(summary))));
    }
    assert!(!delivery.close(), "events are deferred");
    drop(release);
    soon("there is room for them", || delivery.close());
    soon("all is written", || delivery.has_ended());
    let taken = taken.lock().unwrap().clone();
    let reported = |source: &str| -> u64 {
        let losses = taken.iter().filter(|it| {
            it["type"] == "loss" && it["source"].as_str().unwrap().starts_with(source)
        });
        losses.map(|it| it["lost"].as_u64().unwrap()).sum()
    };
    let seen = taken.iter().filter(|it| it["type"] == "start").count();
    assert_eq!(seen as u64 + reported("sink"), all);
    assert_eq!(reported("kernel"), all.div_ceil(1_000) * 7);
    let last = taken.last().unwrap();
    assert_eq!(
        (&last["type"], &last["end"]),
        (&"summary".into(), &true.into())
    );
    assert_eq!(last["lost"], reported(""));
}
