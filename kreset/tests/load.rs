//! How busy a broker was is told beside what it may explain, and decides nothing.

mod replay;

use kreset::{
    event::{AcceptQueue, OpenFiles, Pressure},
    facts::{Facts, load::HostLoad},
};
use replay::judging::{advises, alone, reset, said, says, value_of};

/// A broker's abort with data unread.
fn abort() -> Facts {
    reset("broker_abort_unread.broker")
}

fn with_host(facts: Facts, host: HostLoad) -> Facts {
    let mut facts = facts;
    facts.load.host = Some(host);
    facts
}

fn waiting(cpu: f64) -> HostLoad {
    HostLoad {
        files: None,
        pressure: Some(Pressure {
            of: Some("kafka.service".into()),
            cpu: Some(cpu),
            memory: Some(0.0),
            io: None,
        }),
    }
}

const QUEUE: AcceptQueue = AcceptQueue {
    length: 51,
    limit: 50,
    drops: Some(7),
};

#[test]
fn unread_data_under_pressure_may_be_overload_and_is_no_surer_than_before() {
    let mut calm = abort();
    calm.counters.as_mut().unwrap().unread = Some(1_500);
    let before = alone(&calm);
    says(&before, "load", "1.4 KiB unread by the broker");
    assert!(!before.advice.contains("overloaded"), "{}", before.advice);

    let busy = alone(&with_host(calm.clone(), waiting(63.25)));
    assert_eq!(
        (said(&busy), busy.confidence, &busy.candidates),
        (said(&before), before.confidence, &before.candidates)
    );
    says(
        &busy,
        "load",
        "1.4 KiB unread by the broker, processor pressure 63% in kafka.service",
    );
    let expected = "The broker may be overloaded: it had left data of this client unread, under \
                    processor pressure 63% in kafka.service.";
    assert!(busy.advice.ends_with(expected), "{}", busy.advice);

    // Pressure alone, or a little of it, is every broker's.
    calm.counters.as_mut().unwrap().unread = Some(0);
    for share in [5.0, 63.25] {
        let read_all = alone(&with_host(calm.clone(), waiting(share)));
        assert!(!read_all.advice.contains("overloaded"), "{share}");
    }
}

#[test]
fn a_full_queue_and_files_that_are_used_up_name_their_settings() {
    let mut facts = abort();
    facts.load.accept_queue = Some(QUEUE);
    let full = alone(&facts);
    assert_eq!(said(&full), said(&alone(&abort())));
    let fact = value_of(&full, "load").unwrap();
    assert!(
        fact.starts_with("accept queue full (51 of 50, 7 dropped)"),
        "{fact}"
    );
    advises(&full, "net.core.somaxconn and socket.listen.backlog.size");
    // As many as the limit still leave room for one.
    facts.load.accept_queue = Some(AcceptQueue {
        length: 50,
        ..QUEUE
    });
    assert!(!alone(&facts).advice.contains("somaxconn"));

    let files = HostLoad {
        files: Some(OpenFiles {
            open: 1_020,
            limit: 1_024,
        }),
        pressure: None,
    };
    facts.load.accept_queue = Some(QUEUE);
    let used_up = alone(&with_host(facts, files));
    advises(&used_up, "1020 of 1024 files open");
    advises(&used_up, "LimitNOFILE");
    // What it lacks comes before what follows from that.
    assert!(!used_up.advice.contains("somaxconn"));
}

#[test]
fn a_client_whose_broker_stopped_reading_is_told() {
    let mut facts = reset("broker_abort_unread.client");
    facts.load.peer_window = Some(0);
    facts.established = true;
    let judgement = alone(&facts);
    says(&judgement, "load", "the broker's window was closed");
    advises(&judgement, "stopped reading");
    facts.load.peer_window = Some(1);
    assert_eq!(value_of(&alone(&facts), "load"), None);
}
