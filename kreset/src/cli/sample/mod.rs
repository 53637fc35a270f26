//! Sample events, to test delivery from this host to a SIEM.

mod event;

use std::{
    io::{self, Write as _},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

pub use event::{event, number_of};

use jiff::Timestamp;
use rustix::system::uname;

use crate::{
    cli::Sample,
    delivery::Delivery,
    event::{Event, Host, Ids, Loss, Message, Time},
    run::{
        RunError,
        sinks::{self, Sinks},
    },
};

/// Events between two reads of the clock.
const BURST: u64 = 64;
/// The default of `--count`.
const COUNT: u64 = 100;
/// Time limit for the sinks to accept a burst.
const PATIENCE: Duration = Duration::from_mins(1);

/// Sends what `sample` asks for through its sinks, and waits until it is
/// delivered or the time to drain is over.
///
/// # Errors
///
/// When a sink cannot be opened or fails.
pub fn run(sample: &Sample) -> Result<(), RunError> {
    let Sinks { mut delivery, .. } = sinks::open(&sample.options)?.start()?;
    let host = Host {
        name: uname().nodename().to_string_lossy().into(),
    };
    let mut ids = Ids::of_this_run();
    let count = sample
        .options
        .count
        .map_or(COUNT, std::num::NonZeroU64::get);
    let began = Instant::now();
    let mut lost = 0;
    for number in sample.first..sample.first.saturating_add(count) {
        let event = event(number, &host, Time(Timestamp::now()));
        delivery.offer(&Arc::new(Message {
            id: ids.next_id(),
            event,
        }));
        let sent = number - sample.first + 1;
        if !sent.is_multiple_of(BURST) && sent != count {
            continue;
        }
        let kept = delivery.settle(PATIENCE);
        if let Some(error) = delivery.take_failure() {
            return Err(error.into());
        }
        report_losses(&mut delivery, &host, &mut ids, &mut lost);
        if kept && sample.progress {
            // The reader may have closed standard output.
            let _ignored = writeln!(io::stdout(), "kept {}", number + 1);
        }
        if let Some(due) = (sent * 1_000_000).checked_div(sample.rate) {
            let ahead = Duration::from_micros(due).saturating_sub(began.elapsed());
            thread::sleep(ahead);
        }
    }
    sinks::drain_at_end(&sample.options, &mut delivery)
}

/// Reports what the sinks have lost, as a run does.
fn report_losses(delivery: &mut Delivery, host: &Host, ids: &mut Ids, total: &mut u64) {
    for (name, count) in delivery.take_losses(|_| true) {
        *total += count;
        delivery.offer(&Arc::new(Message {
            id: ids.next_id(),
            event: Event::Loss(Loss {
                time: Time(Timestamp::now()),
                host: host.clone(),
                source: format!("sink {name}"),
                lost: count,
                total: *total,
                by_broker: Vec::new(),
            }),
        }));
    }
}
